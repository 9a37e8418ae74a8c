"""One document of several faces that are served from one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def join_documents(title: str, documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """*documents*: by a word each. Paths get those of their servers in front of them; a schema whose name another one
    has already gets its document's word. Raises ValueError where they do not ask for the same credentials."""
    first = next(iter(documents.values()))
    paths: dict[str, Any] = {}
    tags: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for word, each in documents.items():
        if (each["security"], _schemes(each)) != (first["security"], _schemes(first)):
            raise ValueError(f"{word} asks for other credentials than the first document")
        own = each["components"]["schemas"]
        names = {name: f"{word}{name}" for name in own if schemas.get(name, own[name]) != own[name]}
        renamed = {_reference(name): _reference(new) for name, new in names.items()}
        schemas |= {names.get(name, name): _retold(schema, renamed) for name, schema in own.items()}
        prefix = each["servers"][0]["url"].rstrip("/")
        paths |= {f"{prefix}{path}": _retold(methods, renamed) for path, methods in each["paths"].items()}
        tags |= {tag["name"]: tag for tag in each["tags"]}
    summary = " ".join(each["info"]["summary"] for each in documents.values())
    return {
        **first,
        "info": {**first["info"], "title": title, "summary": summary},
        "servers": [{"url": "/"}],
        "tags": [*tags.values()],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _schemes(first)},
    }


def _schemes(document: Mapping[str, Any]) -> Any:
    return document["components"]["securitySchemes"]


def _reference(name: str) -> str:
    return f"#/components/schemas/{name}"


def _retold(told: Any, renamed: Mapping[str, str]) -> Any:
    """The same with references to where their schemas are now."""
    if isinstance(told, Mapping):
        if isinstance(told.get("$ref"), str):
            return {**told, "$ref": renamed.get(told["$ref"], told["$ref"])}
        return {name: _retold(each, renamed) for name, each in told.items()}
    return [_retold(each, renamed) for each in told] if isinstance(told, list | tuple) else told
