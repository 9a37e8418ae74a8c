"""What Java source defines, up to Java 21. The rules: The Java Language Specification, chapters 7 to 9.

Scopes are the package and the enclosing types. Enum constants and record components are fields. Bodies of constants,
anonymous classes and initialiser blocks are code, and code is not looked into; a module declaration defines nothing.
"""

from __future__ import annotations

from agentd.workspace.symbols.members import STATEMENTS, Body, Head, Lead, Members, words
from agentd.workspace.symbols.model import Definition, Kind
from agentd.workspace.symbols.tokens import WORD, Lexis, tokenize

LEXIS = Lexis(
    comments=(r"//[^\n]*", r"/\*.*?(?:\*/|\Z)"),
    literals=(
        r'"""(?:[^"\\]++|\\.|"(?!""))*+(?:"""|\Z)',
        r'"(?:[^"\\\n]++|\\[^\n])*+"?',
        r"'(?:\\[^\n][^'\n]{0,8}|[^'\\\n]{1,2})'",
    ),
    word=r"[^\W\d][\w$]*|\$[\w$]*",
)
TYPES = {"class": Kind.CLASS, "interface": Kind.INTERFACE, "enum": Kind.ENUM, "record": Kind.CLASS}
NO_TYPE = STATEMENTS | {"new", "super", "this"}


def scan(text: str, path: str) -> list[Definition]:
    return _Java(tokenize(text.removeprefix("\ufeff"), LEXIS)).walk()


class _Java(Members):
    MODIFIERS = words(
        "public private protected static final abstract native synchronized transient volatile strictfp default sealed"
    )
    ACCESS = frozenset({"public", "private", "protected"})

    def attributes(self, place: int) -> int:
        texts = self.texts
        while texts[place] == "@" and self.kinds[place + 1] == WORD and texts[place + 1] != "interface":
            _, place = self.dotted(place + 1)
            if texts[place] == "(":
                place = self.skip(place)
        return place

    def modifiers(self, place: int) -> int:
        place = super().modifiers(place)
        while self.texts[place : place + 3] == ["non", "-", "sealed"]:
            place = super().modifiers(place + 3)
        return place

    def declaration(self, place: int) -> int:
        lead = self.lead(place)
        place = self.modifiers(lead.start)
        token = self.texts[place]
        if token == "package":
            return self._package(place)
        if token == "import":
            return self.to_semicolon(place)
        if token == "@":  # and then `interface`
            place += 1
        if self._is_type(place):
            return self.type_(TYPES[self.texts[place]], place + 1, lead, components=self.texts[place] == "record")
        return self._member(lead, place)

    def _package(self, place: int) -> int:
        name, place = self.dotted(place + 1)
        self.bodies[-1] = Body(name, self.bodies[-1].end, self.bodies[-1].owner)
        return place

    def _is_type(self, place: int) -> bool:
        if self.texts[place] == "record":  # it may also be a name
            return self.kinds[place + 1] == WORD and self.texts[place + 2] in ("(", "<")
        return self.texts[place] in TYPES and self.kinds[place + 1] == WORD

    def _member(self, lead: Lead, place: int) -> int:
        head = self.head(place)
        name, stop = head.name, self.texts[head.stop]
        if name < 0 or self.texts[place] in NO_TYPE or self.texts[name] in NO_TYPE:
            return self.statement(head.stop)
        if stop == "(" and (head.typed or self._is_constructor(head)):
            return self._method(lead, name, self.skip(head.stop))
        if stop == "{" and self._is_constructor(head):  # a record's compact one
            return self._method(lead, name, head.stop)
        if stop in ("=", ",", ";") and head.typed:
            return self.fields(lead, head)
        return self.statement(head.stop)

    def _is_constructor(self, head: Head) -> bool:
        return not head.typed and self.texts[head.name] == self.bodies[-1].owner

    def _method(self, lead: Lead, name: int, place: int) -> int:
        while self.texts[place] == "[":
            place = self.skip(place)
        kind = Kind.METHOD if self.bodies[-1].owner else Kind.FUNCTION
        stop = self.to_semicolon(place) if self.texts[place] == "default" else self.tail(place)
        return self.method(kind, lead, name, stop)
