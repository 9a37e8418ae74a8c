"""A run: a spec is read, planned by one call of a model, and its steps are carried out one by one.

Where a run stands is in the session's log alone (store/specrun.py folds it): after an approval that outlived this
process, another one goes on at the step that was asked about. The contract: runs-and-chat.md, 5.3.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import trio

from agentd.domain import JobState, Message, RunSpec, Text, ToolUse
from agentd.engine import specrunplan as plans
from agentd.engine.asks import Subject
from agentd.engine.branch import Branch
from agentd.engine.conversation import Ending
from agentd.engine.specruncontext import Bundle, Spec, gather, read_spec
from agentd.engine.specrunsteps import CarryOut, Done, carry_out
from agentd.store.specrun import RunState, Step

if TYPE_CHECKING:
    from agentd.engine.work import Work

JSON_TYPE, DIFF_TYPE = "application/json", "text/x-diff; charset=utf-8"
DIFF_NAME = "patch.diff"
APPROVE = ("allow",)  # to refuse is to cancel the run
TOOL_NAMES = {"patch": "ApplyPatch", "note": "Note"}


async def run_spec(work: Work, carry_out: CarryOut = carry_out) -> Ending:
    """The whole run, or what is left of it. *carry_out*: does a step. Raises AgentdError."""
    assert work.spec.run is not None
    run = SpecRun(work, work.spec.run, work.branch, carry_out)
    run.look()
    if not run.state.planned:
        await run.prepare()
    if (failed := await run.carry_out()) is not None:
        return failed
    if run.verify() and (failed := await run.carry_out()) is not None:
        return failed
    return Ending(JobState.COMPLETED, "completed", f"{len(run.state.steps)} steps were carried out.")


@attrs.define
class SpecRun:
    work: Work
    spec: RunSpec
    branch: Branch
    do_step: CarryOut
    state: RunState = attrs.field(factory=RunState)
    _pos: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pos = self.branch.job.first - 1

    def look(self) -> None:
        """See what was written since the last time."""
        for record in self.branch.session.view.records(self._pos):
            self.state.apply(record)
            self._pos = record.pos

    def _phase(self, name: str, index: int = 0, title: str = "", **details: Any) -> None:
        count = len(self.state.steps) + len(details.get("steps", ()))
        percent = 100 * (index - (name == "step")) // count if count else 0
        self.branch.append("phase", name=name, index=index, count=count, percent=percent, title=title, details=details)
        self.look()

    # --- Before the steps -----------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Read, look around, plan. Raises AgentdError."""
        around = self.work.around
        spec = await trio.to_thread.run_sync(read_spec, around.workspace, self.spec.spec)
        self._phase("spec", path=str(spec.path), created=spec.created, bytes=spec.size)
        bundle = await gather(around.workspace, around.off_limits)
        self._phase(
            "context", agents_md=bundle.agents_md is not None, tree=len(bundle.tree), symbols=len(bundle.symbols)
        )
        text = await self._ask_model(spec, bundle)
        try:
            steps, why = await trio.to_thread.run_sync(plans.read_plan, text), None
        except plans.NoPlan as exc:
            targets = await trio.to_thread.run_sync(plans.make_targets, around.workspace)
            steps, why = plans.default_plan(targets), str(exc)
        await self._keep_plan(steps, why)

    async def _ask_model(self, spec: Spec, bundle: Bundle) -> str:
        """Raises ProviderFailed."""
        texts = tuple(Text(text) for text in (*bundle.texts(), f"{plans.ASK}{spec.text}"))
        caller = self.work.callers["planner"].writing_to(self.branch.write)
        turn, cost = await caller.take_turn(plans.SYSTEM, (Message("user", texts),), ())
        self.work.budget.add_turn(cost)
        return turn.message.text

    async def _keep_plan(self, steps: Sequence[plans.Planned], why: str | None) -> None:
        kept = [await self._kept(step) for step in steps]
        told: dict[str, Any] = {"steps": kept} if why is None else {"steps": kept, "why": why}
        self._phase("planned", **told)

    async def _kept(self, step: plans.Planned) -> dict[str, Any]:
        """As the log has it: its patch as an artifact, before anybody is asked about it."""
        patch = None
        if step.type == "patch" and step.patch and step.patch.strip():
            patch = await self._keep(step.id, DIFF_NAME, step.patch.encode(), DIFF_TYPE)
        return Step(step.id, step.title, step.type, step.needs_approval, step.command, patch).to_json()

    async def _keep(self, step: str, name: str, data: bytes, media_type: str) -> str:
        sha256 = await trio.to_thread.run_sync(self.branch.session.dir.blobs.put, data)
        self.branch.append("artifact", sha256=sha256, size=len(data), media_type=media_type, call=step, name=name)
        return sha256

    # --- The steps ------------------------------------------------------------------------------------------------

    async def carry_out(self) -> Ending | None:
        """All that are left; the run's end where one fails."""
        for index in range(sum(step.is_over for step in self.state.steps), len(self.state.steps)):
            step = self.state.steps[index]
            if self.state.current is None:
                self._phase("step", index + 1, step.title, id=step.id)
            done = await self._attempt(step)
            self._phase("step.done", index + 1, step.title, id=step.id, **done.to_json())
            if not done.ok:
                text = f"step {step.id} ({step.title}) failed: {done.message}"
                return Ending.failed("step_failed", "STEP_FAILED", text)
        return None

    async def _attempt(self, step: Step) -> Done:
        if step.needs_approval and not await self._is_approved(step):
            return Done(False, "approval was refused")
        return await self._do(step)

    async def _is_approved(self, step: Step) -> bool:
        """Asked once, whatever happens to this process meanwhile; without a limit of time."""
        question = f"Carry out the step {step.title!r}?"
        call = ToolUse(step.id, _tool_name(step), self._input(step))
        settled = await self.work.asks.ask(self.branch, call, Subject("step", question, APPROVE), None)
        self.look()
        return settled.allowed

    def _input(self, step: Step) -> dict[str, Any]:
        if step.patch is not None:
            return {"patch": self.branch.session.dir.blobs.get(step.patch).decode()}
        return {"command": step.command} if step.command is not None else {}

    async def _do(self, step: Step) -> Done:
        call, name, about = step.id, _tool_name(step), step.title
        self.branch.append("tool.started", call=call, name=name, input=self._input(step), subject=about)

        def on_output(text: str) -> None:
            self.branch.append("tool.output", call=call, text=text)

        patch = self._input(step).get("patch", "")
        done = await self.do_step(step, patch, self.work.around, on_output)
        artifact = None
        if done.artifact is not None:
            data = json.dumps(done.artifact, ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n"
            artifact = await self._keep(step.id, done.artifact_name, data, JSON_TYPE)
        told = [{"type": "text", "text": done.told}]
        self.branch.append(
            "tool.finished",
            call=call,
            name=name,
            subject=about,
            ok=done.ok,
            summary=done.message,
            duration_ms=done.duration_ms,
            content=told,
            artifact=artifact,
        )
        return done

    # --- Behind the steps -----------------------------------------------------------------------------------------

    def verify(self) -> bool:
        """Whether there is anything to check what patches changed by; then it is in the plan now."""
        if not self.state.patched or self.state.verifying:
            return False
        steps = self.state.steps
        last = max(index for index, step in enumerate(steps) if step.type == "patch")
        run = {step.command for step in steps[last:] if step.type == "command"}
        commands = [command for command in self._checks() if command not in run]
        if commands:
            self._phase("verify", steps=[_planned(step) for step in plans.verification(commands)])
        return bool(commands)

    def _checks(self) -> Sequence[str]:
        if self.spec.verify:
            return self.spec.verify
        return ("make test",) if "test" in plans.make_targets(self.work.around.workspace) else ()


def _planned(step: plans.Planned) -> dict[str, Any]:
    return Step(step.id, step.title, step.type, step.needs_approval, step.command).to_json()


def _tool_name(step: Step) -> str:
    return TOOL_NAMES.get(step.type, "Bash")
