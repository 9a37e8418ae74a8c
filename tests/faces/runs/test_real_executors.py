"""Runs over real executors, one process each, and the model that needs no network."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import trio

from agentd.daemon.access import Access
from agentd.daemon.listing import open_listing
from agentd.daemon.opening import open_control, open_work
from agentd.daemon.plan import Plan
from agentd.faces.runs.base import Base, FaceSettings
from agentd.faces.runs.routes import mount, open_runs
from agentd.store.home import make_home
from tests.adminapi import FakeSeats
from tests.runserver import Server, over_a_socket
from tests.witness import Witness


@asynccontextmanager
async def serving(root: Path, spec: str) -> AsyncIterator[Server]:
    """*spec*: of the runs that are made."""
    home, workspace = make_home(root / "data"), root / "workspace"
    workspace.mkdir(exist_ok=True)
    (workspace / "spec.md").write_text(f"# Goal\n\n{spec}\n")
    access = Access(home.root_log, "")
    async with (
        trio.open_nursery() as nursery,
        open_control(home, Plan()) as control,
        open_listing(home) as listing,
        open_work(control, listing) as work,
    ):
        base = Base(work, access, FaceSettings(), nursery)
        async with open_runs(base) as runs, over_a_socket([mount(runs)], base) as client:
            yield Server(runs, base, home, cast("FakeSeats", control.seats), workspace, client, [mount(runs)])
        nursery.cancel_scope.cancel()


async def kill_executor(server: Server, run: str) -> None:
    seat = server.base.sessions.seat((await server.tail(run)).session.id)
    assert seat is not None
    launched = seat.launched
    assert launched is not None
    os.kill(launched.pid, 9)
    with trio.fail_after(10):
        while seat.launched is launched:  # noqa: ASYNC110  # it has no event
            await trio.sleep(0.01)


async def test_a_run_fails_with_its_executor_and_leaves_nothing_at_work(tmp_path: Path, witness: Witness) -> None:
    async with serving(tmp_path, f"Run `{witness.sleep}`. Then run `touch never`.") as server:
        run = await server.create()
        with trio.fail_after(20):
            while not witness.alive():  # noqa: ASYNC110  # another process begins
                await trio.sleep(0.05)
        await kill_executor(server, run)
        told = await server.until(run)
    assert (told["status"], told["error"]) == ("failed", "the executor stopped while this job was at work")
    assert [step["status"] for step in told["steps"]] == ["failed", "skipped"]
    assert witness.gone_within(5)


async def test_a_run_that_waits_survives_its_executor(tmp_path: Path) -> None:
    async with serving(tmp_path, "Run `rm -rf gone`. Then run `touch made`.") as server:
        run = await server.create()
        await server.until(run, "waiting_approval")
        await kill_executor(server, run)
        assert await server.approve(run, "step-1") == (200, {"ok": True})
        assert (await server.until(run))["status"] == "succeeded"
        assert (server.workspace / "made").exists()


async def test_a_run_whose_workspace_is_gone_when_it_is_its_turn_fails(tmp_path: Path) -> None:
    async with serving(tmp_path, "Run `rm -rf gone`.") as server:
        run = await server.create()
        await server.until(run, "waiting_approval")
        await kill_executor(server, run)
        (server.workspace / "spec.md").unlink()
        server.workspace.rmdir()
        assert await server.approve(run, "step-1") == (200, {"ok": True})
        told = await server.until(run)
    assert told["status"] == "failed"
    assert "is not there" in told["error"]
