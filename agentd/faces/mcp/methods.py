"""What clients can ask for: each method, and in which era of the protocol there is such."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from agentd.errors import InvalidRequest, only_cause
from agentd.faces.mcp import resources, tools
from agentd.faces.mcp.answers import protocol_error
from agentd.faces.mcp.app import App, Call, InputRequired
from agentd.faces.mcp.protocol import SUBSCRIPTION_KEY, discovered, shaped
from agentd.wire.jsonrpc import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, Response, RpcError

Answering = Callable[[App, Call], Awaitable[dict[str, Any]]]


async def _ping(app: App, call: Call) -> dict[str, Any]:
    return {}


async def _discover(app: App, call: Call) -> dict[str, Any]:
    return discovered()


async def _tools(app: App, call: Call) -> dict[str, Any]:
    return tools.listed(call.principal)


async def _templates(app: App, call: Call) -> dict[str, Any]:
    return resources.templates()


async def _listen(app: App, call: Call) -> dict[str, Any]:
    """Until the server stops. Nothing that can be subscribed to changes unasked: none of it is promised."""
    if not call.peer.takes_messages:
        raise RpcError(INVALID_REQUEST, "a subscription is a stream: accept text/event-stream")
    ident = {SUBSCRIPTION_KEY: call.id}
    call.peer.notify("notifications/subscriptions/acknowledged", {"_meta": ident, "notifications": {}})
    await app.stopping.wait()
    return {"_meta": ident}


BOTH: dict[str, Answering] = {
    "tools/list": _tools,
    "tools/call": tools.called,
    "resources/list": resources.listed,
    "resources/templates/list": _templates,
    "resources/read": resources.read,
}
HANDSHAKE: dict[str, Answering] = {**BOTH, "ping": _ping}
STATELESS: dict[str, Answering] = {**BOTH, "server/discover": _discover, "subscriptions/listen": _listen}


async def answer(app: App, call: Call) -> Response:
    """The response to a request, whatever happens; nothing of ours but trio.Cancelled comes out of it."""
    try:
        method = (STATELESS if call.client.is_stateless else HANDSHAKE).get(call.method)
        if method is None:
            raise RpcError(METHOD_NOT_FOUND, "Method not found")
        result = await method(app, call)
    except InputRequired as exc:
        result = {"resultType": "input_required", "inputRequests": dict(exc.requests)}
    except InvalidRequest as exc:
        return Response(call.id, error=RpcError(INVALID_PARAMS, str(exc)))
    except Exception as exc:
        return Response(call.id, error=protocol_error(only_cause(exc)))
    return Response(call.id, shaped(call.method, result, call.client))
