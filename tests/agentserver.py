"""The agent API over sessions whose executors are engines in this process, with a model that plays replies."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import trio
import trio.testing

from agentd.daemon.access import Access
from agentd.daemon.executors import Seats
from agentd.daemon.listing import open_listing
from agentd.daemon.opening import Control, open_work
from agentd.daemon.registry import Registry
from agentd.daemon.tail import Cursor
from agentd.faces.agent.keys import ApiKeys
from agentd.faces.agent.routes import AgentSettings, App, open_agent
from agentd.faces.agent.terms import Terms
from agentd.providers.protocol import FREE, Price
from agentd.providers.scripted import Reply, ScriptedProvider, reply
from agentd.store.home import Home
from agentd.wire import sse
from agentd.wire.client import Address, Client
from agentd.wire.limits import Limits
from agentd.wire.listeners import open_unix_listener
from agentd.wire.messages import ChunkedResponse, Request, Response
from agentd.wire.routing import respond
from agentd.wire.server import serve
from tests.adminapi import FakeSeats
from tests.agentapi import Told, check_run, events_of

KEY, OTHER = "the-key", "another-key"


@attrs.define
class Stream:
    """The events of one run as they come."""

    _source: AsyncIterator[sse.Event]
    events: list[Told] = attrs.field(factory=list)
    ids: list[str] = attrs.field(factory=list)

    async def until(self, name: str) -> dict[str, Any]:
        """The data of the next event of that name."""
        with trio.fail_after(10):
            async for event in self._source:
                data = json.loads(event.data)
                self.events.append((event.name, data))
                self.ids.append(event.id)
                if event.name == name:
                    return cast("dict[str, Any]", data)
        raise AssertionError(f"the stream ended without {name}: {[name for name, _ in self.events]}")


class Stage(ScriptedProvider):
    """One for all executors."""

    def says(self, *replies: Reply | str) -> None:
        """What comes next, whoever asks for it."""
        new = [reply(each) if isinstance(each, str) else each for each in replies]
        asked = len(self.requests)
        self._replies = [*self._replies, *[reply()] * asked][:asked] + new


@attrs.define
class Server:
    """Requests with KEY, unless another is given."""

    app: App
    model: Stage
    home: Home
    seats: FakeSeats
    workspace: Path
    client: Client

    def says(self, *replies: Reply | str) -> None:
        """The model's next replies."""
        self.model.says(*replies)

    async def answer(
        self, method: str, path: str, body: Any = None, *, key: str | None = KEY, **headers: str
    ) -> Response:
        """Without a socket."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        fields |= {"x-api-key": key} if key is not None else {}
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        answer = await respond([self.app.mount()], Request(method, path, fields, raw))
        if isinstance(answer, ChunkedResponse):
            pieces = b"".join([piece async for piece in answer.chunks])
            return Response(answer.status, pieces, answer.content_type, answer.headers)
        assert isinstance(answer, Response), answer
        return answer

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        answer = await self.answer(method, path, body, **more)
        return answer.status, json.loads(answer.body) if answer.body else None

    async def get(self, path: str, **more: Any) -> Any:
        status, told = await self.ask("GET", path, **more)
        assert status == 200, told
        return told

    async def run(self, path: str = "/api/v1/query", *, key: str = KEY, **body: Any) -> list[Told]:
        """The events of a whole run, held against the grammar."""
        body.setdefault("prompt", "do it")
        with trio.fail_after(20):
            answer = await self.client.request(
                "POST", path, headers=[("X-API-Key", key)], body=json.dumps(body).encode(), seconds=20
            )
        assert answer.status == 200, answer.body
        events = events_of(answer.body)
        check_run(events)
        return events

    @asynccontextmanager
    async def stream(
        self, path: str = "/api/v1/query", *, method: str = "POST", key: str = KEY, last: str = "", **body: Any
    ) -> AsyncIterator[Stream]:
        """A run, or events of a session, while it lasts. Leaving the block hangs up."""
        if method == "POST":
            body.setdefault("prompt", "do it")
        headers = [("X-API-Key", key), ("Accept", "text/event-stream")]
        headers += [("Last-Event-ID", last)] if last else []
        raw = json.dumps(body).encode() if method == "POST" else b""
        async with self.client.open_stream(method, path, headers=headers, body=raw) as stream:
            yield Stream(stream.events())

    async def session(self, *replies: Reply | str, key: str = KEY, **body: Any) -> str:
        """The id of a session that has had a run."""
        self.says(*(replies or ("Done.",)))
        return str(first(await self.run(key=key, **body), "init")["session_id"])

    async def record(self, session_id: str, **more: Any) -> Any:
        return await self.get(f"/api/v1/sessions/{session_id}", **more)

    async def interrupt_soon(self, session_id: str) -> None:
        """Once others have had their turn."""
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert (await self.ask("POST", f"/api/v1/sessions/{session_id}/interrupt"))[0] == 200

    async def until(self, session_id: str, holds: Callable[[Any], bool]) -> Any:
        """The session's record, once that *holds* of it."""
        tail = await self.app.sessions.tail(session_id)
        with trio.fail_after(10):
            while True:
                seen = tail.reader.last_pos
                if holds(record := await self.record(session_id)):
                    return record
                await tail.wait(Cursor(seen), 1)


def first(events: list[Told], name: str) -> Any:
    return next(data for each, data in events if each == name)


@asynccontextmanager
async def serving(
    root: Path, *says: Reply | str, most: int = 8, price: Price = FREE, **settings: Any
) -> AsyncIterator[Server]:
    """An agent API whose sessions are in *root*. *says*: what the model says in runs that go on by themselves; *most*:
    executors at a time."""
    home, workspace = Home(root / "data"), root / "workspace"
    home.make()
    workspace.mkdir(exist_ok=True)
    async with trio.open_nursery() as nursery, open_listing(home) as listing:
        seats = FakeSeats(nursery)
        seats.model = model = Stage(says, price=price)
        registry, access = Registry(home.root_log), Access(home.root_log, "")
        registry.load()
        access.load()
        owned = Control(home, registry, cast("Seats", seats))
        chosen = AgentSettings(Terms(workspace), **settings)
        async with (
            open_work(owned, listing, most=most, budget_of=access.budget) as work,
            open_agent(work, ApiKeys((KEY, OTHER), access), chosen) as app,
            over_a_socket(app) as client,
        ):
            await work.sessions.recovered.wait()
            yield Server(app, model, home, seats, workspace, client)
            for seat in seats:
                await seat.down()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def over_a_socket(app: App) -> AsyncIterator[Client]:
    limits = Limits(drain_seconds=1.0)
    with tempfile.TemporaryDirectory() as place:
        async with trio.open_nursery() as nursery:
            await nursery.start(_serve, open_unix_listener(Path(place) / "s"), app, limits)
            async with Client(Address.parse(f"unix:{place}/s")) as client:
                yield client
            app.sessions.tails.close()
            nursery.cancel_scope.cancel()


async def _serve(listener: Any, app: App, limits: Limits, task_status: trio.TaskStatus[None]) -> None:
    await serve([listener], [app.mount()], limits=limits, task_status=task_status)
