"""Sessions, asks and checkpoints as the agent API shows them. Pure. The contract: agent-api.md, 9 and 14."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agentd.domain import JobState
from agentd.faces.agent.models import DEFAULT
from agentd.faces.agent.requests import Page
from agentd.faces.agent.shapes import asked_by_model
from agentd.store.checkpoints import CheckpointView
from agentd.store.summary import AskRow, SessionRow
from agentd.store.tables import Found, Query, options_of

FACE = "agent"
MODE = "code"  # every session is of this one: the API that this follows has another too
ACTIVE = ("waiting", "running", "queued")
FAILED = (JobState.FAILED.value, JobState.INTERRUPTED.value)
ENDED = (JobState.COMPLETED.value, JobState.CANCELLED.value)


def session(row: SessionRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "status": status(row),
        "model": row.asked_model or DEFAULT,
        "created_at": instant(row.created),
        "updated_at": instant(row.modified),
        "total_turns": row.turns,
        "total_cost_usd": row.cost,
        "parent_session_id": row.parent,
        "title": row.name or row.title,
        "cwd": row.workspace,
        "permission_mode": row.permission_mode,
        "user": row.user,
        "mode": MODE,
        "project_id": None,
        "tags": [],
        "last_message_at": instant(row.modified),
    }


def status(row: SessionRow) -> str:
    if row.status in ACTIVE:
        return "active"
    return "error" if row.last_state in FAILED else "completed"


def is_active(row: SessionRow) -> bool:
    return row.status in ACTIVE


def listed(page: Page, owner: str) -> Query | None:
    """What of the list is asked for; None: nothing can match, for no session has such a mark."""
    if page.tags or page.project_id is not None or page.mode not in (None, MODE):
        return None
    states, last_states = {"active": (ACTIVE, ()), "error": (("idle",), FAILED), "completed": (("idle",), ENDED)}.get(
        page.status or "", ((), ())
    )
    return Query(
        face=FACE,
        owner=owner,
        states=states,
        last_states=last_states,
        title=page.search,
        limit=page.page_size,
        offset=(page.page - 1) * page.page_size,
    )


def ask(found: Found[AskRow]) -> dict[str, Any]:
    row = found.row
    return {
        "id": row.id,
        "session_id": row.session,
        "kind": row.kind,
        "tool_name": None if asked_by_model(row.kind, row.tool) else row.tool,
        "question": row.question,
        "options": options_of(row),
        "created_at": instant(row.opened),
        "deadline": instant(row.deadline) if row.deadline is not None else None,
    }


def checkpoint(view: CheckpointView, session_id: str) -> dict[str, Any]:
    return {
        "id": view.id,
        "session_id": session_id,
        "user_message_uuid": view.message,
        "created_at": instant(view.created),
        "files_modified": view.files,
    }


def rewound(told: Mapping[str, Any], session_id: str, *, dry_run: bool) -> dict[str, Any]:
    """*told*: what the executor says."""
    restored, deleted, failed = list(told["restored"]), list(told["deleted"]), list(told["failed"])
    return {
        "status": "validated",
        "checkpoint_id": told["checkpoint"],
        "message": f"Checkpoint validated. {_sentence(restored, deleted, failed, dry_run=dry_run)}",
        "session_id": session_id,
        "files_restored": restored,
        "files_deleted": deleted,
        "files_failed": failed,
        "undo_checkpoint_id": told["undo"],
        "dry_run": dry_run,
    }


def _sentence(restored: Sequence[str], deleted: Sequence[str], failed: Sequence[Any], *, dry_run: bool) -> str:
    files = f"{len(restored)} file{'' if len(restored) == 1 else 's'} {'would be ' if dry_run else ''}restored"
    told = f"{files}, {len(deleted)} removed"
    return f"{told}, {len(failed)} failed." if failed else f"{told}."


def transcribed(row: SessionRow) -> dict[str, Any]:
    """What a transcript says of its session."""
    return {**session(row), "workspace": str(Path(row.workspace))}


def instant(ms: int) -> str:
    """RFC 3339, of epoch milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
