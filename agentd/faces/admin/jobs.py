"""Jobs and asks of every face over the admin API."""

from __future__ import annotations

from agentd.daemon.access import Need
from agentd.errors import AskNotFound, JobNotFound, SessionNotFound
from agentd.faces.admin import requests, views
from agentd.faces.admin.app import App, check_owner, route
from agentd.store.summary import AskRow
from agentd.store.tables import Found
from agentd.wire.messages import Request, Response, json_response


@route("GET", "/jobs", "see")
async def list_jobs(app: App, request: Request) -> Response:
    """The latest first; ?state=, ?face=, ?session=, ?q=."""
    query = requests.page(request, "state", requests.JOB_STATES, request.principal.owner("see"))
    page = await app.listing.ask(lambda index: index.jobs(query))
    return json_response(200, {"items": [views.job(found) for found in page.items], "next": page.next})


@route("GET", "/jobs/{job_id}", "see")
async def read_job(app: App, request: Request, job_id: str) -> Response:
    found = await app.listing.ask(lambda index: index.job(job_id))
    try:
        if found is None:
            raise JobNotFound(job_id)
        check_owner(request.principal, "see", found)
    except SessionNotFound:
        raise JobNotFound(job_id) from None
    return json_response(200, views.job(found))


@route("GET", "/asks", "asks")
async def list_asks(app: App, request: Request) -> Response:
    """The latest first; ?state=open or settled, ?face=, ?session=."""
    query = requests.page(request, "state", requests.ASK_STATES, request.principal.owner("asks"))
    page = await app.listing.ask(lambda index: index.asks(query))
    return json_response(200, {"items": [views.ask(found) for found in page.items], "next": page.next})


@route("GET", "/asks/{ask_id}", "asks")
async def read_ask(app: App, request: Request, ask_id: str) -> Response:
    """With the whole input of the call that it is about."""
    found = await _ask(app, request, ask_id, "asks")
    tail = await app.sessions.tail(found.session.id)
    [record] = tail.reader.read(found.row.pos - 1, 1)
    return json_response(
        200, views.ask(found) | {"input": record.data.get("input"), "call_id": record.data.get("call")}
    )


@route("POST", "/asks/{ask_id}", "settle")
async def settle(app: App, request: Request, ask_id: str) -> Response:
    """200 once the decision is on disk; 404 no such ask; 409 it was settled before, with the decision that stands."""
    found = await _ask(app, request, ask_id, "settle")
    answer = requests.answer(request.body)
    await app.asks.settle(found, answer)
    return json_response(200, {"id": ask_id, "decision": answer.decision})


async def _ask(app: App, request: Request, ask_id: str, need: Need) -> Found[AskRow]:
    """Raises AskNotFound, also for one of a session that is not the principal's to see."""
    found = await app.asks.find(ask_id)
    try:
        check_owner(request.principal, need, found)
    except SessionNotFound:
        raise AskNotFound(ask_id) from None
    return found
