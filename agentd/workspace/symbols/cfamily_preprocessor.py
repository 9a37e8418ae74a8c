"""C and C++ source as tokens of one program: directives are gone, macros are told apart, every #if is decided.

Nothing is included or expanded. The rule for conditionals: what a definition needs is that brackets balance, not that
one configuration is right. So all branches stay where each of them is whole, and where one is not, one branch stays
and the ones before it are closed behind their own last token, so that both `int f(void) {` of an #if and its #else are
there to be told. Once such a choice is made the same condition is answered the same way in the rest of the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import compress

import attrs

from agentd.workspace.symbols.cfamily_words import ACCESS, RESTARTS, SLOTS
from agentd.workspace.symbols.model import Definition, Kind, one_line
from agentd.workspace.symbols.tokens import BRACKETS, COMMENT, LITERAL, MARK, OPENING, WORD, Tokens, pair_brackets

PADDING = 4  # so that who looks a few tokens ahead need not ask whether there are any
MAX_NAMES = 20  # tokens between `namespace` and its brace
MAX_NESTED = 60  # of #if in #if; deeper ones are read as plain text, which bounds the work for hostile files

_BLOCK = r"/\*[^*]*+(?:\*(?!/)[^*]*+)*+(?:\*/)?"
_LINE = r"//[^\n\\]*+(?:\\(?:\r\n|.)?[^\n\\]*+)*+"  # a backslash continues even a comment
_STRING = r'"[^"\\\n]*+(?:\\(?:\r\n|.)?[^"\\\n]*+)*+"?'  # what is not closed ends with its line
_CHAR = r"'[^'\\\n]*+(?:\\(?:\r\n|.)?[^'\\\n]*+)*+'?"
_RAW = r'R"([^()\\\s]{0,16})\((?:.*?\)\3"|.*)'
_NUMBER = r"\d(?:'?[\w.])*+"
_DIRECTIVE = rf"(?m:^)\ufeff?[ \t\f\v]*#(?:[^\n\\/\"']++|\\(?:\r\n|.)?|{_STRING}|{_CHAR}|{_BLOCK}|{_LINE}|/)*+"
_PATTERN = re.compile(
    rf"({_BLOCK}|{_LINE})|((?:u8|[uUL])?(?:{_RAW}|{_STRING}|{_CHAR})|{_NUMBER})|([^\W\d]\w*+)"
    rf"|({_DIRECTIVE})|(::|->|\.\.\.|[^\s\w])",
    re.DOTALL,
)
_DIRECTIVES = 5
_KINDS = (0, COMMENT, LITERAL, 0, WORD, _DIRECTIVES, MARK)  # of the groups above; 3 is the delimiter of a raw string

_CONDITIONAL = re.compile(r"#\s*(if|ifdef|ifndef|elif|elifdef|elifndef|else|endif)\b(.*)", re.DOTALL)
_DEFINE = re.compile(r"#(?:[ \t]|\\\r?\n)*define(?:[ \t]|\\\r?\n|/\*.*?\*/)+(\w+)(\([^()]*\))?", re.DOTALL)
_DEFINED = re.compile(r"(!?)\s*(?:defined\b)?\s*\(?\s*(\w+)\s*\)?")
_NOISE = re.compile(rf"{_BLOCK}|{_LINE}|\\\r?\n", re.DOTALL)
_WHOLE = frozenset(";},:")  # what the last token of a branch is when nothing is left open by it
VALUE_CHARS = 60


@attrs.frozen
class Directive:
    place: int  # of the token that follows
    start: int  # offset of its `#`
    text: str


def preprocess(text: str) -> tuple[Tokens, list[Definition]]:
    """Tokens with paired brackets, and the macros defined in the text. The last PADDING tokens are empty."""
    tokens, directives = _lex(text)
    conditionals = _Conditionals(tokens)
    macros = []
    for directive in directives:
        if match := _CONDITIONAL.match(directive.text):
            conditionals.meet(match[1], match[2], directive.place)
        elif not conditionals.dead and (macro := _macro(tokens, directive)):
            macros.append(macro)
    conditionals.apply()
    tokens.texts += [""] * PADDING
    tokens.starts += [len(text)] * PADDING
    tokens.kinds += [MARK] * PADDING
    pair_brackets(tokens, RESTARTS, _namespaces(tokens))
    return tokens, macros


def _lex(text: str) -> tuple[Tokens, list[Directive]]:
    tokens, directives = Tokens(text), list[Directive]()
    texts, starts, kinds = tokens.texts, tokens.starts, tokens.kinds
    for match in _PATTERN.finditer(text):
        kind = _KINDS[match.lastindex or 0]
        if kind == COMMENT:
            tokens.comments.append(match.span())
        elif kind == _DIRECTIVES:
            start = text.index("#", match.start())
            directives.append(Directive(len(texts), start, text[start : match.end()]))
        else:
            texts.append(match.group())
            starts.append(match.start())
            kinds.append(kind)
    return tokens, directives


def _namespaces(tokens: Tokens) -> set[int]:
    """Places of braces that open a namespace or a block of `extern "C"`."""
    places, texts = set(), tokens.texts
    for place, text in enumerate(texts):
        if text == "namespace":
            places.add(next((at for at in range(place, min(place + MAX_NAMES, len(texts))) if texts[at] == "{"), place))
        elif text == "extern" and texts[place + 2 : place + 3] == ["{"]:
            places.add(place + 2)
    return places


def _macro(tokens: Tokens, directive: Directive) -> Definition | None:
    match = _DEFINE.match(directive.text)
    if match is None:
        return None
    signature = _NOISE.sub(" ", match[0])
    if match[2] is None:
        value = one_line(_NOISE.sub(" ", directive.text[match.end() :]))
        signature += " " + (value if len(value) <= VALUE_CHARS else value[: VALUE_CHARS - 1] + "…")
    return Definition(
        Kind.FIELD if match[2] is None else Kind.FUNCTION,
        match[1],
        "",
        tokens.first_line_at(directive.start, tokens.end(directive.place - 1) if directive.place else 0),
        tokens.line(directive.start + match.start(1)),
        tokens.line(directive.start + max(0, len(directive.text.rstrip()) - 1)),
        one_line(signature),
    )


@attrs.define
class _Balance:
    """Brackets that a stretch of text closes without opening them, and those it leaves open."""

    closers: list[str] = attrs.field(factory=list)
    openers: list[str] = attrs.field(factory=list)

    def add(self, bracket: str) -> None:
        if bracket in OPENING:
            self.openers.append(bracket)
        elif self.openers and OPENING[self.openers[-1]] == bracket:
            self.openers.pop()
        elif bracket == "}" or not self.openers:
            while self.openers:  # a block ends what is open in it
                if self.openers.pop() == "{":
                    return
            self.closers.append(bracket)


@attrs.define
class _Branch:
    condition: str  # what it asks, without a "not"; "" of an #else
    wanted: bool  # the answer that picks it
    start: int
    stop: int = 0
    balance: _Balance = attrs.field(factory=_Balance)

    @property
    def is_balanced(self) -> bool:
        return not self.balance.closers and not self.balance.openers


def _condition(directive: str, text: str) -> tuple[str, bool]:
    asked = " ".join(_NOISE.sub(" ", text).split())
    if directive.endswith("def"):
        return asked, not directive.endswith("ndef")
    if match := _DEFINED.fullmatch(asked):
        return match[2], not match[1]
    return asked, True


class _Conditionals:
    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._brackets = [place for place, text in enumerate(tokens.texts) if text in BRACKETS]
        self._next_bracket = 0
        self._groups: list[list[_Branch]] = []
        self._ignored = 0  # groups nested too deep
        self._answers = {"0": False, "1": True}
        self._kept = bytearray(b"\x01") * len(tokens)
        self._inserted: dict[int, list[str]] = {}  # by the place they go before

    @property
    def dead(self) -> bool:
        """In a branch that no compiler reads, such as that of `#if 0`."""
        return any(branches[-1] in _constantly_dead(branches) for branches in self._groups)

    def meet(self, directive: str, text: str, place: int) -> None:
        self._count_brackets(place)
        if directive.startswith("if"):
            if len(self._groups) < MAX_NESTED:
                self._groups.append([_Branch(*_condition(directive, text), place)])
            else:
                self._ignored += 1
        elif self._ignored:
            self._ignored -= directive == "endif"
        elif self._groups:
            self._groups[-1][-1].stop = place
            if directive == "endif":
                self._decide(self._groups.pop())
            else:
                condition = ("", True) if directive == "else" else _condition(directive, text)
                self._groups[-1].append(_Branch(*condition, place))

    def _count_brackets(self, place: int) -> None:
        at, texts = self._next_bracket, self._tokens.texts
        while at < len(self._brackets) and self._brackets[at] < place:
            if self._groups:
                self._groups[-1][-1].balance.add(texts[self._brackets[at]])
            at += 1
        self._next_bracket = at

    def _decide(self, branches: list[_Branch]) -> None:
        dead = _constantly_dead(branches)
        for branch in dead:
            self._drop(branch)
        live = [branch for branch in branches if branch.stop > branch.start and branch not in dead]
        if all(branch.is_balanced for branch in live):
            self._keep_apart(live)
        else:
            self._choose(branches, live)

    def _keep_apart(self, live: Sequence[_Branch]) -> None:
        """Branches that balance all stay; what is half a declaration must not run into its alternative."""
        if all(self._tokens.texts[branch.stop - 1] in _WHOLE for branch in live[:-1]):
            return
        for branch in live[:-1]:
            if self._begins_declaration(live[0].start):
                self._inserted.setdefault(branch.stop, []).append(";")
            else:
                self._drop(branch)

    def _choose(self, branches: Sequence[_Branch], live: Sequence[_Branch]) -> None:
        chosen = self._answered(branches, live)
        for branch in live:
            if branch is chosen:
                continue
            is_before = chosen is not None and branch.start < chosen.start
            if is_before and not branch.balance.closers and self._begins_declaration(live[0].start):
                closing = [OPENING[opener] for opener in reversed(branch.balance.openers)]
                self._inserted.setdefault(branch.stop, []).extend([*closing, ";"])
            else:
                self._drop(branch)
        if chosen is not None and self._groups:
            for bracket in (*chosen.balance.closers, *chosen.balance.openers):
                self._groups[-1][-1].balance.add(bracket)

    def _answered(self, branches: Sequence[_Branch], live: Sequence[_Branch]) -> _Branch | None:
        """The branch that earlier choices pick, or the last with text in it; the choice is remembered."""
        open_ones = []
        for branch in branches:
            answer = self._answers.get(branch.condition) if branch.condition else None
            if answer is None:
                open_ones.append(branch)
            elif answer is branch.wanted:
                return branch
        chosen = next((branch for branch in reversed(live) if branch in open_ones), None)
        for branch in open_ones:
            if branch.condition:
                self._answers[branch.condition] = branch.wanted is (branch is chosen)
        return chosen

    def _begins_declaration(self, place: int) -> bool:
        texts = self._tokens.texts
        if place == 0 or texts[place - 1] in ";{}":
            return True
        return texts[place - 1] == ":" and place > 1 and texts[place - 2] in ACCESS | SLOTS

    def _drop(self, branch: _Branch) -> None:
        self._kept[branch.start : branch.stop] = bytes(branch.stop - branch.start)

    def apply(self) -> None:
        """Make the tokens those of the branches that were kept."""
        while self._groups:  # never ended: it reaches to the end
            self.meet("endif", "", len(self._tokens))
        if not self._inserted and all(self._kept):
            return
        tokens = self._tokens
        texts, starts, kinds = tokens.texts, tokens.starts, tokens.kinds
        tokens.texts, tokens.starts, tokens.kinds = [], [], []
        done = 0
        for place in (*sorted(self._inserted), len(texts)):
            kept = self._kept[done:place]
            tokens.texts += compress(texts[done:place], kept)
            tokens.starts += compress(starts[done:place], kept)
            tokens.kinds += compress(kinds[done:place], kept)
            if kept and kept[-1]:  # unless a branch around it was dropped later
                self._insert(self._inserted.get(place, []))
            done = place

    def _insert(self, marks: Sequence[str]) -> None:
        self._tokens.texts += marks
        self._tokens.starts += [self._tokens.starts[-1]] * len(marks)
        self._tokens.kinds += [MARK] * len(marks)


def _constantly_dead(branches: Sequence[_Branch]) -> list[_Branch]:
    """Those behind `#if 0`, and those that follow `#if 1`."""
    dead, taken = [], False
    for branch in branches:
        if taken or (branch.condition == "0" and branch.wanted) or (branch.condition == "1" and not branch.wanted):
            dead.append(branch)
        elif branch.condition in ("0", "1"):
            taken = True
    return dead
