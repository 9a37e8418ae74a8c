"""What an executor offers its daemon alone, below /_: whole JobSpecs, raw records, asks, shutdown."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, Literal

import attrs
import trio

from agentd.domain import Entry, JobSpec, PermissionMode
from agentd.engine.asks import Settlement
from agentd.engine.engine import Engine
from agentd.engine.session import Session
from agentd.faces.executor.answers import mount, problem
from agentd.faces.executor.requests import whole_number
from agentd.wire import egress
from agentd.wire.feed import Feed
from agentd.wire.messages import NDJSON_TYPE, Answer, Request, Response, StreamResponse, json_response
from agentd.wire.routing import Mount, Routes
from agentd.wire.typed import decode

FRAME_BYTES = 64 * 1024

routes = Routes()


@attrs.define
class Control:
    """For one session, the one of the hello."""

    engine: Engine
    session: Session
    token: str
    stop: trio.Event = attrs.field(factory=trio.Event)
    feed: Feed = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.feed = Feed(RecordLines(self.session), keepalive=b"\n")

    def mount(self) -> Mount:
        return attrs.evolve(mount(routes, self), prefix="/_")

    def guard(self, request: Request) -> Response | None:
        given = request.headers.get("authorization")
        if hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            return None
        return problem(401, "UNAUTHORIZED", "Unauthorized")


@attrs.frozen
class RecordLines:
    """A session's log as a source of frames: a line each, numbered by position. It never ends."""

    session: Session

    def read(self, after: int) -> tuple[bytes, int]:
        lines = self.session.view.read_json(after, max_bytes=FRAME_BYTES)
        return lines, after + lines.count(b"\n")

    def ended(self, after: int) -> bool:
        return False

    def subscribe(self, callback: Callable[[], object]) -> Callable[[], None]:
        return self.session.subscribe(callback)


@attrs.frozen
class SettleAsk:
    decision: Literal["allow", "deny", "always", "answer"]
    reason: str = ""
    by: str = "client"
    answer: str | None = None
    updated_input: dict[str, Any] | None = None


@attrs.frozen
class Steer:
    permission_mode: PermissionMode | None = None
    answer: str | None = None


@attrs.frozen
class Rewind:
    checkpoint: str
    dry_run: bool = False


@attrs.frozen
class NewRecord:
    type: str
    data: dict[str, Any]


@attrs.frozen
class NewRecords:
    records: tuple[NewRecord, ...]


@routes.get("/health")
async def health(control: Control, request: Request) -> Response:
    """What it works at, and the position of the session's last record; of what it was offline for, how often."""
    job, session = control.engine.active_job, control.session
    told = {"session": session.id, "job": job.id if job else None, "position": session.state.pos}
    return json_response(200, told | ({"refused": refused} if (refused := egress.refused()) else {}))


@routes.post("/jobs")
async def create_job(control: Control, request: Request) -> Response:
    """A whole JobSpec. 201 and the id of the job, which is on disk by then; 409 while another runs."""
    spec = decode(request.body, JobSpec)
    accepted = await control.engine.accept(spec, session_id=control.session.id)
    return json_response(201, {"job": accepted.job.id})


@routes.post("/records")
async def append_records(control: Control, request: Request) -> Response:
    """Write records of no job, which the daemon would write itself if nobody had the log. 200 once they are synced."""
    asked = decode(request.body, NewRecords)
    await control.engine.sessions.open(control.session)
    await control.session.commit(*(Entry(each.type, each.data) for each in asked.records))
    return json_response(200, {"position": control.session.state.pos})


@routes.get("/log")
async def log(control: Control, request: Request) -> Answer:
    """Records after ?after=, one JSON object a line, for as long as the reader stays."""
    return StreamResponse(control.feed, max(whole_number(request, "after", 0), 0), NDJSON_TYPE)


@routes.post("/asks/{ask_id}")
async def settle_ask(control: Control, request: Request, ask_id: str) -> Response:
    """200; 404 no such ask; 409 it was settled before."""
    answer = decode(request.body, SettleAsk)
    settlement = Settlement(answer.decision, answer.reason, answer.by, answer.answer, answer.updated_input)
    await control.engine.settle(ask_id, settlement)
    return json_response(200, {"id": ask_id, "decision": answer.decision})


@routes.post("/control")
async def steer(control: Control, request: Request) -> Response:
    """Change what the job at work may do, or answer before it asks. 404 where none is at work."""
    asked = decode(request.body, Steer)
    job = await control.engine.control(permission_mode=asked.permission_mode, answer=asked.answer)
    return json_response(200, {"job": job.id})


@routes.post("/rewind")
async def rewind(control: Control, request: Request) -> Response:
    """Put files back to what they were at a checkpoint. 409 while a job is at work; 400 for no checkpoint of ours."""
    asked = decode(request.body, Rewind)
    rewound = await control.engine.rewind(control.session.id, asked.checkpoint, dry_run=asked.dry_run)
    return json_response(200, attrs.asdict(rewound))


@routes.post("/jobs/{job_id}/cancel")
async def cancel_job(control: Control, request: Request, job_id: str) -> Response:
    return json_response(202, {"job": job_id, "cancelling": control.engine.cancel(job_id)})


@routes.post("/shutdown")
async def shutdown(control: Control, request: Request) -> Response:
    """202: the running job is cancelled, everything is written, and the process ends."""
    control.stop.set()
    return json_response(202, {"stopping": True})
