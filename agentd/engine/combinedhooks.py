"""Several parties that are told of a job's events, taken for one: webhooks of the request, programs of plugins.

They are asked in order, so that what one has changed is what the next one judges. The strictest counts: deny, then ask,
then allow. After a deny nobody else is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import attrs

from agentd.domain import ToolUse
from agentd.engine.hooks import Decision

_STRICTNESS = {None: 0, "allow": 1, "ask": 2, "deny": 3}


class HookSet(Protocol):
    """Who is told of a job's events, and decides: see Hooks."""

    def wants(self, event: str, tool: str = "") -> bool: ...
    async def prompt_submitted(self, prompt: str) -> Decision: ...
    async def before_tool(self, call: ToolUse, parent: str | None = None) -> Decision: ...
    async def after_tool(
        self, call: ToolUse, content: str, is_error: bool, duration_ms: int, parent: str | None = None
    ) -> str | None: ...
    async def stopped(self, is_error: bool, duration_ms: int, result: str | None = None) -> None: ...
    async def subagent_stopped(self, name: str, is_error: bool, result: str | None = None) -> None: ...
    async def before_compact(self, trigger: Literal["auto", "manual"]) -> None: ...
    async def waiting(self, message: str, kind: str) -> None: ...


def stricter(one: Decision, other: Decision) -> Decision:
    """The stricter of both, *one* if they are the same; a modified_input is the one that was made last."""
    modified: dict[str, Any] | None = one.modified_input if other.modified_input is None else other.modified_input
    return attrs.evolve(max(one, other, key=lambda each: _STRICTNESS[each.verdict]), modified_input=modified)


class CombinedHooks:
    """A HookSet of several. Raises what they raise."""

    def __init__(self, sets: Sequence[HookSet]) -> None:
        self._sets = tuple(sets)

    def wants(self, event: str, tool: str = "") -> bool:
        return any(each.wants(event, tool) for each in self._sets)

    async def prompt_submitted(self, prompt: str) -> Decision:
        decision = Decision()
        for each in self._sets:
            now = prompt if decision.modified_input is None else decision.modified_input["prompt"]
            decision = stricter(decision, await each.prompt_submitted(now))
            if decision.verdict == "deny":
                break
        return decision

    async def before_tool(self, call: ToolUse, parent: str | None = None) -> Decision:
        decision = Decision()
        for each in self._sets:
            changed = decision.modified_input
            now = call if changed is None else attrs.evolve(call, input=changed)
            decision = stricter(decision, await each.before_tool(now, parent))
            if decision.verdict == "deny":
                break
        return decision

    async def after_tool(
        self, call: ToolUse, content: str, is_error: bool, duration_ms: int, parent: str | None = None
    ) -> str | None:
        said = [await each.after_tool(call, content, is_error, duration_ms, parent) for each in self._sets]
        return "\n".join(text for text in said if text is not None) if any(text is not None for text in said) else None

    async def stopped(self, is_error: bool, duration_ms: int, result: str | None = None) -> None:
        for each in self._sets:
            await each.stopped(is_error, duration_ms, result)

    async def subagent_stopped(self, name: str, is_error: bool, result: str | None = None) -> None:
        for each in self._sets:
            await each.subagent_stopped(name, is_error, result)

    async def before_compact(self, trigger: Literal["auto", "manual"]) -> None:
        for each in self._sets:
            await each.before_compact(trigger)

    async def waiting(self, message: str, kind: str) -> None:
        for each in self._sets:
            await each.waiting(message, kind)
