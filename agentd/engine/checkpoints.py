"""What a job changes, saved before it does: one checkpoint a job, to which rewind.py can go back.

A file is saved just before the first tool that edits it runs. What a command will change nobody knows: before the
first command of a job the workspace is marked (see Snapshots.mark), and when the job has ended, what has changed since
is saved as it was. That needs a git repository, and sees what git would see. The rules: the agent API contract, 14.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import attrs
import trio

from agentd.engine.branch import Branch
from agentd.errors import AgentdError, StoreFailed, ToolFailed
from agentd.store.blobs import Blobs
from agentd.store.checkpoints import SAVED, CheckpointView, SavedFile, checkpoints_of, contents_of, saved_records
from agentd.store.view import LogView
from agentd.workspace import states
from agentd.workspace.marks import Was
from agentd.workspace.paths import resolve_for_writing
from agentd.workspace.snapshot import Snapshots

LARGEST = 50 << 20  # bytes of a file that is kept
BOUND = 1 << 30  # bytes that the checkpoints of a session keep
FILES_A_RECORD = 500
PATH_KEYS = {"Write": "file_path", "Edit": "file_path", "MultiEdit": "file_path", "NotebookEdit": "notebook_path"}


async def read_checkpoints(view: LogView) -> list[CheckpointView]:
    """Oldest first. Raises StoreFailed."""
    records = []
    for piece in saved_records(view):
        records += piece
        await trio.lowlevel.checkpoint()
    return checkpoints_of(records)


@attrs.define
class Keeper:
    """Keeps contents as blobs, as long as there is room for them. Blocking."""

    blobs: Blobs
    kept: dict[str, int]  # sizes by SHA-256
    largest: int = LARGEST
    bound: int = BOUND
    pretend: bool = False  # say what would be kept, and keep nothing
    is_full: bool = False  # something was not kept
    used: int = attrs.field(init=False)  # bytes

    def __attrs_post_init__(self) -> None:
        self.used = sum(self.kept.values())

    def keep(self, data: bytes) -> str | None:
        """The blob's name; None: there is no room for it. Raises StoreFailed."""
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 not in self.kept and self.used + len(data) > self.bound:
            self.is_full = True
            return None
        if not self.pretend:
            self.blobs.put(data)  # also what is kept already: it may be damaged
        self.used += len(data) if sha256 not in self.kept else 0
        self.kept[sha256] = len(data)
        return sha256

    def save(self, name: str, state: states.State, data: bytes | None) -> SavedFile | None:
        """What states.read() has found; None for what cannot be brought back at all. Raises StoreFailed."""
        match state.kind:
            case "absent":
                return SavedFile(name, "absent")
            case "file" | "link" as kind:
                mode = state.mode if kind == "file" else None
                return SavedFile(name, kind, None if data is None else self.keep(data), state.size, mode)
        return None


def is_still(saved: SavedFile, state: states.State, data: bytes | None) -> bool:
    """Whether what states.read() has found is what was saved."""
    if saved.kind != state.kind:
        return False
    if saved.kind == "absent":
        return True
    if data is None or saved.size != len(data) or hashlib.sha256(data).hexdigest() != saved.sha256:
        return False
    if saved.kind == "link":
        return True
    return state.is_executable == saved.executable if saved.mode is None else state.mode == saved.mode


@attrs.define
class Checkpoints:
    """The checkpoint of one job. *branch*: the job's own; *workspace*: absolute and resolved; *snapshots*: None where
    there is no repository. Nothing here ends a job but StoreFailed: what cannot be saved is told in a notice."""

    branch: Branch
    workspace: Path
    snapshots: Snapshots | None
    blobs: Blobs
    largest: int = LARGEST
    bound: int = BOUND
    off_limits: tuple[Path, ...] = ()  # what no tool changes
    _own: CheckpointView | None = None
    _keeper: Keeper | None = None
    _told: bool = False  # that there is no more room
    _alone: trio.Lock = attrs.field(factory=trio.Lock)

    async def begin(self, message_id: str) -> None:
        """Make the job's checkpoint, which goes back to the user message *message_id*; or take it up, if an earlier
        process has made it."""
        async with self._alone:
            if await self._take_up() is None:
                self._own = CheckpointView(str(uuid.uuid4()), message_id, _now(), self.branch.job.id)
                self._write()

    async def before(self, tool_name: str, call_input: Mapping[str, Any], beside: Sequence[Path] | None = None) -> None:
        """To be awaited before a call runs that may change files. When it returns, what the call may change can be
        brought back, also after power loss. *beside*: what it reaches beside the workspace, as tools have it."""
        async with self._alone:
            if self._own is None:
                return
            try:
                if (key := PATH_KEYS.get(tool_name)) is not None:
                    await self._save(call_input.get(key), beside)
                else:
                    await self._mark()
            except StoreFailed:
                raise
            except (AgentdError, OSError) as exc:
                self._tell(f"what {tool_name} changes cannot be undone: {_reason(exc)}")

    async def finish(self, tree: str | None = None) -> None:
        """To be awaited when the job has ended, also where its process has died: find what commands have changed.
        *tree*: what the workspace is now, where that is known."""
        async with self._alone:
            own = self._own or await self._take_up()
            if own is None:
                return
            touched = list(own.saved)
            try:
                await self._compare(own, tree)
            except StoreFailed:
                raise
            except (AgentdError, OSError) as exc:
                self._tell(f"what commands have changed cannot be undone: {_reason(exc)}")
            if unchanged := await trio.to_thread.run_sync(self._unchanged, own, touched):
                self._write(unchanged=unchanged)

    # --- Inside ---------------------------------------------------------------------------------------------------

    async def _take_up(self) -> CheckpointView | None:
        """Fold what the log has: the job's checkpoint, if it is there, and what all others keep."""
        checkpoints = await read_checkpoints(self.branch.session.view)
        self._own = next((each for each in checkpoints if each.job == self.branch.job.id), None)
        self._keeper = Keeper(self.blobs, contents_of(checkpoints), self.largest, self.bound)
        return self._own

    async def _save(self, raw: object, beside: Sequence[Path] | None) -> None:
        own, keeper = self._own, self._keeper
        assert own is not None
        assert keeper is not None
        path = self._found(raw, beside)
        if path is None or (name := shown(path, self.workspace)) in own.saved:
            return
        saved = await trio.to_thread.run_sync(_saved, keeper, name, path)
        if saved is not None:
            self._write([saved])
            await self._synced()

    def _found(self, raw: object, beside: Sequence[Path] | None) -> Path | None:
        """The file that a tool will find; None: it will find none, and say so. What it does not reach is not kept: a
        secret would be in the session's files, and what its owner makes of it meanwhile be taken back."""
        if not isinstance(raw, str):
            return None
        try:
            return resolve_for_writing(raw, self.workspace, self.off_limits, beside=beside)
        except ToolFailed:
            return None

    async def _mark(self) -> None:
        """Remember what files are, before the job's first command."""
        assert self._own is not None
        if self.snapshots is not None and self._own.mark is None:
            tree = await self.snapshots.mark(self._own.id, self.branch.job.start_tree)
            self._write(mark=tree)
            await self._synced()

    async def _compare(self, own: CheckpointView, tree: str | None) -> None:
        """Save what was at every path that has changed since the mark was made, beside those saved before it. What a
        tool edited after a command had run may not have been what it was at the beginning, but the mark knows."""
        if self.snapshots is None or own.mark is None:
            return
        late = [self.workspace / name for name in own.saved if name not in own.before_mark]
        try:
            await self._save_changed(own, await self.snapshots.changed_since(own.id, own.mark, tree, late))
        finally:
            self.snapshots.forget_mark(own.id)

    async def _save_changed(self, own: CheckpointView, found: Mapping[Path, Was]) -> None:
        names = {was: shown(path, self.workspace) for path, was in found.items()}
        new = {was: name for was, name in names.items() if name not in own.before_mark}
        self._write_all(SavedFile(name, "absent") for was, name in new.items() if was.kind == "absent")
        await self._save_contents(own, {was: name for was, name in new.items() if was.kind != "absent"})

    async def _save_contents(self, own: CheckpointView, names: Mapping[Was, str]) -> None:
        """Whatever ends this, all of them are listed."""
        assert self.snapshots is not None
        left = dict(names)
        batch: list[SavedFile] = []
        try:
            async with aclosing(await self.snapshots.contents(list(names))) as contents:
                async for was, data in contents:
                    sha256 = await trio.to_thread.run_sync(self._keep, was, data)
                    batch += _as_saved(own, left.pop(was), was, sha256)
                    if len(batch) == FILES_A_RECORD:
                        self._write(batch)
                        batch = []
        finally:
            rest = (_as_saved(own, name, was, None) for was, name in left.items())
            self._write_all([*batch, *chain.from_iterable(rest)])

    def _keep(self, was: Was, data: bytes | None) -> str | None:
        assert self._keeper is not None
        return self._keeper.keep(data) if data is not None and was.size <= self.largest else None

    async def _synced(self) -> None:
        session = self.branch.session
        await session.log.synced(session.state.pos)

    def _unchanged(self, own: CheckpointView, names: Iterable[str]) -> list[str]:
        """Those that are what they were saved as: the edit failed, or was taken back."""
        return [name for name in names if _is_unchanged(own.saved[name], self.workspace / name, self.largest)]

    def _write_all(self, files: Iterable[SavedFile]) -> None:
        listed = list(files)
        for start in range(0, len(listed), FILES_A_RECORD):
            self._write(listed[start : start + FILES_A_RECORD])

    def _write(self, files: Sequence[SavedFile] = (), **more: Any) -> None:
        """Raises StoreFailed."""
        assert self._own is not None
        self.branch.append(SAVED, **saved_data(self._own.id, self._own.message, files), **more)
        self._own.add({"files": [file.to_json() for file in files], **more})
        if self._keeper is not None and self._keeper.is_full and not self._told:
            self._told = True
            bound = self.bound >> 20
            self._tell(f"the checkpoints of this session keep {bound} MiB; what is changed now cannot be brought back")

    def _tell(self, text: str) -> None:
        self.branch.notice("warning", "NOT_SAVED", text)


def saved_data(checkpoint: str, message: str, files: Sequence[SavedFile]) -> dict[str, Any]:
    """What a record says of files that were saved."""
    return {"checkpoint": checkpoint, "message": message, "files": [file.to_json() for file in files]}


def shown(path: Path, workspace: Path) -> str:
    """As records name it."""
    return str(path.relative_to(workspace) if path.is_relative_to(workspace) else path)


def _as_saved(own: CheckpointView, name: str, was: Was, sha256: str | None) -> list[SavedFile]:
    """Nothing, where a tool has saved something and a mark knows no better."""
    if sha256 is None and name in own.saved:
        return []
    kind: Literal["file", "link"] = "link" if was.kind == "link" else "file"
    return [SavedFile(name, kind, sha256, was.size, executable=was.executable)]


def _saved(keeper: Keeper, name: str, path: Path) -> SavedFile | None:
    try:
        state, data = states.read(path, keeper.largest)
    except OSError:
        return SavedFile(name, "file")  # that it was there is all that can be said
    return keeper.save(name, state, data)


def _is_unchanged(saved: SavedFile, path: Path, largest: int) -> bool:
    try:
        return is_still(saved, *states.read(path, largest))
    except OSError:
        return False


def _reason(exc: Exception) -> str:
    return (exc.strerror or str(exc)) if isinstance(exc, OSError) else str(exc)


def _now() -> int:
    return int(time.time() * 1000)
