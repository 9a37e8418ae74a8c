"""Room for a conversation that grows: what is long ago is summed up before the model can take no more of it.

The log keeps every message; only what the model is shown gets shorter. What stays: the system prompt, the task at
hand to the letter, the task list, and the last exchanges as far as they are small. Making room has to help: when less
than half of the context is not to be had, or it was made too often, the job ends with ContextFull.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import attrs

from agentd.domain import Block, Message, Text, Thinking, ToolResult, ToolUse, Usage
from agentd.engine.branch import Branch
from agentd.engine.caller import Caller
from agentd.engine.combinedhooks import HookSet
from agentd.engine.limits import Budget
from agentd.errors import ContextFull, ProviderFailed
from agentd.providers.protocol import ToolSchema

SHORT = 0.8  # of the model's context: when more is used, room is made,
GOAL = 0.5  # after which no more than this is used,
KEPT = 0.2  # and the last exchanges have no more than this of it
MOST_TIMES = 24  # in one conversation
TOKENS_PER_CHAR = 0.3  # until a service has told how many tokens a request had
RESULT_CHARS = (4000, 800, 100)  # that are shown of a tool's result to whoever sums up, the first that fits
SUMMARY_CHARS = 16_000
WORTH_CHARS = 1000  # of a conversation: a shorter one is not summed up
OUTLINE_CHARS = 6000
LINE_CHARS = 300  # of an outline

PROMPT = """\
Summarize the conversation so far, for yourself: it is about to be replaced by your summary. Say what was asked, what \
was found out (with path:line), what was changed in which file, which commands were run and how they ended, what was \
decided and why, and what is still to be done. Call no tool; answer with the summary alone."""
HEADING = "What happened in this conversation until now, summed up:"


@attrs.define
class Room:
    """How much of its model's context a conversation uses, in estimated tokens. Messages are given without material."""

    branch: Branch
    caller: Caller
    system: str
    tools: tuple[ToolSchema, ...]
    budget: Budget
    hooks: HookSet
    material: int = 0  # characters of what stands in front of the conversation, and stays
    _times: int = 0
    _tokens_per_char: float = TOKENS_PER_CHAR

    def measured(self, usage: Usage, messages: Sequence[Message]) -> None:
        """Learn from a reply: *messages* are those of the request, and the reply."""
        if usage.input_tokens:
            ratio = (usage.input_tokens + usage.output_tokens) / max(1, self._chars(messages))
            self._tokens_per_char = min(1.0, max(0.1, ratio))

    def is_short(self, messages: Sequence[Message]) -> bool:
        limit = self.caller.model.info.context_tokens
        return limit is not None and self._tokens(messages) > SHORT * limit

    async def make(self, messages: Sequence[Message], overflow: ProviderFailed | None = None) -> None:
        """Shorten the conversation, which the service refused with *overflow*, or would soon. Raises ContextFull."""
        await self.hooks.before_compact("auto")
        before = self._tokens(messages)
        limit = self.caller.model.info.context_tokens or before
        if overflow is not None:
            limit = min(limit, before)  # what was refused is more than it takes, whatever is said of it
        self._times += 1
        kept = self._kept(messages, round(KEPT * limit))
        for keep in sorted({kept, 0}, reverse=True):
            if self._times > MOST_TIMES or len(messages) - keep < 2:
                break
            await self._shorten(messages, keep, limit)
            messages = self.branch.history.view()
            if self._tokens(messages) <= GOAL * limit:
                return
        raise ContextFull(self.caller.model.name, limit) from overflow

    async def sum_up(self, messages: Sequence[Message], trigger: Literal["auto", "manual"]) -> None:
        """Put a summary in the place of all messages, if it is shorter. Raises ProviderFailed; then nothing changed."""
        if sum(map(_chars_of, messages)) <= WORTH_CHARS:
            return
        await self.hooks.before_compact(trigger)
        summary = await self._ask_for_summary(messages, self.caller.model.info.context_tokens)
        if len(summary) < sum(map(_chars_of, messages)):
            self._replace(messages, 0, summary, task="")

    async def _shorten(self, messages: Sequence[Message], keep: int, limit: int) -> None:
        old = messages[: len(messages) - keep]
        try:
            summary = await self._ask_for_summary(old, limit)
        except ProviderFailed as exc:
            self.branch.notice("warning", "NO_SUMMARY", f"the model did not sum the conversation up: {exc}")
            summary = outline(old)
        task = "" if any(map(_is_spoken, messages[len(old) :])) else _last_said(old)
        self._replace(messages, keep, summary, task)

    async def _ask_for_summary(self, messages: Sequence[Message], limit: int | None) -> str:
        """Raises ProviderFailed."""
        asked = (*self._fitting(messages, limit), Message("user", (Text(PROMPT),)))
        caller = self.caller.writing_to(attrs.evolve(self.branch, quiet=True).write)
        turn, cost = await caller.take_turn(self.system, asked, self.tools)
        self.budget.add_cost(cost)
        if turn.message.calls or not turn.message.text.strip():
            raise ProviderFailed("it answered with no summary")
        return turn.message.text.strip()[:SUMMARY_CHARS]

    def _fitting(self, messages: Sequence[Message], limit: int | None) -> tuple[Message, ...]:
        """The same messages; where they are too many for the model, the results of tools are cut."""
        shown = tuple(messages)
        for chars in RESULT_CHARS:
            if limit is None or self._tokens(shown) <= GOAL * limit:
                break
            shown = tuple(_with_short_results(message, chars) for message in messages)
        return shown

    def _replace(self, messages: Sequence[Message], keep: int, summary: str, task: str) -> None:
        text = "\n\n".join(part for part in (HEADING, summary, self._lists()) if part)
        dropped = len(messages) - keep
        instead = Message("user", (Text(text), Text(task)))
        before, after = (self._tokens_of(each) for each in (messages, (instead, *messages[dropped:])))
        self.branch.append(
            "history.compacted", dropped=dropped, left=keep + 1, text=text, task=task, before=before, after=after
        )
        self.branch.notice("info", "COMPACTED", f"the conversation was summed up: about {before} tokens, now {after}")

    def _lists(self) -> str:
        """What is to be done, as the session keeps it."""
        state = self.branch.session.state
        lines = [f"- [{'x' if task.done else ' '}] {task.title}" for task in state.tasks]
        lines += [f"- [{todo['status']}] {todo['content']}" for todo in state.todos]
        return "\n".join(["The task list:", *lines]) if lines else ""

    def _kept(self, messages: Sequence[Message], tokens: int) -> int:
        """How many of the last messages have at most *tokens* and can begin a conversation."""
        kept, used = 0, 0.0
        for count, message in enumerate(reversed(messages), 1):
            used += _chars_of(message) * self._tokens_per_char
            if used > tokens:
                break
            if not any(isinstance(block, ToolResult) for block in message.content):
                kept = count
        return min(kept, len(messages) - 1)

    def _tokens_of(self, messages: Sequence[Message]) -> int:
        return round(sum(map(_chars_of, messages)) * self._tokens_per_char)

    def _tokens(self, messages: Sequence[Message]) -> int:
        """Of a request with them."""
        return round(self._chars(messages) * self._tokens_per_char)

    def _chars(self, messages: Sequence[Message]) -> int:
        tools = sum(len(tool.description) + len(str(tool.input_schema)) for tool in self.tools)
        return len(self.system) + tools + self.material + sum(map(_chars_of, messages))


def outline(messages: Sequence[Message]) -> str:
    """What was said and called, a line each and bounded: for when no model can be asked to sum up."""
    lines = [line for message in messages for line in _outlined(message)]
    while len(lines) > 3 and sum(map(len, lines)) > OUTLINE_CHARS:
        del lines[len(lines) // 2]
    return "\n".join(lines)[:OUTLINE_CHARS]


def _outlined(message: Message) -> Iterator[str]:
    if message.text.strip():
        who = "Asked" if message.role == "user" else "Said"
        yield f"- {who}: {' '.join(message.text.split())[:LINE_CHARS]}"
    for call in message.calls:
        about = " ".join(str(value) for value in call.input.values())
        yield f"- Called {call.name}: {' '.join(about.split())[: LINE_CHARS // 2]}"


def _is_spoken(message: Message) -> bool:
    return message.role == "user" and any(isinstance(block, Text) for block in message.content)


def _last_said(messages: Sequence[Message]) -> str:
    """The last block of what was said last in a person's place: the task; what is before it is material."""
    spoken = next((message for message in reversed(messages) if _is_spoken(message)), None)
    texts = [block.text for block in spoken.content if isinstance(block, Text)] if spoken else []
    return texts[-1] if texts else ""


def _with_short_results(message: Message, chars: int) -> Message:
    return attrs.evolve(message, content=tuple(_short(block, chars) for block in message.content))


def _short(block: Block, chars: int) -> Block:
    if not isinstance(block, ToolResult):
        return block
    text = "".join(part.text for part in block.content if isinstance(part, Text))
    if len(text) <= chars and len(block.content) == 1:
        return block
    return attrs.evolve(block, content=(Text(f"{text[:chars]}\n[{max(0, len(text) - chars)} more characters]"),))


def _chars_of(message: Message) -> int:
    return sum(map(_chars_in, message.content))


IMAGE_CHARS = 6000  # what an image is worth, in characters of text


def _chars_in(block: Block) -> int:
    match block:
        case Text(text) | Thinking(text):
            return len(text)
        case ToolUse(_, name, call_input):
            return len(name) + len(str(call_input))
        case ToolResult(_, content):
            return sum(map(_chars_in, content))
    return IMAGE_CHARS
