"""Going back to a checkpoint: files become again what they were. The rules: the agent API contract, section 14.

What is at every path that is about to change is saved first, as a checkpoint of its own, and is on disk before anything
changes. Each file is replaced in one step, so that a process that is killed leaves it old or new; going back once more,
or to that checkpoint, ends well from there. A file that somebody changes meanwhile is left alone, and told.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.domain import Entry
from agentd.engine.checkpoints import BOUND, FILES_A_RECORD, LARGEST, Keeper, is_still, read_checkpoints, saved_data
from agentd.engine.session import Session
from agentd.errors import AgentdError
from agentd.store.blobs import Blobs
from agentd.store.checkpoints import SAVED, SavedFile, contents_of, find_checkpoint, states_at
from agentd.workspace import states

NOT_KEPT = "what it held was not kept: it was too large, or there was no room left, or it could not be told"
NO_UNDO = "what it holds now could not be kept, so it would be lost: it is too large, or there is no room left"
NO_FILE = "there is something in its place now that is no file"


@attrs.frozen
class Rewound:
    """Paths as records have them. *undo*: the checkpoint of what was before; None where nothing was done."""

    checkpoint: str
    undo: str | None
    restored: tuple[str, ...]
    deleted: tuple[str, ...]
    failed: tuple[Mapping[str, str], ...]  # {"path", "error"}


@attrs.define
class Step:
    """One file that is not what it was: *target*. *now* is what it is; *error*: why it stays so."""

    path: Path
    target: SavedFile
    seen: states.State = states.ABSENT
    now: SavedFile | None = None
    error: str | None = None


async def rewind(
    session: Session,
    workspace: Path,
    checkpoint_id: str,
    *,
    dry_run: bool = False,
    largest: int = LARGEST,
    bound: int = BOUND,
) -> Rewound:
    """Every file that was changed in that checkpoint's job, or later, becomes what it was; of others nothing is done.

    *session* is open, and no job is at work in it. *checkpoint_id* may be the id of the user message too. *dry_run*:
    tell what would be done. Raises InvalidCheckpoint; StoreFailed, and if that is about what was there before, nothing
    has changed."""
    checkpoints = await read_checkpoints(session.view)
    index = find_checkpoint(checkpoints, checkpoint_id)
    found = checkpoints[index]
    keeper = Keeper(session.dir.blobs, contents_of(checkpoints), largest, bound, pretend=dry_run)
    targets = states_at(checkpoints, index)
    steps = await trio.to_thread.run_sync(plan, workspace, targets, keeper)
    if dry_run:
        return _rewound(found.id, None, steps)
    undo, message = str(uuid.uuid4()), str(uuid.uuid4())
    await session.commit(*_undo_entries(undo, message, steps))
    with trio.CancelScope(shield=True):  # what is begun is ended, and told
        await trio.to_thread.run_sync(carry_out, steps, session.dir.blobs)
        done = _rewound(found.id, undo, steps)
        told: dict[str, Any] = {"checkpoint": done.checkpoint, "undo": undo, "restored": list(done.restored)}
        told |= {"removed": list(done.deleted), "failed": [dict(each) for each in done.failed]}
        await session.commit(Entry("files.rewound", told))
    return done


def plan(workspace: Path, targets: Mapping[str, SavedFile], keeper: Keeper) -> list[Step]:
    """What is to be done, with everything kept that it will replace. Raises StoreFailed."""
    workspace = Path(os.path.realpath(workspace))
    steps = [_step(workspace / name, target, keeper) for name, target in sorted(targets.items())]
    return [step for step in steps if step is not None]


def _step(path: Path, target: SavedFile, keeper: Keeper) -> Step | None:
    """None: it is what it was."""
    try:
        if not keeper.pretend:
            states.tidy(path)
        state, data = states.read(path, keeper.largest)
    except OSError as exc:
        return Step(path, target, error=exc.strerror or str(exc))
    if is_still(target, state, data):
        return None
    if not target.is_kept:
        return Step(path, target, error=NOT_KEPT)
    now = keeper.save(target.path, state, data)
    if now is None:
        return Step(path, target, error=NO_FILE)
    return Step(path, target, state, now, None if now.is_kept else NO_UNDO)


def _undo_entries(undo: str, message: str, steps: Iterable[Step]) -> list[Entry]:
    files = [step.now for step in steps if step.now is not None and step.error is None]
    parts = [files[start : start + FILES_A_RECORD] for start in range(0, len(files), FILES_A_RECORD)] or [[]]
    return [Entry(SAVED, saved_data(undo, message, part)) for part in parts]


def carry_out(steps: Iterable[Step], blobs: Blobs) -> None:
    """Blocking. What is to go goes first, the deepest before the others, so that a file can take the place of a
    directory, and the other way round."""
    ordered = sorted(steps, key=lambda step: step.path.parts)
    removals = [step for step in ordered if step.target.kind == "absent"]
    for step in [*reversed(removals), *(step for step in ordered if step.target.kind != "absent")]:
        if step.error is None:
            try:
                _carry_out(step, blobs)
            except OSError as exc:
                step.error = exc.strerror or str(exc)
            except AgentdError as exc:  # what was kept is gone or damaged
                step.error = str(exc)


def _carry_out(step: Step, blobs: Blobs) -> None:
    target = step.target
    if target.kind == "absent":
        states.remove(step.path, step.seen)
    else:
        content = states.Content(target.kind, blobs.get(target.sha256 or ""), target.mode, target.executable)
        states.put(step.path, content, step.seen)


def _rewound(checkpoint: str, undo: str | None, steps: Iterable[Step]) -> Rewound:
    steps = list(steps)
    done = [step.target for step in steps if step.error is None]
    return Rewound(
        checkpoint,
        undo,
        tuple(target.path for target in done if target.kind != "absent"),
        tuple(target.path for target in done if target.kind == "absent"),
        tuple({"path": step.target.path, "error": step.error} for step in steps if step.error is not None),
    )
