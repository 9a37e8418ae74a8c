"""Checkpoints of a session, folded from its `files.saved` records: what files were before a job touched them.

Each job that asked for it is one, named by its user message too; and so is each rewind, whose checkpoint holds what the
files were before it, so that it can be undone. Records in, values out; the contents are blobs of the session.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs

from agentd.domain import Record
from agentd.errors import InvalidCheckpoint
from agentd.store.view import LogView

SAVED = "files.saved"
_MARKER = SAVED.encode()


@attrs.frozen
class SavedFile:
    """What was at *path*: relative to the workspace if it is inside, else absolute; a file system's bytes as
    os.fsdecode gives them. Of a file *mode* is its permission bits, or None: only *executable* is known."""

    path: str
    kind: Literal["file", "link", "absent"]
    sha256: str | None = None  # of the content, or of where a link leads; None of a file: it was not kept
    size: int = 0  # bytes
    mode: int | None = None
    executable: bool = False

    @property
    def is_kept(self) -> bool:
        return self.kind == "absent" or self.sha256 is not None

    def to_json(self) -> dict[str, Any]:
        return attrs.asdict(self)


@attrs.define
class CheckpointView:
    """*saved*: by path; *message*: the user message that it goes back to; *created*: epoch milliseconds."""

    id: str
    message: str
    created: int
    job: str | None  # None: what was there before a rewind
    saved: dict[str, SavedFile] = attrs.field(factory=dict)
    unchanged: set[str] = attrs.field(factory=set)  # was saved, and then not changed
    mark: str | None = None  # the tree to compare with when the job ends: commands were run
    before_mark: frozenset[str] = frozenset()  # saved before any command had been run

    def add(self, data: Mapping[str, Any]) -> None:
        """Fold in what one more of its records says."""
        self.saved |= {file["path"]: SavedFile(**file) for file in data["files"]}
        self.unchanged |= set(data.get("unchanged", ()))
        if "mark" in data:
            self.mark, self.before_mark = data["mark"], frozenset(self.saved)

    @property
    def changes(self) -> dict[str, SavedFile]:
        """What was at the paths that were changed."""
        return {path: saved for path, saved in self.saved.items() if path not in self.unchanged}

    @property
    def files(self) -> list[str]:
        """The paths that were changed, in order."""
        return sorted(self.changes)


def saved_records(view: LogView, after: int = 0) -> Iterator[list[Record]]:
    """The records of a log that checkpoints are made of, piece by piece: a piece may be empty, and takes about a
    millisecond, so that others can have their turn between two. Raises StoreFailed."""
    while raw := view.read_lines(after):
        yield [record for record in view.read(after) if record.type == SAVED] if _MARKER in raw else []
        after += raw.count(b"\n")


def checkpoints_of(records: Iterable[Record]) -> list[CheckpointView]:
    """Oldest first. Other records than those of checkpoints are left aside."""
    found: dict[str, CheckpointView] = {}
    for record in records:
        if record.type == SAVED:
            data = record.data
            made = CheckpointView(data["checkpoint"], data["message"], record.ts, record.job)
            found.setdefault(made.id, made).add(data)
    return list(found.values())


def find_checkpoint(checkpoints: Sequence[CheckpointView], name: str) -> int:
    """Where the one is that *name* is the id of, or the id of its user message. Raises InvalidCheckpoint."""
    for index, each in enumerate(checkpoints):
        if name in (each.id, each.message):
            return index
    raise InvalidCheckpoint(name)


def states_at(checkpoints: Sequence[CheckpointView], index: int) -> dict[str, SavedFile]:
    """What was, at a checkpoint, at every path that was changed in it or later: what is known first is what it was."""
    states: dict[str, SavedFile] = {}
    for checkpoint in checkpoints[index:]:
        states = checkpoint.changes | states
    return states


def contents_of(checkpoints: Iterable[CheckpointView]) -> dict[str, int]:
    """The blobs that checkpoints keep, and their sizes in bytes."""
    files = (saved for checkpoint in checkpoints for saved in checkpoint.saved.values())
    return {saved.sha256: saved.size for saved in files if saved.sha256 is not None}


def bytes_of(view: LogView) -> int:
    """How much the checkpoints of a session keep. Raises StoreFailed."""
    pieces = saved_records(view)
    return sum(contents_of(checkpoints_of(record for piece in pieces for record in piece)).values())
