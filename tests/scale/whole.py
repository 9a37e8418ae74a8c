"""The session manager as its users meet it, with a cluster behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.wire.client import Address, Client
from tests.launchers.site import until
from tests.scale.yard import Yard

MASTER = "master-token"
ANSWER_SECONDS = 60.0


@attrs.frozen
class Manager:
    process: subprocess.Popen[str]
    client: Client

    async def ask(self, method: str, path: str, token: str = MASTER, body: Any = None, key: str = "") -> Any:
        """What is in the answer, which has to be one of success."""
        headers = [("Authorization", f"Bearer {token}"), *([("Idempotency-Key", key)] if key else [])]
        sent = b"" if body is None else json.dumps(body).encode()
        answer = await self.client.request(method, path, headers=headers, body=sent, seconds=ANSWER_SECONDS)
        assert answer.status < 300, (answer.status, answer.body)
        return json.loads(answer.body) if answer.body else None

    async def create(self, repository: Path) -> dict[str, str]:
        session: dict[str, str] = await self.ask(
            "POST", "/v1/sessions", body={"name": "s", "repoPath": str(repository)}
        )
        return session

    async def work(self, token: str, key: str) -> None:
        """A job, from beginning to end."""
        order = {"taskInput": "What is here?", "plannerModel": "builtin", "tags": {"mode": "ASK"}}
        job = (await self.ask("POST", "/v1/jobs", token, order, key))["jobId"]
        with trio.fail_after(ANSWER_SECONDS):
            while (state := (await self.ask("GET", f"/v1/jobs/{job}", token))["state"]) != "COMPLETED":
                assert state in ("QUEUED", "RUNNING"), state
                await trio.sleep(0.05)


@asynccontextmanager
async def open_manager(yard: Yard) -> AsyncIterator[Manager]:
    root = yard.site.root
    flags = {
        "listen-addr": "127.0.0.1:0",
        "auth-token": MASTER,
        "pool-size": "4",
        "data-dir": str(root / "data"),
        "worktree-base-dir": str(root / "trees"),
        "executor-command": yard.template,
        "log-level": "warning",
    }
    argv = [sys.executable, str(yard.site.pyz), "manager", *(f"--{name}={value}" for name, value in flags.items())]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220
        assert process.stdout is not None
        try:
            line = await trio.to_thread.run_sync(process.stdout.readline)
            async with Client(Address.parse(line.split()[-1])) as client:
                yield Manager(process, client)
        finally:
            process.terminate()


def make_repository(path: Path) -> Path:
    who = {f"GIT_{role}_{what}": "t@example.invalid" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        path.mkdir(exist_ok=True)
        subprocess.run(["git", *words], cwd=path, env={**os.environ, **who}, check=True)
    return path


async def the_session_manager_works_and_comes_back_after_it_was_killed(yard: Yard) -> str:
    repository = make_repository(yard.site.root / "repository")
    async with open_manager(yard) as manager:
        began = time.monotonic()
        one, two = [await manager.create(repository) for _ in range(2)]
        created = (time.monotonic() - began) / 2
        for session in (one, two):
            await manager.work(session["token"], "one")
        began = time.monotonic()
        await manager.ask("DELETE", f"/v1/sessions/{two['sessionId']}")
        deleted = time.monotonic() - began
        assert len(yard.cluster.jobs()) == 1
        manager.process.kill()
        freed = await until(yard.is_idle)
    async with open_manager(yard) as manager:
        began = time.monotonic()
        await manager.work(one["token"], "two")
        back = time.monotonic() - began
        await manager.ask("DELETE", f"/v1/sessions/{one['sessionId']}")
        assert yard.is_idle()
    times = f"created in {created:.2f} s, deleted in {deleted:.2f} s, nothing left {freed:.2f} s after kill -9"
    return f"{times}, a job in the same session after the restart in {back:.2f} s"
