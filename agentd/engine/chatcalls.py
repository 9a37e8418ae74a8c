"""Answering the calls of a chat's model: one after the other, until one fails. The contract: runs-and-chat.md, 6.4, 7.

What may run, who is asked, and how a call is told in the log is the same as everywhere: calls.py.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.domain import Image, Record, Text, ToolClass, ToolResult, ToolUse, block_to_json
from agentd.engine.calls import Calls
from agentd.errors import AgentdError
from agentd.providers import lenientjson
from agentd.providers.assemble import INVALID_INPUT, unreadable_input
from agentd.store.fold import JobView
from agentd.store.naming import of_uuid
from agentd.tools.base import Tool, ToolContext, ToolOutcome

MESSAGE_BYTES = 64 * 1024  # of one result that the model is told
REPEATS = 3  # of a call with the same result, after which it is not run again
WRITE_SPEC, VALIDATE_SPEC = "write_spec", "validate_spec"
EXEMPT = frozenset({WRITE_SPEC})  # tools about which nobody is asked, whatever their class
CHANGING = (ToolClass.EDIT, ToolClass.EXEC, ToolClass.MCP)
TEXT_TYPE = "text/plain; charset=utf-8"


class TurnFailed(AgentdError):
    """The turn cannot go on; its text says why."""

    code = "TURN_FAILED"


@attrs.define
class Progress:
    """What the calls of a turn have come to: whether they changed something, and whether they go round in circles."""

    dirty: bool = False  # a tool ran that may have changed the workspace
    _last: tuple[str, str] | None = None  # name and input of the last call that was run
    _result: object = None
    _same: int = 0  # how often it was run in a row, with that result
    _skipped: int = 0  # how often it was not run since

    def is_repetition(self, call: ToolUse) -> bool:
        """Whether the call would only be made again. Raises TurnFailed where that was said before."""
        if _key(call) != self._last or self._same < REPEATS:
            return False
        self._skipped += 1
        if self._skipped > 1:
            raise TurnFailed("loop detected")
        return True

    def ran(self, call: ToolUse, tool_class: ToolClass, result: object, *, ok: bool) -> None:
        self.dirty = self.dirty or (tool_class in CHANGING and call.name != WRITE_SPEC)
        wrote = ok and tool_class is ToolClass.EDIT
        repeated = (_key(call), result) == (self._last, self._result) and not wrote
        self._same, self._skipped = (self._same + 1 if repeated else 0 if wrote else 1), 0
        self._last, self._result = _key(call), result

    def recall(self, records: Iterable[Record], tools: Mapping[str, Tool]) -> None:
        """What an earlier executor did of the turn, until it stopped at an ask."""
        begun = dict[str, ToolUse]()
        for record in records:
            data = record.data
            if record.type == "tool.started" and data["name"] in tools:
                begun[data["call"]] = ToolUse(data["call"], data["name"], data["input"])
            elif record.type == "tool.finished" and data["call"] in begun:
                call = begun.pop(data["call"])
                self.ran(call, tools[call.name].tool_class, _told(data["content"]), ok=data["ok"])


def _key(call: ToolUse) -> tuple[str, str]:
    return call.name, json.dumps(dict(call.input), sort_keys=True)


def _told(content: Sequence[Mapping[str, Any]]) -> str:
    """A result so that it can be compared; how long something took makes no difference."""
    return re.sub(r'"duration": ?"\d+ms"', "", json.dumps(content, sort_keys=True).replace('\\"', '"'))


@attrs.frozen
class ChatCalls(Calls):
    """*turn*: id of the turn; *notes*: results that belong to no call of the model, for it to be told."""

    turn: str = ""
    progress: Progress = attrs.field(factory=Progress)
    notes: list[Text] = attrs.field(factory=list)

    async def answer(self, calls: Sequence[ToolUse]) -> None:
        """Give every call its result. Raises TurnFailed."""
        failed = ""
        for call in calls:
            if failed:
                self._refuse(call, f"This call was not run, because the {failed} call before it did not succeed.")
            elif not await self.conduct(_mended(call)):
                failed = call.name

    async def conduct(self, call: ToolUse) -> bool:
        """Whether it has succeeded. Raises TurnFailed."""
        tool = self.tools.get(call.name)
        if tool is None:
            raise TurnFailed(f"unknown tool: {call.name}")
        if (problem := unreadable_input(call)) is not None:
            self._refuse(call, f"invalid input: {problem}")
            return False
        if self.progress.is_repetition(call):
            self._skip(call)
            return False
        permitted = call if tool.name in EXEMPT else await self._permitted(tool, call)
        if isinstance(permitted, str):
            self._refuse(call, permitted)
            return False
        return await self._do(tool, permitted)

    async def _do(self, tool: Tool, call: ToolUse) -> bool:
        self._start(tool, call)
        await self._run(tool, call)
        result = self.result_of(call)
        told = _told([block_to_json(block) for block in result.content])
        self.progress.ran(call, tool.tool_class, told, ok=not result.is_error)
        if tool.name == WRITE_SPEC and not result.is_error:
            await self._validate(call)
        return not result.is_error

    def result_of(self, call: ToolUse) -> ToolResult:
        return self.branch.history.results[call.id]

    async def _validate(self, call: ToolUse) -> None:
        """What is written is validated at once; that is no call of the model's."""
        call, tool = ToolUse(derived_id(self.branch.job, call.id), VALIDATE_SPEC, {}), self.tools[VALIDATE_SPEC]
        self._start(tool, call)
        await self._run(tool, call)
        self.note(call)

    def note(self, call: ToolUse) -> None:
        """Have the model told what came of a call that is not its own."""
        texts = [block.text for block in self.result_of(call).content if isinstance(block, Text)]
        self.notes.append(Text("\n".join([f"[{call.name} was run; result of {call.id}:]", *texts])))

    def _skip(self, call: ToolUse) -> None:
        reason = f"the same call had the same result {REPEATS} times in a row"
        told = f"This call was not run: {reason}, and nothing has changed since. Do something else."
        data = {"call": call.id, "name": call.name, "subject": self.tools[call.name].subject(call.input), "ok": False}
        content = [block_to_json(Text(told))]
        data |= {"summary": reason, "duration_ms": 0, "content": content, "artifact": None, "skipped": True}
        self.branch.append("tool.finished", **data)

    # --- Long results ---------------------------------------------------------------------------------------------

    async def _outcome(self, tool: Tool, call: ToolUse, context: ToolContext) -> ToolOutcome:
        outcome = await super()._outcome(tool, call, context)
        room, kept, cut = MESSAGE_BYTES, list[Text | Image](), False
        for block in outcome.content:
            if isinstance(block, Text):
                shown = _first_bytes(block.text, room)
                cut = cut or len(shown) < len(block.text)
                room -= len(shown.encode("utf-8", "replace"))
                kept.append(Text(shown))
            else:
                kept.append(block)
        if not cut:
            return outcome
        name = await self._keep(call, "".join(block.text for block in outcome.content if isinstance(block, Text)))
        told = Text(f"\n[cut at {MESSAGE_BYTES >> 10} KiB; the whole of it is kept as {name}]")
        return attrs.evolve(outcome, content=(*kept, told))

    async def _keep(self, call: ToolUse, text: str) -> str:
        """As an artifact of the turn; its name there."""
        data = text.encode("utf-8", "replace")
        sha256 = await trio.to_thread.run_sync(self.around.blobs.put, data)
        safe = re.sub(r"[^A-Za-z0-9_-]", "_", call.id)[:100]
        name = str(Path("artifacts") / self.turn / f"{safe}.txt")
        kept = {"sha256": sha256, "size": len(data), "media_type": TEXT_TYPE, "call": call.id, "name": name}
        self.branch.append("artifact", **kept)
        return name


def _first_bytes(text: str, most: int) -> str:
    if len(text) * 4 <= most:
        return text
    data = text.encode("utf-8", "replace")
    return text if len(data) <= most else data[:most].decode("utf-8", "ignore")


def derived_id(job: JobView, of: str) -> str:
    """The id of a call that no model made; the same whenever the same job comes there."""
    return of_uuid("call_", job.created, str(uuid.uuid5(uuid.NAMESPACE_URL, f"{job.id}/{of}")))


def _mended(call: ToolUse) -> ToolUse:
    """With the last whole JSON object of its input, where that is no JSON as it stands."""
    marked = call.input.get(INVALID_INPUT)
    text = marked.get("text") if isinstance(marked, dict) else None
    found = _last_object(text) if isinstance(text, str) else None
    return call if found is None else attrs.evolve(call, input=found)


def _last_object(text: str) -> dict[str, Any] | None:
    found, at = None, text.find("{")
    while at != -1:
        try:
            parsed = lenientjson.parse(text, at)
        except lenientjson.NotJson:
            at = text.find("{", at + 1)
            continue
        if isinstance(parsed.value, dict):
            found = parsed.value
        at = text.find("{", max(parsed.end, at + 1))
    return found
