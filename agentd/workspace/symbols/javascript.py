"""JavaScript and TypeScript: what a module defines outside of its functions.

A scope is the module's, then namespaces and classes (`declare module "x"` adds x, `declare global` nothing). Decided:

- What is imported, by `import` or `require`, is defined elsewhere, and so not told. Nor is `export { a }`.
- Functions that are members of an object literal are methods in the scope of the name that it is given to, also where
  it is the first argument of a call that makes the value: `const x = Object.freeze({ f() {} })` has x and x.f. Objects
  within it are scopes, too. Its other members are values, and not told.
- `module.exports`, `exports` and `window` are the module itself: `exports.f = function () {}` is its function f. What
  is exported with no name of its own is called `default`, or `exports` for `module.exports = …`.
- `A.prototype.f = function () {}` and `A.f = function () {}` are methods of A. Of other assignments to a member, only
  those to a prototype or to exports define something.
- A function that is called at once where a module's statements stand is a module's wrapper (IIFE, UMD, AMD): what
  its body defines is told as if it stood outside, and so for functions handed to it.
- A type that is nothing but an object type has members, as an interface has. Index, call and construct signatures have
  no name; a computed name is told as it is written: `[Symbol.iterator]`.
"""

from __future__ import annotations

from functools import partial

from agentd.workspace.symbols.javascript_members import Members, Named
from agentd.workspace.symbols.javascript_syntax import Syntax
from agentd.workspace.symbols.javascript_tokens import tokenize
from agentd.workspace.symbols.model import Definition, Kind, module_of

VARIABLES = frozenset({"const", "let", "var", "using"})
MODULE_OBJECTS = frozenset({"exports", "window", "globalThis", "global", "self"})
UNARY = frozenset({"!", "+", "-", "~", "void", "await", "new"})  # what may stand before a function called at once
MAX_TARGETS = 8  # of one value: it is read for each of them
WITHOUT_JSX = (".ts", ".mts", ".cts")


def scan(text: str, path: str) -> list[Definition]:
    """What a JavaScript or TypeScript module defines. In `.ts` files no `<` begins an element."""
    scanner = _Scanner(Syntax(tokenize(text, jsx=not path.lower().endswith(WITHOUT_JSX))))
    scanner.statements(0, len(scanner.syntax.texts), module_of(path))
    return scanner.finish()


class _Scanner(Members):
    def statements(self, place: int, limit: int, scope: str) -> None:
        while place < limit:
            place = max(self.statement(place, limit, scope), place + 1)

    def statement(self, first: int, limit: int, scope: str) -> int:
        """Tell what a statement defines; returns the place behind it, or where to look for the next."""
        syntax = self.syntax
        head = syntax.behind_decorators(first, limit)
        place, default = self.behind_export(head, limit)
        if place >= limit:
            return limit
        keyword = syntax.texts[place] if syntax.is_word(place) else ""
        asynchronous = keyword == "async" and syntax.text(place + 1) == "function" and not syntax.parted(place + 1)
        if keyword == "function" or asynchronous:
            return self.function(Named("", default, scope, first), head, place + 1 + asynchronous, limit)
        if keyword == "class":
            return self.class_(Named("", default, scope, first), head, place, limit)
        if keyword in VARIABLES and syntax.text(place + 1) != "enum":
            return self.variables(first, head, place, limit, scope)
        behind = self.declaration(Named("", place + 1, scope, first), head, place, limit) if keyword else 0
        if behind:
            return behind
        return self.default(first, default, place, limit, scope) if default else self.expression(place, limit, scope)

    def behind_export(self, place: int, limit: int) -> tuple[int, int]:
        """Behind `export default declare abstract`, and where its `default` is."""
        syntax, default = self.syntax, 0
        if syntax.text(place) == "export":
            place += 1
            if syntax.text(place) == "default":
                default, place = place, place + 1
            place = syntax.behind_decorators(place, limit)
        while (
            syntax.text(place) in ("declare", "abstract") and syntax.is_word(place + 1) and not syntax.parted(place + 1)
        ):
            place += 1
        return place, default

    def named(self, named: Named, place: int) -> Named:
        """By the word that is at a place; else what is exported is called `default`."""
        syntax = self.syntax
        if syntax.is_name(place):
            return named._replace(name=syntax.text(place), place=place)
        return named._replace(name="default" if named.place else "")

    def function(self, named: Named, head: int, place: int, limit: int) -> int:
        syntax = self.syntax
        named = self.named(named, place + (syntax.text(place) == "*"))
        parameters = syntax.behind_function_name(place)
        body = syntax.behind_head(parameters, limit)
        if body == parameters:
            return body
        behind = syntax.skip(body) if body < limit and syntax.text(body) == "{" else body
        self.tell(Kind.FUNCTION, named, behind, syntax.code(head, body))
        return behind

    def class_(self, named: Named, head: int, place: int, limit: int) -> int:
        named = self.named(named, place + 1)
        behind_name = place + 1 + (named.place == place + 1)
        return self.class_body(named, "", head, behind_name, limit) if named.name else behind_name

    def declaration(self, named: Named, head: int, place: int, limit: int) -> int:
        """Behind one of TypeScript's own declarations; 0 if there is none, for their keywords can be names, too."""
        syntax, keyword = self.syntax, self.syntax.texts[place]
        if keyword == "const":
            named, keyword = named._replace(place=place + 2), "enum"
        if keyword == "global" and syntax.text(place + 1) == "{":
            self.later(self.statements, place + 1, named.scope)
            return syntax.skip(place + 1)
        if syntax.parted(named.place) or named.place >= limit:
            return 0
        if keyword in ("module", "namespace"):
            return self.namespace(named, limit)
        if not syntax.is_name(named.place):
            return 0
        named = named._replace(name=syntax.texts[named.place])
        if keyword == "interface":
            return self.braced(Kind.INTERFACE, named, head, limit)
        if keyword == "enum":
            return self.braced(Kind.ENUM, named, head, limit)
        return self.type_alias(named, head, limit) if keyword == "type" else 0

    def braced(self, kind: Kind, named: Named, head: int, limit: int) -> int:
        syntax = self.syntax
        brace = syntax.behind_heritage(named.place + 1, limit)
        if brace >= limit:
            return 0
        behind = syntax.skip(brace)
        self.tell(kind, named, behind, syntax.code(head, brace))
        self.later(self.enum_members if kind is Kind.ENUM else self.type_members, brace, named.inside)
        return behind

    def namespace(self, named: Named, limit: int) -> int:
        syntax = self.syntax
        behind = named.place + 1 if syntax.is_literal(named.place) else syntax.behind_path(named.place)
        if behind >= limit or syntax.texts[behind] != "{":
            return 0
        path = "".join(syntax.texts[named.place : behind]).strip("\"'")
        self.later(self.statements, behind, named._replace(name=path).inside)
        return syntax.skip(behind)

    def type_alias(self, named: Named, head: int, limit: int) -> int:
        syntax = self.syntax
        equals = syntax.behind_angles(named.place + 1)
        if syntax.text(equals) != "=":
            return 0
        behind = max(syntax.behind_type(equals + 1, limit), equals + 1)
        is_object = behind > equals + 1 and syntax.text(equals + 1) == "{" and syntax.skip(equals + 1) == behind
        if is_object:
            self.later(self.type_members, equals + 1, named.inside)
        self.tell(Kind.TYPE, named, behind, syntax.code(head, equals + 1 if is_object else behind))
        return behind

    def variables(self, first: int, head: int, keyword: int, limit: int, scope: str) -> int:
        """`const a = 1, b = () => 2`: each is told, with the keyword in front."""
        syntax, place = self.syntax, keyword + 1
        declared = syntax.code(head, place)
        while place < limit:
            if syntax.text(place) in ("{", "["):
                place = self.destructuring(first, declared, place, limit, scope)
            elif syntax.is_name(place):
                place = self.variable(Named(syntax.texts[place], place, scope, first), declared, limit)
            if syntax.text(place) != ",":
                break
            place = first = place + 1
        return place

    def variable(self, named: Named, declared: str, limit: int) -> int:
        syntax = self.syntax
        place = named.place + 1 + (syntax.text(named.place + 1) == "!")
        if syntax.text(place) == ":":
            place = syntax.behind_type(place + 1, limit)
        declared = f"{declared} {syntax.code(named.place, place)}"
        if place >= limit or syntax.text(place) != "=":
            self.tell(Kind.FIELD, named, place, declared)
            return place
        if self.is_import(place + 1):
            return syntax.behind_expression(place + 1, limit)
        return self.assigned(named, declared, place + 1, limit, Kind.FUNCTION)

    def is_import(self, value: int) -> bool:
        value += self.syntax.text(value) == "await"
        return self.syntax.text(value) in ("require", "import") and self.syntax.text(value + 1) == "("

    def destructuring(self, first: int, declared: str, place: int, limit: int, scope: str) -> int:
        syntax = self.syntax
        names, equals = place, syntax.skip(place)
        if syntax.text(equals) == ":":
            equals = syntax.behind_type(equals + 1, limit)
        behind = max(syntax.behind_expression(equals + 1, limit), equals) if syntax.text(equals) == "=" else equals
        if not self.is_import(equals + 1):
            for name in self.bound_names(names):
                named = Named(syntax.texts[name], name, scope, first)
                self.tell(Kind.FIELD, named, behind, f"{declared} {syntax.code(names, behind)}")
        return behind

    def bound_names(self, place: int) -> list[int]:
        """The places of what `{ a, b: c = 1, ...d }` or `[e, f]` binds: names that a bracket, `,` or `=` follows."""
        syntax, behind, found = self.syntax, self.syntax.skip(place), []
        while place < behind:
            if syntax.is_word(place) and syntax.text(place + 1) in (",", "}", "]", "="):
                found.append(place)
            if syntax.text(place) == "=":
                place = syntax.behind_expression(place + 1, behind)
            else:  # a key may be computed, and is followed by `:`
                computed = syntax.text(place) == "[" and syntax.text(syntax.skip(place)) == ":"
                place = syntax.skip(place) if computed else place + 1
        return found

    def default(self, first: int, default: int, value: int, limit: int, scope: str) -> int:
        """`export default` of an expression. Of a name it is no definition."""
        syntax = self.syntax
        if syntax.behind_path(value) == syntax.behind_expression(value, limit):
            return syntax.behind_path(value)
        named = Named("default", default, scope, first)
        return self.assigned(named, syntax.code(default - 1, default + 1), value, limit, Kind.FUNCTION)

    def expression(self, place: int, limit: int, scope: str) -> int:
        syntax = self.syntax
        if syntax.is_word(place) and syntax.text(place) not in UNARY:
            if syntax.text(place) == "define" and syntax.text(place + 1) == "(":
                self.open_functions(place + 1, limit, scope)
            return self.assignment(place, limit, scope) or syntax.behind_expression(place, limit)
        behind = syntax.behind_expression(place, limit)
        while place < behind and syntax.texts[place] in UNARY:
            place += 1
        if place < behind and syntax.texts[place] in ("(", "function", "async"):
            self.immediate(place, behind, scope)
        return behind

    def immediate(self, place: int, limit: int, scope: str) -> None:
        """The body of a function that is called at once, `(function () {…})()` or `(function () {…}())`."""
        syntax = self.syntax
        inner = place + 1 if syntax.texts[place] == "(" else place
        body = self.body_of(inner, limit)
        if not body:
            return
        behind = syntax.skip(body)
        if place < inner and syntax.text(behind) == ")":
            behind += 1
        if syntax.text(behind) in (".", "?.") and syntax.text(behind + 1) in ("call", "apply"):
            behind += 2
        if syntax.text(behind) == "(":
            self.later(self.statements, body, scope)
            self.open_functions(behind, limit, scope)

    def body_of(self, place: int, limit: int) -> int:
        """The place of the `{` of a function, called or not; 0 where there is none."""
        syntax = self.syntax
        place += syntax.text(place) == "async"
        if syntax.text(place) == "function":
            body = syntax.behind_head(syntax.behind_function_name(place + 1), limit)
        else:
            body = syntax.function_value(place, limit)
        return body if body < limit and syntax.text(body) == "{" else 0

    def open_functions(self, place: int, limit: int, scope: str) -> None:
        """Functions among the arguments of a wrapper: the module is in them."""
        syntax, end = self.syntax, self.syntax.skip(place)
        place += 1
        while place < min(end, limit):
            body = self.body_of(place + (syntax.text(place) == "("), end)
            if body:
                self.later(self.statements, body, scope)
            place = max(syntax.behind_expression(place, end), place) + 1

    def assignment(self, place: int, limit: int, scope: str) -> int:
        """Behind `a.b = c.d = value`, of which it tells what it defines; 0 where nothing is assigned."""
        syntax, first = self.syntax, place
        targets: list[tuple[int, int]] = []
        while len(targets) < MAX_TARGETS:
            behind = syntax.behind_path(place)
            if behind == place or syntax.text(behind) != "=" or syntax.text(behind + 1) == "=":
                break
            targets.append((place, behind))
            place = behind + 1
        behind = 0
        for start, end in targets:
            behind = self.member_assignment(first, start, end, place, limit, scope)
        return behind

    def member_assignment(self, first: int, start: int, end: int, value: int, limit: int, scope: str) -> int:
        syntax = self.syntax
        path = syntax.texts[start:end:2]
        exports = 2 if path[:2] == ["module", "exports"] else int(path[0] in MODULE_OBJECTS)
        owners = [name for name in path[exports:-1] if name != "prototype"]
        named = Named(path[-1], end - 1, ".".join((scope, *owners)) if scope else ".".join(owners), first)
        declared = syntax.code(start, end)
        if (len(path) == 1 and not exports) or path[0] == "this":
            return syntax.behind_expression(value, limit)
        if path[-1] in ("exports", "prototype") and syntax.text(value) == "{":
            read = partial(self.object_members, kind=Kind.FUNCTION) if path[-1] == "exports" else self.object_members
            self.later(read, value, named.scope)
            return syntax.behind_expression(value, limit)
        kind = Kind.METHOD if owners else Kind.FUNCTION
        if self.defines_value(path, value, limit):
            return self.assigned(named, declared, value, limit, kind)
        own = self.own_name(named, value) if path[-1] == "exports" else named
        behind = self.function_or_class(own, f"{declared} =", value, limit, kind)
        return behind or syntax.behind_expression(value, limit)

    def own_name(self, named: Named, value: int) -> Named:
        """The name of a function or class expression, if it has one."""
        syntax = self.syntax
        value += syntax.text(value) == "async"
        if syntax.text(value) not in ("function", "class"):
            return named
        value += 1 + (syntax.text(value + 1) == "*")
        if not syntax.is_name(value):
            return named
        return named._replace(name=syntax.text(value), place=value)

    def defines_value(self, path: list[str], value: int, limit: int) -> bool:
        """Is it `exports.size = 10`, or a prototype's member, and not another name for what is defined elsewhere?"""
        syntax = self.syntax
        if path[0] not in ("exports", "module") and "prototype" not in path:
            return False
        if path[-1] in ("exports", "prototype") or syntax.text(value) == "void":
            return False
        return syntax.behind_path(value) != syntax.behind_expression(value, limit)
