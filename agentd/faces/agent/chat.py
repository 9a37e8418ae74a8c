"""What clients of OpenAI's API know: models, and chat completions, each a query in a session of its own.

The contract: agent-api.md, 23, item 1. Errors have the shape that those clients read.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import trio

from agentd.faces.agent import completion_requests, completions, requests
from agentd.faces.agent.answers import json_answer
from agentd.faces.agent.app import App, route
from agentd.faces.agent.completion_requests import Completion
from agentd.faces.agent.requests import Query
from agentd.faces.agent.running import LARGE_BYTES, awaited
from agentd.faces.agent.streams import PING
from agentd.faces.agent.terms import Terms
from agentd.wire.feed import WatchedFeed
from agentd.wire.messages import Answer, BadMessage, Hangup, Request, Response, StreamResponse

PERMISSION_MODE = "x-permission-mode"


def _theirs(handler: Callable[..., Awaitable[Answer]]) -> Callable[..., Awaitable[Answer]]:
    @wraps(handler)
    async def shaped(app: App, request: Request, **params: Any) -> Answer:
        try:
            return await handler(app, request, **params)
        except (BadMessage, Hangup):
            raise
        except Exception as exc:
            return completions.answer_error(exc)

    return shaped


@route("POST", "/v1/chat/completions")
@_theirs
async def create_completion(app: App, request: Request) -> Answer:
    """200 and the completion, or with `stream` its chunks. Nobody can be asked."""
    app.check_open()
    asked, query = await _read(request, app.terms)
    run = await app.begin(query, request.principal, single=True, history=asked.history)
    tail = await app.sessions.tail(run.session_id)
    if asked.stream:
        frames = completions.CompletionFrames(tail, run, asked)
        return StreamResponse(WatchedFeed(frames, lambda: app.abandon(run), keepalive=PING))
    created = int(time.time())
    return completions.answer(
        await awaited(app, request, run, lambda: completions.completion(tail, run, asked, created))
    )


@route("GET", "/v1/models")
@_theirs
async def list_models(app: App, request: Request) -> Response:
    """Every name that a query may use."""
    return json_answer(200, completions.models(app.terms.models))


@route("GET", "/v1/models/{name}")
@_theirs
async def read_model(app: App, request: Request, name: str) -> Response:
    """200; 404 no query may use that name."""
    return json_answer(200, completions.model(app.terms.models, name))


async def _read(request: Request, terms: Terms) -> tuple[Completion, Query]:
    def read() -> tuple[Completion, Query]:
        asked = completion_requests.read(request.body, request.headers.get(PERMISSION_MODE))
        return asked, requests.prompt(asked.fields, terms)

    return await trio.to_thread.run_sync(read) if len(request.body) >= LARGE_BYTES else read()
