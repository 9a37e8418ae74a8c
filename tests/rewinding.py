"""Jobs that are nothing but their tool calls, with a checkpoint each, and rewinds between them."""

from __future__ import annotations

import os
import stat
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.domain import Entry
from agentd.engine.branch import Branch
from agentd.engine.checkpoints import BOUND, LARGEST, Checkpoints, read_checkpoints
from agentd.engine.rewind import Rewound, rewind
from agentd.engine.session import Session, Sessions
from agentd.errors import ToolFailed
from agentd.store.checkpoints import CheckpointView
from agentd.store.home import Home
from agentd.tools.base import Tool, ToolContext, ToolState
from agentd.tools.edit import Edit
from agentd.tools.write import Write
from agentd.workspace.snapshot import Snapshots

TOOLS: Mapping[str, Tool] = {"Write": Write(), "Edit": Edit()}


@attrs.define
class Job:
    """One at work: its calls are awaited as an engine awaits them."""

    desk: Desk
    id: str
    message: str
    checkpoints: Checkpoints

    async def call(self, tool: str, **call_input: Any) -> bool:
        """Whether it went well."""
        await self.checkpoints.before(tool, call_input)
        workspace = self.desk.workspace
        around = ToolContext(workspace, ToolState(workspace), {}, (), lambda _: None, str)
        try:
            return not (await TOOLS[tool].run(call_input, around)).is_error
        except ToolFailed:
            return False

    async def write(self, name: str, content: str) -> bool:
        return await self.call("Write", file_path=name, content=content)

    async def command(self, work: Callable[[], object]) -> None:
        """What a command does."""
        await self.checkpoints.before("Bash", {"command": "…"})
        work()

    async def end(self) -> None:
        await self.checkpoints.finish()


@attrs.define
class Desk:
    """A session, open, over a workspace."""

    session: Session
    workspace: Path
    snapshots: Snapshots | None
    largest: int = LARGEST
    bound: int = BOUND

    async def begin(self) -> Job:
        job, message = str(uuid.uuid4()), str(uuid.uuid4())
        self.session.append(Entry("job.created", {"spec": {}, "key": None, "payload": None, "dialect": 1}, job))
        made = Job(self, job, message, self.checkpoints_of(job))
        await made.checkpoints.begin(message)
        return made

    def checkpoints_of(self, job: str) -> Checkpoints:
        """As a process has them that knows of the job from the log alone."""
        branch = Branch(self.session, self.session.state.jobs[job])
        blobs = self.session.dir.blobs
        return Checkpoints(branch, self.workspace, self.snapshots, blobs, self.largest, self.bound)

    async def all(self) -> list[CheckpointView]:
        return await read_checkpoints(self.session.view)

    async def rewind(self, checkpoint: str, *, dry_run: bool = False) -> Rewound:
        """Raises InvalidCheckpoint."""
        limits = {"largest": self.largest, "bound": self.bound}
        return await rewind(self.session, self.workspace, checkpoint, dry_run=dry_run, **limits)


@asynccontextmanager
async def open_desk(home: Home, workspace: Path, *, git: bool = True, **limits: int) -> AsyncIterator[Desk]:
    """With the home's one session, made if there is none yet."""
    async with trio.open_nursery() as nursery:
        sessions = Sessions(home, nursery)
        sessions.load(home.sessions())
        session = next(iter(sessions), None)
        if session is None:
            session = await sessions.create("agent", workspace, "a session")
        await sessions.open(session)
        yield Desk(session, workspace, Snapshots(workspace, home.root / "objects") if git else None, **limits)
        nursery.cancel_scope.cancel()


def make_repository(top: Path, **files: str) -> None:
    """With *files* in a first commit."""
    top.mkdir(parents=True, exist_ok=True)
    git(top, "init", "-q", "-b", "main")
    for name, content in files.items():
        (top / name).write_text(content)
    git(top, "add", "-A")
    git(top, "commit", "-q", "--allow-empty", "-m", "first")


def git(top: Path, *words: str) -> str:
    settings = ("-c", "user.name=A Person", "-c", "user.email=person@example.org")
    return subprocess.run(
        ["git", "-C", str(top), *settings, *words], check=True, capture_output=True, text=True, errors="surrogateescape"
    ).stdout


def shown(top: Path) -> dict[str, tuple[str, bytes]]:
    """Every file and link below *top*, but git's own: what it is, and what it holds."""
    found = {}
    for directory, names, files in os.walk(top):
        names[:] = [name for name in names if name != ".git"]
        for name in [*files, *(name for name in names if Path(directory, name).is_symlink())]:
            path = Path(directory, name)
            state = path.lstat()
            if stat.S_ISLNK(state.st_mode):
                found[str(path.relative_to(top))] = ("link", os.fsencode(path.readlink()))
            else:
                kind = "program" if state.st_mode & 0o100 else "file"
                found[str(path.relative_to(top))] = (kind, path.read_bytes())
    return found
