"""The document: what a route table offers, with what is said of each route."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from agentd import __version__
from agentd.wire.openapi.schemas import Schemas
from agentd.wire.routing import ANY, Route, Routes

VERSION = "3.1.1"
JSON, SSE, TEXT, FORM = "application/json", "text/event-stream", "text/plain", "multipart/form-data"
_EVERY = ("GET", "POST", "PUT", "PATCH", "DELETE")  # what a route for any method is told as
_PARAMETER = re.compile(r"\{(\w+)\}")
_PATH_SCHEMAS = {
    "str": {"type": "string"},
    "int": {"type": "integer", "minimum": 0},
    "UUID": {"type": "string", "format": "uuid"},
}


@attrs.frozen
class Parameter:
    summary: str
    schema: Mapping[str, Any] = attrs.field(factory=lambda: {"type": "string"})
    required: bool = False


@attrs.frozen
class Operation:
    """What is said of a route. *answers*: by status, those of every route left out."""

    summary: str
    answers: Mapping[int, str]
    tag: str = ""
    body: Any = None  # a type, or a JSON Schema; None: it takes none
    body_type: str = JSON
    body_required: bool = True
    form: Any = None  # the same as multipart/form-data: a JSON Schema
    gives: Sequence[str] = (JSON,)  # the media types of the answers that are no errors
    schema: Any = attrs.field(factory=dict)  # of those in JSON: a type, or a JSON Schema
    problem: Any = None  # JSON Schema of bodies that its errors may have, besides that of the face's
    query: Mapping[str, Parameter] = attrs.field(factory=dict)
    headers: Mapping[str, Parameter] = attrs.field(factory=dict)
    public: bool = False  # nobody is asked who they are


@attrs.frozen
class Description:
    """Of a face. *operations*: by "METHOD pattern"; None for a route that is no part of what is offered."""

    title: str
    summary: str
    operations: Mapping[str, Operation | None]
    security: Mapping[str, Any]  # the ways to say who one is: securitySchemes
    problem: Mapping[str, Any]  # JSON Schema of an error's body
    refusals: Mapping[int, str]  # what any route may answer that is not public
    always: Mapping[int, str] = attrs.field(factory=lambda: {500: "A bug of ours."})  # what any route may answer
    schemas: Mapping[str, Any] = attrs.field(factory=dict)  # that those of operations refer to, by name


def below(prefix: str, routes: Routes) -> list[Route]:
    """Those of a part that is mounted there, as the whole face has them."""
    return [attrs.evolve(route, pattern=f"{prefix}{route.pattern}".rstrip("/")) for route in routes]


def make_document(about: Description, routes: Iterable[Route], server: str = "/") -> dict[str, Any]:
    """The document of *routes*, which are served below *server*. Raises KeyError for one that nothing is said of."""
    schemas = Schemas()
    schemas.named |= {"Problem": dict(about.problem), **about.schemas}
    paths: dict[str, dict[str, Any]] = {}
    tags: dict[str, None] = {}
    for route in routes:
        said = about.operations[f"{route.method} {route.pattern}"]
        if said is None:
            continue
        tags |= {said.tag: None} if said.tag else {}
        for method in _EVERY if route.method == ANY else (route.method,):
            path = route.pattern.replace("/*", "/{rest}")
            paths.setdefault(path, {})[method.lower()] = _operation(about, route, said, method, schemas)
    return {
        "openapi": VERSION,
        "info": {"title": about.title, "summary": about.summary, "version": __version__},
        "servers": [{"url": server}],
        "tags": [{"name": tag} for tag in tags],
        "security": [{name: []} for name in about.security],
        "paths": paths,
        "components": {"schemas": schemas.named, "securitySchemes": dict(about.security)},
    }


def _operation(about: Description, route: Route, said: Operation, method: str, schemas: Schemas) -> dict[str, Any]:
    told: dict[str, Any] = {"operationId": _operation_id(route, method), "summary": said.summary}
    told |= {"tags": [said.tag]} if said.tag else {}
    told |= {"security": []} if said.public else {}
    if parameters := [
        *_path_parameters(route),
        *_parameters("query", said.query),
        *_parameters("header", said.headers),
    ]:
        told["parameters"] = parameters
    if said.body is not None:
        content = {said.body_type: {"schema": schemas.of(said.body)}}
        content |= {FORM: {"schema": dict(said.form)}} if said.form is not None else {}
        told["requestBody"] = {"required": said.body_required, "content": content}
    every = {**about.always, **({} if said.public else about.refusals), **said.answers}
    told["responses"] = {str(status): _answer(status, every[status], said, schemas) for status in sorted(every)}
    return told


def _operation_id(route: Route, method: str) -> str:
    words = _PARAMETER.sub(r"\1", route.pattern.replace("*", "rest")).replace("/", " ").split()
    return re.sub(r"\W+", "_", "_".join([method.lower(), *words]))


def _path_parameters(route: Route) -> Iterator[dict[str, Any]]:
    for name in _PARAMETER.findall(route.pattern):
        kind = route.handler.__annotations__[name]
        schema = _PATH_SCHEMAS[kind if isinstance(kind, str) else kind.__name__]
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    if route.pattern.endswith("/*"):
        yield {"name": "rest", "in": "path", "required": True, "schema": _PATH_SCHEMAS["str"]}


def _parameters(place: str, said: Mapping[str, Parameter]) -> Iterator[dict[str, Any]]:
    for name, each in said.items():
        required = {"required": True} if each.required else {}
        described = {"description": each.summary} if each.summary else {}
        yield {"name": name, "in": place, **described, **required, "schema": dict(each.schema)}


def _answer(status: int, what: str, said: Operation, schemas: Schemas) -> dict[str, Any]:
    if status >= 400:
        return {"description": what, "content": {JSON: {"schema": _problem(said)}}}
    if status in (101, 204):
        return {"description": what}
    return {"description": what, "content": {each: _content(each, said, schemas) for each in said.gives}}


def _problem(said: Operation) -> dict[str, Any]:
    usual = {"$ref": "#/components/schemas/Problem"}
    return usual if said.problem is None else {"anyOf": [said.problem, usual]}


def _content(media_type: str, said: Operation, schemas: Schemas) -> dict[str, Any]:
    return {"schema": schemas.of(said.schema)} if media_type == JSON else {}
