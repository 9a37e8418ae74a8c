"""Jobs over HTTP: create, list, status, cancel, diff, events. The contract: executor.md, 7 to 9."""

from __future__ import annotations

from typing import Any

import trio

from agentd.errors import InvalidRequest, NotARepository
from agentd.faces.executor import requests
from agentd.faces.executor.answers import RETRY_MS, problem
from agentd.faces.executor.app import App, routes
from agentd.faces.executor.dialect import state_of, status
from agentd.store.fold import JobView
from agentd.wire.feed import resume_after
from agentd.wire.messages import Answer, Request, Response, StreamResponse, json_response


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
        session_hint=requests.session_hint(asked),
    )
    state = "RUNNING" if accepted.new else _state(app, accepted.job)  # a job may end as soon as it has begun
    body: dict[str, Any] = {"jobId": accepted.job.id, "state": state, "sessionId": accepted.session.id}
    if accepted.fragments:
        body["contextTextFragmentIds"] = accepted.fragments
    return json_response(201 if accepted.new else 200, body)


@routes.get("/v1/jobs")
async def list_jobs(app: App, request: Request) -> Response:
    """Every job of every session, newest first."""
    jobs = sorted((job for s in app.engine.sessions for job in s.state.jobs.values()), key=lambda j: -j.created)
    told = []
    for job in jobs:
        told.append(_status(app, job.id))
        await trio.lowlevel.checkpoint()  # each may have a log to be gone through
    return json_response(200, {"jobs": told})


@routes.get("/v1/jobs/status")
async def slot_status(app: App, request: Request) -> Response:
    """Whether a job would be taken now."""
    is_free = app.is_free
    state = None if is_free else app.engine.slot_state
    body = {"readyForJobSubmission": is_free, "activeJobId": None, "activeJobState": state}
    return json_response(200, body | {"retryAfterMs": 0 if is_free else RETRY_MS, "terminal": is_free})


async def no_job_path(app: App, request: Request) -> Response:
    """A path whose job id is empty."""
    return problem(400, "BAD_REQUEST", "Invalid job path")


for _rest in ("", "/events", "/diff", "/cancel"):
    routes.get(f"/v1/jobs/{_rest}")(no_job_path)
    routes.post(f"/v1/jobs/{_rest}")(no_job_path)


@routes.get("/v1/jobs/{job_id}")
async def job_status(app: App, request: Request, job_id: str) -> Response:
    return json_response(200, _status(app, job_id))


@routes.post("/v1/jobs/{job_id}/cancel")
async def cancel_job(app: App, request: Request, job_id: str) -> Response:
    """202; cancelRequested says whether there was anything to cancel."""
    requested = app.engine.cancel(job_id)
    _, job = app.engine.find_job(job_id)
    state, ended = _state(app, job), job.state.terminal
    body = {"jobId": job_id, "cancelRequested": requested, "state": state, "terminal": ended}
    active = None if ended else job_id  # of another job it would not be this client's business
    return json_response(202, body | {"executorReady": app.is_free, "activeJobId": active})


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
    last_seq = app.last_seq(job_id) if job.state.terminal else 0
    return status(job, _state(app, job), last_seq=last_seq) | {"executorReady": app.is_free}


def _state(app: App, job: JobView) -> str:
    run = app.engine.run_of(job.id)
    return state_of(job, at_work=run is not None, cancelling=run is not None and run.cancelling)
