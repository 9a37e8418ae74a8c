"""The MCP server over HTTP: `/mcp`, for clients of both eras. The rules: modelcontextprotocol.io/specification,
2025-11-25 and 2026-07-28, Streamable HTTP. GET is not allowed: nothing is pushed to who asks for nothing."""

from __future__ import annotations

from agentd.faces.mcp import protocol
from agentd.faces.mcp.answers import Refused, problem
from agentd.faces.mcp.conversation import MOST_AT_ONCE, Conversation
from agentd.faces.mcp.protocol import EVENTS, JSON
from agentd.faces.mcp.server import Server, open_mcp, routes
from agentd.wire import jsonrpc
from agentd.wire.jsonrpc import INVALID_REQUEST, NotMessage, RpcError, encode, parse_batch, parse_message
from agentd.wire.messages import Answer, Request, Response

__all__ = ["Server", "open_mcp", "routes"]


@routes.post("/")
async def post(server: Server, request: Request) -> Answer:
    """A message: 200 and the response to a request, as JSON or as a stream of events; 202 for anything else."""
    accepted = request.headers.get("accept", "*/*")
    if not any(kind in accepted for kind in (JSON, EVENTS, "*/*", "application/*")):
        raise Refused(problem(406, RpcError(INVALID_REQUEST, f"accept {JSON} and {EVENTS}")))
    if request.body.lstrip().startswith(b"["):
        return await _answer_batch(server, request)
    try:
        message = parse_message(request.body)
    except NotMessage as exc:
        raise Refused(problem(400, RpcError(exc.code, str(exc)), exc.id)) from exc
    stateless = request.headers.get(protocol.VERSION_HEADER) in protocol.STATELESS
    if isinstance(message, jsonrpc.Request):
        if message.method == "initialize":
            return _begin(server, request, message)
        if stateless or protocol.is_stateless(message):
            return await _answer_stateless(server, request, message)
    elif stateless:
        return _take_stateless(message)
    session = server.find(request)
    if isinstance(message, jsonrpc.Request):
        return await server.answer(request, message, session.client, session.conversation)
    session.conversation.take(message)
    return _accepted()


async def _answer_batch(server: Server, request: Request) -> Response:
    """Of several messages, in the one version that has such: an array of responses, or 202 where there are none."""
    session = server.find(request)
    try:
        if session.client.version != protocol.BATCHES:
            raise NotMessage(f"a message, not an array: only {protocol.BATCHES} has batches")
        messages = parse_batch(request.body)
        if len(messages) > MOST_AT_ONCE:
            raise NotMessage(f"more than {MOST_AT_ONCE} messages at once")
    except NotMessage as exc:
        raise Refused(problem(400, RpcError(exc.code, str(exc)), exc.id)) from exc
    asked = [message for message in messages if isinstance(message, jsonrpc.Request)]
    wrong = [message for message in messages if isinstance(message, NotMessage)]
    for message in messages:
        if isinstance(message, (jsonrpc.Notification, jsonrpc.Response)):
            session.conversation.take(message)
    told = [encode(jsonrpc.Response(each.id, error=RpcError(each.code, str(each)))) for each in wrong]
    told += await server.answer_all(request, asked, session)
    return Response(200, b"[" + b",".join(told) + b"]", JSON) if told else _accepted()


@routes.delete("/")
async def delete(server: Server, request: Request) -> Response:
    """204: the session is over; 404 there is none such."""
    server.close(server.find(request))
    return Response(204, content_type=None)


def _begin(server: Server, request: Request, message: jsonrpc.Request) -> Response:
    try:
        client = protocol.initialized(message.params)
    except RpcError as exc:
        raise Refused(problem(400, exc, message.id)) from exc
    session = server.open(request.principal, client)
    body = encode(jsonrpc.Response(message.id, protocol.about(client)))
    return Response(200, body, JSON, [("Mcp-Session-Id", session.id)])


async def _answer_stateless(server: Server, request: Request, message: jsonrpc.Request) -> Answer:
    try:
        client = protocol.stateless(message, dict(request.headers.items()))
    except RpcError as exc:
        raise Refused(problem(protocol.STATUS[exc.code], exc, message.id)) from exc
    return await server.answer(request, message, client, Conversation())


def _take_stateless(message: jsonrpc.Notification | jsonrpc.Response) -> Response:
    """In this era there is nothing to tell a server by a notification over HTTP, and nothing that it asks."""
    if isinstance(message, jsonrpc.Response):
        raise Refused(problem(400, RpcError(INVALID_REQUEST, "a request or a notification is expected")))
    return _accepted()


def _accepted() -> Response:
    return Response(202, content_type=None)
