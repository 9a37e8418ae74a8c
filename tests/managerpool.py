"""A pool of sessions over worktrees and executors that are not real: what they did is in lists."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import trio

from agentd.daemon.eviction import Idleness
from agentd.daemon.executors import Seat
from agentd.daemon.launch import Launched
from agentd.daemon.leftovers import Leftover
from agentd.daemon.pool import Pool
from agentd.daemon.recovery import Report, recover
from agentd.daemon.registry import Registry
from agentd.daemon.settings import ManagerSettings
from agentd.daemon.worktree_records import BRANCH, Worktree
from agentd.daemon.worktree_source import Source
from agentd.daemon.worktrees import Removed
from agentd.errors import ExecutorFailed, InvalidRequest
from agentd.store.home import Home, SessionDir
from agentd.wire.client import Address, Client

COMMIT = "1" * 40
MASTER = "the master's token"
INTERNAL = "the executor's token"
Hook = Callable[[], Awaitable[None]]


async def at_once() -> None:
    await trio.lowlevel.checkpoint()


@attrs.frozen
class Gate:
    """A hook that holds up who comes, until the test lets them go on."""

    reached: trio.Event = attrs.field(factory=trio.Event)
    opened: trio.Event = attrs.field(factory=trio.Event)

    async def __call__(self) -> None:
        self.reached.set()
        await self.opened.wait()


@attrs.define
class FakeTrees:
    """Worktrees that are empty directories."""

    base: Path
    before_create: Hook = at_once
    before_remove: Hook = at_once
    trouble: str | None = None
    left: list[Leftover] = attrs.field(factory=list)
    made: list[str] = attrs.field(factory=list)  # ids
    removed: list[str] = attrs.field(factory=list)  # ids
    cleared: list[Path] = attrs.field(factory=list)

    async def check(self, repo_path: str, ref: str | None) -> Source:
        if not repo_path.startswith("/"):
            raise InvalidRequest(["must be an absolute path @ $.repoPath"])
        return Source(Path(repo_path), COMMIT, ref)

    async def create(self, source: Source, worktree_id: str) -> Worktree:
        await self.before_create()
        self.made.append(worktree_id)
        path = self.base / worktree_id
        path.mkdir(parents=True)
        return Worktree(worktree_id, path, source.repo, BRANCH + worktree_id, source.commit)

    async def remove(self, worktree: Worktree, session_id: str) -> Removed:
        await self.before_remove()
        self.removed.append(worktree.id)
        if worktree.path.is_dir():
            worktree.path.rmdir()
        return Removed(None, branch_kept=False)

    async def leftovers(self, owned: Collection[Path]) -> list[Leftover]:
        return [each for each in self.left if each.path not in owned]

    async def clear(self, leftover: Leftover) -> Removed:
        if leftover.state == "alive":
            return Removed(None, branch_kept=True, kept=leftover.path)
        self.cleared.append(leftover.path)
        return Removed(f"refs/agentd/rescued/{leftover.path.name}", branch_kept=False)

    def problem(self) -> str | None:
        return self.trouble

    @property
    def standing(self) -> set[str]:
        return {path.name for path in self.base.iterdir()} if self.base.exists() else set()


@attrs.frozen
class FakeLaunch:
    """What a test needs of a Launched."""

    address: str
    token: str = INTERNAL
    dead: trio.Event = attrs.field(factory=trio.Event)

    async def wait_dead(self) -> str:
        await self.dead.wait()
        return "exit code 1"


class FakeSeat(Seat):
    """Its executor is whoever listens at *address*."""

    def __init__(self, session: SessionDir, workspace: Path, address: str) -> None:
        self.session, self.workspace = session, workspace
        self.state, self.since, self.crashes = "absent", 0, 0
        self.address = address
        self.refusal: ExecutorFailed | None = None  # what up() raises
        self.before_up: Hook = at_once
        self.before_down: Hook = at_once
        self.launches = 0
        self.kills = 0
        self._life = None
        self._words = deque()
        self._here: FakeLaunch | None = None
        self._client: Client | None = None

    @property
    def launched(self) -> Launched | None:
        return cast("Launched", self._here) if self._here else None

    @property
    def here(self) -> FakeLaunch:
        assert self._here is not None
        return self._here

    async def up(self) -> Launched:
        if self._here is None:
            await self.before_up()
            if self.refusal is not None:
                raise self.refusal
            self.launches += 1
            self._here, self._client = FakeLaunch(self.address), Client(Address.parse(self.address), connect_seconds=2)
            self.state = "live"
        return cast("Launched", self._here)

    def client(self) -> Client:
        if self._client is None:
            raise ExecutorFailed("the executor does not run")
        return self._client

    def retire(self) -> None:
        self.refusal = ExecutorFailed("the session is being removed")

    async def down(self) -> None:
        await self.before_down()
        self.die()

    async def kill(self) -> None:
        self.kills += 1
        self.die()

    def die(self) -> None:
        if self._here is not None and self._client is not None:
            self._here.dead.set()
            self._client.close()
        self._here = self._client = None
        self.state = "absent"


@attrs.define
class FakeSeats:
    address: str = "unix:/nowhere"
    seats: dict[str, FakeSeat] = attrs.field(factory=dict)
    prepare: Callable[[FakeSeat], object] = lambda seat: None

    def seat(self, session: SessionDir, workspace: Path) -> FakeSeat:
        if session.id not in self.seats:
            made = self.seats[session.id] = FakeSeat(session, workspace, self.address)
            self.prepare(made)
        return self.seats[session.id]

    def forget(self, session_id: str) -> None:
        self.seats.pop(session_id, None)


@attrs.define
class Bench:
    """One data directory; a test opens pools over it, one after the other where it is about restarts."""

    home: Home
    trees: FakeTrees
    seats: FakeSeats = attrs.field(factory=FakeSeats)
    now: int = 1_000_000  # epoch ms

    @asynccontextmanager
    async def open(self, size: int = 2) -> AsyncIterator[tuple[Pool, Report]]:
        registry = Registry(self.home.root_log)
        registry.load()
        async with trio.open_nursery() as nursery:
            pool = Pool(size, self.home, registry, self.trees, self.seats, nursery, lambda: self.now)
            yield pool, await recover(pool, [])
            pool.hurry()
            nursery.cancel_scope.cancel()

    def restart(self) -> None:
        """Executors die with their daemon."""
        self.seats = attrs.evolve(self.seats, seats={})

    @property
    def directories(self) -> set[str]:
        """Names of what is in the directory of sessions."""
        return {path.name for path in self.home.sessions_path.iterdir()} if self.home.sessions_path.exists() else set()

    def records(self) -> list[tuple[str, str]]:
        """Of root.ndjson: type, and id of the session."""
        return [(record.type, record.data["id"]) for record in self.home.root_log.read().records]


def make_bench(path: Path) -> Bench:
    return Bench(Home(path / "data"), FakeTrees(path / "trees"))


def settings(base: Path, **fields: Any) -> ManagerSettings:
    idleness = Idleness()
    values: dict[str, Any] = {
        "id": "00000000-0000-4000-8000-00000000000a",
        "pool_size": 2,
        "worktree_base": base,
        "idle_seconds": idleness.seconds,
        "eviction_seconds": idleness.interval_seconds,
        "token_seconds": 3600.0,
        "command": (),
        "template": "",
        "words": (),
    }
    return ManagerSettings(**values | fields)
