"""The provider: a request in, one move of a plan out, as a stream of small deltas."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import trio

from agentd.domain import Image, Message, Text, Thinking, ToolResult, ToolUse, Usage
from agentd.providers.protocol import (
    FREE,
    CallDelta,
    CallStarted,
    ModelInfo,
    ModelRequest,
    Stopped,
    StreamEvent,
    TextDelta,
)

if TYPE_CHECKING:
    from agentd.providers.builtin.plan import Move

NAME = "builtin"
NOTE = "offline, no language model: carries out spelled-out tasks, answers questions by searching; tokens are estimates"
PIECE_CHARS = 48
TRY_AGAIN = "Your answer is not what was asked for:"  # as engine/structured.py begins it; a test holds the two together
BESIDE = ("[verify was run; ", "[validate_spec was run; ", "[Go on from ")  # what a chat says in a person's place
CHARS_PER_TOKEN = 4  # of the estimate: there are no tokens here, but budgets and tables want a number


class BuiltinProvider:
    """Stateless: any number of conversations at once. Usage is an estimate: a token for CHARS_PER_TOKEN characters."""

    @property
    def name(self) -> str:
        return NAME

    def models(self) -> tuple[str, ...]:
        return (NAME,)

    def describe(self, model: str) -> ModelInfo:
        return ModelInfo(price=FREE, note=NOTE, vision=False)

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[StreamEvent], None]:
        # What a search of a large tree found takes a while to look through, and others want to be served meanwhile.
        move = await trio.to_thread.run_sync(next_move, request)
        async with aclosing(_play(request, move)) as events:
            yield events


def next_move(request: ModelRequest) -> Move:
    """What the built-in model says and calls next. Pure."""
    # Here, not above: an executor that works with another model starts 50 ms earlier without them.
    from agentd.providers.builtin.carry_out import answer_in_form, answer_task
    from agentd.providers.builtin.chatspec import speaks_of_spec, write_spec
    from agentd.providers.builtin.chattools import in_chat, is_chat, known
    from agentd.providers.builtin.form import form_of
    from agentd.providers.builtin.material import fragments
    from agentd.providers.builtin.plan import LOST, Move, replay
    from agentd.providers.builtin.recap import SUMMED_UP, asks_recap, recap
    from agentd.providers.builtin.runplan import asks_run_plan, plan_run
    from agentd.providers.builtin.specdraft import DRAFT_MARK, spec_draft
    from agentd.providers.builtin.talk import small_talk
    from agentd.providers.builtin.tasklist import plan_tasks
    from agentd.providers.builtin.toolcall import make_call, named_call

    form = form_of(request.output_schema, request.system)
    start = _task_index(request.messages, form is not None)
    if start is None:
        return Move("There is no task in this conversation.")
    *material, task = _texts(request.messages[start])  # the last text is the task; texts before it came with it
    if task.startswith(DRAFT_MARK):
        return Move(spec_draft([*material, task]))
    if asks_run_plan(task):
        return Move(plan_run(task))
    if asks_recap(task):
        return Move(recap(request.messages[:start]))
    if form is None and (said := small_talk(task, _spoken(request.messages[:start]))) is not None:
        return Move(said)
    if any(text.startswith(SUMMED_UP) for text in material):
        return Move(LOST)  # the conversation was summed up in the middle of the task
    offered = frozenset(tool.name for tool in request.tools)
    if form is None and (call := named_call(task, offered)) is not None:
        plan = make_call(call)
    elif speaks_of_spec(task, offered):
        plan = write_spec(task)
    elif is_chat(offered):
        plan = in_chat(answer_task(task, known(offered), fragments(request.messages[: start + 1])))
    elif "TaskList" in offered:
        plan = plan_tasks(task, offered)
    elif form is not None:
        plan = answer_in_form(
            form, _spoken(request.messages[: start + 1]), offered, fragments(request.messages[: start + 1])
        )
    else:
        plan = answer_task(task, offered, fragments(request.messages[: start + 1]))
    return replay(plan, request.messages[start + 1 :])


def _task_index(messages: Sequence[Message], in_form: bool) -> int | None:
    """Where the person spoke last. *in_form*: what asks for a better form is no task, but the one before it is."""
    for index in range(len(messages) - 1, -1, -1):
        texts = _texts(messages[index])
        if texts and not (in_form and texts[-1].startswith(TRY_AGAIN)):
            return index
    return None


def _texts(message: Message) -> list[str]:
    """What a person said. A message that brings tool results is never a task, whatever else it holds."""
    if message.role != "user" or any(isinstance(block, ToolResult) for block in message.content):
        return []
    said = [block.text for block in message.content if isinstance(block, Text) and block.text.strip()]
    return [text for text in said if not text.startswith(BESIDE)]


def _spoken(messages: Sequence[Message]) -> list[str]:
    said = (text for message in messages for text in _texts(message))
    return [text for text in said if not text.startswith(TRY_AGAIN)]


async def _play(request: ModelRequest, move: Move) -> AsyncGenerator[StreamEvent, None]:
    said = 0
    for event in _events(request, move):
        said += len(event.text) if isinstance(event, TextDelta | CallDelta) else 0
        yield event
        await trio.lowlevel.checkpoint()
    usage = Usage(_chars(request) // CHARS_PER_TOKEN, -(-said // CHARS_PER_TOKEN))
    yield Stopped("failed" if move.failed else "tool_use" if move.calls else "end_turn", usage)


def _events(request: ModelRequest, move: Move) -> Iterator[StreamEvent]:
    for start in range(0, len(move.text), PIECE_CHARS):
        yield TextDelta(move.text[start : start + PIECE_CHARS])
    taken = {call.id for message in request.messages for call in message.calls}
    number = len(taken)
    for call in move.calls:
        number += 1
        while (call_id := f"{NAME}_{number}") in taken:
            number += 1
        yield CallStarted(call_id, call.name)
        yield CallDelta(call_id, json.dumps(dict(call.input), ensure_ascii=False))


def _chars(request: ModelRequest) -> int:
    """The size of what a language model would have to read."""
    blocks = (block for message in request.messages for block in message.content)
    tools = sum(len(tool.name) + len(tool.description) + len(json.dumps(tool.input_schema)) for tool in request.tools)
    return len(request.system) + tools + sum(map(_block_chars, blocks))


def _block_chars(block: Text | Thinking | Image | ToolUse | ToolResult) -> int:
    match block:
        case Text(text) | Thinking(text):
            return len(text)
        case ToolUse(_, name, call_input):
            return len(name) + len(json.dumps(dict(call_input)))
        case ToolResult(_, content):
            return sum(map(_block_chars, content))
        case Image():
            return 0
