"""Where the types and expressions of JavaScript and TypeScript end: what a scanner of declarations has to step over.

Semicolons are optional, so an expression also ends where a newline is followed by what cannot go on with it. The rules:
ECMA-262, "Automatic Semicolon Insertion"; the grammar of types is TypeScript's own.
"""

from __future__ import annotations

from functools import cached_property

from agentd.workspace.symbols.javascript_tokens import BEFORE_OPERAND
from agentd.workspace.symbols.tokens import CLOSING, LITERAL, OPENING, WORD, Tokens

# Reserved words that begin a statement: an expression before them is over, even when it is half-finished.
STATEMENTS = frozenset({"export", "const", "var", "if", "for", "while", "switch", "try", "throw", "return", "enum"})
RESERVED = STATEMENTS | {"function", "class", "import", "default", "extends", "implements"}  # as far as it matters here
GO_ON = frozenset({"in", "instanceof", "of"})  # words that continue an expression, even on the next line
BEHIND_BRACE = GO_ON | {"as", "satisfies", "else", "catch", "finally", "while", "from"}
TYPE_PREFIXES = frozenset({"keyof", "typeof", "unique", "readonly", "infer", "asserts", "new", "abstract"})
BEHIND_TYPE_ARGUMENTS = frozenset({"(", ")", "]", "}", ";", ",", ".", "?.", "=>"})


class Syntax:
    """Tokens, and questions about them. A place is the number of a token; it may be behind the last one."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens, self.texts, self.kinds = tokens, tokens.texts, tokens.kinds
        self.skip, self.code = tokens.skip, tokens.code

    def text(self, place: int) -> str:
        return self.texts[place] if place < len(self.texts) else ""

    def parted(self, place: int) -> bool:
        """Does a line, or all, end before this token?"""
        return place >= len(self.texts) or self.tokens.parted(place)

    def is_word(self, place: int) -> bool:
        return place < len(self.kinds) and self.kinds[place] == WORD

    def is_literal(self, place: int) -> bool:
        return place < len(self.kinds) and self.kinds[place] == LITERAL

    def is_name(self, place: int) -> bool:
        return self.is_word(place) and self.texts[place] not in RESERVED

    @cached_property
    def angles(self) -> dict[int, int]:
        """Where the `>` of a `<` is, for all that could be the two of a pair. Only some are: ask where types stand."""
        pairs: dict[int, int] = {}
        open_ones: list[int] = []
        for place, token in enumerate(self.texts):
            if token == "<" or (token in OPENING and place in self.tokens.partner):
                open_ones.append(place)
            elif token == ">" and open_ones and self.texts[open_ones[-1]] == "<":
                pairs[open_ones.pop()] = place
            elif token in CLOSING or token == ";":
                while open_ones and self.texts[open_ones[-1]] == "<":
                    open_ones.pop()
                if open_ones and self.tokens.partner.get(place) == open_ones[-1]:
                    open_ones.pop()
        return pairs

    def behind_angles(self, place: int) -> int:
        """Behind `<T extends U>`, where there is such a thing."""
        return self.angles.get(place, place - 1) + 1 if self.text(place) == "<" else place

    def behind_type(self, place: int, limit: int) -> int:
        """Behind the type that begins at a place."""
        due, conditions = True, 0
        while place < limit:
            token = self.texts[place]
            if due:
                behind, due = self._type_operand(place)
            elif token in ("?", ":") and conditions:
                behind, due = place + 1, True
                conditions -= token == ":"
            elif token == "extends" and self.text(place + 1) not in ("?", ":", "(", "=", ";", "<"):
                behind, due, conditions = place + 1, True, conditions + 1
            else:
                behind, due = self._behind_type_operand(place)
            if behind <= place:
                break
            place = behind
        return min(place, limit)

    def _type_operand(self, place: int) -> tuple[int, bool]:
        """Behind the next piece of a type where an operand is due, and whether it still is."""
        token = self.texts[place]
        if token == "<":
            return self.behind_angles(place), True
        if token in ("|", "&", "-", "..."):
            return place + 1, True
        if token in TYPE_PREFIXES and self._begins_type(place + 1):
            return place + 1, True
        if token == "(" and self._are_parameters(place):
            behind = self.skip(place)
            return (behind + 1, True) if self.text(behind) == "=>" else (behind, False)
        if token == "import" and self.text(place + 1) == "(":
            return self.skip(place + 1), False
        return (self.skip(place), False) if token in OPENING or self.kinds[place] in (WORD, LITERAL) else (place, False)

    def _begins_type(self, place: int) -> bool:
        if self.parted(place):
            return False
        return self.is_word(place) or self.is_literal(place) or self.text(place) in ("(", "[", "{", "<")

    def _behind_type_operand(self, place: int) -> tuple[int, bool]:
        token = self.texts[place]
        if token in (".", "|", "&") or (token == "is" and not self.parted(place)):
            return place + 1, True
        if token == "[" and not self.parted(place):
            return self.skip(place), False
        return self.behind_angles(place), False

    def _are_parameters(self, place: int) -> bool:
        """`(a: A) => B` is a type; in `(x): (A | B) => x` the arrow belongs to something else."""
        first = self.text(place + 1)
        if first in (")", "..."):
            return True
        behind = self.skip(place + 1) if first in OPENING or self.is_word(place + 1) else place + 1
        return self.text(behind) in (":", ",", "?", "=", ")")

    def behind_expression(self, place: int, limit: int) -> int:
        """Behind an expression: where its `,` or `;` stands, or a newline ends it."""
        start = place
        while place < limit:
            token = self.texts[place]
            if token in (",", ";") or token in CLOSING or self._is_over(place, start):
                break
            place = self._behind_types_in_expression(place, limit) or self.skip(place)
        return min(place, limit)

    def _behind_types_in_expression(self, place: int, limit: int) -> int:
        """Behind `as A<B, C>` and `<B, C>` of `new Map<B, C>()`, whose comma ends nothing; 0 where no such thing is."""
        token = self.texts[place]
        if token in ("as", "satisfies") and not self.parted(place) and place and self._can_end(place - 1):
            return max(self.behind_type(place + 1, limit), place + 1)
        if token != "<" or place not in self.angles:
            return 0
        behind = self.angles[place] + 1
        follows = self.text(behind)
        are_types = follows in BEHIND_TYPE_ARGUMENTS or follows.startswith("`") or not self._can_end(place - 1)
        return behind if are_types else 0

    def _is_over(self, place: int, start: int) -> bool:
        """Is the expression over that began at *start*, before this token?"""
        token, kind = self.texts[place], self.kinds[place]
        if not self.parted(place):
            return kind == WORD and place > start and self.texts[place - 1] == "}" and token not in BEHIND_BRACE
        if kind == WORD and token in STATEMENTS and self.texts[place - 1] not in (".", "?."):
            return self.texts[place - 1] == "=" or place > start
        if place == start:
            return False
        begins = (kind == WORD and token not in GO_ON) or (kind == LITERAL and token[0] != "`")
        return (begins or token in ("@", "++", "--", "!", "~", "{")) and self._can_end(place - 1)

    def _can_end(self, place: int) -> bool:
        token, kind = self.texts[place], self.kinds[place]
        if kind == WORD:
            return token not in BEFORE_OPERAND or (place > 0 and self.texts[place - 1] in (".", "?."))
        return kind == LITERAL or token in (")", "]", "}", "++", "--", "!", ">")

    def behind_decorators(self, place: int, limit: int) -> int:
        while place < limit and self.texts[place] == "@":
            place += 1
            if self.text(place) != "(":
                place = self.behind_path(place)
                place = self.behind_angles(place)
            if self.text(place) == "(":
                place = self.skip(place)
        return min(place, limit)

    def behind_path(self, place: int) -> int:
        """Behind `a.b.c`."""
        if not self.is_word(place):
            return place
        place += 1
        while self.text(place) == "." and self.is_word(place + 1):
            place += 2
        return place

    def behind_head(self, place: int, limit: int) -> int:
        """Behind `<T>(parameters): Result` of a function; the same place where there are no parameters."""
        start, place = place, self.behind_angles(place)
        if self.text(place) != "(":
            return start
        place = self.skip(place)
        return self.behind_type(place + 1, limit) if self.text(place) == ":" else min(place, limit)

    def function_value(self, place: int, limit: int) -> int:
        """Where the body of a function begins that is a value, behind its `=>` if it has one; 0 for what is none.

        A function expression that is called at once is none either: its value is what it returns.
        """
        if self.text(place) == "async" and self.text(place + 1) != "=>" and not self.parted(place + 1):
            place += 1
        if self.text(place) == "function":
            body = self.behind_head(self.behind_function_name(place + 1), limit)
            called = self.text(self.skip(body)) == "(" if body < limit else True
            return 0 if called or self.texts[body] != "{" else body
        head = place + 1 if self.is_word(place) else self.behind_head(place, limit)
        return head + 1 if place < head < limit and self.text(head) == "=>" else 0

    def behind_function_name(self, place: int) -> int:
        place += self.text(place) == "*"
        return place + self.is_word(place)

    def behind_heritage(self, place: int, limit: int) -> int:
        """The place of the `{` of a type, from behind its name; the limit where there is none."""
        start = place = self.behind_angles(place)
        while place < limit:
            token, before = self.texts[place], self.texts[place - 1]
            if token == "{" and (before != "class" or place == start):  # in `extends class {}` it is not
                return place
            follows = before in (",", ".", "extends", "implements", "class") or token in ("extends", "implements")
            behind = self.behind_angles(place) if token == "<" else self.skip(place)
            if behind == place or not (follows or token in (",", ".", "(", "[", "{", "<")):
                break
            place = behind
        return limit
