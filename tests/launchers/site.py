"""A place where executors are launched through other programs, and how they are looked at."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.daemon.launch import Launched, launch
from agentd.daemon.launchers import Launcher
from agentd.domain import Hello
from agentd.store.home import Home, SessionDir
from agentd.wire.client import Address, Client

READY_SECONDS, WAIT_SECONDS = 60.0, 60.0
SECRET = "sk-not-to-be-seen"


@attrs.frozen
class Site:
    """A workspace, a data directory, and the program. Paths are short: a unix socket's must be."""

    root: Path
    pyz: Path
    home: Home

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    @property
    def argv(self) -> list[str]:
        return [sys.executable, str(self.pyz), "executor", "--supervised", "--workspace-dir", str(self.workspace)]

    def session(self) -> SessionDir:
        return self.home.create_session("manager", self.workspace, "a session")

    @asynccontextmanager
    async def launch(self, template: str, **more: Any) -> AsyncIterator[Launched]:
        """A real executor. *more*: as for launch(), and its session, lease, words."""
        session = more.pop("session", None) or self.session()
        argv = [*self.argv, *more.pop("words", ())]
        values: Mapping[str, str] = {"mgr": "m", **more.pop("values", {})}
        catalog = {"providers": [], "unused": SECRET}
        hello = Hello(session.id, str(session.path), lease=more.pop("lease", None), providers=catalog)
        options = {"ready_seconds": READY_SECONDS, "launcher": Launcher(template), "values": values, **more}
        async with launch(argv, hello, **options) as executor:
            yield executor


@asynccontextmanager
async def talking_to(executor: Launched) -> AsyncIterator[Client]:
    async with Client(Address.parse(executor.address)) as client:
        yield client


async def ask(executor: Launched, path: str = "/_/health") -> Any:
    async with talking_to(executor) as client:
        headers = [("Authorization", f"Bearer {executor.token}")]
        return json.loads((await client.request("GET", path, headers=headers)).body)


async def until(true: Callable[[], bool], seconds: float = WAIT_SECONDS) -> float:
    """How long it took to become true; in seconds."""
    began = time.monotonic()
    with trio.fail_after(seconds):
        while not true():  # noqa: ASYNC110  # of other processes there is no event
            await trio.sleep(0.01)
    return time.monotonic() - began


async def death(executor: Launched) -> str:
    with trio.fail_after(WAIT_SECONDS):
        return await executor.wait_dead()
