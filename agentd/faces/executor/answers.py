"""Errors as the executor API tells them: {"code", "message", "details"}, always all three. The contract, section 2."""

from __future__ import annotations

import logging
from typing import Any

from agentd import errors
from agentd.wire.messages import BadMessage, Request, Response, json_response
from agentd.wire.routing import Mount, Routes

Headers = tuple[tuple[str, str], ...]
RETRY_MS = 1000  # after which a client that was told to come back may do so
logger = logging.getLogger(__name__)

STATUS: dict[type[errors.AgentdError], int] = {
    errors.InvalidCheckpoint: 400,
    errors.JobNotFound: 404,
    errors.SessionNotFound: 404,
    errors.AskNotFound: 404,
    errors.FragmentNotFound: 404,
    errors.AskSettled: 409,
    errors.JobInProgress: 409,
    errors.NotARepository: 409,
    errors.PayloadTooLarge: 413,
    errors.IdempotencyKeyReused: 422,
    errors.ToolFailed: 503,  # no process could be started to look definitions up
    errors.StoreFailed: 507,
}


def problem(status: int, code: str, message: str, details: Any = None, headers: Headers = ()) -> Response:
    return json_response(status, {"code": code, "message": message, "details": details}, headers)


def answer_error(exc: Exception) -> Response:
    """The one place where an exception becomes an answer."""
    match exc:
        case errors.JobInProgress():
            details = {
                "activeJobId": None,  # withheld on purpose: it may be another client's
                "activeJobState": exc.state,
                "readyForJobSubmission": False,
                "retryAfterMs": RETRY_MS,
            }
            return problem(409, exc.code, str(exc), details, (("Retry-After", str(RETRY_MS // 1000)),))
        case BadMessage():
            return problem(exc.status, exc.code, str(exc))
        case errors.SessionNotFound():
            return problem(404, "NOT_FOUND", str(exc))
        case errors.InvalidRequest():
            return problem(400, exc.code, str(exc))
        case errors.AgentdError() if type(exc) in STATUS:
            return problem(STATUS[type(exc)], exc.code, str(exc))
    logger.error("unhandled error", exc_info=exc)  # our bug: the client learns its kind and no more
    return problem(500, "INTERNAL_ERROR", "internal error", type(exc).__name__)


def not_found(request: Request) -> Response:
    return problem(404, "NOT_FOUND", f"Not found: {request.path}")


def method_not_allowed(request: Request) -> Response:
    return problem(405, "METHOD_NOT_ALLOWED", f"Method not allowed: {request.method} {request.path}")


def mount(routes: Routes, app: Any) -> Mount:
    """Routes of an executor, with *app*'s guard and the answers above."""
    return Mount(
        routes,
        app,
        guard=app.guard,
        answer_error=answer_error,
        not_found=not_found,
        method_not_allowed=method_not_allowed,
    )
