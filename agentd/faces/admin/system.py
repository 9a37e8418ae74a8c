"""What is of the daemon itself over the admin API: executors, disk, tokens, recovery, and the stream of changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from agentd.daemon.inventory import Cleared, collect, executors, storage
from agentd.errors import Forbidden
from agentd.faces.admin import requests, views
from agentd.faces.admin.app import App, route
from agentd.store.create import epoch_ms
from agentd.store.index import SessionIndex
from agentd.wire.feed import resume_after
from agentd.wire.messages import Answer, Request, Response, StreamResponse, json_response


@route("GET", "/executors", "read")
async def list_executors(app: App, request: Request) -> Response:
    """Those that live, start or stop; and those that died and nobody launched again, with how."""
    seats = app.control.seats
    items = await executors(seats, seats.plan.launcher, epoch_ms())
    sandbox = await app.listing.ask(lambda index: {item["session_id"]: _sandbox(index, item) for item in items})
    items = [{**item, "sandbox": sandbox[item["session_id"]]} for item in items]
    return json_response(200, {"items": items, "next": None})


def _sandbox(index: SessionIndex, item: Mapping[str, Any]) -> str | None:
    """The policy that was in force in the session's last job."""
    found = index.session(item["session_id"])
    job = index.job(found.row.last_job) if found and found.row.last_job else None
    return job.row.sandbox if job else None


@route("GET", "/storage", "read")
async def read_storage(app: App, request: Request) -> Response:
    """Bytes on disk by kind."""
    return json_response(200, await storage(app.control.home, app.pool))


@route("POST", "/gc", "admin")
async def collect_leftovers(app: App, request: Request) -> Response:
    """Worktrees that no session owns: what was done with each, or with `dry_run` what would be."""
    asked = requests.collect(request.body)
    cleared = await collect(app.pool, dry_run=asked.dry_run) if app.pool is not None else []
    return json_response(200, {"dry_run": asked.dry_run, "items": [_leftover(each) for each in cleared]})


def _leftover(cleared: Cleared) -> dict[str, Any]:
    told = attrs.asdict(cleared.leftover, recurse=False)
    return {**told, "action": cleared.action, "rescued": cleared.rescued}


@route("GET", "/recovery", "read")
async def read_recovery(app: App, request: Request) -> Response:
    """What the last start found and did."""
    reaped = [attrs.asdict(each) for each in app.control.reaped]
    manager = attrs.asdict(app.report) if app.report is not None else None
    found = {
        "started": app.since,
        "executors": reaped,
        "manager": manager,
        "interrupted": app.sessions.interrupted,
        "finished": app.sessions.recovered.is_set(),
        "damaged_root_records": app.control.registry.damaged,
    }
    return json_response(200, found)


@route("GET", "/events", "see")
async def read_events(app: App, request: Request) -> Answer:
    """An event for every change of a session, job, ask or executor, named so, with what it is now. A reset event says
    that some were missed: ask for the lists again."""
    feed = app.events.feed(request.principal.owner("see"))
    return StreamResponse(feed, resume_after(request, default=app.events.last))


# --- Tokens -------------------------------------------------------------------------------------------------------


@route("GET", "/tokens", "admin")
async def list_tokens(app: App, request: Request) -> Response:
    """What was issued, never a token itself."""
    return json_response(200, {"items": [views.token(each) for each in app.access.tokens()], "next": None})


@route("POST", "/tokens", "admin")
async def issue_token(app: App, request: Request) -> Response:
    """201 and the token, which is shown this once."""
    asked = requests.new_token(request.body, epoch_ms())
    if request.principal.roots:
        raise Forbidden("a token that is for some directories only cannot issue others")
    token, issued = await app.access.issue(
        list(asked.scope), name=asked.name, expires=asked.expires, budget_usd=asked.budget_usd, roots=asked.roots
    )
    return json_response(201, {"token": token, **views.token(issued)})


@route("DELETE", "/tokens/{token_id}", "admin")
async def revoke_token(app: App, request: Request, token_id: str) -> Response:
    """204: it opens nothing any more."""
    await app.access.revoke(token_id)
    return Response(204, content_type=None)
