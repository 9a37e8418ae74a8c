"""Rows as the admin API shows them. Pure. Times are epoch milliseconds, or null for never; cost is USD, or null."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentd.daemon.access import Issued
from agentd.store.index import Kind
from agentd.store.summary import AskRow, JobRow, SessionRow
from agentd.store.tables import Found, options_of

ExecutorState = Callable[[str], str]  # of a session's id


def of(kind: Kind, found: Found[Any], executor: ExecutorState) -> dict[str, Any]:
    if kind == "session":
        return session(found, executor)
    return job(found) if kind == "job" else ask(found)


def session(found: Found[SessionRow], executor: ExecutorState) -> dict[str, Any]:
    row, opened = found.row, found.opened
    return {
        "id": row.id,
        "face": row.face,
        "title": row.title or row.name,
        "name": row.name,
        "workspace": row.workspace,
        "isolation": row.isolation,
        "repo": opened.repo if opened else None,
        "branch": opened.branch if opened else None,
        "status": row.status,
        "model": row.model,
        "totals": {"jobs": row.jobs, **_totals(row)},
        "parent": row.parent,
        "owner": found.owner,
        "executor": executor(row.id),
        "last_job": {"id": row.last_job, "state": row.last_state} if row.last_job else None,
        "created": row.created,
        "modified": row.modified,
    }


def job(found: Found[JobRow]) -> dict[str, Any]:
    row = found.row
    return {
        "id": row.id,
        "session_id": row.session,
        "face": found.session.face,
        "state": row.state,
        "mode": row.mode,
        "title": row.title,
        "model": row.model,
        "resolved_model": row.resolved_model,
        "provider": row.provider,
        "permission_mode": row.permission_mode,
        "containment": row.containment,
        "sandbox": row.sandbox,
        "percent": row.percent,
        **_totals(row),
        "created": row.created,
        "started": row.started or None,
        "ended": row.ended or None,
        "stop_reason": row.stop_reason,
        "error": {"code": row.error_code, "message": row.error_message} if row.error_code else None,
        "changes": {"files": row.files, "added": row.added, "removed": row.removed} if row.files is not None else None,
    }


def ask(found: Found[AskRow]) -> dict[str, Any]:
    row = found.row
    return {
        "id": row.id,
        "session_id": row.session,
        "job_id": row.job,
        "face": found.session.face,
        "workspace": found.session.workspace,
        "state": "settled" if row.settled else "open",
        "kind": row.kind,
        "tool": row.tool,
        "question": row.question,
        "options": options_of(row),
        "opened": row.opened,
        "deadline": row.deadline,
        "settled": row.settled or None,
        "decision": row.decision,
        "reason": row.reason,
        "by": row.settled_by,
    }


def token(issued: Issued) -> dict[str, Any]:
    """Not the token, and not its hash."""
    return {
        "id": issued.id,
        "name": issued.name,
        "scope": issued.scope,
        "created": issued.created,
        "expires": issued.expires,
        "budget_usd": issued.budget_usd,
        "roots": issued.roots,
    }


def _totals(row: SessionRow | JobRow) -> dict[str, Any]:
    names = ("turns", "input_tokens", "output_tokens", "cached_tokens")
    return {**{name: getattr(row, name) for name in names}, "cost_usd": row.cost}
