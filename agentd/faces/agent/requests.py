"""Bodies and queries of the agent API, read. The rules: the agent API contract, 1.3, 4 and 9; tables.py has them.

Each function raises fields.Unprocessable with all that does not fit. They are pure but for one look at the disk: is a
query's cwd a directory? One that brings megabytes of images takes its time: call it in a thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl

import attrs

from agentd.faces.agent import tables
from agentd.faces.agent.fields import Kind, Unprocessable, read
from agentd.faces.agent.terms import Terms
from agentd.wire.typed import NotJson, parse


@attrs.frozen
class Query:
    """What is asked for: a new query, one that goes on with a session, or a prompt on a socket.

    *given* holds the fields that are there and not null, by their names in the contract; query["model"] is a field or
    its default."""

    given: Mapping[str, Any] = attrs.field(repr=False)

    def __getitem__(self, name: str) -> Any:
        return self.given.get(name, tables.FIELDS[name].default)

    @property
    def prompt(self) -> str:
        return str(self["prompt"])

    @property
    def session_id(self) -> str | None:
        return self["session_id"]  # type: ignore[no-any-return]

    @property
    def blobs(self) -> list[bytes]:
        """Of the images that came with it: to be put into the session's blobs before its job begins."""
        return [image["bytes"] for image in self["images"] or () if "bytes" in image]


class Answer(NamedTuple):
    answer: str
    question_id: str | None


class Rewind(NamedTuple):
    checkpoint_id: str
    dry_run: bool


class Settle(NamedTuple):
    """Of an ask. *answer*: of a question or a plan; *reason*: why a call is denied, which the model is told."""

    decision: Literal["allow", "deny", "always", "answer"]
    answer: str | None
    reason: str
    updated_input: dict[str, Any] | None


class Page(NamedTuple):
    """Of the list of sessions; *tags*: all of them have to match."""

    page: int
    page_size: int
    mode: str | None
    project_id: str | None
    tags: list[str]
    search: str | None
    status: str | None


class Look(NamedTuple):
    """At what there is. *cwd*: whose project; *source*: what is kept in files, or in a store, where we have nothing."""

    cwd: str | None
    source: Literal["filesystem", "database"] | None


def query(body: bytes, terms: Terms) -> Query:
    """Of POST /api/v1/query and /query/single."""
    return _query(tables.QUERY, _json(body), terms)


def follow_up(body: bytes, terms: Terms) -> Query:
    """Of POST /api/v1/sessions/{id}/resume and /fork. There a null is as good as nothing, but for the prompt's."""
    return _query(tables.FOLLOW_UP, _json(body), terms)


def prompt(message: Mapping[str, Any], terms: Terms) -> Query:
    """Of a socket's message of type `prompt`, where a null is as good as nothing."""
    return _query(tables.QUERY, {name: value for name, value in message.items() if value is not None}, terms)


def answer(body: bytes) -> Answer:
    return Answer(**read(tables.ANSWER, _json(body)))


def control(body: bytes) -> str:
    """The permission mode to change to."""
    return str(read(tables.CONTROL, _json(body))["permission_mode"])


def rewind(body: bytes) -> Rewind:
    return Rewind(**read(tables.REWIND, _json(body)))


def rename(body: bytes) -> str:
    """The new title."""
    return str(read(tables.RENAME, _json(body))["title"])


def settle(body: bytes) -> Settle:
    return Settle(**read(tables.SETTLE, _json(body)))


def page(raw_query: str) -> Page:
    """Of GET /api/v1/sessions: what is behind the question mark, as it was sent."""
    pairs = parse_qsl(raw_query, keep_blank_values=True)
    return Page(
        **read(tables.PAGE, {**dict(pairs), "tags": [value for name, value in pairs if name == "tags"]}, "query")
    )


def look(raw_query: str, terms: Terms) -> Look:
    """Of GET /api/v1/skills and /mcp-servers: what is behind the question mark, as it was sent."""
    return Look(**read(tables.LOOK, dict(parse_qsl(raw_query, keep_blank_values=True)), "query", terms))


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema of every body, and of what is in them, by name: OpenAPI's components/schemas."""
    bodies = {
        "QueryRequest": tables.QUERY,
        "ResumeRequest": tables.FOLLOW_UP,
        "ForkRequest": tables.FOLLOW_UP,
        "AnswerRequest": tables.ANSWER,
        "ControlRequest": tables.CONTROL,
        "RewindRequest": tables.REWIND,
        "RenameRequest": tables.RENAME,
        "SettleRequest": tables.SETTLE,
    }
    return {**tables.NAMED, **{name: kind.schema for name, kind in bodies.items()}}


def page_parameters() -> list[dict[str, Any]]:
    """OpenAPI's parameters of the list of sessions."""
    return _parameters(tables.PAGE)


def look_parameters() -> list[dict[str, Any]]:
    """OpenAPI's parameters of the list of skills."""
    return _parameters(tables.LOOK)


def _parameters(kind: Kind) -> list[dict[str, Any]]:
    properties = kind.schema["properties"].items()
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in properties]


def _query(kind: Kind, value: Any, terms: Terms) -> Query:
    found = read(kind, value, terms=terms)
    return Query({name: each for name, each in found.items() if each is not None})


def _json(body: bytes) -> Any:
    try:
        if body.strip():
            return parse(body)
    except NotJson as exc:
        item = {"type": "json_invalid", "loc": ["body", exc.offset], "msg": "JSON decode error"}
        raise Unprocessable([{**item, "ctx": {"error": exc.reason}}]) from exc
    raise Unprocessable([{"type": "missing", "loc": ["body"], "msg": "Field required"}])
