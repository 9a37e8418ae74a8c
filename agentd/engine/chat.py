"""One turn of a chat: what was said goes before the model, its calls are answered, what they changed is verified, until
it has said its last word. The contract: runs-and-chat.md, 6.4 and 7.4.

Where a turn stands is in the session's log: one that waited for an approval longer than its process lived goes on.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from agentd.domain import ChatSpec, JobState, Message, Record, Text, ToolUse, block_to_json
from agentd.engine import specruncommand
from agentd.engine.calls import Surroundings
from agentd.engine.chatcalls import ChatCalls, TurnFailed, derived_id
from agentd.engine.chatprompt import GO_ON, blocks_of, spec_texts
from agentd.engine.conversation import Conversation, Ending
from agentd.engine.modes import CHAT, system_prompt
from agentd.engine.specruncontext import Spec, gather, read_spec
from agentd.tools.base import Tool, ToolContext
from agentd.tools.chat.registry import chat_tools

if TYPE_CHECKING:
    from agentd.engine.work import Work

VERIFY = "verify"
MAX_ITERATIONS = "max turn iterations reached"
BUDGET = "budget exceeded: the session has cost as much as the policy allows"


def tools_of(chat: ChatSpec, around: Surroundings) -> Sequence[Tool]:
    """The tools of a turn."""

    async def run_command(command: str, context: ToolContext, seconds: float) -> specruncommand.Ran:
        run = partial(specruncommand.run, command, context.workspace, context.env, around.confine)
        return await run(context.on_output, seconds)

    return chat_tools(run_command, chat.verify, Path(chat.spec) if chat.spec is not None else None)


async def take_turn(work: Work) -> Ending:
    """Raises AgentdError."""
    chat = work.spec.chat
    assert chat is not None
    if work.spec.limits.usd is not None and work.spec.limits.usd <= 0:
        raise TurnFailed(BUDGET)
    if is_new := work.branch.job.phase is None:
        await _say(work, chat)
    spec = await trio.to_thread.run_sync(_spec, work.around.workspace, chat.spec) if chat.spec is not None else None
    talk = await _talk(work, chat, spec)
    if is_new:
        details = {"spec": str(spec.path) if spec else None, "created": spec is not None and spec.created}
        work.branch.append("phase", name="turn", index=0, count=0, percent=0, title="", details=details)
    else:
        talk.own.progress.recall(_records(work), talk.own.tools)
    return await talk.run()


async def _say(work: Work, chat: ChatSpec) -> None:
    """Put before the model what it has not had yet."""
    blobs, branch = work.around.blobs, work.branch
    for message in chat.messages:
        blocks = await trio.to_thread.run_sync(blocks_of, message, blobs)
        role = "assistant" if message.role == "assistant" else "user"
        content = [block_to_json(block) for block in blocks]
        branch.append("message", id=message.id, role=role, content=content, model=None, usage=None)
    messages = branch.history.view()
    if not messages or messages[-1].role == "assistant":  # services want a person to have the last word
        branch.say(str(uuid.uuid4()), [block_to_json(Text(GO_ON))])


def _spec(workspace: Path, named: str) -> Spec:
    """Drafted if it is not there. Blocks. Raises AgentdError."""
    path = Path(named).resolve()
    if not path.is_relative_to(workspace.resolve()):  # a link was put there since this was looked at
        raise TurnFailed(f"spec_path escapes workspace: {named}")
    return read_spec(workspace, str(path))


async def _talk(work: Work, chat: ChatSpec, spec: Spec | None) -> Talk:
    bundle = await gather(work.around.workspace, work.around.off_limits)
    behind = [*(spec_texts(spec.path, spec.text)[:1] if spec else ()), *bundle.texts()]
    behind += spec_texts(spec.path, spec.text)[1:] if spec else []
    system = system_prompt(CHAT, work.around.workspace, work.spec.system, *behind)
    calls = ChatCalls(work.branch, work.on_offer, work.asks, work.around, chat.turn)
    caller = work.callers[CHAT.role].writing_to(work.branch.write)
    return Talk(work.branch, system, caller, calls, work.budget, chat=chat, own=calls)


def _records(work: Work) -> Sequence[Record]:
    job = work.branch.job
    return [record for record in work.branch.session.view.records(job.first - 1) if record.job == job.id]


@attrs.define
class Talk(Conversation):
    """The conversation of a turn."""

    chat: ChatSpec = attrs.field(kw_only=True)
    own: ChatCalls = attrs.field(kw_only=True)  # the same as *calls*

    async def run(self) -> Ending:
        """To the end of the turn. Raises AgentdError."""
        if unanswered := self.branch.history.unanswered:  # an earlier executor stopped at an ask
            await self._answer(unanswered)
        elif (last := self._last_word()) is not None and await self._is_verified(last):
            return Ending(JobState.COMPLETED, "completed", last.text)
        while (reason := self.budget.exhausted()) is None:
            message = (await self._take_turn()).message
            if message.calls:
                await self._answer(message.calls)
            elif not message.text.strip():
                raise TurnFailed("the model answered with neither text nor a tool call")
            elif await self._is_verified(message):
                return Ending(JobState.COMPLETED, "completed", message.text)
        raise TurnFailed(MAX_ITERATIONS if reason == "max_turns_reached" else BUDGET)

    def _last_word(self) -> Message | None:
        """What the model said last, if nobody has said anything since."""
        messages = self.branch.history.view()
        return messages[-1] if messages and messages[-1].role == "assistant" else None

    async def _answer(self, calls: Sequence[ToolUse]) -> None:
        await self.own.answer(calls)
        self._tell()

    def _tell(self) -> None:
        """Of what was run beside the model's own calls."""
        if self.own.notes:
            self.branch.say(str(uuid.uuid4()), [block_to_json(note) for note in self.own.notes])
            self.own.notes.clear()

    async def _is_verified(self, message: Message) -> bool:
        """Whether the turn may end with this last word. Raises TurnFailed."""
        if not self.own.progress.dirty:
            return True
        if not self.chat.verify:
            self.branch.notice("info", "VERIFY_SKIPPED", "no commands are set to verify changes with")
            return True
        # Of the turn so far, so that it is the same after a restart: an approval may be open, or given, by that id.
        call = ToolUse(derived_id(self.branch.job, str(self.branch.job.turns)), VERIFY, {})
        verified = await self.own.conduct(call)
        if not verified and self._was_denied(call):
            raise TurnFailed("verification denied")
        self.own.note(call)
        self._tell()
        return verified

    def _was_denied(self, call: ToolUse) -> bool:
        ask = self.own.asks.about(self.branch.job.id, call)
        return ask is not None and ask.settled is not None and ask.settled["decision"] == "deny"
