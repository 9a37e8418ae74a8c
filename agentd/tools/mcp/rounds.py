"""Requests that a server answers with a question of its own, again and again, until it knows what it needs.

Since 2026-07-28 that is a result of type `input_required`, whose inputs go out with the request when it is repeated
(multi round-trip requests). In 2025-11-25 it is error -32042: a person has to visit a URL first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from agentd.tools.mcp import protocol
from agentd.tools.mcp.pending import Watch
from agentd.tools.mcp.session import Session
from agentd.tools.mcp.transport import TransportFailed
from agentd.wire.jsonrpc import URL_ELICITATION_REQUIRED, RpcError

ROUNDS = 10
INPUTS = 8  # in one round
PAUSE_SECONDS = 0.25  # before a request is repeated that nothing was wanted for


async def ask(
    session: Session,
    method: str,
    params: Mapping[str, Any],
    *,
    seconds: float,
    watch: Watch,
    schema: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The final result of tools/call, prompts/get or resources/read; *seconds* are of one round. Raises as
    Session.request() does."""
    inputs: dict[str, Any] = {}
    for _ in range(ROUNDS):
        try:
            result = await session.request(method, {**params, **inputs}, seconds=seconds, watch=watch, schema=schema)
        except RpcError as exc:
            if exc.code != URL_ELICITATION_REQUIRED or session.is_modern or not await _visited(session, exc, watch):
                raise
            continue
        kind = result.get("resultType", "complete") if session.is_modern else "complete"
        if kind == "complete":
            return result
        if kind != "input_required":
            raise TransportFailed("its answer is of a type that is not known here")
        inputs = await _inputs(session, result, watch)
    raise TransportFailed(f"it wants more input still, after {ROUNDS} rounds")


async def _inputs(session: Session, result: Mapping[str, Any], watch: Watch) -> dict[str, Any]:
    """What the request is to be repeated with."""
    wanted, state = result.get("inputRequests"), result.get("requestState")
    repeated: dict[str, Any] = {"requestState": state} if isinstance(state, str) else {}
    if isinstance(wanted, dict):
        repeated["inputResponses"] = await _responses(session, wanted, watch)
    elif not repeated:
        raise TransportFailed("it wants input, and does not say which")
    else:
        await trio.sleep(PAUSE_SECONDS)
    return repeated


async def _responses(session: Session, wanted: Mapping[str, Any], watch: Watch) -> dict[str, Any]:
    if len(wanted) > INPUTS:
        raise TransportFailed(f"it wants more than {INPUTS} inputs at once")
    responses = {}
    for key, request in wanted.items():
        asked = protocol.object_of(request)
        method = protocol.one_line(asked.get("method"), 60)
        try:
            responses[key] = await session.perform(method, protocol.object_of(asked.get("params")), watch.call)
        except RpcError as exc:
            raise TransportFailed(f"it wants {method or 'something'}, which is not to be had here") from exc
    return responses


async def _visited(session: Session, required: RpcError, watch: Watch) -> bool:
    """Whether a person went to each URL."""
    wanted = protocol.objects_of(protocol.object_of(required.data).get("elicitations"))[:INPUTS]
    for params in wanted:
        try:
            answer = await session.perform("elicitation/create", {**params, "mode": "url"}, watch.call)
        except RpcError:
            return False
        if answer.get("action") != "accept":
            return False
    return bool(wanted)
