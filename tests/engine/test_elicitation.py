"""What MCP servers ask people: a question below the call that it is for, answered in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio

from agentd.domain import Mode, PermissionMode, ToolClass, ToolPolicy
from agentd.engine.asks import Settlement
from agentd.engine.elicitation import Elicitor
from agentd.engine.engine import Engine
from agentd.providers.scripted import call, reply
from agentd.tools.base import ToolContext
from agentd.tools.mcp.terms import Elicitation, Elicited
from tests.workshop import FakeTool, Workshop, ended, notices, spec, until

NAME = {"type": "object", "properties": {"name": {"type": "string", "description": "Yours"}}}
TWO = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "level": {"type": "string", "enum": ["low", "high"]}},
}
DONE, NONE, CANCEL = Elicited("accept", {}), Elicited("decline"), Elicited("cancel")


class Asking:
    """A job with a call at work, whose server asks."""

    def __init__(self, workshop: Workshop, seconds: float | None = 60) -> None:
        self.workshop, self.seconds = workshop, seconds
        self.said: Elicited | None = None
        self.notices: list[str] = []
        self.engine: Engine
        workshop.says(reply(call("Work")), "Done.")
        workshop.tools = (FakeTool("Work", ToolClass.MCP, self._work),)

    async def _work(self, _: Mapping[str, Any], context: ToolContext) -> str:
        run = self.engine._run
        assert run is not None
        elicitor = Elicitor(run._branch, run.asks, self.seconds)
        self.said = await elicitor.ask(attrs_evolved(self.wanted, context.call))
        return self.said.action

    async def hear(self, wanted: Elicitation, answer: Settlement | None) -> tuple[Elicited, dict[str, Any]]:
        """What the server hears, and what was asked, where somebody is."""
        self.wanted, opened = wanted, {}
        async with self.workshop.open() as self.engine:
            tools = ToolPolicy(permission_mode=PermissionMode.BYPASS)
            accepted = await self.engine.accept(spec(mode=Mode.QUERY, tools=tools))
            job, session = accepted.job, accepted.session
            if answer is not None:
                await until(session, lambda: bool(session.state.open_asks()))
                [ask] = session.state.open_asks()
                assert not job.at_rest  # the call is in flight
                opened = {**ask.data, "parent": ask.parent}
                await self.engine.settle(ask.id, answer)
            await ended(session, job)
            self.notices = notices(session.view.records())
        assert self.said is not None
        return self.said, opened


def attrs_evolved(wanted: Elicitation, call_id: str) -> Elicitation:
    return Elicitation(wanted.server, wanted.message, wanted.schema, wanted.url, call_id)


def said(text: str) -> Settlement:
    return Settlement("answer", "", "client", text)


@pytest.mark.parametrize(
    ("schema", "answer", "heard"),
    [
        (NAME, said("Ada"), Elicited("accept", {"name": "Ada"})),
        (NAME, said('{"name": "Ada"}'), Elicited("accept", {"name": "Ada"})),
        (NAME, said("decline"), NONE),
        (NAME, Settlement("deny", "no", "client"), CANCEL),
        (TWO, said('{"name": "Ada", "level": "low"}'), Elicited("accept", {"name": "Ada", "level": "low"})),
        (TWO, said("Ada"), CANCEL),
        (TWO, said('{"other": 1}'), CANCEL),
        ({"properties": {"sure": {"type": "boolean"}}}, said("yes"), Elicited("accept", {"sure": True})),
        ({"properties": {"sure": {"type": "boolean"}}}, said("false"), Elicited("accept", {"sure": False})),
        ({"properties": {"age": {"type": "integer"}}}, said("7"), Elicited("accept", {"age": 7})),
        ({"properties": {"age": {"type": "integer"}}}, said("seven"), CANCEL),
        ({}, said("fine"), DONE),
    ],
)
async def test_an_answer_is_what_the_server_asked_for_or_none(
    workshop: Workshop, schema: dict[str, Any], answer: Settlement, heard: Elicited
) -> None:
    assert (await Asking(workshop).hear(Elicitation("shop", "Well?", schema), answer))[0] == heard


async def test_a_person_is_told_who_asks_and_for_what(workshop: Workshop) -> None:
    _, ask = await Asking(workshop).hear(Elicitation("shop", "Who and how?", TWO), said("decline"))
    assert (ask["kind"], ask["tool"], ask["options"]) == ("question", "mcp__shop", ["decline"])
    assert ask["question"] == (
        "shop asks: Who and how?\nAnswer with a JSON object that has:\n- name: string\n- level: string (low, high)"
    )
    assert ask["call"].startswith(ask["parent"])


async def test_a_person_is_told_what_is_required_and_what_lists_may_hold(workshop: Workshop) -> None:
    tags = {"type": "array", "items": {"anyOf": [{"const": "a", "title": "A"}, {"const": "b", "title": "B"}]}}
    schema = {"properties": {"name": {"type": "string"}, "tags": tags}, "required": ["name"]}
    _, ask = await Asking(workshop).hear(Elicitation("shop", "Who?", schema), said("decline"))
    assert ask["question"].endswith("- name (required): string\n- tags: array of (a, b)")


async def test_an_answer_that_does_not_fit_is_told(workshop: Workshop) -> None:
    asking = Asking(workshop)
    assert (await asking.hear(Elicitation("shop", "Who and how?", TWO), said("Ada")))[0] == CANCEL
    assert asking.notices == ["ELICITATION"]


async def test_a_page_is_to_be_opened_by_the_person(workshop: Workshop) -> None:
    wanted = Elicitation("shop", "Sign in.", {}, "https://shop.example/login")
    heard, ask = await Asking(workshop).hear(wanted, said("done"))
    assert heard == Elicited("accept")
    assert "https://shop.example/login" in ask["question"]
    assert ask["options"] == ["done", "decline"]


async def test_where_nobody_is_the_server_hears_so_at_once(workshop: Workshop) -> None:
    with trio.fail_after(5):
        heard, _ = await Asking(workshop, seconds=0).hear(Elicitation("shop", "Who?", NAME), None)
    assert heard == CANCEL
