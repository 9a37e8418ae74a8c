"""Conversations that grow beyond what their model takes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from agentd.domain import JobState, Message, Mode, Text, ToolResult, ToolUse
from agentd.engine.compaction import MOST_TIMES, OUTLINE_CHARS, PROMPT, outline
from agentd.providers.failures import ContextOverflow, Target
from agentd.providers.protocol import FREE, ModelInfo, ModelRequest, Stopped, StreamEvent
from agentd.providers.scripted import Reply, ScriptedProvider, call, reply
from agentd.store.fold import History
from agentd.tools.base import ToolContext
from tests.workshop import TOOLS, FakeTool, Workshop, ended, only, spec

LIMIT = 4000  # tokens of the small model's context
CHARS_PER_TOKEN = 4


@attrs.define(eq=False)
class SmallModel:
    """A model that takes LIMIT tokens, and sums up when it is asked to. *told*: whether it says how many it takes."""

    script: ScriptedProvider
    told: bool
    summary: Sequence[Reply] = (reply("SUMMARY"),)
    summaries: list[ModelRequest] = attrs.field(factory=list)
    refused: int = 0
    name: str = "small"

    def models(self) -> tuple[str, ...]:
        return (self.name,)

    def describe(self, model: str) -> ModelInfo:
        return ModelInfo(context_tokens=LIMIT if self.told else None, price=FREE)

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[StreamEvent], None]:
        if tokens(request) > LIMIT:
            self.refused += 1
            raise ContextOverflow("too long", Target("small", "small"))
        if request.messages[-1].text == PROMPT:
            self.summaries.append(request)
            source = ScriptedProvider([self.summary[min(len(self.summaries), len(self.summary)) - 1]])
        else:
            source = self.script
        async with source.stream(request) as events:
            yield self._counted(events, request)

    async def _counted(self, events: AsyncIterator[StreamEvent], request: ModelRequest) -> AsyncIterator[StreamEvent]:
        async for event in events:
            if isinstance(event, Stopped):
                event = attrs.evolve(event, usage=attrs.evolve(event.usage, input_tokens=tokens(request)))
            yield event


def tokens(request: ModelRequest) -> int:
    chars = len(request.system) + sum(len(str(block)) for message in request.messages for block in message.content)
    return chars // CHARS_PER_TOKEN


async def _page(call_input: Any, context: ToolContext) -> str:
    return f"page {call_input['about']}: " + "x" * int(call_input.get("chars", 2000))


PAGES = (FakeTool("Read", TOOLS[0].tool_class, _page), *TOOLS[1:])


@pytest.fixture(params=["told", "untold"])
def small(workshop: Workshop, request: pytest.FixtureRequest) -> SmallModel:
    model = SmallModel(ScriptedProvider([]), request.param == "told")
    workshop.services = (model,)
    workshop.tools = PAGES
    return model


def page(number: int, chars: int = 2000) -> Reply:
    return reply(call("Read", about=f"p{number}", chars=chars))


async def test_a_conversation_that_grows_is_summed_up_and_goes_on(workshop: Workshop, small: SmallModel) -> None:
    small.script = ScriptedProvider([*(page(number) for number in range(20)), "All read."])
    job, records = await workshop.do(prompt="Read all pages.", mode=Mode.ASK)
    assert job.finished
    assert (job.state, job.finished["result"]) == (JobState.COMPLETED, "All read.")
    assert 2 <= len(only(records, "history.compacted")) <= 10
    assert small.refused == 0 or not small.told


async def test_what_is_summed_up_keeps_the_task_to_the_letter_and_the_last_exchanges(
    workshop: Workshop, small: SmallModel
) -> None:
    small.script = ScriptedProvider([*(page(number, 700) for number in range(20)), "All read."])
    await workshop.do(prompt="Read\n  all  pages.", mode=Mode.ASK)
    after = next(request for request in small.script.requests if "SUMMARY" in str(request.messages[0]))
    assert after.messages[0].content[-1] == Text("Read\n  all  pages.")
    assert isinstance(after.messages[1].content[-1], ToolUse)
    assert isinstance(after.messages[-1].content[-1], ToolResult)


async def test_the_log_keeps_every_message(workshop: Workshop, small: SmallModel) -> None:
    small.script = ScriptedProvider([*(page(number) for number in range(12)), "All read."])
    _, records = await workshop.do(prompt="Read all pages.", mode=Mode.ASK)
    said = [
        block["input"]["about"] for data in only(records, "message") for block in data["content"] if "input" in block
    ]
    assert said == [f"p{number}" for number in range(12)]
    assert "SUMMARY" not in str(only(records, "message"))


async def test_the_next_job_and_the_next_process_go_on_from_the_summary(workshop: Workshop, small: SmallModel) -> None:
    small.script = ScriptedProvider([*(page(number) for number in range(12)), "All read.", "Yes."])
    await workshop.do(prompt="Read all pages.", mode=Mode.ASK)
    job, _ = await workshop.do(prompt="Sure?", mode=Mode.ASK)
    assert job.state is JobState.COMPLETED
    assert "SUMMARY" in str(small.script.requests[-1].messages[0])


async def test_a_model_that_does_not_sum_up_is_replaced_by_an_outline(workshop: Workshop, small: SmallModel) -> None:
    small.summary = (reply(call("Read", about="p0")),)
    small.script = ScriptedProvider([*(page(number) for number in range(12)), "All read."])
    job, records = await workshop.do(prompt="Read all pages.", mode=Mode.ASK)
    assert job.state is JobState.COMPLETED
    assert {"NO_SUMMARY", "COMPACTED"} <= {data["code"] for data in only(records, "notice")}
    assert "Called Read: p0" in only(records, "history.compacted")[0]["text"]


async def test_a_task_that_is_too_long_for_the_model_fails_at_once(workshop: Workshop, small: SmallModel) -> None:
    job, _ = await workshop.do(prompt="word " * 5000, mode=Mode.ASK)
    assert job.finished
    assert (job.state, job.finished["error"]["code"]) == (JobState.FAILED, "CONTEXT_OVERFLOW")
    assert "start a new session" in job.finished["error"]["message"]
    assert small.refused <= 1


async def test_one_result_that_is_too_long_is_summed_up_with_the_rest(workshop: Workshop, small: SmallModel) -> None:
    small.script = ScriptedProvider([page(1, 100_000), "It is long."])
    job, _ = await workshop.do(prompt="Read it.", mode=Mode.ASK)
    assert job.state is JobState.COMPLETED


async def test_a_conversation_that_is_always_full_stops_with_a_clear_error(
    workshop: Workshop, small: SmallModel
) -> None:
    endless = [page(number, 12_000) for number in range(10 * MOST_TIMES)]
    small.script = ScriptedProvider(endless)
    job, records = await workshop.do(prompt="Read on.", mode=Mode.ASK)
    assert job.finished
    assert (job.state, job.finished["error"]["code"]) == (JobState.FAILED, "CONTEXT_OVERFLOW")
    assert len(only(records, "history.compacted")) == MOST_TIMES
    assert len(small.script.requests) <= 2 * MOST_TIMES + 2


async def test_the_task_list_survives(workshop: Workshop, small: SmallModel) -> None:
    small.script = ScriptedProvider([
        reply(call("TaskList", tasks=[{"title": "Read the pages"}, {"title": "Think"}])), "A plan.",
        *(page(number) for number in range(12)), "Done.", "Done.",
    ])  # fmt: skip
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(mode=Mode.LUTZ))
        await ended(accepted.session, accepted.job)
        records = list(accepted.session.view.records())
    assert accepted.job.state is JobState.COMPLETED
    assert "The task list:\n- [ ] Read the pages\n- [ ] Think" in only(records, "history.compacted")[0]["text"]


# --- Pieces -------------------------------------------------------------------------------------------------------


def test_an_outline_is_bounded_and_has_the_beginning_and_the_end() -> None:
    messages = [Message("user", (Text(f"question {number} " + "x" * 1000),)) for number in range(500)]
    text = outline(messages)
    assert len(text) <= OUTLINE_CHARS
    assert "question 0 " in text
    assert "question 499 " in text


def test_a_history_that_is_compacted_answers_open_calls_first() -> None:
    history = History()
    history.add(Message("user", (Text("go"),)))
    history.add(Message("assistant", (ToolUse("c", "Read", {}),)))
    history.compact(1, "summary", "go")
    assert [message.role for message in history.messages] == ["user", "assistant", "user"]
    assert history.messages[0].content == (Text("summary"), Text("go"))
