"""The runs API over sessions whose executors are engines in this process, with a model that plays replies."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import trio

from agentd.daemon.access import Access
from agentd.daemon.executors import Seats
from agentd.daemon.listing import open_listing
from agentd.daemon.opening import Control, open_work
from agentd.daemon.registry import Registry
from agentd.daemon.tail import Cursor
from agentd.faces.runs.base import Base, FaceSettings
from agentd.faces.runs.routes import Runs, mount, open_runs
from agentd.providers.scripted import Reply, ScriptedProvider
from agentd.store.home import Home
from agentd.store.specrun import FINAL
from agentd.wire.client import Address, Client
from agentd.wire.limits import Limits
from agentd.wire.listeners import open_unix_listener
from agentd.wire.messages import ChunkedResponse, Request, Response
from agentd.wire.routing import Mount, respond
from agentd.wire.server import serve
from tests.adminapi import FakeSeats


def plan(*steps: dict[str, Any]) -> str:
    return json.dumps({"steps": [{"id": f"s{number}", **step} for number, step in enumerate(steps, 1)]})


def command(line: str, **more: Any) -> dict[str, Any]:
    return {"title": line, "type": "command", "command": line, **more}


@attrs.define
class Server:
    runs: Runs
    base: Base
    home: Home
    seats: FakeSeats
    workspace: Path
    client: Client
    mounts: list[Mount]

    def says(self, *replies: Reply | str) -> None:
        """The model's next replies."""
        self.seats.model = ScriptedProvider(replies)

    async def answer(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """Without a socket."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        answer = await respond(self.mounts, Request(method, path, fields, raw))
        if isinstance(answer, ChunkedResponse):
            pieces = b"".join([piece async for piece in answer.chunks])
            if (aclose := getattr(answer.chunks, "aclose", None)) is not None:
                await aclose()
            return Response(answer.status, pieces, answer.content_type, answer.headers)
        assert isinstance(answer, Response), answer
        return answer

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        answer = await self.answer(method, path, body, **headers)
        return answer.status, json.loads(answer.body) if answer.body else None

    async def get(self, path: str, **headers: str) -> Any:
        status, told = await self.ask("GET", path, **headers)
        assert status == 200, told
        return told

    async def create(self, *replies: Reply | str, spec: str = "spec.md") -> str:
        """A run's id. *replies*: what the model says from now on."""
        if replies:
            self.says(*replies)
        body = {"workspace_path": str(self.workspace), "spec_path": spec}
        status, told = await self.ask("POST", "/v1/runs", body)
        assert status == 200, told
        return str(told["run_id"])

    async def until(self, run: str, *statuses: str) -> Any:
        """The run, once it has one of these statuses; any final one where none is given."""
        return await self.when(run, lambda told: told["status"] in (statuses or FINAL))

    async def when(self, run: str, holds: Callable[[Any], bool]) -> Any:
        """The run, once that *holds* of it."""
        tail = await self.tail(run)
        with trio.fail_after(20):
            while True:
                seen = tail.reader.last_pos
                if holds(told := await self.get(f"/v1/runs/{run}")):
                    return told
                await tail.wait(Cursor(seen), 1)

    async def tail(self, run: str) -> Any:
        request = Request("GET", "/")
        request.principal = self.base.principal(request)
        found = await self.runs.find(request, run)
        return await self.base.sessions.tail(found.row.id)

    async def approve(self, run: str, step: str) -> tuple[int, Any]:
        return await self.ask("POST", f"/v1/runs/{run}/approve", {"step_id": step})

    async def events(self, run: str) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", await self.get(f"/v1/runs/{run}/events?format=json"))


@asynccontextmanager
async def serving(
    root: Path, *says: Reply | str, most: int = 8, admin: str = "", settings: FaceSettings | None = None
) -> AsyncIterator[Server]:
    """A runs API whose sessions are in *root*. *says*: what the model says in runs that go on by themselves."""
    home, workspace = Home(root / "data"), root / "workspace"
    home.make()
    workspace.mkdir(exist_ok=True)
    async with trio.open_nursery() as nursery, open_listing(home) as listing:
        seats = FakeSeats(nursery)
        seats.model = ScriptedProvider(says)
        registry, access = Registry(home.root_log), Access(home.root_log, admin)
        registry.load()
        access.load()
        control = Control(home, registry, cast("Seats", seats))
        async with open_work(control, listing, most=16) as work:
            base = Base(work, access, settings or FaceSettings(), nursery)
            async with open_runs(base, most) as runs, over_a_socket([mount(runs)], base) as client:
                await work.sessions.recovered.wait()
                yield Server(runs, base, home, seats, workspace, client, [mount(runs)])
                for seat in seats:
                    await seat.down()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def over_a_socket(mounts: Sequence[Mount], base: Base) -> AsyncIterator[Client]:
    limits = Limits(drain_seconds=1.0)
    with tempfile.TemporaryDirectory() as place:
        async with trio.open_nursery() as nursery:
            await nursery.start(_serve, open_unix_listener(Path(place) / "s"), list(mounts), limits)
            async with Client(Address.parse(f"unix:{place}/s")) as client:
                yield client
            base.sessions.tails.close()
            nursery.cancel_scope.cancel()


async def _serve(listener: Any, mounts: list[Mount], limits: Limits, task_status: trio.TaskStatus[None]) -> None:
    await serve([listener], mounts, limits=limits, task_status=task_status)
