"""What the classes, types, enums and objects of JavaScript and TypeScript have in their braces."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import NamedTuple

from agentd.workspace.symbols.javascript_syntax import Syntax
from agentd.workspace.symbols.model import Definition, Kind, one_line, with_value

MODIFIERS = frozenset(
    {"public", "private", "protected", "static", "abstract", "override", "readonly", "declare", "accessor"}
    | {"async", "get", "set"}
)
ON_ANY_LINE = frozenset({"static", "get", "set"})  # modifiers that a newline does not part from the name
PROPERTY_MODIFIERS = frozenset({"public", "private", "protected", "readonly", "override"})  # of a parameter
MAX_DEPTH = 32  # of scopes in one another

Read = Callable[[int, int, str], None]  # (first place, the one behind the last, scope)


class Named(NamedTuple):
    """What is about to be told: its name, where that stands, its scope, and its first token."""

    name: str
    place: int
    scope: str
    first: int

    @property
    def inside(self) -> str:
        return f"{self.scope}.{self.name}" if self.scope else self.name


class Members:
    """Finds definitions. What has braces of its own is put off, not recursed into, for text nests as it likes."""

    def __init__(self, syntax: Syntax) -> None:
        self.syntax = syntax
        self.found: list[tuple[int, Definition]] = []
        self.pending: list[tuple[Read, int, int, str, int]] = []
        self.depth = 0

    def later(self, read: Read, brace: int, scope: str) -> None:
        """Read what is in braces when all that is around them has been."""
        if self.depth < MAX_DEPTH:
            limit = self.syntax.tokens.content_end(brace)
            self.pending.append((read, brace + 1, limit, scope, self.depth + 1))

    def finish(self) -> list[Definition]:
        """What has been found, in the order of the text; once, for `exports = module.exports = {…}` is read twice."""
        while self.pending:
            read, place, limit, scope, self.depth = self.pending.pop()
            read(place, limit, scope)
        return [definition for _, definition in dict.fromkeys(sorted(self.found, key=itemgetter(0)))]

    def tell(self, kind: Kind, named: Named, behind: int, signature: str) -> None:
        if named.name:
            tokens = self.syntax.tokens
            lines = tokens.first_line(named.first), tokens.line_of(named.place), tokens.last_line(behind - 1)
            definition = Definition(kind, named.name, named.scope, *lines, one_line(signature))
            self.found.append((tokens.starts[named.place], definition))

    def class_members(self, place: int, limit: int, scope: str) -> None:
        while place < limit:
            place = max(self.member(place, limit, scope), place + 1)

    def type_members(self, place: int, limit: int, scope: str) -> None:
        """Of an interface or an object type: as a class has them, and signatures without a name."""
        syntax = self.syntax
        while place < limit:
            signature = place + (syntax.text(place) == "new" and syntax.text(place + 1) in ("(", "<"))
            behind = syntax.behind_head(signature, limit)
            place = behind if behind > signature else max(self.member(place, limit, scope), place + 1)

    def member(self, first: int, limit: int, scope: str) -> int:
        syntax = self.syntax
        head = syntax.behind_decorators(first, limit)
        place = self.behind_modifiers(head, limit)
        if place >= limit:
            return limit
        name, behind = self.member_name(place)
        named = Named(name, place, scope, first)
        behind += syntax.text(behind) in ("?", "!")
        if syntax.text(behind) in ("(", "<"):
            return self.method(named, head, behind, limit)
        return self.field(named, head, behind, limit)

    def behind_modifiers(self, place: int, limit: int) -> int:
        while place < limit and self.is_modifier(place):
            place += 1
        return place + (self.syntax.text(place) == "*")

    def is_modifier(self, place: int) -> bool:
        """Any of them can be a name, too: what follows tells."""
        syntax, token = self.syntax, self.syntax.text(place)
        if token not in MODIFIERS or (syntax.parted(place + 1) and token not in ON_ANY_LINE):
            return False
        follows = syntax.text(place + 1)
        named = syntax.is_word(place + 1) or syntax.is_literal(place + 1) or follows in ("[", "*")
        return named or (token == "static" and follows == "{")

    def member_name(self, place: int) -> tuple[str, int]:
        """A name and the place behind it. It is empty for what has none, such as an index signature."""
        syntax, token = self.syntax, self.syntax.text(place)
        behind = syntax.skip(place)
        if syntax.is_word(place):
            return token, behind
        if syntax.is_literal(place):
            return one_line(token.strip("\"'")) if token[0] not in "`<" else "", behind
        indexed = syntax.is_word(place + 1) and syntax.text(place + 2) in (":", "in")
        return (one_line(syntax.code(place, behind)) if token == "[" and not indexed else ""), behind

    def method(self, named: Named, head: int, parameters: int, limit: int, kind: Kind = Kind.METHOD) -> int:
        syntax = self.syntax
        body = syntax.behind_head(parameters, limit)
        if body == parameters:
            return parameters + 1
        has_body = body < limit and syntax.text(body) == "{"
        behind = syntax.skip(body) if has_body else body
        self.tell(kind, named, behind, syntax.code(head, body))
        if named.name == "constructor" and has_body:
            self.later(self.parameter_properties, syntax.behind_angles(parameters), named.scope)
        return behind

    def field(self, named: Named, head: int, place: int, limit: int) -> int:
        syntax, behind = self.syntax, place
        if syntax.text(place) == ":":
            behind = syntax.behind_type(place + 1, limit)
        if behind < limit and syntax.text(behind) == "=":
            return self.assigned(named, syntax.code(head, behind), behind + 1, limit, Kind.METHOD)
        if behind > place or behind >= limit or syntax.text(behind) in (";", ",") or syntax.parted(behind):
            self.tell(Kind.FIELD, named, behind, syntax.code(head, behind))
        return behind

    def assigned(self, named: Named, declared: str, value: int, limit: int, kind: Kind) -> int:
        """Tell what a name is set to: a function, which is of the given kind, a class or a value; returns its end."""
        behind = self.function_or_class(named, f"{declared} =", value, limit, kind)
        if behind:
            return behind
        behind = self.syntax.behind_expression(value, limit)
        self.tell(Kind.FIELD, named, max(behind, value), with_value(declared, self.syntax.code(value, behind)))
        brace = self.object_of(value)
        if brace < behind:
            self.later(self.object_members, brace, named.inside)
        return behind

    def function_or_class(self, named: Named, declared: str, value: int, limit: int, kind: Kind) -> int:
        """Behind the function or class that it has told; 0 where the value is neither."""
        syntax = self.syntax
        body = syntax.function_value(value, limit)
        if body:
            block = body < limit and syntax.texts[body] == "{"
            behind = syntax.skip(body) if block else max(syntax.behind_expression(body, limit), body)
            self.tell(kind, named, behind, f"{declared} {syntax.code(value, body)}")
            return behind
        if syntax.text(value) == "class" and value < limit:
            return self.class_body(named, declared, value, value + 1 + syntax.is_name(value + 1), limit)
        return 0

    def class_body(self, named: Named, declared: str, head: int, place: int, limit: int) -> int:
        """Tell a class from behind its name; returns the place behind it."""
        syntax = self.syntax
        brace = syntax.behind_heritage(place, limit)
        behind = syntax.skip(brace) if brace < limit else place
        self.tell(Kind.CLASS, named, behind, f"{declared} {syntax.code(head, min(brace, behind))}")
        if brace < limit:
            self.later(self.class_members, brace, named.inside)
        return behind

    def object_of(self, value: int) -> int:
        """The place of the `{` of an object literal that is the value, or is handed to the call that makes it."""
        syntax = self.syntax
        if syntax.text(value) == "{":
            return value
        if syntax.text(value) in ("new", "await"):
            value += 1
        call = syntax.behind_angles(syntax.behind_path(value))
        return call + 1 if syntax.text(call) == "(" and syntax.text(call + 1) == "{" else len(syntax.texts)

    def object_members(self, place: int, limit: int, scope: str, kind: Kind = Kind.METHOD) -> None:
        """Of an object literal: its functions and classes."""
        syntax = self.syntax
        while place < limit:
            first = place
            name_at = self.behind_modifiers(first, limit)
            name, behind = self.member_name(name_at) if name_at < limit else ("", limit)
            named = Named(name, name_at, scope, first)
            if syntax.text(behind) in ("(", "<"):
                behind = self.method(named, first, behind, limit, kind)
            elif syntax.text(behind) == ":":
                behind = self.object_value(named, behind, limit, kind)
            place = max(syntax.behind_expression(behind, limit), behind) + 1

    def object_value(self, named: Named, colon: int, limit: int, kind: Kind) -> int:
        syntax = self.syntax
        declared = syntax.code(named.first, colon + 1)
        behind = self.function_or_class(named, declared, colon + 1, limit, kind)
        if not behind and named.name and syntax.text(colon + 1) == "{":
            self.later(self.object_members, colon + 1, named.inside)
        return behind or colon + 1

    def parameter_properties(self, place: int, limit: int, scope: str) -> None:
        """TypeScript's `constructor(private readonly size: number)` has a field."""
        syntax = self.syntax
        while place < limit:
            first, place = place, syntax.behind_decorators(place, limit)
            head = place
            while syntax.text(place) in PROPERTY_MODIFIERS and syntax.is_word(place + 1):
                place += 1
            named = Named(syntax.text(place) if place > head else "", place, scope, first)
            place = syntax.skip(place)
            place += syntax.text(place) == "?"
            place = self.parameter(named, head, place, limit) + 1

    def parameter(self, named: Named, head: int, place: int, limit: int) -> int:
        syntax = self.syntax
        if syntax.text(place) == ":":
            place = syntax.behind_type(place + 1, limit)
        behind = syntax.behind_expression(place, limit)
        signature = syntax.code(head, place)
        if syntax.text(place) == "=":
            signature = with_value(signature, syntax.code(place + 1, behind))
        self.tell(Kind.FIELD, named, max(behind, place), signature)
        return max(behind, place)

    def enum_members(self, place: int, limit: int, scope: str) -> None:
        syntax = self.syntax
        while place < limit:
            name, value = self.member_name(place)
            behind = max(syntax.behind_expression(value, limit), value)
            signature = syntax.code(place, value)
            if syntax.text(value) == "=":
                signature = with_value(signature, syntax.code(value + 1, behind))
            self.tell(Kind.FIELD, Named(name, place, scope, place), behind, signature)
            place = behind + 1
