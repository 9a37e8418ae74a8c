"""The structure of an OpenAPI 3.1 document as a JSON Schema: the rules that our documents can break, in our own words.

What a schema may be is what compile_schema() takes. The rules: https://spec.openapis.org/oas/v3.1.1.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from agentd.wire.jsonschema import SchemaError, compile_schema

TEXT = {"type": "string"}
LINE = {"type": "string", "minLength": 1, "pattern": r"^[^\n]+$"}


def _map_of(inner: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": inner}


def _exactly(needed: str, /, **properties: Any) -> dict[str, Any]:
    """An object with these members and, but for extensions, no others."""
    return {
        "type": "object",
        "required": needed.split(),
        "properties": properties,
        "patternProperties": {"^x-": True},
        "additionalProperties": False,
    }


CONTENT = {
    "type": "object",
    "propertyNames": {"pattern": r"^(?:\*|[a-z]+)/[a-z0-9.+*-]+$"},
    "additionalProperties": _exactly("", schema={"$ref": "#/$defs/schema"}, example=True),
}
SECURITY = {"type": "array", "items": _map_of({"type": "array", "items": TEXT})}
DOCUMENT = {
    **_exactly(
        "openapi info paths",
        openapi={"pattern": r"^3\.1\.\d+$"},
        info=_exactly("title version", title=LINE, summary=LINE, description=TEXT, version=LINE),
        servers={"type": "array", "items": _exactly("url", url=LINE, description=TEXT)},
        tags={"type": "array", "uniqueItems": True, "items": _exactly("name", name=LINE, description=TEXT)},
        security=SECURITY,
        paths={
            "type": "object",
            "propertyNames": {"pattern": "^/"},
            "additionalProperties": {
                "type": "object",
                "propertyNames": {"enum": ["get", "put", "post", "delete", "options", "head", "patch", "trace"]},
                "additionalProperties": {"$ref": "#/$defs/operation"},
            },
        },
        components=_exactly(
            "",
            schemas={
                "type": "object",
                "propertyNames": {"pattern": r"^[a-zA-Z0-9.\-_]+$"},
                "additionalProperties": {"$ref": "#/$defs/schema"},
            },
            securitySchemes=_map_of(
                {
                    "oneOf": [
                        _exactly(
                            "type scheme", type={"const": "http"}, scheme=LINE, bearerFormat=TEXT, description=TEXT
                        ),
                        _exactly(
                            "type name in",
                            type={"const": "apiKey"},
                            name=LINE,
                            description=TEXT,
                            **{"in": {"enum": ["query", "header", "cookie"]}},
                        ),
                    ]
                }
            ),
        ),
    ),
    "$defs": {
        "schema": {"type": ["object", "boolean"]},
        "operation": _exactly(
            "operationId summary responses",
            operationId={"type": "string", "pattern": r"^\w+$"},
            summary=LINE,
            description=TEXT,
            tags={"type": "array", "items": LINE},
            security=SECURITY,
            parameters={"type": "array", "items": {"$ref": "#/$defs/parameter"}, "uniqueItems": True},
            requestBody=_exactly("content", required={"type": "boolean"}, description=TEXT, content=CONTENT),
            responses={
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": "^(?:[1-5][0-9]{2}|[1-5]XX|default)$"},
                "additionalProperties": _exactly("description", description=TEXT, content=CONTENT),
            },
        ),
        "parameter": {
            **_exactly(
                "name in schema",
                name=LINE,
                description=TEXT,
                required={"type": "boolean"},
                schema={"$ref": "#/$defs/schema"},
                **{"in": {"enum": ["query", "header", "path", "cookie"]}},
            ),
            "if": {"properties": {"in": {"const": "path"}}},
            "then": {"required": ["required"], "properties": {"required": {"const": True}}},
        },
    },
}
_VALIDATOR = compile_schema(DOCUMENT)


def mistakes(document: Any) -> list[str]:
    """What is wrong with a document; empty if it is valid."""
    return [
        *_VALIDATOR.errors(document),
        *_wrong_operations(document),
        *_wrong_schemas(document),
    ]


def operations(document: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            yield path, method, told


def _wrong_operations(document: Any) -> Iterator[str]:
    """What the structure cannot say: ids are unique, path parameters are those of the path, tags and schemes exist."""
    seen: set[str] = set()
    tags = {tag["name"] for tag in document["tags"]}
    for path, method, told in operations(document):
        where = f"{method} {path}"
        if told["operationId"] in seen:
            yield f"{where}: another operation has its id"
        seen.add(told["operationId"])
        named = [each["name"] for each in told.get("parameters", ()) if each["in"] == "path"]
        if sorted(named) != sorted(re.findall(r"\{(\w+)\}", path)):
            yield f"{where}: its path parameters are {named}"
        if not tags.issuperset(told.get("tags", ())):
            yield f"{where}: a tag that is not there"
    schemes = document["components"]["securitySchemes"]
    for each in document["security"]:
        if not schemes.keys() >= each.keys():
            yield "security: a scheme that is not there"


def _wrong_schemas(document: Any) -> Iterator[str]:
    """Every schema is one, every reference leads somewhere, and every default is what it is the default of."""
    for index, schema in enumerate(_schemas_in(document)):
        try:
            for inner in (schema, *schema.get("properties", {}).values()):
                validator = compile_schema({**inner, "components": document["components"]})
                if "default" in inner and (wrong := validator.errors(inner["default"])):
                    yield f"schema {index}: its default: {wrong}"
        except SchemaError as exc:
            yield f"schema {index}: {exc}"


def _schemas_in(document: Any) -> Iterator[dict[str, Any]]:
    yield from document["components"]["schemas"].values()
    for _, _, told in operations(document):
        yield from (each["schema"] for each in told.get("parameters", ()))
        bodies = [told.get("requestBody", {}), *told["responses"].values()]
        contents = [content for body in bodies for content in body.get("content", {}).values()]
        yield from (content["schema"] for content in contents if "schema" in content)


def misfits(document: Any, method: str, path: str, status: int, body: Any) -> list[str]:
    """What is wrong with an answer, parsed JSON, by the document; *path*: as the document has it."""
    answer = document["paths"][path][method.lower()]["responses"].get(str(status))
    if answer is None:
        return [f"{method} {path} says nothing of {status}"]
    schema = answer["content"]["application/json"]["schema"]
    return list(compile_schema({**schema, "components": document["components"]}).errors(body))
