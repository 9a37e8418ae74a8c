"""An agent API over real executors, one process each, and the model that needs no network. For tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.daemon.access import Access
from agentd.daemon.executors import Seat, Seats
from agentd.daemon.listing import open_listing
from agentd.daemon.opening import open_control, open_work
from agentd.daemon.plan import Plan
from agentd.domain import Site
from agentd.faces.agent.keys import ApiKeys
from agentd.faces.agent.models import ModelNames
from agentd.faces.agent.routes import AgentSettings, open_agent
from agentd.faces.agent.terms import Terms
from agentd.store.home import make_home
from agentd.wire.client import Client
from tests.agentapi import Told, check_run, events_of
from tests.agentserver import KEY, over_a_socket


@attrs.frozen
class Api:
    client: Client
    workspace: Path
    seats: Seats

    async def busy(self) -> Seat:
        """The seat of an executor that is at work at a command."""
        with trio.fail_after(60):
            while True:
                for seat in self.seats:
                    if b'"tool.started"' in seat.session.log_path.read_bytes():
                        return seat
                await trio.sleep(0.05)

    async def asked(self) -> Any:
        """What a run waits for."""
        with trio.fail_after(60):
            while True:
                if asks := (await self.ask("GET", "/api/v1/asks"))[1]["asks"]:
                    return asks[0]
                await trio.sleep(0.05)

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        raw = json.dumps(body).encode() if body is not None else b""
        with trio.fail_after(60):
            answer = await self.client.request(method, path, headers=[("X-API-Key", KEY)], body=raw, seconds=60)
        return answer.status, json.loads(answer.body) if answer.body.startswith(b"{") else answer.body

    async def run(self, path: str = "/api/v1/query", **body: Any) -> list[Told]:
        status, stream = await self.ask("POST", path, body)
        assert status == 200, stream
        events = events_of(stream)
        check_run(events)
        return events


@asynccontextmanager
async def serving(root: Path, site: Site | None = None, models: Mapping[str, str] | None = None) -> AsyncIterator[Api]:
    """*models*: further ones, by name, and what they are aliases of."""
    words = ("--model-alias", ",".join(f"{name}={model}" for name, model in models.items())) if models else ()
    home, workspace = make_home(root / "data"), root / "workspace"
    site = site or Site()
    workspace.mkdir()
    access = Access(home.root_log, "")
    async with (
        open_control(home, Plan(words, site=site)) as control,
        open_listing(home) as listing,
        open_work(control, listing) as work,
        open_agent(
            work, ApiKeys([KEY], access), AgentSettings(Terms(workspace, models=ModelNames(models or ())), site=site)
        ) as app,
        over_a_socket(app) as client,
    ):
        yield Api(client, workspace, control.seats)
