"""The agent API itself: what it is, and how it is. The contract: agent-api.md, 3."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from agentd import __version__
from agentd.errors import AgentdError
from agentd.faces.agent.answers import json_answer
from agentd.faces.agent.app import App, route
from agentd.store.index import SessionIndex
from agentd.wire.messages import Request, Response

SERVICE = "claude-agent-api"  # clients look for this name
PROBE_SECONDS = 2.0
OVERALL = {0: "unhealthy", 1: "degraded", 2: "ok"}  # by how many of the two are well


@route("GET", "/", public=True)
async def root(app: App, request: Request) -> Response:
    return json_answer(200, {"service": SERVICE, "version": __version__, "implementation": "agentd"})


@route("GET", "/health", public=True)
@route("GET", "/api/v1/health", public=True)
async def health(app: App, request: Request) -> Response:
    """Always 200. The names are those of the roles that other programs have there: what is durable, and what lives."""
    stored = await _probe("sqlite", lambda: _store(app))
    lives = await _probe("in-process", lambda: _registry(app))
    well = sum(each["status"] == "ok" for each in (stored, lives))
    told = {"status": OVERALL[well], "version": __version__, "dependencies": {"postgres": stored, "redis": lives}}
    return json_answer(200, told)


async def _probe(backend: str, work: Callable[[], Awaitable[None]]) -> dict[str, Any]:
    began = trio.current_time()
    try:
        with trio.fail_after(PROBE_SECONDS):
            await work()
    except (AgentdError, OSError, trio.TooSlowError) as exc:
        trouble = f"no answer within {PROBE_SECONDS:g} s" if isinstance(exc, trio.TooSlowError) else str(exc)
        return {"status": "error", "error": trouble, "backend": backend}
    return {"status": "ok", "latency_ms": round((trio.current_time() - began) * 1000, 3), "backend": backend}


async def _store(app: App) -> None:
    """The index answers, and the data directory can be written."""
    await app.sessions.listing.probe(SessionIndex.ping)
    root = app.sessions.home.root
    if not await trio.to_thread.run_sync(os.access, root, os.W_OK):
        raise OSError("the data directory cannot be written")


async def _registry(app: App) -> None:
    """The loop turns, and the locks of sessions can be had."""
    async with app.sessions.lock(""):
        await trio.lowlevel.checkpoint()
