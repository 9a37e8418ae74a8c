"""What C and C++ files define. One scanner: a `.h` file may be either, and in a `.c` file the words of C++ are names.

Not told: forward declarations, friends without a body, instantiations, deduction guides, using-declarations, namespaces
and what macros would expand to. A friend with a body is a function of the namespace around its class. Members of an
anonymous struct are told in the scope of what has its type (`Shape.origin.x`), or else of what is around it.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from agentd.workspace.symbols.cfamily_declarators import Declarator, Declarators, Part, parts_of
from agentd.workspace.symbols.cfamily_heads import HeadReader
from agentd.workspace.symbols.cfamily_items import Angles, Head, Item, is_linkage, type_key
from agentd.workspace.symbols.cfamily_preprocessor import PADDING, VALUE_CHARS, preprocess
from agentd.workspace.symbols.cfamily_words import (
    ATTRIBUTE_MACRO,
    CLASS_KEYS,
    CLASS_TRAILERS,
    CPP,
    EXPORT_MACRO,
    MACRO,
    POINTERS,
    C,
    Dialect,
)
from agentd.workspace.symbols.model import SIGNATURE_CHARS, Definition, Kind, one_line
from agentd.workspace.symbols.tokens import WORD, Tokens

MAX_SCOPES = 200  # nested; what is deeper is skipped, as its names would grow without end

_SILENT = frozenset({"static_assert", "_Static_assert"})
_SILENT_CPP = frozenset({"friend", "namespace"})
_MODULE_WORDS = frozenset({"import", "module"})


def scan(text: str, path: str) -> list[Definition]:
    tokens, macros = preprocess(text)
    found = _Reader(tokens, C if path.endswith(".c") else CPP).read()
    return sorted((*macros, *found), key=lambda definition: definition.line)


@attrs.frozen
class _Scope:
    name: str  # qualified
    limit: int  # the place of its closing brace
    resume: int  # where to read on behind it
    namespace: str  # the nearest one, qualified
    is_class: bool = False
    class_name: str = ""


@attrs.frozen
class _Tail:
    """What stands between a type's `}` and its `;`."""

    parts: Sequence[Part]
    last: int  # the place of the `;`, or of the `}` if there is none
    resume: int


class _Reader:
    """Goes over the declarations of a file; a body is skipped in one step, a class is a scope to go through."""

    def __init__(self, tokens: Tokens, dialect: Dialect) -> None:
        self._tokens, self._texts, self._dialect = tokens, tokens.texts, dialect
        self._angles = Angles(tokens)
        end = len(tokens) - PADDING
        self._scopes = [_Scope("", end, end, "")]
        self._namespaces: set[str] = set()
        self._found: list[Definition] = []

    def read(self) -> list[Definition]:
        place = 0
        while True:
            scope = self._scopes[-1]
            if place < scope.limit:
                place = self._declaration(place, scope)
            elif len(self._scopes) == 1:
                return self._found
            else:
                self._scopes.pop()
                place = max(place, scope.resume)

    def _declaration(self, start: int, scope: _Scope) -> int:
        head = self._head(start, scope)
        if head.until == "{":
            return self._block(head, scope)
        if head.items and head.until == ";":
            self._simple(head, scope)
        return head.stop + 1 if head.until else head.stop

    def _head(self, start: int, scope: _Scope, *, tail: bool = False) -> Head:
        return HeadReader(self._tokens, self._angles, start, scope.limit, self._dialect, tail=tail).read()

    def _block_end(self, brace: int, scope: _Scope) -> tuple[int, int]:
        """Where a block's content ends and where to read on; one that is never closed ends with its scope."""
        closed = self._tokens.partner[brace]
        if closed >= scope.limit:
            return scope.limit, scope.limit
        return (closed, closed + 1) if self._tokens.partner.get(closed) == brace else (closed + 1, closed + 1)

    # Declarations with a body

    def _block(self, head: Head, scope: _Scope) -> int:
        limit, resume = self._block_end(head.stop, scope)
        if not head.items:
            return head.stop + 1 if self._texts[head.start] == "export" else resume
        if len(self._scopes) >= MAX_SCOPES:
            return resume
        key = type_key(head.items, self._dialect)
        if self._dialect.cpp and head.has("namespace"):
            self._enter_namespace(head.items, scope, limit, resume)
        elif is_linkage(head.items):
            self._scopes.append(attrs.evolve(scope, limit=limit, resume=resume))
        elif key is not None:
            return self._type(head, key, scope)
        else:
            self._function(head, scope, resume - 1)
            return self._behind_handlers(resume)
        return head.stop + 1

    def _behind_handlers(self, place: int) -> int:
        """Behind the `catch` blocks of a function whose body is a `try` block."""
        while self._texts[place : place + 2] == ["catch", "("]:
            body = self._tokens.skip(place + 1)
            if self._texts[body : body + 1] != ["{"]:
                break
            place = self._tokens.skip(body)
        return place

    def _enter_namespace(self, items: Sequence[Item], scope: _Scope, limit: int, resume: int) -> None:
        name, expects_name = scope.name, False
        for item in items:
            if item.text in ("namespace", "::"):
                expects_name = True
            elif expects_name and item.text != "inline":
                expects_name, name = False, _join(name, item.text)
                self._namespaces.add(name)
        self._scopes.append(_Scope(name, limit, resume, name))

    def _function(self, head: Head, scope: _Scope, last: int) -> None:
        declarator = Declarators(self._tokens, self._dialect, scope.class_name, has_body=True).read(head.items)
        if declarator is None:
            return
        if head.has("friend"):
            scope = attrs.evolve(scope, name=scope.namespace, is_class=False)
        start = self._start(head, declarator.place, scope)
        signature = _spelled(self._tokens, start, head.signature_stop)
        self._add(self._kind(declarator, scope), declarator, scope, (start, last), signature)

    def _type(self, head: Head, key: int, scope: _Scope) -> int:
        limit, behind = self._block_end(head.stop, scope)
        tail = self._tail(behind, scope)
        kind = Kind.ENUM if head.items[key].text == "enum" else Kind.CLASS
        tag = Declarators(self._tokens, self._dialect, "", has_body=True).tag(_tag_items(head.items[key + 1 :]))
        if tag is not None:
            start = self._start(head, tag.place, scope)
            signature = _spelled(self._tokens, start, head.stop)
            self._add(kind, tag, scope, (start, tail.last if not tail.parts else behind - 1), signature)
        name = self._tail_definitions(head, tail, kind if tag is None else None, scope)
        inner = _join(self._owner(tag, scope), tag.name) if tag is not None else _join(scope.name, name)
        if kind is Kind.ENUM:
            self._enumerators(head.stop + 1, limit, inner if tag is not None or head.has("typedef") else scope.name)
            return tail.resume
        class_name = tag.name if tag is not None else ""
        self._scopes.append(_Scope(inner, limit, tail.resume, scope.namespace, True, class_name))
        return head.stop + 1

    def _tail(self, behind: int, scope: _Scope) -> _Tail:
        head = self._head(behind, scope, tail=True)
        items = [item for item in head.items if not ATTRIBUTE_MACRO.fullmatch(item.text)]
        if head.until != ";" or (items and items[0].text in self._dialect.keywords - {"const", "volatile"}):
            return _Tail((), behind - 1, behind)
        return _Tail(parts_of(items, head.stop) if items else (), head.stop, head.stop + 1)

    def _tail_definitions(self, head: Head, tail: _Tail, anonymous: Kind | None, scope: _Scope) -> str:
        """Tell what is declared with a type; the name of the first, which is that of an anonymous type's members."""
        first = ""
        for part in tail.parts:
            declarator = Declarators(self._tokens, self._dialect, "", has_body=False).read(part.items, typed=True)
            if declarator is None:
                continue
            kind = Kind.TYPE if head.has("typedef") else self._kind(declarator, scope)
            if head.has("typedef") and anonymous and not first and len(part.items) == 1:
                kind = anonymous
            signature = self._with_value(_spelled(self._tokens, head.start, head.stop), declarator.begin, part)
            self._add(kind, declarator, scope, (head.start, tail.last), signature)
            first = first or declarator.name
        return first

    def _enumerators(self, place: int, limit: int, scope: str) -> None:
        texts, kinds = self._texts, self._tokens.kinds
        while place < limit:
            begin = place
            while place < limit and texts[place] not in (",", ";"):
                angle = texts[place] == "<" and kinds[place - 1] == WORD
                closed = self._angles.close(place, limit, in_expression=True) if angle else None
                place = min(limit, self._tokens.skip(place)) if closed is None else closed + 1
            if place > begin and kinds[begin] == WORD and texts[begin + 1] != "(":
                signature = self._with_value("", begin, Part([Item(texts[at], at) for at in (begin, begin + 1)], place))
                self._found.append(
                    self._definition(Kind.FIELD, texts[begin], scope, (begin, begin, place - 1), signature)
                )
            place += 1

    # Declarations that end with a semicolon

    def _simple(self, head: Head, scope: _Scope) -> None:
        if self._is_silent(head):
            return
        alias = self._alias(head.items)
        if alias is not None:
            signature = self._with_value("", head.start, Part(head.items, head.stop))
            self._found.append(
                self._definition(Kind.TYPE, alias.text, scope.name, (head.start, alias.place, head.stop), signature)
            )
            return
        parts = parts_of(head.items, head.stop)
        reader = Declarators(self._tokens, self._dialect, scope.class_name, has_body=False)
        first = reader.read(parts[0].items)
        if first is None:
            self._bindings(head, scope)
            return
        start = self._start(head, first.place, scope)
        shared = _spelled(self._tokens, start, first.begin)
        self._declared(first, head, scope, start, self._with_value("", start, parts[0]))
        for part in parts[1:]:
            declarator = reader.read(part.items, typed=True)
            if declarator is not None:
                self._declared(declarator, head, scope, start, self._with_value(shared, part.items[0].place, part))

    def _declared(self, declarator: Declarator, head: Head, scope: _Scope, start: int, signature: str) -> None:
        kind = Kind.TYPE if head.has("typedef") else self._kind(declarator, scope)
        self._add(kind, declarator, scope, (start, head.stop), signature)

    def _is_silent(self, head: Head) -> bool:
        texts = [item.text for item in head.items[:8]]
        if texts[0] in _SILENT:
            return True
        if not self._dialect.cpp:
            return False
        if head.is_instantiation or texts[0] in _SILENT_CPP or "friend" in texts or _is_forward(head.items):
            return True
        return (texts[0] == "using" and "=" not in texts) or (
            texts[0] in _MODULE_WORDS and not {"=", "*", "&", "(", "["} & set(texts)
        )

    def _alias(self, items: Sequence[Item]) -> Item | None:
        if self._dialect.cpp and len(items) > 2 and items[0].text in ("using", "concept"):
            return items[1]
        return None

    def _bindings(self, head: Head, scope: _Scope) -> None:
        """`auto [first, second] = pair;`"""
        at = next((index for index, item in enumerate(head.items) if item.text == "["), 0)
        if (
            not at
            or not head.has("=")
            or not (head.items[at - 1].text == "auto" or head.items[at - 1].text in POINTERS)
        ):
            return
        signature = self._with_value("", head.start, Part(head.items, head.stop))
        for place in range(head.items[at].place + 1, self._tokens.partner[head.items[at].place]):
            if self._tokens.kinds[place] == WORD:
                self._found.append(
                    self._definition(
                        Kind.FIELD, self._texts[place], scope.name, (head.start, place, head.stop), signature
                    )
                )

    # Definitions

    def _kind(self, declarator: Declarator, scope: _Scope) -> Kind:
        if not declarator.is_callable:
            return Kind.FIELD
        is_member = bool(declarator.qualifiers) and self._owner(declarator, scope) not in self._namespaces
        return Kind.METHOD if is_member or scope.is_class else Kind.FUNCTION

    def _owner(self, declarator: Declarator, scope: _Scope) -> str:
        name = "" if declarator.is_absolute else scope.name
        for qualifier in declarator.qualifiers:
            name = _join(name, qualifier)
        return name

    def _start(self, head: Head, name: int, scope: _Scope) -> int:
        """A declaration's first token, behind macros such as Q_OBJECT that stand on lines of their own in a class."""
        start = head.start
        while scope.is_class and MACRO.fullmatch(self._texts[start]) and "_" in self._texts[start]:
            behind = start + 1
            if self._texts[behind] == "(":
                behind = self._tokens.skip(behind)
            if behind > name or not self._tokens.parted(behind):
                break
            start = behind
        return start

    def _with_value(self, shared: str, begin: int, part: Part) -> str:
        """A declaration, its value cut if it is long."""
        at = next((item.place for item in part.items if item.text in ("=", "{")), part.stop)
        behind = at + (self._texts[at] == "=") if at < part.stop else at
        value = _spelled(self._tokens, behind, part.stop)
        if len(value) > VALUE_CHARS:
            value = value[: VALUE_CHARS - 1] + "…"
        return one_line(f"{shared} {_spelled(self._tokens, begin, behind)} {value}")

    def _add(self, kind: Kind, declarator: Declarator, scope: _Scope, span: tuple[int, int], signature: str) -> None:
        places = (span[0], declarator.place, span[1])
        self._found.append(self._definition(kind, declarator.name, self._owner(declarator, scope), places, signature))

    def _definition(
        self, kind: Kind, name: str, scope: str, places: tuple[int, int, int], signature: str
    ) -> Definition:
        start, line, last = places
        first, last_line = self._tokens.first_line(start), self._tokens.last_line(last)
        return Definition(kind, name, scope, first, self._tokens.line_of(line), last_line, signature)


def _join(scope: str, name: str) -> str:
    return f"{scope}.{name}" if scope and name else scope or name


def _tag_items(items: Sequence[Item]) -> Sequence[Item]:
    """Of `API Name<int> final : Base`, what stands before the bases and is no trailing word."""
    end = next((index for index, item in enumerate(items) if item.text == ":"), len(items))
    while end > 1 and items[end - 1].text in CLASS_TRAILERS:
        end -= 1
    return items[:end]


def _is_forward(items: Sequence[Item]) -> bool:
    """`class API Name;` and `MACRO struct Name;`, which read like variables."""
    texts = [item.text for item in items[-3:]]
    if not all(text.isidentifier() for text in texts):
        return False
    if len(texts) > 1 and texts[-2] in (*CLASS_KEYS, "enum"):
        return True
    if len(texts) < 3 or texts[0] not in CLASS_KEYS:
        return False
    return texts[0] == "class" or EXPORT_MACRO.fullmatch(texts[1]) is not None


def _spelled(tokens: Tokens, start: int, stop: int) -> str:
    """The tokens from one place to before another, spaced as in the text but without comments and directives."""
    texts, starts = tokens.texts, tokens.starts
    parts = []
    for place in range(start, min(stop, start + SIGNATURE_CHARS)):
        if place > start and starts[place] > starts[place - 1] + len(texts[place - 1]):
            parts.append(" ")
        parts.append(texts[place])
    return one_line("".join(parts))
