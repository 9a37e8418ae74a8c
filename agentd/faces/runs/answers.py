"""Errors as the runs and chat API tells them: {"error": text}, with the statuses of its contract, section 1."""

from __future__ import annotations

import logging

from agentd import errors
from agentd.wire.failure import HttpFailed
from agentd.wire.frames import BadHandshake
from agentd.wire.hosts import ForeignRequest
from agentd.wire.messages import BadMessage, Fields, Request, Response, json_response

RETRY_SECONDS = 5
logger = logging.getLogger(__name__)


class Refused(errors.AgentdError):
    """The request cannot be done as it stands; its text is what the contract says of that. *status*: 400, 409,
    or 500 where a model has failed."""

    code = "REFUSED"

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class NotFound(errors.AgentdError):
    """There is nothing of that id: `run not found: run_…`."""

    code = "NOT_FOUND"

    def __init__(self, what: str, ident: str) -> None:
        super().__init__(f"{what} not found: {ident}")


STATUS: dict[type[errors.AgentdError], int] = {
    errors.InvalidRequest: 400,
    errors.Forbidden: 403,
    ForeignRequest: 403,
    NotFound: 404,
    errors.SessionNotFound: 404,
    errors.JobNotFound: 404,
    errors.AskNotFound: 404,
    errors.BlobNotFound: 404,
    errors.AskSettled: 409,
    errors.JobInProgress: 409,
    errors.Locked: 409,
    errors.PayloadTooLarge: 413,
    errors.ModelUnavailable: 500,
    errors.ProviderFailed: 500,
    errors.ExecutorFailed: 500,
    errors.NotStarted: 500,
    errors.StoreFailed: 500,
    HttpFailed: 500,
    errors.Busy: 503,
    errors.CapacityExceeded: 503,
}


def error(status: int, text: str, headers: Fields = ()) -> Response:
    return json_response(status, {"error": text}, headers)


def answer_error(exc: Exception) -> Response:
    """The one place where an exception becomes an answer."""
    match exc:
        case BadHandshake():
            return error(exc.status, str(exc), exc.headers)
        case BadMessage() | Refused():
            return error(exc.status, str(exc))
        case errors.AgentdError() if (status := _status(exc)) is not None:
            retry = (("Retry-After", str(RETRY_SECONDS)),) if status == 503 else ()
            return error(status, str(exc), retry)
    logger.error("unhandled error", exc_info=exc)  # our bug: the client learns no more than that
    return error(500, "internal error")


def _status(exc: errors.AgentdError) -> int | None:
    return next((STATUS[kind] for kind in type(exc).__mro__ if kind in STATUS), None)


def unauthorized() -> Response:
    return error(401, "unauthorized", (("WWW-Authenticate", "Bearer"),))


def not_found(request: Request) -> Response:
    return error(404, "unknown endpoint")


def method_not_allowed(request: Request) -> Response:
    return error(405, "method not allowed")


def ok() -> Response:
    return json_response(200, {"ok": True})
