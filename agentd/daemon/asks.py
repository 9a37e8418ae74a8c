"""Settling what was asked, whoever asks and whether or not its executor lives. Who comes first settles it.

An open ask waits in the log. Where an executor lives, it settles it; where none does, the answer is written here, and
then the executor is launched again at the first call that has no answer. DESIGN, rule 5.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import attrs
import trio

from agentd.daemon.calls import call
from agentd.daemon.sessions import Sessions
from agentd.daemon.writer import append_alone
from agentd.domain import Entry
from agentd.errors import AgentdError, AskNotFound, AskSettled, InvalidRequest
from agentd.store.fold import SessionState
from agentd.store.summary import AskRow
from agentd.store.tables import Found, Query, options_of

EXPIRY_SECONDS = 10.0  # between two looks whether a deadline has passed of which no executor knows
GRACE_SECONDS = 5.0  # after its deadline an ask is left to its executor
logger = logging.getLogger(__name__)


QUESTION_DECISIONS = ("answer", "deny")


@attrs.frozen
class Answer:
    """*answer*: what a person says to a question. *updated_input*: what the call is to be given instead."""

    decision: Literal["allow", "deny", "always", "answer"]
    reason: str = ""
    by: str = "client"
    answer: str | None = None
    updated_input: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in attrs.asdict(self).items() if value is not None}


class Asks:
    """*nursery* owns the executors' relaunches."""

    def __init__(self, sessions: Sessions, nursery: trio.Nursery) -> None:
        self._sessions = sessions
        self._nursery = nursery

    async def find(self, ask_id: str) -> Found[AskRow]:
        """Raises AskNotFound, StoreFailed."""
        found = await self._sessions.listing.ask(lambda index: index.ask(ask_id))
        if found is None:
            raise AskNotFound(ask_id)
        return found

    async def settle(self, found: Found[AskRow], answer: Answer) -> None:
        """The answer is on the disk when it returns. Raises AskSettled, with the decision that stands; InvalidRequest
        for an answer that this ask does not take; Locked: `agentd run` has the session; ExecutorFailed, HttpFailed,
        StoreFailed."""
        if answer.decision not in (decisions := decisions_of(found.row)):
            raise InvalidRequest([f"this ask takes {', '.join(decisions)} @ $.decision"])
        if answer.updated_input is not None and answer.decision not in ("allow", "always"):
            raise InvalidRequest(["goes with a call that is allowed @ $.updated_input"])
        session_id = found.session.id
        async with self._sessions.lock(session_id):
            if (stands := (await self.find(found.row.id)).row.decision) is not None:
                raise AskSettled(found.row.id, stands)
            seat = self._sessions.seat(session_id)
            if seat is None or seat.state == "absent":
                decide = partial(settled, found.row.id, answer)
                await trio.to_thread.run_sync(append_alone, self._sessions.directory(session_id), decide)
                self._nursery.start_soon(self._sessions.relaunch, session_id)
            else:
                try:
                    await call(seat, "POST", f"/_/asks/{found.row.id}", answer.to_json())
                except AskSettled:
                    stands = (await self.find(found.row.id)).row.decision
                    raise AskSettled(found.row.id, stands or "deny") from None
        self._sessions.tails.look(session_id)

    async def expire_forever(self) -> None:
        """Refuse what nobody answered in time and no executor watches. Until cancelled."""
        while True:
            await trio.sleep(EXPIRY_SECONDS)
            try:
                await self._expire()
            except AgentdError as exc:
                logger.warning("%s", exc)

    async def _expire(self) -> None:
        late = (time.time() - GRACE_SECONDS) * 1000
        page = await self._sessions.listing.ask(lambda index: index.asks(Query(states=["open"], limit=500)))
        for found in page.items:
            if found.row.deadline is None or found.row.deadline > late:
                continue
            try:
                await self.settle(found, Answer("deny", "nobody answered in time", "timeout"))
            except AgentdError as exc:  # somebody was faster, or an `agentd run` lives and looks after it
                logger.debug("an ask is not refused: %s", exc, extra={"session": found.session.id})


def decisions_of(ask: AskRow) -> Sequence[str]:
    """What it takes. The options of a question are what its answer may be, and what is said need not be one of them."""
    return QUESTION_DECISIONS if ask.kind == "question" else options_of(ask)


def settled(ask_id: str, answer: Answer, state: SessionState) -> Sequence[Entry]:
    """The records that settle an open ask: the same as an executor writes. Raises AskNotFound, AskSettled."""
    ask = state.asks.get(ask_id)
    if ask is None:
        raise AskNotFound(ask_id)
    if ask.settled is not None:
        raise AskSettled(ask_id, ask.settled["decision"])
    entries = [Entry("ask.settled", {"id": ask_id} | answer.to_json(), ask.job, ask.parent)]
    if answer.decision == "always":
        always = sorted({*state.always, ask.data["tool"]})
        entries.append(Entry("session.changed", {"permissions": {"always": always}}))
    return entries
