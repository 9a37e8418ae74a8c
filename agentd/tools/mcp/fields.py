"""What an HTTP request says of the MCP message in it, in header fields. Nothing is sent here.

Since 2026-07-28 whoever passes a request on can tell by its fields what it asks for, and a server refuses one whose
fields and body disagree: the method, the name of what is called, and those arguments that a tool's input schema marks
with x-mcp-header. The rules: modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentd.tools.mcp.transport import Outgoing

MODERN = "2026-07-28"  # the first revision without sessions; their names sort by age
MARK = "x-mcp-header"
MARKED_TYPES = ("string", "integer", "boolean")

Path = tuple[str, ...]  # of an argument, by the names of properties

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_PLAIN = re.compile(r"[!-~]([ -~]*[!-~])?")
_ENCODED = re.compile(r"=\?base64\?.*\?=")
# Where a schema has others in it, beside its properties: what is marked there is no argument that can be found.
_ONE = "items contains unevaluatedItems additionalProperties propertyNames unevaluatedProperties not if then else"
_INNER = frozenset(f"{_ONE} contentSchema allOf anyOf oneOf prefixItems".split())
_NAMED = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})


class BadMarks(ValueError):
    """A tool's schema marks arguments in a way that is not allowed: the tool is not to be called over HTTP."""


def is_modern(version: str | None) -> bool:
    return version is not None and version >= MODERN


def fields_of(outgoing: Outgoing) -> list[tuple[str, str]]:
    """Those of one message. Raises BadMarks."""
    fields = [] if outgoing.version is None else [("MCP-Protocol-Version", outgoing.version)]
    if not is_modern(outgoing.version):
        return fields
    fields.append(("Mcp-Method", encoded(outgoing.method)))
    if outgoing.name is not None:
        fields.append(("Mcp-Name", encoded(outgoing.name)))
    for path, name in marked(outgoing.schema or {}).items():
        if (value := _text(_at(outgoing.arguments, path))) is not None:
            fields.append((f"Mcp-Param-{name}", encoded(value)))
    return fields


def encoded(value: str) -> str:
    """As the value of a field: as it is where it can be one, else in base64."""
    if (_PLAIN.fullmatch(value) or not value) and not _ENCODED.fullmatch(value):
        return value
    return f"=?base64?{b64encode(value.encode('utf-8', 'replace')).decode()}?="


def marked(schema: Mapping[str, Any]) -> dict[Path, str]:
    """The arguments that go into fields, and the ends of these fields' names. Raises BadMarks."""
    found: dict[Path, str] = {}
    for path, inner in _schemas(schema):
        if MARK not in inner:
            continue
        name = inner[MARK]
        if not path:
            raise BadMarks(f"{MARK} is on what is no argument")
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise BadMarks(f"{MARK} is no name of a field")
        if inner.get("type") not in MARKED_TYPES:
            raise BadMarks(f"{MARK} is on an argument that is none of {', '.join(MARKED_TYPES)}")
        if name.lower() in map(str.lower, found.values()):
            raise BadMarks(f"{MARK} names one field twice")
        found[path] = name
    return found


def _schemas(root: Mapping[str, Any]) -> Iterator[tuple[Path | None, Mapping[str, Any]]]:
    """Every schema in *root*, and where its argument is; None: in no place that could be told."""
    left: list[tuple[Path | None, Any]] = [((), root)]
    while left:
        path, schema = left.pop()
        if not isinstance(schema, Mapping):
            continue
        yield path, schema
        for word, value in schema.items():
            if word == "properties" and isinstance(value, Mapping):
                left += [(None if path is None else (*path, name), inner) for name, inner in value.items()]
            elif word in _INNER:
                left += [(None, inner) for inner in (value if isinstance(value, list) else [value])]
            elif word in _NAMED and isinstance(value, Mapping):
                left += [(None, inner) for inner in value.values()]


def _at(arguments: Any, path: Path) -> Any:
    for name in path:
        arguments = arguments.get(name) if isinstance(arguments, Mapping) else None
    return arguments


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None
