"""The admin API over sessions whose executors are engines in this process, each behind a socket of its own."""

from __future__ import annotations

import json
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import attrs
import trio

from agentd.daemon.access import Access
from agentd.daemon.executors import Seats
from agentd.daemon.listing import open_listing
from agentd.daemon.opening import Control, open_work
from agentd.daemon.registry import Registry
from agentd.domain import Entry, JobSpec, Mode, ToolPolicy
from agentd.engine.engine import open_engine
from agentd.engine.job import Bench
from agentd.engine.session import Sessions
from agentd.faces.admin.routes import App, open_admin
from agentd.faces.executor import control
from agentd.providers.registry import Registry as Models
from agentd.providers.scripted import Reply, ScriptedProvider
from agentd.store.home import Home, SessionDir
from agentd.store.log import open_log
from agentd.tools.base import ToolState
from agentd.wire.client import Address, Client
from agentd.wire.listeners import open_unix_listener
from agentd.wire.messages import ChunkedResponse, Request, Response
from agentd.wire.routing import respond
from agentd.wire.server import serve
from tests.workshop import TOOLS

ADMIN = "the-admin-token"


class FakeSeat:
    """A place whose executor is an engine over a scripted model."""

    def __init__(self, seats: FakeSeats, session: SessionDir, workspace: Path) -> None:
        self.session, self.workspace = session, workspace
        self.state = "absent"
        self.since = self.crashes = 0
        self.obituary: str | None = None
        self.job: str | None = None
        self.words: deque[str] = deque(["ready to work"])
        self.launched: Any = None
        self.launches = 0
        self._client: Client | None = None
        self._seats = seats
        self._stop = trio.Event()
        self._over = trio.Event()

    async def up(self) -> Any:
        if self.launched is None:
            await self._seats.nursery.start(self._live)
        return self.launched

    async def down(self) -> None:
        if self.launched is not None:
            self._stop.set()
            await self._over.wait()

    def client(self) -> Client:
        assert self._client is not None
        return self._client

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        self._stop, self._over = trio.Event(), trio.Event()
        self.launches += 1
        self._enter("starting")
        with tempfile.TemporaryDirectory() as place:
            async with trio.open_nursery() as nursery:
                sessions = Sessions(None, nursery)
                sessions.load([self.session])
                session = sessions.get(self.session.id)
                await sessions.open(session)
                async with open_engine(self._seats.bench(self.workspace), sessions) as engine:
                    inside = control.Control(engine, session, "an-executors-token")
                    listener = open_unix_listener(Path(place) / "s")
                    nursery.start_soon(serve, [listener], [inside.mount()])
                    ready = SimpleNamespace(sandbox="bwrap")
                    address, token = f"unix:{place}/s", "an-executors-token"
                    self.launched = SimpleNamespace(address=address, token=token, pid=1, ready=ready)
                    self._client = Client(Address.parse(address))
                    self._enter("live")
                    task_status.started()
                    await self._stop.wait()
                    self._enter("stopping")
                    if self._seats.interrupts:
                        await engine.close(interrupt=True)
                    inside.feed.close()
                    self._client.close()
                nursery.cancel_scope.cancel()
        self.launched = None
        self._enter("absent")
        self._over.set()

    def _enter(self, state: str) -> None:
        self.state = state
        for callback in self._seats.callbacks:
            callback(self)


class FakeSeats:
    """What is used of daemon.executors.Seats."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.interrupts = False  # whether what is at work ends as an executor's own end has it, and not as cancelled
        self.model = ScriptedProvider([])
        self.plan = SimpleNamespace(launcher=SimpleNamespace(is_local=True, template="{argv}"))
        self.callbacks: list[Callable[[FakeSeat], object]] = []
        self._seats: dict[str, FakeSeat] = {}

    def seat(self, session: SessionDir, workspace: Path) -> FakeSeat:
        return self._seats.setdefault(session.id, FakeSeat(self, session, workspace))

    def forget(self, session_id: str) -> None:
        self._seats.pop(session_id, None)

    def __iter__(self) -> Iterator[FakeSeat]:
        return iter(tuple(self._seats.values()))

    def subscribe(self, callback: Callable[[FakeSeat], object]) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def bench(self, workspace: Path) -> Bench:
        return Bench(
            workspace=workspace,
            registry=Models([self.model]),
            tools={tool.name: tool for tool in TOOLS},
            off_limits=(),
            state=ToolState(workspace),
            read_only=False,
            snapshots=None,
        )


@attrs.define
class Api:
    """Requests with the admin token, unless another is given."""

    app: App
    home: Home
    seats: FakeSeats
    workspace: Path

    def says(self, *replies: Reply | str) -> None:
        """The model's next replies."""
        self.seats.model = ScriptedProvider(replies)

    async def request(
        self, method: str, path: str, body: Any = None, *, token: str | None = ADMIN, **headers: str
    ) -> tuple[int, bytes]:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        fields |= {"authorization": f"Bearer {token}"} if token is not None else {}
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        answer = await respond([self.app.mount()], Request(method, f"/agentd/v1{path}", fields, raw))
        if isinstance(answer, ChunkedResponse):
            return answer.status, b"".join([piece async for piece in answer.chunks])
        return answer.status, answer.body if isinstance(answer, Response) else b""

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        status, raw = await self.request(method, path, body, **more)
        return status, json.loads(raw) if raw else None

    async def get(self, path: str, **more: Any) -> Any:
        status, told = await self.ask("GET", path, **more)
        assert status == 200, told
        return told

    async def issue(self, *scope: str, **fields: Any) -> tuple[str, str]:
        """A new token and its id."""
        status, told = await self.ask("POST", "/tokens", {"scope": list(scope), **fields})
        assert status == 201, told
        return told["token"], told["id"]

    async def job_in(self, session: SessionDir, state: str) -> Any:
        """The session's latest job, once it has *state*."""
        with trio.fail_after(10):
            while True:
                [job, *_] = (await self.get(f"/jobs?session={session.id}"))["items"]
                if job["state"] == state:
                    return job
                await self.get(f"/sessions/{session.id}/log?after={await self.last(session)}&wait=1")

    async def last(self, session: SessionDir) -> str:
        return str((await self.get(f"/sessions/{session.id}/log?limit=1"))["last"])

    def session(self, face: str = "run", *entries: Entry, owner: str | None = None) -> SessionDir:
        """A session in place. *owner*: whose it is, by root.ndjson."""
        made = self.home.create_session(face, self.workspace, "a session")
        if entries:
            append(made, *entries)
        if owner is not None:
            fields: dict[str, Any] = {"id": made.id, "face": face, "name": "", "workspace": str(self.workspace)}
            self.home.root_log.append([Entry("session.opened", fields | {"worktree": None, "owner": owner})])
        return made


def append(session: SessionDir, *entries: Entry) -> None:
    with open_log(session.log_path) as log:
        log.append(entries)


def job_entries(prompt: str = "do it", job: str = "job-1", mode: Mode = Mode.CODE) -> list[Entry]:
    """A job that is accepted; nobody has begun with it."""
    spec = attrs.asdict(JobSpec(mode, prompt, tools=ToolPolicy()))
    said: dict[str, Any] = {"id": f"m-{job}", "role": "user", "content": [{"type": "text", "text": prompt}]}
    created = Entry("job.created", {"spec": spec, "key": "a-key-hash", "payload": "a-payload-hash", "dialect": 1}, job)
    return [created, Entry("message", said | {"model": None, "usage": None}, job)]


def asking(job: str = "job-1", ask: str = "ask-1") -> list[Entry]:
    """It has begun, and waits: may it write?"""
    started = {
        "model": "scripted",
        "resolved_model": "scripted",
        "provider": "scripted",
        "tools": ["Write"],
        "mcp_servers": [],
        "permission_mode": "default",
        "containment": "group",
        "sandbox": "off",
        "history": 0,
    }
    use = {"type": "tool_use", "id": "call-1", "name": "Write", "input": {"about": "a"}}
    said: dict[str, Any] = {"id": f"a-{job}", "role": "assistant", "content": [use], "model": "scripted", "usage": None}
    opened: dict[str, Any] = {"id": ask, "kind": "permission", "call": "call-1", "tool": "Write"}
    opened["input"] = {"about": "a"}
    opened |= {"question": "Allow Write: a?", "options": ["allow", "deny", "always"], "deadline": None}
    entries = (("job.started", started), ("message", said), ("ask.opened", opened))
    return [Entry(kind, data, job) for kind, data in entries]


@asynccontextmanager
async def serving(root: Path, *says: Reply | str) -> AsyncIterator[Api]:
    """An admin API whose sessions are in *root*, and what was left of them is looked after. *says*: what the model says
    in those that go on by themselves."""
    home, workspace = Home(root / "data"), root / "workspace"
    home.make()
    workspace.mkdir(exist_ok=True)
    async with trio.open_nursery() as nursery, open_listing(home) as listing:
        seats = FakeSeats(nursery)
        registry = Registry(home.root_log)
        registry.load()
        owned = Control(home, registry, cast("Seats", seats))
        access = Access(home.root_log, ADMIN)
        access.load()
        seats.model = ScriptedProvider(says)
        async with open_work(owned, listing) as work, open_admin(owned, listing, work, access) as app:
            await work.sessions.recovered.wait()
            yield Api(app, home, seats, workspace)
        for seat in seats:
            await seat.down()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def over_a_socket(app: App) -> AsyncIterator[Client]:
    """A client of a real server, for streams."""
    with tempfile.TemporaryDirectory() as place:
        async with trio.open_nursery() as nursery:
            await nursery.start(_serve, open_unix_listener(Path(place) / "s"), app)
            async with Client(Address.parse(f"unix:{place}/s")) as client:
                yield client
            app.close_feeds()
            nursery.cancel_scope.cancel()


async def _serve(listener: Any, app: App, task_status: trio.TaskStatus[None]) -> None:
    await serve([listener], [app.mount()], task_status=task_status)
