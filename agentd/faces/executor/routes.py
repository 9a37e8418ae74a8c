"""The executor API over HTTP: health, sessions, jobs. Decode, ask the engine, answer. The contract: executor.md."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from typing import Any

import attrs

from agentd import __version__
from agentd.domain import PROTOCOL
from agentd.engine.engine import Engine
from agentd.errors import InvalidRequest, NotARepository
from agentd.faces.executor import requests
from agentd.faces.executor.answers import mount, problem
from agentd.faces.executor.dialect import state_of, status
from agentd.faces.executor.events import JobEvents
from agentd.wire.feed import Feed, resume_after
from agentd.wire.messages import Answer, Request, Response, StreamResponse, json_response
from agentd.wire.routing import Mount, Routes

PUBLIC = frozenset({"/health/live", "/health/ready", "/v1/executor"})
INDEXES_KEPT = 64  # of jobs whose events were asked for last

routes = Routes()


@attrs.define
class App:
    """What the handlers share: the engine, and an index for each job that somebody reads."""

    engine: Engine
    exec_id: str
    token: str
    ready: bool = True
    _indexes: OrderedDict[str, tuple[JobEvents, Feed]] = attrs.field(factory=OrderedDict)

    def events(self, job_id: str) -> tuple[JobEvents, Feed]:
        """Raises JobNotFound."""
        session, job = self.engine.find_job(job_id)
        if job.id not in self._indexes:
            index = JobEvents(session, job.id)
            self._indexes[job.id] = (index, Feed(index))
        self._indexes.move_to_end(job.id)
        while len(self._indexes) > INDEXES_KEPT:
            self._indexes.popitem(last=False)
        return self._indexes[job.id]

    def close_feeds(self) -> None:
        """End the streams of events: the server is stopping."""
        for _, feed in self._indexes.values():
            feed.close()

    def mount(self) -> Mount:
        return mount(routes, self)

    def guard(self, request: Request) -> Response | None:
        """None for who may go on. It looks at nothing but the path and the token."""
        if request.path.rstrip("/") in PUBLIC or not request.path.startswith(("/v1/", "/health/")):
            return None
        given = request.headers.get("authorization")
        if hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            return None
        return problem(401, "UNAUTHORIZED", "Unauthorized")


def identity(app: App) -> dict[str, Any]:
    return {"execId": app.exec_id, "version": __version__, "protocolVersion": PROTOCOL}


@routes.get("/health/live")
async def live(app: App, request: Request) -> Response:
    return json_response(200, identity(app))


@routes.get("/v1/executor")
async def executor(app: App, request: Request) -> Response:
    return json_response(200, identity(app))


@routes.get("/health/ready")
async def ready(app: App, request: Request) -> Response:
    """200 while a request would be taken; 503 NOT_READY while it starts, recovers or stops."""
    if not app.ready:
        return problem(503, "NOT_READY", "the executor is starting or stopping")
    active = app.engine.sessions.active
    return json_response(200, {"status": "ready", "sessionId": active.id if active else None, **identity(app)})


@routes.post("/v1/sessions")
async def create_session(app: App, request: Request) -> Response:
    """201 and the new session, which becomes the active one; 409 while a job runs."""
    name = requests.session_name(request.body)
    session = await app.engine.create_session(name, "executor")
    return json_response(201, {"sessionId": session.id, "name": name})


@routes.post("/v1/jobs")
async def create_job(app: App, request: Request) -> Response:
    """201 for a new job, 200 for one that this Idempotency-Key made before; 409 while another runs."""
    key = request.headers.get("idempotency-key").strip()
    if not key:
        raise InvalidRequest(["Idempotency-Key header is required"])
    named = requests.session_header(request)
    asked = requests.job_request(request.body)
    accepted = await app.engine.accept(
        requests.job_spec(asked),
        key=requests.key_hash(key),
        payload=requests.payload_hash(request.body),
        session_id=named,
        session_hint=asked.sessionId,
    )
    cancelling = app.engine.is_cancelling(accepted.job.id)
    state = "RUNNING" if accepted.new else state_of(accepted.job, cancelling=cancelling)
    body = {"jobId": accepted.job.id, "state": state, "sessionId": accepted.session.id}
    return json_response(201 if accepted.new else 200, body)


@routes.get("/v1/jobs")
async def list_jobs(app: App, request: Request) -> Response:
    """Every job of every session, newest first."""
    jobs = sorted((job for s in app.engine.sessions for job in s.state.jobs.values()), key=lambda j: -j.created)
    return json_response(200, {"jobs": [_status(app, job.id) for job in jobs]})


@routes.get("/v1/jobs/{job_id}")
async def job_status(app: App, request: Request, job_id: str) -> Response:
    return json_response(200, _status(app, job_id))


@routes.post("/v1/jobs/{job_id}/cancel")
async def cancel_job(app: App, request: Request, job_id: str) -> Response:
    """202; cancelRequested says whether there was anything to cancel."""
    requested = app.engine.cancel(job_id)
    _, job = app.engine.find_job(job_id)
    state = state_of(job, cancelling=app.engine.is_cancelling(job_id))
    body = {"jobId": job_id, "cancelRequested": requested, "state": state, "terminal": job.state.terminal}
    return json_response(202, body)


@routes.get("/v1/jobs/{job_id}/diff")
async def job_diff(app: App, request: Request, job_id: str) -> Response:
    """What the job changed, as a unified diff; 409 NO_GIT outside of a repository."""
    diff = await app.engine.diff(job_id)
    if diff is None:
        raise NotARepository(str(app.engine.bench.workspace))
    return Response(200, diff, "text/plain; charset=UTF-8")


@routes.get("/v1/jobs/{job_id}/events")
async def job_events(app: App, request: Request, job_id: str) -> Answer:
    """The job's log: a bare array, an envelope (?format=envelope), or live (?format=sse, Accept: text/event-stream)."""
    index, feed = app.events(job_id)
    form = requests.events_form(request)
    if form == "sse":
        return StreamResponse(feed, max(resume_after(request), 0))
    after, limit = requests.whole_number(request, "after", -1), requests.page_limit(request)
    await index.wait(after, requests.wait_seconds(request))
    events = [event.to_json(seq, ts, plain=form == "array") for seq, ts, event in index.page(after, limit)]
    cursor = events[-1]["seq"] if events else after
    body = events if form == "array" else {"events": events, "nextAfter": cursor}
    return json_response(200, body, (("X-Next-After", str(cursor)),))


def _status(app: App, job_id: str) -> dict[str, Any]:
    _, job = app.engine.find_job(job_id)
    last_seq = app.events(job_id)[0].count if job.state.terminal else 0
    return status(job, cancelling=app.engine.is_cancelling(job_id), last_seq=last_seq)
