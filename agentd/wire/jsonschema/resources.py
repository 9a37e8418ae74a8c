"""Where the schemas of a document are, and what they are called: $id, $anchor, $dynamicAnchor and JSON pointers.

Nothing is fetched: a reference has to lead to a place in the same document. The rules: JSON Schema Core 2020-12,
sections 8.2 and 9.2, RFC 3986 for URIs and RFC 6901 for pointers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urljoin

import attrs

MAX_SCHEMAS = 20_000
ONE = frozenset(("additionalProperties", "contains", "contentSchema", "else", "if", "items", "not")) | frozenset(
    ("propertyNames", "then", "unevaluatedItems", "unevaluatedProperties", "additionalItems")
)
SEVERAL = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
NAMED = frozenset(("$defs", "definitions", "dependentSchemas", "patternProperties", "properties"))
_DIALECTS = re.compile(
    r"https?://json-schema\.org/(?:draft[-/][\d-]+/)?schema#?|https://spec\.openapis\.org/oas/3\.1/dialect/base"
)


class SchemaError(ValueError):
    """The text says what of a schema is not understood, and where."""


@attrs.frozen(eq=False)
class Located:
    """A schema, the URI of the resource that it is part of, and where it is, for people."""

    schema: Any
    base: str
    where: str


class Resources:
    """The schemas of a document. Raises SchemaError for names that are given twice."""

    def __init__(self, root: Any) -> None:
        self._known: dict[int, Located] = {}
        self._roots: dict[str, Located] = {}
        self._anchors: dict[tuple[str, str], Located] = {}
        self._dynamic: set[tuple[str, str]] = set()
        self.root = self.add(Located(root, "", "#"))
        self._roots.setdefault("", self.root)

    def __iter__(self) -> Iterator[Located]:
        return iter([*self._known.values()])

    def __getitem__(self, schema: Any) -> Located:
        return self._known[id(schema)]

    def add(self, located: Located) -> Located:
        """Learn of a schema and of all within it; what is told of it is in the answer."""
        pending = [located]
        while pending:
            found = self._learn(pending.pop())
            inside = [attrs.evolve(inner, base=found.base) for inner in within(found)]
            pending += reversed(inside)  # of two that are wrong, the first is told
        return self._known[id(located.schema)]

    def _learn(self, located: Located) -> Located:
        schema, base = located.schema, located.base
        if isinstance(schema, dict):
            base = self._learn_names(schema, located)
        elif not isinstance(schema, bool):
            raise SchemaError(f"{located.where}: expected a schema, which is an object or a boolean")
        if len(self._known) >= MAX_SCHEMAS:
            raise SchemaError(f"more than {MAX_SCHEMAS} schemas")
        # Of booleans there are but two in all: where one of them is does not matter.
        known = self._known[id(schema)] = attrs.evolve(located, base=base)
        if isinstance(schema, dict) and "$id" in schema:
            self._roots[base] = known
        return known

    def _learn_names(self, schema: dict[str, Any], located: Located) -> str:
        """The base URI within *schema*."""
        base = located.base
        if "$schema" in schema and not _DIALECTS.fullmatch(_text(schema, "$schema", located)):
            raise SchemaError(f"{located.where}/$schema: not a dialect that is known")
        if "$id" in schema:
            base = _joined(base, _text(schema, "$id", located)).removesuffix("#")
            if "#" in base or base in self._roots:
                raise SchemaError(f"{located.where}/$id: {'a fragment' if '#' in base else 'given twice'}")
        for keyword in ("$anchor", "$dynamicAnchor"):
            if keyword in schema:
                name = base, _text(schema, keyword, located)
                if self._anchors.setdefault(name, attrs.evolve(located, base=base)).schema is not schema:
                    raise SchemaError(f"{located.where}/{keyword}: given twice")
                self._dynamic |= {name} if keyword == "$dynamicAnchor" else set()
        return base

    def resolve(self, reference: str, located: Located) -> Located:
        """Where a $ref in *located* leads. Raises SchemaError."""
        uri, _, fragment = _joined(located.base, reference).partition("#")
        fragment = unquote(fragment)
        root = self._roots.get(uri)
        if root is None:
            raise SchemaError(f"{located.where}: {reference!r} is not in this schema, and nothing is fetched")
        found = self._at(root, fragment) if not fragment or fragment[0] == "/" else self._anchors.get((uri, fragment))
        if found is None:
            raise SchemaError(f"{located.where}: {reference!r} leads nowhere")
        return found if id(found.schema) in self._known else self.add(found)

    def dynamic_name(self, reference: str, located: Located) -> str | None:
        """What a $dynamicRef is looked up by while it is evaluated; None where it is no more than a $ref."""
        uri, _, fragment = _joined(located.base, reference).partition("#")
        return fragment if (uri, fragment) in self._dynamic else None

    def dynamic(self, name: str) -> dict[str, Located]:
        """The schemas of that $dynamicAnchor, by the URI of their resource."""
        return {base: self._anchors[base, anchor] for base, anchor in self._dynamic if anchor == name}

    def _at(self, root: Located, pointer: str) -> Located | None:
        found = root
        value = root.schema
        for token in pointer.split("/")[1:]:
            value = _member(value, token.replace("~1", "/").replace("~0", "~"))
            if value is None:
                return None
            known = self._known.get(id(value)) if isinstance(value, dict) else None
            found = known or Located(value, found.base, f"{found.where}/{token}")
        return found


def within(located: Located) -> Iterator[Located]:
    """The schemas right inside one. Raises SchemaError where there is something else in their place."""
    schema = located.schema
    for keyword in schema if isinstance(schema, Mapping) else ():
        argument, where = schema[keyword], f"{located.where}/{keyword}"
        members: Mapping[Any, Any] = {}
        is_older = keyword == "items" and isinstance(argument, list)  # before 2020-12
        if keyword in ONE and not is_older:
            yield Located(argument, located.base, where)
        elif keyword in SEVERAL or is_older:
            members = dict(enumerate(_exactly(list, argument, where)))
        elif keyword in NAMED:
            members = _exactly(dict, argument, where)
        elif keyword == "dependencies":
            members = {n: each for n, each in _exactly(dict, argument, where).items() if not isinstance(each, list)}
        for name, member in members.items():
            yield Located(member, located.base, f"{where}/{name}")


def _exactly(kind: type, argument: Any, where: str) -> Any:
    if not isinstance(argument, kind):
        raise SchemaError(f"{where}: expected {'an array' if kind is list else 'an object'} of schemas")
    return argument


def _text(schema: Mapping[str, Any], keyword: str, located: Located) -> str:
    if not isinstance(schema[keyword], str):
        raise SchemaError(f"{located.where}/{keyword}: expected a string")
    return str(schema[keyword])


def _joined(base: str, reference: str) -> str:
    # urljoin knows relative references of the schemes that have paths; of a urn there are only fragments.
    try:
        return base.partition("#")[0] + reference if reference.startswith("#") else urljoin(base, reference)
    except ValueError as exc:
        raise SchemaError(f"{reference!r} is not a URI") from exc


def _member(value: Any, token: str) -> Any:
    if isinstance(value, dict):
        return value.get(token)
    if isinstance(value, list) and token.isascii() and token.isdigit() and len(token) < 7 and int(token) < len(value):
        return value[int(token)]
    return None
