"""Asks, to a model and to a person: tools that list and settle them, and forms that clients show to their users."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import attrs
import trio

from agentd.daemon.asks import QUESTION_DECISIONS, Answer
from agentd.daemon.tail import Cursor, Tail
from agentd.errors import AgentdError, AskSettled, ToolFailed
from agentd.faces.mcp import views
from agentd.faces.mcp.app import App, Call, InputRequired, Outcome
from agentd.store.index import SessionIndex
from agentd.store.summary import AskRow
from agentd.store.tables import Found, Page, Query
from agentd.tools.schema import arg
from agentd.wire.jsonrpc import INVALID_PARAMS, RpcError

MOST_LISTED = 200
INPUT_CHARS = 2000  # of a tool call's input, in a form


# --- The tools ----------------------------------------------------------------------------------------------------

ASKS = views.listed("asks", views.ASK)


@attrs.frozen
class ListAsks:
    job_id: str | None = arg("Only those of a job", default=None)
    limit: int = arg(f"At most so many, up to {MOST_LISTED}", default=50)
    cursor: str | None = arg("What the last answer gave as next", default=None)


async def list_asks(app: App, call: Call, asked: ListAsks) -> Outcome:
    session = (await app.job(call, asked.job_id, "asks")).session.id if asked.job_id is not None else None
    owner, limit = call.principal.owner("asks"), views.limit(asked.limit, MOST_LISTED)
    query = Query(states=["open"], session=session, owner=owner, limit=limit, cursor=asked.cursor)
    page = await app.listing.ask(partial(_asks, query))
    chosen = [each for each in page.items if asked.job_id in (None, each.row.job)]
    return Outcome({"asks": [await app.ask_view(each) for each in chosen], "next": page.next})


def _asks(query: Query, index: SessionIndex) -> Page[AskRow]:
    return index.asks(query)


async def open_asks(app: App, session_id: str, job_id: str) -> list[Found[AskRow]]:
    page = await app.listing.ask(partial(_asks, Query(session=session_id, states=["open"])))
    return [each for each in page.items if each.row.job == job_id]


@attrs.frozen
class AnswerAsk:
    ask_id: str = arg("Of list_asks, follow_job or job_status")
    decision: Literal["allow", "deny", "always", "answer"] = arg(
        "allow: this once. always: from now on, whatever that tool does in the session. deny: not at all; the agent "
        "goes on without. answer: to a question. Each ask says which of them it takes"
    )
    text: str | None = arg("The answer to a question; of a decision why, which the agent is told", default=None)
    updated_input: Mapping[str, Any] | None = arg(
        "Of a tool call that is allowed: the whole input to use instead of its own", default=None
    )


ANSWERED = views.obj(ask=views.ASK)


async def answer_ask(app: App, call: Call, asked: AnswerAsk) -> Outcome:
    found = await app.ask(call, asked.ask_id, "settle")
    await app.asks.settle(found, _answer(asked.decision, asked.text or "", asked.updated_input))
    return Outcome({"ask": await app.ask_view(await app.ask(call, asked.ask_id, "settle"))})


def _answer(
    decision: Literal["allow", "deny", "always", "answer"], said: str, updated_input: Mapping[str, Any] | None = None
) -> Answer:
    if decision != "answer":
        return Answer(decision, said, updated_input=updated_input)
    if not said.strip():
        raise ToolFailed("an answer needs text")
    return Answer("answer", answer=said)


# --- Forms --------------------------------------------------------------------------------------------------------


def form(ask: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of `elicitation/create` for an ask, as views.ask() shows it."""
    decisions = {"type": "string", "title": "Decision", "enum": list(ask["decisions"]), "default": "deny"}
    about = f"\n\n{views.pairs(ask['input'], INPUT_CHARS)}" if ask["input"] and ask["kind"] != "question" else ""
    schema: dict[str, Any] = {"type": "object", "properties": {"decision": decisions}, "required": ["decision"]}
    if tuple(ask["decisions"]) == QUESTION_DECISIONS:
        hint = f"For example: {'; '.join(ask['choices'])}" if ask["choices"] else "What the agent is to know"
        answer = {"type": "string", "title": "Answer", "description": hint, "minLength": 1}
        schema |= {"properties": {"answer": answer}, "required": ["answer"]}
    return {"mode": "form", "message": f"{ask['question']}{about}", "requestedSchema": schema}


def filled_in(ask: Mapping[str, Any], result: Any) -> Answer | None:
    """What a person said to a form; None: nothing. Raises RpcError for what is no answer to it."""
    action = result.get("action") if isinstance(result, Mapping) else None
    if action not in ("accept", "decline", "cancel"):
        raise RpcError(INVALID_PARAMS, "an elicitation's result needs an action: accept, decline or cancel")
    if action != "accept":
        return Answer("deny", "declined by the user") if action == "decline" else None
    content = result.get("content")
    given = content if isinstance(content, Mapping) else {}
    if isinstance(said := given.get("answer"), str) and said.strip() and "answer" in ask["decisions"]:
        return Answer("answer", answer=said)
    match given.get("decision"):
        case "allow" | "deny" | "always" as decision if decision in ask["decisions"]:
            return Answer(decision)
    raise RpcError(INVALID_PARAMS, "the form was not filled in as its schema says")


async def settle_given(app: App, call: Call, job_id: str) -> set[str]:
    """Settle the asks of a job whose forms a stateless request brings filled in; which it brings, settled or not."""
    given = call.params.get("inputResponses") or {}
    if not call.client.is_stateless or not isinstance(given, Mapping):
        return set()
    for ask_id, result in given.items():
        try:
            found = await app.ask(call, ask_id, "settle")
        except AgentdError:
            continue  # what is not known is ignored: the specification of multi round-trip requests
        if found.row.job == job_id:
            await _settle(app, found, result)
    return set(given)


async def _settle(app: App, found: Found[AskRow], result: Any) -> bool:
    answer = filled_in(await app.ask_view(found), result)
    if answer is None:
        return False
    try:
        await app.asks.settle(found, answer)
    except AskSettled:  # just now, by somebody else, whose answer stands
        return True
    return True


@attrs.define(eq=False)
class Elicitor:
    """Has a job's asks answered by the user of the client that follows it, each once. *tried*: those that were."""

    app: App
    call: Call
    tried: set[str]

    async def settled(self, asks: set[str], tail: Tail, at: Cursor, seconds: float) -> bool:
        """Whether one of *asks* was settled, after *at* in the log, so that its job goes on. Raises InputRequired."""
        fresh = sorted(asks - self.tried)
        if not fresh or not self.call.client.takes_forms or not self.call.principal.may("settle"):
            return False
        if self.call.client.is_stateless:
            forms = {each: await self._form(each) for each in fresh}
            raise InputRequired({each: {"method": "elicitation/create", "params": forms[each]} for each in fresh})
        if not self.call.peer.takes_requests:
            return False
        self.tried.add(fresh[0])
        return await self._elicit(fresh[0], tail, at, seconds)

    async def _form(self, ask_id: str) -> dict[str, Any]:
        return form(await self.app.ask_view(await self.app.ask(self.call, ask_id, "settle")))

    async def _elicit(self, ask_id: str, tail: Tail, at: Cursor, seconds: float) -> bool:
        """While the form is shown, others may settle the ask: then it is taken back."""
        found = await self.app.ask(self.call, ask_id, "settle")
        params, results = await self._form(ask_id), list[Any]()
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await tail.wait(at, seconds, ("ask.settled", "job.finished"))
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            try:
                results.append(await self.call.peer.ask("elicitation/create", params))
            except RpcError:  # it cannot after all: whoever follows is told of the ask
                results.append({"action": "cancel"})
            nursery.cancel_scope.cancel()
        return await _settle(self.app, found, results[0]) if results else True
