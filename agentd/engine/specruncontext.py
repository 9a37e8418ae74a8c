"""What a run knows before it plans: the spec, and the context bundle. The contract: runs-and-chat.md, 5.3 and 14."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import attrs
import trio

from agentd.errors import AgentdError, GitFailed
from agentd.store.naming import fresh
from agentd.workspace import overview, specfile
from agentd.workspace.git import git, unfiltered

AGENTS_FILE = "AGENTS.md"
AGENTS_BYTES = 64 * 1024
SPEC_BYTES = 1 << 20
TREE_FILES = 500
GIT_SECONDS = 10.0
STATUS_CHARS = 64 * 1024


class SpecUnreadable(AgentdError):
    code = "SPEC_UNREADABLE"


@attrs.frozen
class Spec:
    path: Path
    text: str
    size: int  # bytes
    created: bool  # there was none, so this is a draft


@attrs.frozen
class Bundle:
    agents_md: str | None
    tree: Sequence[str]
    symbols: Sequence[str]
    status: str | None  # None: no repository

    def texts(self) -> list[str]:
        """For a model, in the contract's order."""
        parts = (
            (f"{AGENTS_FILE} of the workspace:", self.agents_md),
            ("Files of the workspace:", "\n".join(self.tree)),
            ("What they define:", "\n".join(self.symbols)),
            ("git status --porcelain:", self.status),
        )
        return [f"{heading}\n\n{text}" for heading, text in parts if text]


def read_spec(workspace: Path, named: str) -> Spec:
    """The spec, drafted if it is missing inside the workspace. Blocks. Raises SpecUnreadable."""
    try:
        path = (workspace / Path(named).expanduser()).resolve()
        if created := not path.exists():
            _draft(workspace, path)
        if not path.is_file():  # of a pipe the end never comes
            raise SpecUnreadable(f"the spec {named} is no file")
        with path.open("rb") as file:
            data = file.read(SPEC_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise SpecUnreadable(f"the spec {named} cannot be read: {why}") from exc
    if len(data) > SPEC_BYTES:
        raise SpecUnreadable(f"the spec {named} is larger than {SPEC_BYTES >> 20} MiB")
    return Spec(path, data.decode("utf-8", "replace"), len(data), created)


def _draft(workspace: Path, path: Path) -> None:
    if not path.is_relative_to(workspace.resolve()):
        raise SpecUnreadable(f"there is no spec {path}, and outside of the workspace none is drafted")
    name = path.parent.name if path.stem == "spec" else path.stem
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(specfile.draft(re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or fresh("spec-")))


async def gather(workspace: Path, off_limits: Sequence[Path] = ()) -> Bundle:
    """As much of the workspace as a plan needs. What cannot be read is left out."""
    files = await trio.to_thread.run_sync(lambda: overview.files(workspace, off_limits=off_limits))
    symbols = await trio.to_thread.run_sync(overview.symbol_map, workspace, files)
    agents = await trio.to_thread.run_sync(agents_md, workspace)
    return Bundle(agents, files[:TREE_FILES], symbols, await _status(workspace))


def agents_md(workspace: Path) -> str | None:
    """What the workspace says to agents, if it does. Blocks."""
    try:
        path = (workspace / AGENTS_FILE).resolve()
        if not path.is_relative_to(workspace.resolve()) or not path.is_file():  # a link may lead to any secret
            return None
        with path.open("rb") as file:
            return file.read(AGENTS_BYTES).decode("utf-8", "replace")
    except (OSError, RuntimeError):
        return None


async def _status(workspace: Path) -> str | None:
    if not (workspace / ".git").exists():
        return None
    try:
        told = await git(workspace, "status", "--porcelain", env=await unfiltered(workspace), seconds=GIT_SECONDS)
    except GitFailed:
        return None
    return told.decode("utf-8", "replace")[:STATUS_CHARS]
