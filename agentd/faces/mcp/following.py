"""Jobs from outside: the tools that wait for what happens in one, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import trio

from agentd.daemon.tail import Cursor, Tail
from agentd.domain import JobState, Record
from agentd.errors import ToolFailed
from agentd.faces.mcp import asking, views
from agentd.faces.mcp.app import App, Call, Outcome
from agentd.store.summary import JobRow
from agentd.store.tables import Found
from agentd.tools.schema import arg

MOST_SECONDS = 300.0  # that one call waits
WAIT_SECONDS = 20.0
PAGE_RECORDS = 200  # that are read at a time
EVENT_CHARS = 60_000  # of one answer
END = ("job.finished",)

OPEN_ASKS = views.array(views.ASK, "that are open: nothing goes on before answer_ask settles them")
RESULT = views.maybe("string", "what the job came to, once it is done")
STATUS = views.obj(job=views.JOB, asks=OPEN_ASKS, result=RESULT)
FOLLOWED = views.obj(
    job=views.JOB,
    events=views.array(views.EVENT, "what has happened since the position that was given"),
    position=views.text("for the next follow_job"),
    more=views.BOOL | {"description": "there is more already: call follow_job again at once"},
    reset=views.BOOL | {"description": "the position was of another log: these events are from the beginning"},
    asks=OPEN_ASKS,
    result=RESULT,
)


@attrs.frozen
class OneJob:
    job_id: str = arg("Of start_job or list_jobs")


@attrs.frozen
class FollowJob:
    job_id: str = arg("Of start_job or list_jobs")
    position: str | None = arg("What the last answer gave; from the beginning if not given", default=None)
    wait_seconds: float = arg(
        "Wait so long for its end, or until it asks something; what happens meanwhile is in the answer. At most "
        f"{MOST_SECONDS:g}",
        default=WAIT_SECONDS,
    )


async def status(app: App, call: Call, asked: OneJob) -> Outcome:
    found = await app.job(call, asked.job_id)
    return Outcome({"job": views.job(found), **await _open_or_done(app, found, await finished_of(app, found))})


async def follow(app: App, call: Call, asked: FollowJob) -> Outcome:
    found = await app.job(call, asked.job_id)
    at = Cursor.parse(asked.position) if asked.position is not None else None
    seconds = seconds_of(asked.wait_seconds)
    elicitor = asking.Elicitor(app, call, await asking.settle_given(app, call, found.row.id))
    return Outcome(await follow_from(app, call, found, at, seconds, elicitor))


def seconds_of(given: float) -> float:
    """Raises ToolFailed."""
    if not given >= 0:
        raise ToolFailed("wait_seconds has to be 0 or more")
    return min(given, MOST_SECONDS)


async def follow_from(
    app: App,
    call: Call,
    found: Found[JobRow],
    at: Cursor | None,
    seconds: float,
    elicitor: asking.Elicitor | None = None,
) -> dict[str, Any]:
    """What happens in a job behind *at*, until it ends, asks what *elicitor* cannot have answered, the answer is full,
    or *seconds* are over. Raises InputRequired, StoreFailed."""
    tail = await app.sessions.tail(found.session.id)
    asks = {each.row.id for each in await asking.open_asks(app, found.session.id, found.row.id)}
    at = at or Cursor(max(found.row.pos - 1, 0), tail.generation)
    following = Following(found.row, tail, call.progress, at, asks)
    until = trio.current_time() + seconds
    while not tail.closed and following.read_on():
        left = until - trio.current_time()
        if not following.is_current:
            await trio.lowlevel.checkpoint()
        elif following.is_over or left <= 0:
            break
        elif not following.asks:
            await tail.wait(following.at, left, views.RECORD_TYPES)
        elif elicitor is None or not await elicitor.settled(following.asks, tail, following.at, left):
            break
    return await _told(app, call, following)


@attrs.define(eq=False)
class Following:
    """One reader of a job's records, and what it has read."""

    row: JobRow
    tail: Tail
    progress: Callable[[str], None]
    at: Cursor
    asks: set[str]  # that are open
    events: list[dict[str, Any]] = attrs.field(factory=list)
    reset: bool = False
    finished: Record | None = None
    is_current: bool = False  # there was nothing more to read
    chars: int = 0

    @property
    def is_over(self) -> bool:
        return self.finished is not None or JobState(self.row.state).terminal

    @property
    def is_full(self) -> bool:
        return self.chars > EVENT_CHARS

    def read_on(self) -> bool:
        """Whether there is room for more. Raises StoreFailed."""
        page = self.tail.page(self.at, PAGE_RECORDS, views.RECORD_TYPES)
        if page.reset:
            self.reset, self.events, self.chars = True, [], 0
        self.is_current, self.at = page.at == self.at, page.at
        for record in records(page.lines):
            if record.job == self.row.id:
                self._take(record)
        return not self.is_full

    def _take(self, record: Record) -> None:
        match record.type:
            case "ask.opened":
                self.asks.add(record.data["id"])
            case "ask.settled":
                self.asks.discard(record.data["id"])
            case "job.finished":
                self.finished = record
        if line := views.progress(record):
            self.progress(line)
        if (event := views.event(record)) is not None:
            self.events.append(event)
            self.chars += len(event["text"])


async def _told(app: App, call: Call, following: Following) -> dict[str, Any]:
    found = await app.job(call, following.row.id, call.need)
    while JobState(found.row.state).terminal and not following.is_full and following.read_on():
        if following.is_current:  # who is told that it is done has all of it
            break
        await trio.lowlevel.checkpoint()
    finished = following.finished or await finished_of(app, found)
    return {
        "job": views.job(found),
        "events": following.events,
        "position": str(following.at),
        "more": following.is_full,
        "reset": following.reset,
        **await _open_or_done(app, found, finished),
    }


async def _open_or_done(app: App, found: Found[JobRow], finished: Record | None) -> dict[str, Any]:
    if finished is not None:
        return {"asks": [], "result": views.cut(finished.data["result"] or "", views.RESULT_CHARS)}
    asks = await asking.open_asks(app, found.session.id, found.row.id)
    return {"asks": [await app.ask_view(each) for each in asks], "result": None}


async def finished_of(app: App, found: Found[JobRow]) -> Record | None:
    """The record of a job's end, if it has come to that. Raises StoreFailed."""
    if not JobState(found.row.state).terminal:
        return None
    tail = await app.sessions.tail(found.session.id)
    at = Cursor(max(found.row.pos - 1, 0), tail.generation)
    while (page := tail.page(at, PAGE_RECORDS, END)).at != at:
        for record in records(page.lines):
            if record.job == found.row.id:
                return record
        at = page.at
        await trio.lowlevel.checkpoint()
    return None


async def wait_for_end(app: App, found: Found[JobRow], seconds: float) -> None:
    """Until a job has ended, or the time is over."""
    tail = await app.sessions.tail(found.session.id)
    following = Following(found.row, tail, lambda _: None, Cursor(max(found.row.pos - 1, 0), tail.generation), set())
    with trio.move_on_after(seconds):
        while not tail.closed and following.finished is None:
            following.read_on()
            if following.is_current and following.finished is None:
                await tail.wait(following.at, seconds, END)
            await trio.lowlevel.checkpoint()


def records(lines: Iterable[bytes]) -> Iterable[Record]:
    return (Record(**json.loads(line)) for line in lines)
