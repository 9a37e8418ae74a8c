"""The document as a page for people: plain HTML with its style inside, no script, nothing asked of anybody else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #5c6670; --line: #dfe3e8; --paper: #fff; --shade: #f5f7f9;
  --get: #0b6bcb; --post: #1a7f4b; --put: #9a6100; --patch: #7a4bc2; --delete: #c0302b; }
@media (prefers-color-scheme: dark) { :root { --ink: #dde3ea; --soft: #97a3b0; --line: #2e3640; --paper: #14181d;
  --shade: #1c2229; --get: #6cb4ff; --post: #5fd39b; --put: #e5b45a; --patch: #b99cff; --delete: #ff8a85; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 6rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: .8rem; margin: 1.25rem 0 .35rem; color: var(--soft); font-weight: 600; }
p { margin: .35rem 0; } a { color: var(--get); }
.soft { color: var(--soft); } .facts { font-size: .9rem; color: var(--soft); }
code, pre { font: .86em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: var(--shade); border: 1px solid var(--line); border-radius: 6px; padding: .75rem; overflow-x: auto;
  margin: .35rem 0; }
details { border-top: 1px solid var(--line); } details:last-of-type { border-bottom: 1px solid var(--line); }
summary { display: flex; flex-wrap: wrap; gap: .25rem .75rem; align-items: baseline; padding: .6rem .25rem;
  cursor: pointer; list-style: none; } summary::-webkit-details-marker { display: none; }
summary:hover { background: var(--shade); }
summary:focus-visible { outline: 2px solid var(--get); outline-offset: -2px; }
summary .what { color: var(--soft); flex: 1 1 16rem; }
.method { font-weight: 700; font-size: .78rem; min-width: 3.9rem; }
.get { color: var(--get); } .post { color: var(--post); } .put { color: var(--put); } .patch { color: var(--patch); }
.delete { color: var(--delete); }
.inside { padding: 0 .25rem 1.25rem; } .path { overflow-wrap: anywhere; font-weight: 600; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .92rem; }
td { border-top: 1px solid var(--line); padding: .35rem .75rem .35rem 0; vertical-align: top; }
tr:first-child td { border-top: 0; } td:first-child { white-space: nowrap; width: 1%; }
"""


def make_page(document: Mapping[str, Any], where: str) -> tuple[bytes, str]:
    """The page, and the Content-Security-Policy that it is to be sent with. *where*: the path of the document."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return _html(document, where).encode(), policy


def _html(document: Mapping[str, Any], where: str) -> str:
    info = document["info"]
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head>\n<body>"
    )
    intro = (
        f"<h1>{escape(info['title'])}</h1><p>{escape(info['summary'])}</p>"
        f'<p class="facts">Version {escape(info["version"])}, below <code>{escape(_server(document))}</code>. '
        f'The same for machines: <a href="{escape(where)}">OpenAPI {escape(document["openapi"])}</a>.</p>'
    )
    return "\n".join([head, intro, *_sections(document), *_named(document), "</body></html>", ""])


def _server(document: Mapping[str, Any]) -> str:
    return str(document["servers"][0]["url"])


def _sections(document: Mapping[str, Any]) -> Iterator[str]:
    groups: dict[str, list[str]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            group = groups.setdefault(next(iter(told.get("tags", ())), "Other"), [])
            group.append(_operation(document, path, method, told))
    for name, operations in groups.items():
        yield f"<h2>{escape(name)}</h2>"
        yield from operations


def _operation(document: Mapping[str, Any], path: str, method: str, told: Mapping[str, Any]) -> str:
    whole = f"{_server(document).rstrip('/')}{path}"
    parts = [f"<pre>{escape(_curl(document, whole, method, told))}</pre>", *_parameters(told.get("parameters", ()))]
    for media_type, content in told.get("requestBody", {}).get("content", {}).items():
        parts += [f"<h3>Body: {escape(media_type)}</h3>", _schema(document, content["schema"])]
    rows = [(status, answer["description"]) for status, answer in told["responses"].items()]
    parts += ["<h3>Answers</h3>", _table(rows)]
    for media_type, content in _successful(told).items():
        if schema := content.get("schema"):
            parts += [f"<h3>What is answered: {escape(media_type)}</h3>", _schema(document, schema)]
    head = (
        f'<span class="method {method}">{method.upper()}</span><code class="path">{escape(whole)}</code>'
        f'<span class="what">{escape(told["summary"])}</span>'
    )
    inside = f'<div class="inside">{"".join(parts)}</div>'
    return f'<details id="{escape(told["operationId"])}"><summary>{head}</summary>{inside}</details>'


def _successful(told: Mapping[str, Any]) -> Mapping[str, Any]:
    answers = [each for status, each in told["responses"].items() if status < "300"]
    found: Mapping[str, Any] = answers[0].get("content", {}) if answers else {}
    return found


def _parameters(parameters: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if parameters:
        yield "<h3>Parameters</h3>"
        yield _table([(each["name"], _of_parameter(each)) for each in parameters])


def _of_parameter(told: Mapping[str, Any]) -> str:
    needed = ", required" if told.get("required") and told["in"] != "path" else ""
    what = f": {told['description']}" if "description" in told else ""
    return f"{told['in']}, {_kind(told['schema'])}{needed}{what}"


def _curl(document: Mapping[str, Any], path: str, method: str, told: Mapping[str, Any]) -> str:
    words = ["curl", *([] if method == "get" else ["-X", method.upper()])]
    words += [f"-H '{field}'" for field in ([] if told.get("security") == [] else _credentials(document)[:1])]
    words += ["-d @body.json"] if "application/json" in told.get("requestBody", {}).get("content", {}) else []
    return f'{" ".join(words)} "$BASE{path}"'


def _credentials(document: Mapping[str, Any]) -> list[str]:
    schemes = document["components"]["securitySchemes"].values()
    return [f"{each['name']}: …" if each["type"] == "apiKey" else "Authorization: Bearer …" for each in schemes]


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td><code>{escape(name)}</code></td><td>{escape(what)}</td></tr>" for name, what in rows)
    return f'<div class="wide"><table>{cells}</table></div>'


def _schema(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Its fields, where it has any; those of schemas inside it are at the end of the page."""
    found = document["components"]["schemas"][_name(schema)] if "$ref" in schema else schema
    if not found:
        return "<p>Any JSON.</p>"
    fields, required = found.get("properties", {}), found.get("required", ())
    rows = [(name, f"{_kind(fields[name])}{', required' if name in required else ''}") for name in fields]
    return _table(rows) if rows else f"<pre>{escape(json.dumps(found, indent=2, ensure_ascii=False))}</pre>"


def _name(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).rsplit("/", 1)[1]


def _named(document: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Schemas</h2>"
    for name, schema in document["components"]["schemas"].items():
        yield f"<h3>{escape(name)}</h3>{_schema(document, schema)}"


def _kind(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return _name(schema)
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(each) for each in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    kind = schema.get("type", "anything")
    said = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if said == "array":
        said = f"array of {_kind(schema.get('items', {}))}"
    default = f", by default {json.dumps(schema['default'])}" if "default" in schema else ""
    return f"{said}{default}"
