"""Types and their members as Java and C# write them: attributes, modifiers, a head, and what the head ends with.

One pass over the tokens, without recursion: a body that is entered goes on a stack, everything else that has brackets
is stepped over. Code that no compiler would take is left alone up to the next `;`, `}` or access modifier.
"""

from __future__ import annotations

from collections.abc import Set
from typing import ClassVar

import attrs

from agentd.workspace.symbols.model import Definition, Kind, one_line
from agentd.workspace.symbols.tokens import MARK, OPENING, WORD, Tokens


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DEEPEST = 100  # types within types; their scopes grow with each, so something has to bound them
INITIALISER_CHARS = 60
TYPE_MARKS = frozenset({".", "::", ",", "?", "*", "&", "@", "..."})  # besides words and brackets, in a type
# `a < b , c > d` is no type argument list, `a<b, c>(d)` is one: the C# specification decides by the next token, 6.2.5.
BEHIND_TYPE_ARGUMENTS = words("( ) [ ] { } : :: ; , . ? = ! | ^ & >") | {""}
STATEMENTS = words(
    "assert await break case catch continue do else finally for foreach goto if lock return switch throw try using"
    " while yield"
)
LOOKAHEAD = 3  # how far behind a token the walk looks without asking whether there is something


@attrs.frozen
class Body:
    """What is being walked through: a file, a namespace or a type."""

    scope: str
    end: int  # the place of its closing brace
    owner: str = ""  # the name of the type


@attrs.frozen
class Lead:
    """How a declaration begins."""

    first: int  # line, that of its comment or attributes
    start: int  # the place behind its attributes


@attrs.frozen
class Head:
    """A declaration up to the `(`, `{`, `;`, `=` or `,` behind its name, at *stop*."""

    stop: int
    name: int = -1  # a place; -1: this is no declaration
    typed: bool = False


@attrs.define
class Members:
    """What both languages have. A language adds `declaration`, its attributes and its words."""

    tokens: Tokens
    found: list[Definition] = attrs.field(factory=list)
    texts: list[str] = attrs.field(init=False)  # with a few empty ones at the end, so that looking ahead needs no care
    kinds: list[int] = attrs.field(init=False)
    bodies: list[Body] = attrs.field(init=False)
    _no_arguments: int = 0  # no `<` before this place opens type arguments

    MODIFIERS: ClassVar[Set[str]]
    ACCESS: ClassVar[Set[str]]  # reserved words that begin a declaration and are in the middle of nothing
    HEADLESS: ClassVar[Set[str]] = frozenset()  # words that stand where a name should be

    def __attrs_post_init__(self) -> None:
        self.texts = self.tokens.texts + [""] * LOOKAHEAD
        self.kinds = self.tokens.kinds + [MARK] * LOOKAHEAD
        self.bodies = [Body("", len(self.tokens))]

    def declaration(self, place: int) -> int:
        """Tell what is declared here; the place behind it, or behind the `{` of a body that was entered."""
        raise NotImplementedError

    def attributes(self, place: int) -> int:
        """The place behind the attributes, or annotations, that may be here."""
        raise NotImplementedError

    def walk(self) -> list[Definition]:
        place = 0
        while True:
            body = self.bodies[-1]
            if place >= body.end:
                if len(self.bodies) == 1:
                    return self.found
                self.bodies.pop()
                place = body.end + 1
            elif self.texts[place] in (";", "}", ")", "]", ","):
                place += 1
            else:
                place = self.declaration(place)

    # --- Steps ----------------------------------------------------------------------------------------------------

    def lead(self, place: int) -> Lead:
        return Lead(self.tokens.first_line(place), self.attributes(place))

    def modifiers(self, place: int) -> int:
        while True:
            behind = self.attributes(place)
            if self.texts[behind] in self.MODIFIERS:
                behind += 1
            if behind == place:
                return place
            place = behind

    def skip(self, place: int) -> int:
        """The place behind a token, or behind the bracket that it opens. A `(` that is never closed is just a token."""
        end = self.tokens.partner.get(place, 0)
        if end > place and (self.texts[place] == "{" or self.tokens.partner.get(end) == place):
            return end + 1
        return place + 1

    def closing(self, brace: int) -> int:
        """The place of the bracket that ends what this one begins, or what would be its place."""
        end = self.tokens.partner.get(brace, brace)
        return end if self.tokens.partner.get(end) == brace else end + 1

    def head(self, place: int) -> Head:
        """The name is the last word that is no type argument; what is before it is the type."""
        texts = self.texts
        name, words = -1, 0  # words that begin a type or a name: `a.b c` has two
        while True:
            token = texts[place]
            if self.kinds[place] == WORD:
                if token in self.ACCESS:
                    return Head(place)
                name, words = place, words + (texts[place - 1] not in (".", "::"))
                if token in self.HEADLESS:
                    return Head(place, place, typed=True)
                place += 1
            elif token == "<":
                closed, place = self.type_arguments(place)
                if not closed:
                    return Head(place)
            elif token == "(" and not words:  # a tuple
                place, words = self.skip(place), 1
            elif token == "[":
                place = self.skip(place)
            elif token in TYPE_MARKS and token != ",":
                place = max(self.attributes(place), place + 1)
            else:
                return Head(place, name, words > 1)

    def type_arguments(self, place: int) -> tuple[bool, int]:
        """Whether `<` begins type arguments, and the place behind them, or of what cannot be in them."""
        depth = 0
        while True:
            token = self.texts[place]
            if token in ("(", "["):
                place = self.skip(place)
                continue
            if token == "<":
                depth += 1
            elif token == ">":
                depth -= 1
                if not depth:
                    return True, place + 1
            elif token in self.ACCESS or (self.kinds[place] != WORD and token not in TYPE_MARKS):
                return False, place
            place += 1

    def expression(self, place: int) -> int:
        """The place of what ends the expression: a `,` or `;`, or where something else must have begun."""
        while (token := self.texts[place]) not in (",", ";", "}", "") and token not in self.ACCESS:
            if token in OPENING:
                place = self.skip(place)
            elif token == "<":
                place = self._less_than(place)
            else:
                place += 1
        return place

    def _less_than(self, place: int) -> int:
        if place >= self._no_arguments:
            closed, behind = self.type_arguments(place)
            if closed and self.texts[behind] in BEHIND_TYPE_ARGUMENTS:
                return behind
            self._no_arguments = behind  # or each `<` of many would look as far
        return place + 1

    def to_semicolon(self, place: int) -> int:
        """The place of the `;` that ends this, or of what shows that there is none."""
        while self.texts[place := self.expression(place)] == ",":
            place += 1
        return place

    def tail(self, place: int) -> int:
        """From behind a name or parameters, over clauses of types, to the place of what begins or replaces a body."""
        while (token := self.texts[place]) not in ("{", "}", ";", "=", "=>", "") and token not in self.ACCESS:
            place = self.skip(place) if token in OPENING else place + 1
        return place

    def statement(self, place: int) -> int:
        """The place behind what is no declaration."""
        while (token := self.texts[place]) not in ("}", "") and token not in self.ACCESS:
            if token in (";", "{"):
                return self.skip(place)
            place = self.skip(place) if token in OPENING else place + 1
        return place

    def dotted(self, place: int) -> tuple[str, int]:
        """A name with dots, and the place behind it."""
        begin = place
        while self.kinds[place] == WORD and self.texts[place + 1] == "." and self.kinds[place + 2] == WORD:
            place += 2
        return "".join(self.texts[begin : place + 1]), place + 1

    # --- What is told ---------------------------------------------------------------------------------------------

    def define(self, kind: Kind, place: int, lead: Lead, last: int, signature: str, name: str = "") -> None:
        """*place* is that of the name, *last* that of the last token."""
        tokens = self.tokens
        last_line = tokens.line(tokens.end(min(last, len(tokens) - 1)) - 1)
        name = name or self.texts[place].lstrip("@")
        scope = self.bodies[-1].scope
        line = tokens.line_of(place)
        self.found.append(Definition(kind, name, scope, lead.first, line, last_line, one_line(signature)))

    def code(self, start: int, stop: int) -> str:
        """The source from one token up to another, or to the end, without comments."""
        return self.tokens.code(start, min(stop, len(self.tokens)))

    def initialised(self, start: int, behind_name: int, stop: int) -> str:
        """A declarator whose value, if there is one, is cut."""
        if self.texts[behind_name] != "=" or behind_name >= stop:
            return self.code(start, stop)
        value = one_line(self.code(behind_name + 1, stop))
        if len(value) > INITIALISER_CHARS:
            value = value[: INITIALISER_CHARS - 1] + "…"
        return f"{self.code(start, behind_name)} = {value}"

    def type_(self, kind: Kind, name: int, lead: Lead, *, components: bool = False) -> int:
        """A type from its name on. *components*: its parameters are members."""
        stop = self.tail(name + 1)
        last = self.closing(stop) if self.texts[stop] == "{" else stop - (self.texts[stop] != ";")
        self.define(kind, name, lead, last, self.code(lead.start, stop))
        if len(self.bodies) > DEEPEST:
            return last + 1
        told = self.found[-1]
        self.bodies.append(Body(told.qualified, last, told.name))
        if components:
            self._components(name + 1)
        if self.texts[stop] != "{":
            return last + 1
        return self._constants(stop + 1) if kind is Kind.ENUM else stop + 1

    def _components(self, place: int) -> None:
        if self.texts[place] == "<":
            _, place = self.type_arguments(place)
        if self.texts[place] == "(":
            end = self.skip(place) - 1  # where it stands if it is never closed: then nothing is a component
            place += 1
            while place < end:
                place = self._component(place, end) + 1

    def _component(self, place: int, end: int) -> int:
        """One parameter of a record; the place of the comma behind it."""
        lead = self.lead(place)
        name, place = -1, lead.start
        while place < end and self.texts[place] not in (",", "=", ";", "}"):
            if self.kinds[place] == WORD:
                name = place
            place = self.type_arguments(place)[1] if self.texts[place] == "<" else self.skip(place)
        behind, place = place, min(self.expression(place), end)
        if name >= 0:
            self.define(Kind.FIELD, name, lead, place - 1, self.initialised(lead.start, behind, place))
        return place

    def _constants(self, place: int) -> int:
        """The members of an enum, up to a `;` or what else ends them."""
        end = self.bodies[-1].end
        while place < end:
            lead = self.lead(place)
            name = lead.start
            if self.kinds[name] != WORD or self.texts[name] in self.ACCESS:
                return name
            behind = self.skip(name + 1) if self.texts[name + 1] == "(" else name + 1
            stop = self.expression(behind)
            shown = behind if self.texts[behind] == "{" else stop
            self.define(Kind.FIELD, name, lead, stop - 1, self.initialised(name, behind, shown))
            if self.texts[stop] != ",":
                return stop
            place = stop + 1
        return place

    def fields(self, lead: Lead, head: Head) -> int:
        """`int a[] = {1}, b, c = f(x, y);`: each is told, with the lines of all of them."""
        names: list[tuple[int, int, int]] = []  # the places of a name, of what is behind it, and of what ends it
        name, behind = head.name, head.stop
        while True:
            stop = self._declarator_end(behind)
            names.append((name, behind, stop))
            if self.texts[stop] != ",":
                break
            name, behind = stop + 1, stop + 2
            while self.texts[behind] == "[":
                behind = self.skip(behind)
        last = stop - (self.texts[stop] != ";")
        type_ = one_line(self.code(lead.start, head.name))
        for name, behind, stop in names:
            self.define(Kind.FIELD, name, lead, last, f"{type_} {self.initialised(name, behind, stop)}")
        return last + 1

    def _declarator_end(self, place: int) -> int:
        """The comma before the next declarator, or the end of all: other commas are a part of the value."""
        while self.texts[place := self.expression(place)] == ",":
            if self.kinds[place + 1] == WORD and self.texts[place + 2] in ("=", ",", ";", "["):
                break
            place += 1
        return place

    def method(self, kind: Kind, lead: Lead, name: int, stop: int, called: str = "", shown: int = -1) -> int:
        """A callable whose body, or what replaces it, is at *stop*. Its signature ends at *shown*, if not there."""
        last = self.body_end(stop)
        self.define(kind, name, lead, last, self.code(lead.start, stop if shown < 0 else shown), called)
        return last + 1

    def body_end(self, stop: int) -> int:
        """The place of the last token of a body that begins at *stop*: of a block, an expression, or none."""
        if self.texts[stop] == "{":
            return self.closing(stop)
        if self.texts[stop] in ("=>", "="):
            stop = self.to_semicolon(stop + 1)
        return stop - (self.texts[stop] != ";")
