"""The executor API asked without a socket: requests in, answers out."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from agentd.faces.executor.routes import App
from agentd.wire.messages import ChunkedResponse, FileResponse, Request, Response
from agentd.wire.routing import respond
from tests.workshop import Workshop

JOB = {"taskInput": "Say hello.", "plannerModel": "scripted", "codeModel": "scripted", "tags": {"mode": "ASK"}}


@attrs.define
class Api:
    """Requests to one executor, with its token unless another is given."""

    app: App

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        fields = {"authorization": "Bearer secret"} | {name.replace("_", "-"): value for name, value in headers.items()}
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        answer = await respond([self.app.mount()], Request(method, path, fields, raw))
        assert isinstance(answer, Response)
        return answer

    async def upload(self, zipped: bytes, **headers: str) -> Response:
        return await self.ask("PUT", "/v1/sessions", zipped, **headers)

    async def download(self, session: str) -> bytes:
        """A session's zip."""
        request = Request("GET", f"/v1/sessions/{session}", {"authorization": "Bearer secret"})
        answer = await respond([self.app.mount()], request)
        assert isinstance(answer, FileResponse | ChunkedResponse)
        assert answer.content_type == "application/zip"
        assert ("Content-Disposition", f'attachment; filename="{session}.zip"') in answer.headers
        if isinstance(answer, FileResponse):
            return answer.path.read_bytes()
        return b"".join([chunk async for chunk in answer.chunks])

    async def get(self, path: str, **headers: str) -> Any:
        return json.loads((await self.ask("GET", path, **headers)).body)

    async def start(self, key: str = "k", **fields: Any) -> Response:
        return await self.ask("POST", "/v1/jobs", JOB | fields, idempotency_key=key)

    async def finish(self, job_id: str) -> Any:
        with trio.fail_after(10):
            while not (status := await self.get(f"/v1/jobs/{job_id}"))["terminal"]:
                await self.get(f"/v1/jobs/{job_id}/events?after=100000&wait=1")
        return status


@asynccontextmanager
async def serving(workshop: Workshop) -> AsyncIterator[Api]:
    async with workshop.open() as engine:
        yield Api(App(engine, str(uuid.uuid4()), "secret"))


def code(answer: Response) -> tuple[int, str]:
    problem = json.loads(answer.body)
    assert set(problem) == {"code", "message", "details"}
    return answer.status, problem["code"]
