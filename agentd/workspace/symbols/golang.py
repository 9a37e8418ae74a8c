"""Go: what a file declares outside of its functions. The rules: the Go specification, "Source code representation" on.

The scope is the name in the package clause, a method's the receiver's type without pointer and type parameters. An
embedded field is told by the name of its type, as Go itself calls it; what an interface embeds has no name in it and is
not told. Neither is the blank identifier `_`, nor what stands in the braces of a type that has no name.
"""

from __future__ import annotations

from agentd.workspace.symbols.model import Definition, Kind, one_line, with_value
from agentd.workspace.symbols.tokens import LITERAL, WORD, Lexis, Tokens, tokenize

LEXIS = Lexis(
    comments=[r"//[^\n]*", r"/\*.*?(?:\*/|\Z)", "\ufeff"],
    literals=[r"`[^`]*(?:`|\Z)", r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"?', r"'[^'\\\n]*(?:\\.[^'\\\n]*)*'?"],
    word=r"[^\W\d]\w*",
)
DECLARATIONS = frozenset({"func", "type", "const", "var", "import", "package"})
UNFINISHED = DECLARATIONS | {"chan", "map", "struct", "interface"}  # a newline behind them ends nothing


def scan(text: str, path: str) -> list[Definition]:
    """What a Go file defines; *path* plays no part, for packages name themselves."""
    scanner = _Scanner(tokenize(text, LEXIS, restarts=DECLARATIONS))
    scanner.file()
    return scanner.found


class _Scanner:
    def __init__(self, tokens: Tokens) -> None:
        self.tokens, self.texts, self.kinds = tokens, tokens.texts, tokens.kinds
        self.code = tokens.code
        self.package = ""
        self.found: list[Definition] = []

    def file(self) -> None:
        place = 0
        while place < len(self.texts):
            match self.texts[place]:
                case "package" if not self.package and self.is_name(place + 1):
                    self.package = self.texts[place + 1]
                    place += 2
                case "func":
                    place = self.function(place)
                case "type" | "const" | "var":
                    place = self.declaration(place)
                case _:
                    place = self.tokens.skip(place)

    def function(self, place: int) -> int:
        name, scope = place + 1, self.package
        if self.text(name) == "(":
            behind = self.tokens.skip(name)
            scope, name = self.receiver(name + 1, behind - 1), behind
        parameters = self.tokens.skip(name + 1) if self.text(name + 1) == "[" else name + 1
        if not self.is_name(name) or self.text(parameters) != "(":
            return place + 1
        body = self.body_of(self.tokens.skip(parameters))
        last = self.tokens.skip(body) - 1 if self.text(body) == "{" else body - 1
        kind = Kind.FUNCTION if name == place + 1 else Kind.METHOD
        self.tell(kind, name, scope, place, last, self.code(place, body))
        return last + 1

    def receiver(self, place: int, behind: int) -> str:
        """The scope of the methods of `(r *Pool[K, V])`."""
        name = ""
        while place < behind and self.texts[place] != "[":
            name = self.texts[place] if self.is_name(place) else name
            place += 1
        return f"{self.package}.{name}" if self.package else name

    def body_of(self, place: int) -> int:
        """Behind a function's parameters: the place of its `{`, or behind its end. Results may have braces, too."""
        while place < len(self.texts) and not self.is_end(place):
            if self.texts[place] == "{" and self.texts[place - 1] not in ("struct", "interface"):
                break
            place = self.tokens.skip(place)
        return place

    def declaration(self, place: int) -> int:
        """One of `type`, `const` and `var`, with a specification or with a group of them in parentheses."""
        specification = self.type_specification if self.texts[place] == "type" else self.value_specification
        if self.text(place + 1) != "(":
            end = self.end_of(place, len(self.texts))
            specification(place + 1, end, place, self.texts[place])
            return max(end, place + 1)
        for first, end in self.entries(place + 2, self.tokens.content_end(place + 1)):
            specification(first, end, first, self.texts[place])
        return self.tokens.skip(place + 1)

    def entries(self, place: int, limit: int) -> list[tuple[int, int]]:
        """What is in brackets, split where Go ends a statement."""
        found = []
        while place < limit:
            end = self.end_of(place, limit)
            if end > place:
                found.append((place, end))
            place = max(end, place + 1)
        return found

    def type_specification(self, name: int, end: int, first: int, keyword: str) -> None:
        if not self.is_name(name):
            return
        kind_at = self.behind_type_parameters(name + 1, end)
        if self.text(kind_at) == "=":
            kind_at += 1
        braces = kind_at + 1 if kind_at + 1 < end and self.texts[kind_at + 1] == "{" else end
        kind = {"struct": Kind.CLASS, "interface": Kind.INTERFACE}.get(self.text(kind_at), Kind.TYPE)
        signature = f"{keyword} {self.code(name, end if kind is Kind.TYPE else braces)}"
        scope = f"{self.package}.{self.texts[name]}" if self.package else self.texts[name]
        self.tell(kind, name, self.package, first, end - 1, signature)
        if kind is Kind.TYPE or braces == end:
            return
        member = self.field if kind is Kind.CLASS else self.interface_method
        for place, behind in self.entries(braces + 1, self.tokens.content_end(braces)):
            member(place, behind, scope)

    def behind_type_parameters(self, place: int, end: int) -> int:
        """Behind `[K comparable, V any]`. `[N * 2]int` is an array, and so has no parameters to skip."""
        if self.text(place) != "[" or not self.is_name(place + 1):
            return place
        behind = self.tokens.skip(place)
        if behind <= place + 3:
            return place
        second = self.texts[place + 2]
        if self.kinds[place + 2] == WORD or second in (",", "~", "[", "(") or self.has_comma(place + 1, behind - 1):
            return behind
        return place

    def has_comma(self, place: int, limit: int) -> bool:
        while place < limit:
            if self.texts[place] == ",":
                return True
            place = self.tokens.skip(place)
        return False

    def field(self, place: int, end: int, scope: str) -> None:
        typed = end - 1 if self.kinds[end - 1] == LITERAL and end - 1 > place else end  # a tag is no part of it
        signature = self.code(place, typed)
        if self.is_embedded(place, typed):
            self.tell(Kind.FIELD, self.embedded(place, typed), scope, place, end - 1, signature)
            return
        for name in self.names(place, typed):
            self.tell(Kind.FIELD, name, scope, place, end - 1, signature)

    def is_embedded(self, place: int, end: int) -> bool:
        """`*Reader`, `io.Reader` or `List[int]`, with nothing behind it."""
        if not self.is_name(place):
            return True
        behind = place + 1
        while behind + 1 < end and self.texts[behind] == "." and self.is_name(behind + 1):
            behind += 2
        if behind < end and self.texts[behind] == "[":
            behind = self.tokens.skip(behind)
        return behind >= end

    def embedded(self, place: int, end: int) -> int:
        name = place
        while place < end and self.texts[place] != "[":
            name = place if self.is_name(place) else name
            place += 1
        return name

    def interface_method(self, place: int, end: int, scope: str) -> None:
        if self.is_name(place) and place + 1 < end and self.texts[place + 1] == "(":
            self.tell(Kind.METHOD, place, scope, place, end - 1, self.code(place, end))

    def value_specification(self, place: int, end: int, first: int, keyword: str) -> None:
        names = self.names(place, end)
        signature = self.value_signature(place, end, keyword)
        for name in names:
            self.tell(Kind.FIELD, name, self.package, first, end - 1, signature)

    def value_signature(self, place: int, end: int, keyword: str) -> str:
        equals = place
        while equals < end and self.texts[equals] != "=":
            equals = self.tokens.skip(equals)
        declaration = f"{keyword} {self.code(place, equals)}"
        return with_value(declaration, self.code(equals + 1, end)) if equals + 1 < end else one_line(declaration)

    def names(self, place: int, end: int) -> list[int]:
        """The places of `a, b, c`; none where it does not begin with a name."""
        found = []
        while place < end and self.is_name(place):
            found.append(place)
            if place + 1 >= end or self.texts[place + 1] != ",":
                break
            place += 2
        return found

    def end_of(self, place: int, limit: int) -> int:
        """Behind the statement that is at a place: where its `;` is, or would be put in."""
        start = place
        while place < limit and (place == start or not self.is_end(place)):
            if self.texts[place] == ";":
                break
            place = min(self.tokens.skip(place), limit)
        return place

    def is_end(self, place: int) -> bool:
        """Is the statement before this token over? Half-finished ones end where a line starts anew."""
        if self.texts[place] in (";", ")", "}", "]"):
            return True
        if not self.tokens.parted(place):
            return False
        if self.texts[place] in DECLARATIONS and self.tokens.begins_line(place):
            return True
        before = self.texts[place - 1]
        kind = self.kinds[place - 1]
        return kind == LITERAL or (kind == WORD and before not in UNFINISHED) or before in (")", "}", "]")

    def is_name(self, place: int) -> bool:
        return place < len(self.texts) and self.kinds[place] == WORD and self.texts[place] not in UNFINISHED

    def text(self, place: int) -> str:
        return self.texts[place] if place < len(self.texts) else ""

    def tell(self, kind: Kind, name: int, scope: str, first: int, last: int, signature: str) -> None:
        if self.texts[name] == "_" or not self.is_name(name):
            return
        lines = self.tokens.first_line(first), self.tokens.line_of(name), self.tokens.last_line(last)
        self.found.append(Definition(kind, self.texts[name], scope, *lines, one_line(signature)))
