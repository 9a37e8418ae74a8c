"""JSON-RPC 2.0 as the Model Context Protocol uses it: messages to bytes and back. No sockets and no trio here.

The rules: jsonrpc.org/specification, made narrower by MCP: parameters are an object, an id is a text or an integer and
never null in a request. What breaks them is refused, not guessed at: members that are there twice, NaN, a message that
is a request and a response at once. How long a message may be is its caller's business, since whoever reads it knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from agentd.wire.typed import MAX_INTEGER, NotJson, is_deep, parse

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
RESOURCE_NOT_FOUND = -32002  # of MCP before 2026-07-28
HEADER_MISMATCH = -32020  # this one and those below: of MCP since 2026-07-28
MISSING_CAPABILITY = -32021
UNSUPPORTED_VERSION = -32022
URL_ELICITATION_REQUIRED = -32042  # of MCP 2025-11-25 only

DEEPEST = 128  # levels: what is read here is written again by others, whose stacks are higher
LONGEST_ID = 256  # characters
LONGEST_METHOD = 256

Id = str | int


class NotMessage(ValueError):
    """*code* and *id* (None: not to be had) are what an answer to it says. The text repeats nothing of the message."""

    def __init__(self, text: str, code: int = INVALID_REQUEST, request_id: Id | None = None) -> None:
        super().__init__(text)
        self.code, self.id = code, request_id


class RpcError(Exception):
    """The error of a response. *message* and *data* are the other side's words, where it comes from there."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


@attrs.frozen
class Request:
    id: Id
    method: str
    params: Mapping[str, Any] | None = None


@attrs.frozen
class Notification:
    method: str
    params: Mapping[str, Any] | None = None


@attrs.frozen
class Response:
    """*result* counts where there is no *error*. Only an error may have no *id*: it answers what could not be read."""

    id: Id | None
    result: Any = None
    error: RpcError | None = None


Message = Request | Notification | Response


def parse_message(data: bytes) -> Message:
    """One message. Raises NotMessage. An array is none: see parse_batch()."""
    return _message(_parse(data))


def parse_batch(data: bytes) -> list[Message | NotMessage]:
    """The messages of an array, as MCP 2025-03-26 alone has them, or the one that *data* is. Raises NotMessage."""
    value = _parse(data)
    return [_message_or_not(each) for each in value] if isinstance(value, list) and value else [_message(value)]


def encode(message: Message) -> bytes:
    """As JSON, without a line break in it or behind it. Raises ValueError for what JSON or UTF-8 has no form for."""
    members: dict[str, Any] = {"jsonrpc": "2.0"}
    if not isinstance(message, Notification):
        members["id"] = message.id
    if isinstance(message, Response):
        members |= {"result": message.result} if message.error is None else {"error": _error_members(message.error)}
    else:
        members["method"] = message.method
        if message.params is not None:
            members["params"] = message.params
    try:
        return json.dumps(members, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, RecursionError) as exc:
        raise ValueError("there is no JSON for it") from exc


def _error_members(error: RpcError) -> dict[str, Any]:
    members = {"code": error.code, "message": error.message}
    return members if error.data is None else {**members, "data": error.data}


def _parse(data: bytes) -> Any:
    try:
        value = parse(data, unique=True)
    except NotJson as exc:
        raise NotMessage(f"not valid JSON: {exc.reason}", PARSE_ERROR) from exc
    if data.count(b"[") + data.count(b"{") > DEEPEST and is_deep(value, DEEPEST):
        raise NotMessage("nested too deeply", PARSE_ERROR)
    return value


def _message_or_not(value: Any) -> Message | NotMessage:
    try:
        return _message(value)
    except NotMessage as exc:
        return exc


def _message(value: Any) -> Message:
    if not isinstance(value, dict):
        raise NotMessage("not an object")
    request_id = value.get("id")
    if "id" in value and not _is_id(request_id) and not (request_id is None and "error" in value):
        raise NotMessage("the id is neither a text nor an integer")
    try:
        if value.get("jsonrpc") != "2.0":
            raise NotMessage('jsonrpc is not "2.0"')
        if "method" in value:
            return _called(value)
        return _response(value)
    except NotMessage as exc:
        raise NotMessage(str(exc), exc.code, request_id) from None


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST_ID
    return type(value) is int and -MAX_INTEGER <= value < MAX_INTEGER


def _called(value: dict[str, Any]) -> Request | Notification:
    method = value["method"]
    if not isinstance(method, str) or len(method) > LONGEST_METHOD:
        raise NotMessage("the method is no text, or a long one")
    if "result" in value or "error" in value:
        raise NotMessage("a request and a response at once")
    params = value.get("params")
    if "params" in value and not isinstance(params, dict):
        raise NotMessage("params is not an object", INVALID_PARAMS if "id" in value else INVALID_REQUEST)
    return Request(value["id"], method, params) if "id" in value else Notification(method, params)


def _response(value: dict[str, Any]) -> Response:
    if "id" not in value and "error" not in value:
        raise NotMessage("neither a method nor an id")
    if ("result" in value) == ("error" in value):
        raise NotMessage("a response has a result or an error, and not both")
    return Response(value.get("id"), value.get("result"), _error(value["error"]) if "error" in value else None)


def _error(value: Any) -> RpcError:
    if not isinstance(value, dict) or type(value.get("code")) is not int or not isinstance(value.get("message"), str):
        raise NotMessage("the error has no code or no message")
    return RpcError(value["code"], value["message"], value.get("data"))
