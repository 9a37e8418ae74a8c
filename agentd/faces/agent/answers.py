"""Errors as the agent API tells them: {"detail", "error": {"code", "message", "details"}}, and 422 with a list of all
that is wrong with a request. The rules: the agent API contract, 1.2 and 1.3."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from agentd import errors
from agentd.faces.agent.fields import Unprocessable
from agentd.wire.failure import HttpFailed
from agentd.wire.hosts import ForeignRequest
from agentd.wire.messages import BadMessage, Fields, Request, Response, to_json

RETRY_SECONDS = 5
SHUTDOWN_RETRY_SECONDS = 30
JSON_TYPE = "application/json"
logger = logging.getLogger(__name__)


class SessionLocked(errors.AgentdError):
    code = "SESSION_LOCKED"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"Session '{session_id}' is currently in use")


class ShuttingDown(errors.AgentdError):
    code = "SERVICE_UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__("Service is shutting down, not accepting new requests")


class TimedOut(errors.AgentdError):
    """A single query took longer than the operator lets it."""

    code = "REQUEST_TIMEOUT"

    def __init__(self) -> None:
        super().__init__("Request timed out")


class RateLimited(errors.AgentdError):
    """*limit*: requests a minute; *retry_after*: seconds."""

    code = "RATE_LIMIT_EXCEEDED"

    def __init__(self, limit: int, retry_after: int) -> None:
        super().__init__(f"Rate limit exceeded: {limit} per 1 minute")
        self.retry_after = retry_after


STATUS: Mapping[type[errors.AgentdError], tuple[int, str]] = {  # and the code of the error
    errors.InvalidCheckpoint: (400, "INVALID_CHECKPOINT"),
    errors.Forbidden: (403, "FORBIDDEN"),
    ForeignRequest: (403, "FORBIDDEN"),
    errors.SessionNotFound: (404, "SESSION_NOT_FOUND"),
    errors.JobNotFound: (404, "JOB_NOT_FOUND"),
    errors.AskNotFound: (404, "ASK_NOT_FOUND"),
    errors.BlobNotFound: (404, "NOT_FOUND"),
    SessionLocked: (409, "SESSION_LOCKED"),
    errors.JobInProgress: (409, "SESSION_LOCKED"),
    errors.Locked: (409, "SESSION_LOCKED"),
    errors.AskSettled: (409, "ASK_SETTLED"),
    errors.PayloadTooLarge: (413, "PAYLOAD_TOO_LARGE"),
    RateLimited: (429, "RATE_LIMIT_EXCEEDED"),
    errors.Busy: (503, "SERVICE_UNAVAILABLE"),
    errors.CapacityExceeded: (503, "SERVICE_UNAVAILABLE"),
    errors.ExecutorFailed: (503, "SERVICE_UNAVAILABLE"),
    errors.NotStarted: (503, "SERVICE_UNAVAILABLE"),
    errors.StoreFailed: (503, "SERVICE_UNAVAILABLE"),
    HttpFailed: (503, "SERVICE_UNAVAILABLE"),
    ShuttingDown: (503, "SERVICE_UNAVAILABLE"),
    TimedOut: (504, "REQUEST_TIMEOUT"),
}


def json_answer(status: int, value: Any, headers: Fields = ()) -> Response:
    """As wire.messages.json_response(), of the bare type that this API's clients compare with."""
    return Response(status, to_json(value), JSON_TYPE, headers)


def problem(
    status: int,
    code: str,
    detail: str,
    details: Mapping[str, Any] | None = None,
    headers: Fields = (),
    *,
    message: str | None = None,
) -> Response:
    """*message*: the error's, where it is not the same as *detail*."""
    error = {"code": code, "message": detail if message is None else message, "details": details or {}}
    return json_answer(status, {"detail": detail, "error": error}, headers)


def unprocessable(items: list[dict[str, Any]]) -> Response:
    return json_answer(422, {"detail": items})


def answer_error(exc: Exception) -> Response:
    """The one place where an exception becomes an answer."""
    match exc:
        case Unprocessable():
            return unprocessable(exc.items)
        case errors.InvalidRequest():  # of the rooms below
            items = [
                {"type": "value_error", "loc": ["body"], "msg": each, "ctx": {"error": each}} for each in exc.problems
            ]
            return unprocessable(items)
        case BadMessage():
            return problem(exc.status, exc.code, str(exc))
        case errors.AgentdError() if type(exc) in STATUS:
            status, code = STATUS[type(exc)]
            details, headers = _details(exc), _retry(_retry_after(exc)) if status in (409, 429, 503) else ()
            return problem(status, code, _detail(exc), details, headers)
    logger.error("unhandled error", exc_info=exc)  # our bug: the client learns no more than that
    return problem(500, "INTERNAL_ERROR", "An unexpected error occurred")


def unauthorized(*, missing: bool) -> Response:
    """*missing*: there was no key, else a wrong one."""
    message = "Missing API key" if missing else "Invalid API key"
    return problem(401, "AUTHENTICATION_ERROR", "Invalid or missing API key", message=message)


def not_found(request: Request) -> Response:
    return problem(404, "NOT_FOUND", "Not Found")


def method_not_allowed(request: Request) -> Response:
    """Its mount adds `Allow`."""
    return problem(405, "METHOD_NOT_ALLOWED", "Method Not Allowed")


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema of the errors, by name: OpenAPI's components/schemas."""
    text = {"type": "string"}
    inner = {"code": text, "message": text, "details": {"type": "object"}}
    item = {
        "type": text,
        "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
        "msg": text,
        "ctx": {"type": "object", "additionalProperties": text},
    }
    return {
        "Error": _object({"detail": text, "error": _object(inner)}),
        "ValidationError": _object({"detail": {"type": "array", "items": _object(item, optional=("ctx",))}}),
    }


# --- Inside -------------------------------------------------------------------------------------------------------


def _detail(exc: errors.AgentdError) -> str:
    match exc:
        case errors.SessionNotFound():
            return f"Session {exc.session_id} not found"
        case errors.PayloadTooLarge():
            return "Request body too large"
    return str(exc)


def _details(exc: errors.AgentdError) -> dict[str, Any]:
    match exc:
        case errors.SessionNotFound():
            return {"session_id": exc.session_id}
        case errors.InvalidCheckpoint():
            return {"checkpoint_id": exc.checkpoint_id}
        case errors.AskSettled():
            return {"decision": exc.decision}
        case ShuttingDown() | errors.Busy() | RateLimited():
            return {"retry_after": _retry_after(exc)}
    return {}


def _retry_after(exc: errors.AgentdError) -> int:
    if isinstance(exc, errors.Busy | RateLimited):
        return exc.retry_after
    return SHUTDOWN_RETRY_SECONDS if isinstance(exc, ShuttingDown) else RETRY_SECONDS


def _retry(seconds: int) -> Fields:
    return (("Retry-After", str(seconds)),)


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}
