"""The tools that begin jobs, list them, stop them, and show what they changed."""

from __future__ import annotations

from functools import partial
from typing import Literal

import attrs
import trio

from agentd.daemon.followup import FollowUp
from agentd.domain import JobSpec, Mode, Models, PermissionMode, ToolPolicy
from agentd.errors import AgentdError, ToolFailed
from agentd.faces.mcp import views
from agentd.faces.mcp.app import FACE, App, Call, Outcome
from agentd.faces.mcp.following import MOST_SECONDS, OneJob, finished_of, follow_from, seconds_of, wait_for_end
from agentd.store.index import SessionIndex
from agentd.store.summary import JobRow, SessionRow
from agentd.store.tables import Page, Query
from agentd.tools.schema import arg

END_SECONDS = 5.0  # for a job that is cancelled to come to its end
PROMPT_CHARS = 400_000
DIFF_CHARS = 100_000
MOST_LISTED = 200


# --- Beginning ----------------------------------------------------------------------------------------------------


@attrs.frozen
class StartJob:
    prompt: str = arg("What to do, in full: the agent knows nothing of your conversation")
    directory: str | None = arg("Absolute path of the directory to work in; not with session", default=None)
    mode: Literal["ask", "search", "code", "architect", "lutz", "query"] | None = arg(
        "ask: answer questions about the code, changing nothing. search: find where things are. code: make changes. "
        "architect: one model plans, another edits. lutz: make a list of tasks, then do each; for large work. query: "
        "all tools, no fixed recipe. If not given: ask, or with session as its last job",
        default=None,
    )
    model: str | None = arg("The name of a language model; the configured one if not given", default=None)
    permission_mode: Literal["default", "acceptEdits", "plan", "bypassPermissions"] | None = arg(
        "default: it asks before it edits files or runs commands, see list_asks. acceptEdits: it edits without asking. "
        "plan: it changes nothing. bypassPermissions: it asks for nothing. If not given: default",
        default=None,
    )
    session: str | None = arg("The id of a session to go on in: the agent remembers what was said there", default=None)
    wait_seconds: float = arg(
        f"Wait so long for its end, at most {MOST_SECONDS:g}; then the answer is as that of follow_job. 0: not at all",
        default=0.0,
    )


async def start(app: App, call: Call, asked: StartJob) -> Outcome:
    if not asked.prompt.strip():
        raise ToolFailed("prompt is blank; say what to do")
    if len(asked.prompt) > PROMPT_CHARS:
        raise ToolFailed(f"prompt has more than {PROMPT_CHARS} characters; put what is long into a file and name it")
    seconds = seconds_of(asked.wait_seconds)
    with trio.CancelScope(shield=True):  # once begun it begins: a client that leaves must not leave half a session
        job_id = await (_go_on if asked.session is not None else _begin)(app, call, asked)
    found = await app.job(call, job_id, "act")
    return Outcome(await follow_from(app, call, found, None, seconds))


async def _begin(app: App, call: Call, asked: StartJob) -> str:
    workspace = await app.directory(call, asked.directory)
    spec = JobSpec(
        Mode(asked.mode or "ask"),
        asked.prompt,
        Models(asked.model, asked.model, asked.model),
        ToolPolicy(permission_mode=PermissionMode(asked.permission_mode or "default")),
    )
    session = await app.sessions.create(FACE, "", workspace, owner=call.principal.id)
    try:
        return await app.sessions.start(session.id, spec)
    except AgentdError:
        await app.sessions.discard(session)
        raise


async def _go_on(app: App, call: Call, asked: StartJob) -> str:
    found = await app.session(call, asked.session or "", "act")
    call.principal.check_root(found.row.workspace)
    if asked.directory is not None and str(await app.directory(call, asked.directory)) != found.row.workspace:
        raise ToolFailed(f"that session works in {found.row.workspace}; leave directory out, or session")
    mode = Mode(asked.mode) if asked.mode else None
    permission = PermissionMode(asked.permission_mode) if asked.permission_mode else None
    return await app.sessions.follow_up(found, FollowUp(asked.prompt, mode, asked.model, permission))


# --- Lists --------------------------------------------------------------------------------------------------------


@attrs.frozen
class ListJobs:
    state: Literal["queued", "running", "waiting", "completed", "failed", "cancelled", "interrupted"] | None = arg(
        "Only those", default=None
    )
    session: str | None = arg("Only those of a session", default=None)
    limit: int = arg(f"At most so many, up to {MOST_LISTED}", default=20)
    cursor: str | None = arg("What the last answer gave as next", default=None)


JOBS, SESSIONS = views.listed("jobs", views.JOB), views.listed("sessions", views.SESSION)


async def list_jobs(app: App, call: Call, asked: ListJobs) -> Outcome:
    query = Query(
        states=[asked.state] if asked.state else (),
        session=asked.session,
        owner=call.principal.owner("see"),
        limit=views.limit(asked.limit, MOST_LISTED),
        cursor=asked.cursor,
    )
    page = await app.listing.ask(partial(_jobs, query))
    return Outcome({"jobs": [views.job(found) for found in page.items], "next": page.next})


@attrs.frozen
class ListSessions:
    words: str | None = arg("Only those with these words in title, directory or id", default=None)
    limit: int = arg(f"At most so many, up to {MOST_LISTED}", default=20)
    cursor: str | None = arg("What the last answer gave as next", default=None)


async def list_sessions(app: App, call: Call, asked: ListSessions) -> Outcome:
    owner, limit = call.principal.owner("see"), views.limit(asked.limit, MOST_LISTED)
    query = Query(words=asked.words, owner=owner, limit=limit, cursor=asked.cursor)
    page = await app.listing.ask(partial(_sessions, query))
    return Outcome({"sessions": [views.session(found) for found in page.items], "next": page.next})


def _jobs(query: Query, index: SessionIndex) -> Page[JobRow]:
    return index.jobs(query)


def _sessions(query: Query, index: SessionIndex) -> Page[SessionRow]:
    return index.sessions(query)


# --- Stopping -----------------------------------------------------------------------------------------------------

CANCELLED = views.obj(job=views.JOB, cancelled=views.BOOL | {"description": "false: it had come to its end before"})


async def cancel(app: App, call: Call, asked: OneJob) -> Outcome:
    found = await app.job(call, asked.job_id, "act")
    session = await app.sessions.find(found.session.id)
    stopped = await app.sessions.cancel(session, found.row.id)
    if stopped is not None:
        await wait_for_end(app, found, END_SECONDS)
    return Outcome({"job": views.job(await app.job(call, asked.job_id, "act")), "cancelled": stopped is not None})


# --- What was changed ---------------------------------------------------------------------------------------------


@attrs.frozen
class JobDiff:
    job_id: str = arg("Of start_job or list_jobs")
    whole_session: bool = arg("All that its session changed, and not this job alone", default=False)


DIFF = views.obj(
    job_id=views.text(),
    session_id=views.text(),
    diff=views.text("a unified diff; empty where nothing is changed"),
    truncated=views.BOOL,
)


async def diff(app: App, call: Call, asked: JobDiff) -> Outcome:
    """What the job's end says; before that, and where it says nothing, what its session has changed until now."""
    found = await app.job(call, asked.job_id)
    finished = None if asked.whole_session else await finished_of(app, found)
    session = await app.sessions.find(found.session.id)
    stored = app.sessions.directory(session.row.id)
    if finished is not None and finished.data["diff"] is not None:
        data = await trio.to_thread.run_sync(stored.blobs.get, finished.data["diff"]["sha256"])
    else:
        data = await app.differences.of(session, stored)
    whole = data.decode("utf-8", "replace")
    shown = whole if len(whole) <= DIFF_CHARS else whole[: whole.rfind("\n", 0, DIFF_CHARS) + 1]
    if len(shown) < len(whole):
        shown += f"[{len(whole) - len(shown)} more characters; agentd://sessions/{session.row.id}/diff has them]\n"
    about = {"job_id": found.row.id, "session_id": session.row.id, "diff": shown}
    return Outcome({**about, "truncated": len(whole) > DIFF_CHARS}, shown or "nothing is changed")
