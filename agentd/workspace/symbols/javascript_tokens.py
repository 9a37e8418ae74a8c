"""JavaScript and TypeScript as tokens. What a `/`, a `<` or a `}` begins there depends on what stands before it.

A regular expression, a template with all that is substituted in it, and a JSX element with its children are one literal
each: they are parts of expressions, and nothing in them is told. The rules: ECMA-262, "Lexical Grammar"; the JSX
specification. No recursion here, for templates nest as deep as someone likes.
"""

from __future__ import annotations

import re

import attrs

from agentd.workspace.symbols.tokens import COMMENT, LITERAL, MARK, WORD, Tokens, pair_brackets

SPECIAL = 5
PATTERN = re.compile(  # space is matched along: looking for each token's start anew would take a quarter longer
    r"\s*(?:(//[^\n]*|/\*.*?(?:\*/|\Z)|\ufeff|(?<!.)#![^\n]*)"
    r"""|("[^"\\\n]*(?:\\.[^"\\\n]*)*"?|'[^'\\\n]*(?:\\.[^'\\\n]*)*'?|\d[\w.]*)"""
    r"|(#?(?:[^\W\d]|\$)[\w$]*)"
    r"|(=>|\.\.\.|\?\.(?!\d)|\+\+|--|[^\s\w`/<{}])"
    r"|([`/<{}]))",
    re.DOTALL,
)
REGEX = re.compile(r"/(?:[^\\/\[\n]|\\[^\n]|\[(?:[^\]\\\n]|\\[^\n])*\]?)*(/\w*)?")
TEMPLATE = re.compile(r"[^`\\$]*(?:(?:\\.|\$(?!\{))[^`\\$]*)*(`|\$\{|\\?\Z)", re.DOTALL)
OPENING_TAG = re.compile(r"<(?!const\b)([^\W\d][\w$.:-]*|(?=>))(?!\s*(?:,|=|extends\b))(>?)")
CLOSING_TAG = re.compile(r"</\s*([\w$.:-]*)")
IN_TAG = re.compile(r""""[^"]*"?|'[^']*'?|/\*.*?(?:\*/|\Z)|//[^\n]*|/>|=>|[<>{]""", re.DOTALL)
IN_CHILDREN = re.compile(r"</[^>]*>?|<(?=[\w>])([\w$.:-]*)|\{")

# Words behind which an operand comes, and so a `/` begins a regular expression.
OPERATOR_WORDS = frozenset(
    {"typeof", "in", "of", "delete", "void", "new", "instanceof", "await", "yield", "as", "satisfies"}
)
BEFORE_OPERAND = OPERATOR_WORDS | {"return", "case", "throw", "do", "else", "default", "extends"}
RESTARTS = frozenset({"function", "class", "export", "import", "interface", "enum", "const", "let", "var"})
CONDITION_TOKENS = 200  # how far back the `(` of a condition is looked for


def tokenize(text: str, *, jsx: bool) -> Tokens:
    lexer = _Lexer(text, jsx)
    lexer.run()
    pair_brackets(lexer.tokens, RESTARTS)
    return lexer.tokens


@attrs.define
class _Literal:
    """A template or an element that has begun: where, with how many tokens before it."""

    start: int
    before: int
    is_element: bool
    braces: int = 0  # open ones in what is substituted
    in_tag: bool = True  # of an element: else in its children
    angles: int = 0  # open ones within the tag
    tag: str = ""
    depth: int = 0  # open tags


class _Lexer:
    def __init__(self, text: str, jsx: bool) -> None:
        self.text, self.jsx = text, jsx
        self.limit = len(text.rstrip())
        self.tokens = Tokens(text)
        self.texts, self.starts, self.kinds = self.tokens.texts, self.tokens.starts, self.tokens.kinds
        self.open: list[_Literal] = []
        self.no_regex_before = 0
        self._closing_tags: dict[str, int] | None = None

    def run(self) -> None:
        place = 0
        while place < self.limit:
            place = self.script(place)
            if place >= self.limit and self.open:
                place = self.unclosed(self.open[0])

    def script(self, place: int) -> int:
        """Tokens from a place on, until another way of reading begins; returns where to go on."""
        texts, starts, kinds = self.texts, self.starts, self.kinds
        for match in PATTERN.finditer(self.text, place, self.limit):
            kind = match.lastindex or MARK
            if kind == COMMENT:
                self.tokens.comments.append(match.span(kind))
            elif kind == SPECIAL:
                behind = self.special(match[kind], match.start(kind))
                if behind:
                    return behind
            else:
                texts.append(match[kind])
                starts.append(match.start(kind))
                kinds.append(kind)
        return len(self.text)

    def special(self, mark: str, start: int) -> int:
        """Where the script goes on behind what a mark begins; 0 for a mark that is just that."""
        if mark == "`":
            self.open.append(_Literal(start, len(self.texts), is_element=False))
            return self.template(start + 1)
        if mark == "}" and self.open and not self.open[-1].braces:
            return self.element(start + 1) if self.open[-1].is_element else self.template(start + 1)
        if mark == "/" and start >= self.no_regex_before and self.operand_is_due(start):
            match = REGEX.match(self.text, start)
            if match and match[1]:
                return self.add(match[0], start, LITERAL)
            self.no_regex_before = match.end() if match else 0  # the rest of the line has no second `/` for any other
        if mark == "<" and self.jsx and self.operand_is_due(start) and self.begins_element(start):
            self.open.append(_Literal(start, len(self.texts), is_element=True))
            return self.element(start)
        if self.open and mark in "{}":
            self.open[-1].braces += 1 if mark == "{" else -1
        self.add(mark, start, MARK)
        return 0

    def add(self, text: str, start: int, kind: int) -> int:
        self.texts.append(text)
        self.starts.append(start)
        self.kinds.append(kind)
        return start + len(text)

    def close(self, behind: int) -> int:
        """A literal ends: its tokens become one."""
        literal = self.open.pop()
        for tokens in (self.texts, self.starts, self.kinds):
            del tokens[literal.before :]
        # The text of one within another is not copied: it becomes part of that one.
        self.add("``" if self.open else self.text[literal.start : behind], literal.start, LITERAL)
        return behind

    def unclosed(self, literal: _Literal) -> int:
        """The text ended in a literal. What seemed an element was none, then: read on without any."""
        del self.open[1:]
        if not literal.is_element:
            return self.close(len(self.text))
        self.close(literal.start + 1)
        self.kinds[-1] = MARK
        while self.tokens.comments and self.tokens.comments[-1][0] > literal.start:
            self.tokens.comments.pop()
        self.jsx = False
        return literal.start + 1

    def template(self, place: int) -> int:
        match = TEMPLATE.match(self.text, place)
        if match and match[1] == "${":
            return self.add("{", match.end() - 1, MARK)
        return self.close(match.end() if match else len(self.text))

    def element(self, place: int) -> int:
        """An element from somewhere in it up to where a script is embedded, or it ends."""
        element = self.open[-1]
        while True:
            match = (IN_TAG if element.in_tag else IN_CHILDREN).search(self.text, place)
            if match is None:
                return len(self.text)
            place = match.end()
            if match[0] == "{":
                return self.add("{", match.start(), MARK)
            (self.tag_part if element.in_tag else self.child)(element, match)
            if not element.in_tag and element.depth <= 0:
                return self.close(place)

    def tag_part(self, element: _Literal, match: re.Match[str]) -> None:
        if match[0] == "<" and match.start() > element.start:
            element.angles += 1  # type arguments
        elif match[0] == "<":
            name = OPENING_TAG.match(self.text, match.start())
            element.tag = name[1] if name else ""
        elif match[0] == ">" and element.angles:
            element.angles -= 1
        elif match[0] in (">", "/>"):
            element.in_tag, element.angles = False, 0
            element.depth += match[0] == ">" and self.is_closed(element.tag, match.end())

    def child(self, element: _Literal, match: re.Match[str]) -> None:
        if match[0].startswith("</"):
            element.depth -= 1
        else:
            element.in_tag, element.tag = True, match[1]

    def begins_element(self, start: int) -> bool:
        """Or is it `<T>(x: T) => x`, which has nothing to close?"""
        match = OPENING_TAG.match(self.text, start)
        return match is not None and (not match[2] or self.is_closed(match[1], start))

    def is_closed(self, tag: str, place: int) -> bool:
        if self._closing_tags is None:
            self._closing_tags = {match[1]: match.start() for match in CLOSING_TAG.finditer(self.text)}
        return self._closing_tags.get(tag, -1) >= place

    def operand_is_due(self, start: int) -> bool:
        """Does an operand come here, or an operator?"""
        if not self.texts:
            return True
        before, kind = self.texts[-1], self.kinds[-1]
        if kind == LITERAL:
            return False
        if kind == WORD:
            return before in BEFORE_OPERAND and not (len(self.texts) > 1 and self.texts[-2] in (".", "?."))
        if before == ")":
            return self.ends_condition()
        if before == "}":  # of a block, or of an object? Few divide on another line
            return self.text.find("\n", self.starts[-1], start) >= 0
        if before == "!":
            return not self.is_postfix()
        return before not in ("]", "++", "--")

    def is_postfix(self) -> bool:
        """TypeScript's `x!` rather than `!x`."""
        adjacent = len(self.texts) > 1 and self.starts[-1] == self.starts[-2] + len(self.texts[-2])
        return adjacent and (self.texts[-2] in (")", "]") or self.kinds[-2] == WORD)

    def ends_condition(self) -> bool:
        """`if (…)` is followed by a statement, `f(…)` by an operator."""
        depth = 0
        for place in range(len(self.texts) - 1, max(len(self.texts) - CONDITION_TOKENS, 0), -1):
            depth += (self.texts[place] == ")") - (self.texts[place] == "(")
            if not depth:
                return self.texts[place - 1] in ("if", "while", "for", "with")
        return False
