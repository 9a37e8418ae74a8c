"""Plans: what the built-in model does, as generators that are replayed from their start at every request.

A plan yields a Move (what to say, what to call), is sent the results, and in the end returns what it was for. Nothing
is kept between requests: the conversation is the state, and the same conversation always gives the same next move.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, TypeVar

import attrs

from agentd.domain import Message, Text, ToolResult

T = TypeVar("T")

LOST = (
    "The conversation since this task was given is not the one I had, so I cannot go on where I was. "
    "Give me the task again."
)


@attrs.frozen
class Call:
    """*holds*: of a search, texts one of which is in every line that is meant, for tools that know no patterns."""

    name: str
    input: Mapping[str, Any]
    holds: tuple[str, ...] = ()


@attrs.frozen
class Answered:
    """A call and what came of it."""

    call: Call
    text: str
    ok: bool


@attrs.frozen
class Move:
    """What to say next and what to call; without calls it is the end of the reply.

    *failed*: the end, and what was spelled out could not be done.
    """

    text: str
    calls: tuple[Call, ...] = ()
    failed: bool = False


Plan = Generator[Move, Sequence[Answered], T]


def run_calls(text: str, *calls: Call) -> Plan[Sequence[Answered]]:
    """Say *text* and make the calls, all of them at once. Their results, in order; none for no calls."""
    if not calls:
        return ()
    return (yield Move(text, calls))


def replay(plan: Plan[Move], conversation: Sequence[Message]) -> Move:
    """The next move of *plan*, given the messages since its task."""
    results = _results(conversation)
    try:
        move = next(plan)
        for message in conversation:
            if message.calls:
                if [call.name for call in message.calls] != [call.name for call in move.calls]:
                    return Move(LOST)
                pairs = zip(move.calls, message.calls, strict=True)
                move = plan.send([_answered(call, results.get(made.id)) for call, made in pairs])
    except StopIteration as end:
        last: Move = end.value
        return last
    return move


def _results(conversation: Sequence[Message]) -> dict[str, ToolResult]:
    blocks = (block for message in conversation for block in message.content)
    return {block.tool_use_id: block for block in blocks if isinstance(block, ToolResult)}


def _answered(call: Call, result: ToolResult | None) -> Answered:
    if result is None:
        return Answered(call, "there is no result", ok=False)
    text = "\n".join(part.text for part in result.content if isinstance(part, Text))
    return Answered(call, text, not result.is_error)
