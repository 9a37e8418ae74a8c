"""Recording jobs of a scripted model, and playing them again."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import attrs

from agentd.domain import (
    JobSpec,
    PermissionMode,
    ToolPolicy,
)
from agentd.engine.asks import Settlement
from agentd.engine.replay import replay
from agentd.engine.replaydiff import Report
from agentd.engine.replayzip import find_job, write_recording
from agentd.providers.scripted import Reply, call, reply
from agentd.tools.registry import built_in
from tests.workshop import Workshop, ended, until

ASKING = ToolPolicy(permission_mode=PermissionMode.DEFAULT)
EDIT = reply(call("Write", file_path="b.py", content="1\n"))
TALK = (reply("Let me look.", call("Read", file_path="a.py")), reply("It is fine."))


def at_work(workshop: Workshop) -> Workshop:
    """With the real tools, at work in a repository of one file."""
    (workshop.workspace / "a.py").write_text("print('hello')\n")
    subprocess.run(["git", "init", "-q", str(workshop.workspace)], check=True)
    return attrs.evolve(workshop, tools=built_in(), git=True)


async def recorded(bench: Workshop, given: JobSpec, *replies: Reply | str, decisions: Sequence[str] = ()) -> Path:
    """The zip of a job that a scripted model did."""
    if replies:
        bench.says(*replies)
    async with bench.open() as engine:
        accepted = await engine.accept(given)
        session = accepted.session
        for decision in decisions:
            await until(session, lambda: bool(session.state.open_asks()))
            (ask,) = session.state.open_asks()
            answer = decision if ask.data["kind"] == "question" else None
            await engine.settle(ask.id, Settlement("answer" if answer else decision, "", "client", answer))  # type: ignore[arg-type]
        await ended(session, accepted.job)
    return zipped(bench, accepted.job.id)


def zipped(bench: Workshop, name: str) -> Path:
    directory, job = find_job(bench.home, name)
    path = bench.home.root / f"{job}.zip"
    with path.open("wb") as file:
        write_recording(directory, job, file)
    return path


async def played(path: Path, tmp_path: Path) -> Report:
    return await replay(path, Path(tempfile.mkdtemp(dir=tmp_path)))


def below(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))
