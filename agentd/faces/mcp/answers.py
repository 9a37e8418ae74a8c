"""Errors as MCP tells them: those of HTTP, those of the protocol, and those that a model is to read."""

from __future__ import annotations

import logging

from agentd import errors
from agentd.faces.mcp.protocol import JSON
from agentd.wire.hosts import ForeignRequest
from agentd.wire.jsonrpc import INTERNAL_ERROR, INVALID_REQUEST, Id, NotMessage, RpcError, encode
from agentd.wire.jsonrpc import Response as RpcResponse
from agentd.wire.messages import BadMessage, Request, Response

REMEDIES: dict[type[errors.AgentdError], str] = {
    errors.JobNotFound: "list_jobs shows the jobs there are",
    errors.SessionNotFound: "list_sessions shows the sessions there are",
    errors.AskNotFound: "list_asks shows what is open",
    errors.AskSettled: "follow_job shows how its job went on",
    errors.JobInProgress: "follow_job waits for its end, cancel_job stops it",
    errors.Locked: "wait for what works there, or start another session",
    errors.Busy: "cancel_job ends one",
    errors.NotARepository: "the session's transcript tells what was changed",
}
logger = logging.getLogger(__name__)


class Refused(Exception):
    """There is no answer but this one of HTTP."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def told(exc: errors.AgentdError) -> str:
    """An error for a model: what is wrong, and what it can do about it."""
    text = str(exc).rstrip(".")
    remedy = next((REMEDIES[kind] for kind in type(exc).__mro__ if kind in REMEDIES), "")
    return f"{text}; {remedy}" if remedy else text


def protocol_error(exc: Exception) -> RpcError:
    """The one place where an exception becomes the error of a response."""
    if isinstance(exc, RpcError):
        return exc
    if isinstance(exc, NotMessage):
        return RpcError(exc.code, str(exc))
    if isinstance(exc, errors.AgentdError):
        return RpcError(INTERNAL_ERROR, told(exc))
    logger.error("unhandled error", exc_info=exc)  # our bug: the client learns no more than that
    return RpcError(INTERNAL_ERROR, "internal error")


def problem(status: int, error: RpcError, request_id: Id | None = None) -> Response:
    return Response(status, encode(RpcResponse(request_id, error=error)), JSON)


def answer_error(exc: Exception) -> Response:
    match exc:
        case Refused():
            return exc.response
        case BadMessage():
            return problem(exc.status, RpcError(INVALID_REQUEST, str(exc)))
        case errors.PayloadTooLarge():
            return problem(413, RpcError(INVALID_REQUEST, str(exc)))
        case errors.Forbidden() | ForeignRequest():
            return problem(403, RpcError(INVALID_REQUEST, str(exc)))
    error = protocol_error(exc)
    return problem(500 if error.code == INTERNAL_ERROR else 400, error)


def unauthorized() -> Response:
    text = "send the admin token, or one that was issued with the scope mcp: Authorization: Bearer TOKEN"
    answer = problem(401, RpcError(INVALID_REQUEST, text))
    answer.headers = (("WWW-Authenticate", "Bearer"),)
    return answer


def not_found(request: Request) -> Response:
    return problem(404, RpcError(INVALID_REQUEST, f"Not found: {request.path}"))


def method_not_allowed(request: Request) -> Response:
    """GET too: there is nothing that is told to clients that ask for nothing."""
    return problem(405, RpcError(INVALID_REQUEST, f"Method not allowed: {request.method}"))
