"""Errors as the session manager tells them: {"code", "message", "details"}, always all three. The contract, §2."""

from __future__ import annotations

import logging
import re

from agentd import errors
from agentd.wire.failure import HttpFailed
from agentd.wire.hosts import ForeignRequest
from agentd.wire.messages import BadMessage, Fields, Request, Response, json_response

FULL_RETRY_SECONDS, SPAWN_RETRY_SECONDS = 30, 60
logger = logging.getLogger(__name__)

STATUS: dict[type[errors.AgentdError], int] = {
    errors.Forbidden: 403,
    ForeignRequest: 403,
    errors.SessionNotFound: 404,
    errors.PayloadTooLarge: 413,
    errors.CapacityExceeded: 429,
}
SPAWN: dict[
    type[errors.AgentdError], str
] = {  # what did not work, and the message; the text of the error goes into details
    errors.WorktreeFailed: "the session's worktree could not be made",
    errors.ExecutorFailed: "the session's executor could not be started",
    errors.NotStarted: "the session's executor could not be started",
}
INTERNAL: dict[type[errors.AgentdError], str] = {  # likewise
    HttpFailed: "the session's executor did not answer",
    errors.StoreFailed: "the disk of the data directory refused",
    errors.Locked: "the data directory is in use",
}


def problem(status: int, code: str, message: str, details: str | None = None, headers: Fields = ()) -> Response:
    return json_response(status, {"code": code, "message": message, "details": details}, headers)


def answer_error(exc: Exception) -> Response:
    """The one place where an exception becomes an answer."""
    match exc:
        case BadMessage():
            return problem(exc.status, exc.code, str(exc))
        case errors.CapacityExceeded():
            return problem(429, exc.code, str(exc), None, _retry_after(FULL_RETRY_SECONDS))
        case errors.AgentdError() if type(exc) in INTERNAL:
            return problem(500, "INTERNAL_ERROR", INTERNAL[type(exc)], str(exc))
        case errors.AgentdError() if type(exc) in SPAWN:
            return problem(503, "SPAWN_FAILED", SPAWN[type(exc)], str(exc), _retry_after(SPAWN_RETRY_SECONDS))
        case errors.InvalidRequest():
            return problem(400, exc.code, str(exc))
        case errors.AgentdError() if type(exc) in STATUS:
            return problem(STATUS[type(exc)], exc.code, str(exc))
    logger.error("unhandled error", exc_info=exc)  # our bug: the client learns its kind and no more
    return problem(500, "INTERNAL_ERROR", "internal error", type(exc).__name__)


def unauthorized() -> Response:
    return problem(401, "UNAUTHORIZED", "Unauthorized", None, (("WWW-Authenticate", "Bearer"),))


def no_session(session_id: str) -> Response:
    """For whoever manages sessions; who uses one is told SESSION_NOT_FOUND."""
    return problem(404, "NOT_FOUND", f"no session {session_id}")


def not_found(request: Request) -> Response:
    if _names_a_session(request):
        return problem(400, "BAD_REQUEST", "expected DELETE /v1/sessions/{sessionId}")
    return problem(404, "NOT_FOUND", f"Not found: {request.path}")


def method_not_allowed(request: Request) -> Response:
    if _names_a_session(request):
        return problem(400, "BAD_REQUEST", "expected DELETE /v1/sessions/{sessionId}")
    return problem(405, "METHOD_NOT_ALLOWED", f"Method not allowed: {request.method} {request.path}")


def _names_a_session(request: Request) -> bool:
    """Or tries to: with too few or too many segments. The contract, §4."""
    return request.method == "DELETE" and re.match(r"/v1/sessions(?![^/?])", request.inner_target) is not None


def _retry_after(seconds: int) -> Fields:
    return (("Retry-After", str(seconds)),)
