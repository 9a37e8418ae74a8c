"""Errors as the admin API tells them: {"error": {"code", "message", "details"}}, always all three."""

from __future__ import annotations

import logging
from typing import Any

from agentd import errors
from agentd.daemon.access import TokenNotFound
from agentd.daemon.inventory import SessionBeingMade
from agentd.wire.failure import HttpFailed
from agentd.wire.hosts import ForeignRequest
from agentd.wire.messages import BadMessage, Fields, Request, Response, json_response

RETRY_SECONDS = 5
logger = logging.getLogger(__name__)


STATUS: dict[type[errors.AgentdError], int] = {
    errors.InvalidCheckpoint: 400,
    errors.Forbidden: 403,
    ForeignRequest: 403,
    errors.SessionNotFound: 404,
    errors.JobNotFound: 404,
    errors.AskNotFound: 404,
    TokenNotFound: 404,
    errors.BlobNotFound: 404,
    errors.AskSettled: 409,
    errors.JobInProgress: 409,
    errors.Locked: 409,
    errors.NotARepository: 409,
    SessionBeingMade: 409,
    errors.PayloadTooLarge: 413,
    errors.CapacityExceeded: 429,
    errors.GitFailed: 500,
    HttpFailed: 502,
    errors.ExecutorFailed: 503,
    errors.NotStarted: 503,
    errors.Busy: 503,
    errors.WorktreeFailed: 503,
    errors.StoreFailed: 507,
}


def problem(status: int, code: str, message: str, details: Any = None, headers: Fields = ()) -> Response:
    return json_response(status, {"error": {"code": code, "message": message, "details": details}}, headers)


def answer_error(exc: Exception) -> Response:
    """The one place where an exception becomes an answer."""
    match exc:
        case BadMessage():
            return problem(exc.status, exc.code, str(exc))
        case errors.InvalidRequest():
            return problem(400, exc.code, str(exc), exc.problems)
        case errors.AskSettled():
            return problem(409, exc.code, str(exc), {"decision": exc.decision})
        case errors.JobInProgress():
            return problem(409, exc.code, str(exc), {"state": exc.state.lower()}, _retry())
        case errors.InvalidRequest():
            return problem(400, exc.code, str(exc))
        case errors.AgentdError() if type(exc) in STATUS:
            status = STATUS[type(exc)]
            return problem(status, exc.code, str(exc), None, _retry() if status in (429, 503) else ())
    logger.error("unhandled error", exc_info=exc)  # our bug: the client learns no more than that
    return problem(500, "INTERNAL_ERROR", "internal error")


def unauthorized() -> Response:
    message = "send the admin token, or one that was issued: Authorization: Bearer TOKEN"
    return problem(401, "UNAUTHORIZED", message, None, (("WWW-Authenticate", "Bearer"),))


def not_found(request: Request) -> Response:
    return problem(404, "NOT_FOUND", f"Not found: {request.path}")


def method_not_allowed(request: Request) -> Response:
    return problem(405, "METHOD_NOT_ALLOWED", f"Method not allowed: {request.method} {request.path}")


def _retry() -> Fields:
    return (("Retry-After", str(RETRY_SECONDS)),)
