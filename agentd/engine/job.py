"""One job from its first record to its last. Whatever happens in between, the last record is written."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.config import PASS_ENV, tool_environment
from agentd.domain import Entry, JobSpec, JobState
from agentd.engine.asks import Asks
from agentd.engine.caller import Caller
from agentd.engine.calls import Calls, Surroundings
from agentd.engine.limits import REPEATS_BEFORE_STOP, REPEATS_BEFORE_WARNING, Budget, LoopGuard
from agentd.engine.modes import RECIPES, Recipe, system_prompt
from agentd.engine.session import Session
from agentd.engine.turn import Turn
from agentd.errors import AgentdError, ModelUnavailable, ProviderFailed, ReadOnly, StoreFailed, only_cause
from agentd.providers.policy import Policy
from agentd.providers.protocol import ToolSchema
from agentd.providers.registry import Registry, Resolved, Role
from agentd.store.fold import JobView
from agentd.tools.background import Background, Shell, open_background
from agentd.tools.base import Tool, ToolState
from agentd.wire.typed import structure
from agentd.workspace.snapshot import Snapshots

GOODBYE_SECONDS = 20.0  # for the last snapshot, diff and commit of a job that has ended or was cancelled
logger = logging.getLogger(__name__)


@attrs.frozen
class Bench:
    """What the jobs of one executor work with."""

    workspace: Path
    registry: Registry
    tools: Mapping[str, Tool]
    containment: str  # the level in force for commands
    off_limits: tuple[Path, ...]
    state: ToolState
    read_only: bool  # jobs of modes that write fail at once
    snapshots: Snapshots | None  # None where the workspace is not in a git repository
    policy: Policy = attrs.field(factory=Policy)  # one for all calls of models


@attrs.frozen
class Ending:
    outcome: JobState
    stop_reason: str
    result: str | None = None
    error: Mapping[str, str] | None = None

    @classmethod
    def failed(cls, stop_reason: str, code: str, message: str) -> Ending:
        return cls(JobState.FAILED, stop_reason, error={"code": code, "message": message})


@attrs.define
class JobRun:
    """A job at work. `cancel` may be called at any time, more than once."""

    bench: Bench
    session: Session
    asks: Asks
    job: JobView
    spec: JobSpec
    cancelling: bool = False
    begun: trio.Event = attrs.field(factory=trio.Event)
    done: trio.Event = attrs.field(factory=trio.Event)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _guard: LoopGuard = attrs.field(factory=LoopGuard)
    _started: float = attrs.field(factory=time.monotonic)

    def cancel(self) -> None:
        self.cancelling = True
        self._scope.cancel()

    async def run(self) -> None:
        """Do the job and write its end. Raises nothing but Cancelled."""
        ending = Ending(JobState.INTERRUPTED, "interrupted", error=_problem("INTERRUPTED", "the executor was stopped"))
        wrapped: dict[str, Any] = {"diff": None}
        try:
            ending = await self._attempt()
            with trio.move_on_after(GOODBYE_SECONDS, shield=True):
                wrapped = await self._wrap_up(ending)
        finally:
            self._finish(ending, wrapped)

    async def _attempt(self) -> Ending:
        """The job's work; every way it can go wrong has become an Ending."""
        try:
            with self._scope, trio.fail_after(self.spec.limits.seconds or float("inf")):
                return await self._work()
        except trio.TooSlowError:
            text = f"the job took longer than its limit of {self.spec.limits.seconds:g} s"
            return Ending.failed("timeout", "TIME_LIMIT", text)
        except Exception as exc:
            return self._failure(only_cause(exc))
        return Ending(JobState.CANCELLED, "cancelled")

    def _failure(self, exc: Exception) -> Ending:
        match exc:
            case ProviderFailed():
                return Ending.failed("llm_error", exc.code, str(exc))
            case AgentdError():
                return Ending.failed("error", exc.code, str(exc))
        logger.error("job %s failed on a bug of ours", self.job.id, exc_info=exc)
        return Ending.failed("error", "INTERNAL_ERROR", f"internal error ({type(exc).__name__}); see the log")

    async def _work(self) -> Ending:
        recipe = RECIPES[self.spec.mode]
        if recipe.writes and self.bench.read_only:
            refusal = ReadOnly(self.spec.mode.name)
            self._append("notice", level="warning", code=refusal.code, text=str(refusal))
            raise refusal
        caller = await self._caller(recipe.role)
        tools = self._offered(recipe)
        if self.job.state is JobState.QUEUED:
            self._begin(caller.model, tools)
        self.begun.set()
        if self.bench.snapshots is not None and recipe.writes and self.job.start_tree is None:
            self._append("checkpoint", id=self.job.id, tree=await self.bench.snapshots.take())
        async with open_background(self._started_in_background()) as background:
            try:
                return await self._converse(recipe, caller, self._calls(tools, background))
            finally:
                self._tell_of(background.running)

    async def _caller(self, role: Role) -> Caller:
        """For the models that the job asks for. All are looked for now: later there would be work to lose."""
        registry, models = self.bench.registry, self.spec.models
        model = await self._resolve(role, getattr(models, role))
        fallback = await self._resolve("fallback", models.fallback) if registry.has_fallback(models.fallback) else None
        if fallback is not None and (fallback.provider, fallback.model) == (model.provider, model.model):
            fallback = None
        return Caller(self.bench.policy, self.session.append, self.job.id, model, fallback)

    async def _resolve(self, role: Role, name: str | None) -> Resolved:
        registry = self.bench.registry
        try:
            return registry.resolve(role, name)
        except ModelUnavailable:
            if not registry.can_ask:
                raise
        self.begun.set()  # services are asked now, and whoever started the job need not wait for that
        return await registry.ask(role, name)

    def _begin(self, resolved: Resolved, tools: Mapping[str, Tool]) -> None:
        self._append(
            "job.started",
            model=resolved.name,
            resolved_model=resolved.model,
            provider=resolved.provider.name,
            tools=list(tools),
            mcp_servers=[],
            permission_mode=self.spec.tools.permission_mode,
            containment=self.bench.containment,
            sandbox="off",
        )

    def _offered(self, recipe: Recipe) -> dict[str, Tool]:
        policy = self.spec.tools
        names = recipe.tools if recipe.tools is not None else tuple(self.bench.tools)
        return {
            name: self.bench.tools[name]
            for name in names
            if name not in policy.disallowed and (not policy.allowed or name in policy.allowed)
        }

    async def _converse(self, recipe: Recipe, caller: Caller, calls: Calls) -> Ending:
        budget = Budget(self.spec.limits, self.job.turns, self.job.cost)
        schemas = tuple(ToolSchema(t.name, t.description, t.input_schema) for t in calls.tools.values())
        system = system_prompt(recipe, self.bench.workspace)
        if unanswered := self.session.state.history.unanswered:  # an earlier executor stopped at an ask
            await calls.answer(unanswered)
        while (reason := budget.exhausted()) is None:
            turn, cost = await caller.take_turn(system, self.session.state.history.view(), schemas)
            budget.add_turn(cost)
            if not turn.message.calls:
                return self._ending_of(turn)
            await calls.answer(turn.message.calls)
            if (stuck := self._stuck(turn)) is not None:
                return stuck
        return Ending(JobState.COMPLETED, reason, self._last_text())

    def _calls(self, tools: Mapping[str, Tool], background: Background) -> Calls:
        bench = self.bench
        env = tool_environment(PASS_ENV, {})
        blobs = self.session.dir.blobs
        around = Surroundings(bench.workspace, bench.state, env, bench.off_limits, blobs, background)
        return Calls(self.session, self.job.id, tools, self.spec.tools, self.asks, around)

    def _started_in_background(self) -> int:
        """How many commands the session has asked to run in the background, until now: their ids are taken."""
        calls = (call for message in self.session.state.history.messages for call in message.calls)
        return sum(call.name == "Bash" and bool(call.input.get("run_in_background")) for call in calls)

    def _tell_of(self, running: Sequence[Shell]) -> None:
        """Say which commands the end of the job ends."""
        if running:
            names = ", ".join(f"{shell.id} ({shell.title})" for shell in running)
            text = f"still running in the background, and ended with the job: {names}"
            self._append("notice", level="info", code="BACKGROUND_ENDED", text=text)

    def _ending_of(self, turn: Turn) -> Ending:
        if not turn.message.text.strip():
            return Ending.failed("llm_error", "EMPTY_REPLY", "the model answered with neither text nor a tool call")
        if turn.stop_reason == "max_tokens":
            self._append(
                "notice", level="warning", code="CUT_SHORT", text="the model's answer was cut at its length limit"
            )
        return Ending(JobState.COMPLETED, "completed", turn.message.text)

    def _stuck(self, turn: Turn) -> Ending | None:
        repeats = self._guard.saw(turn.message.calls, self.session.state.history.results)
        if repeats == REPEATS_BEFORE_WARNING:
            self._append(
                "notice", level="warning", code="LOOP", text=f"the model made the same calls {repeats} times in a row"
            )
        if repeats < REPEATS_BEFORE_STOP:
            return None
        text = f"stopped: the model made the same calls with the same results {repeats} times in a row"
        return Ending.failed("loop", "LOOP", text)

    def _last_text(self) -> str | None:
        messages = reversed(self.session.state.history.messages)
        return next((message.text for message in messages if message.role == "assistant" and message.text), None)

    async def _wrap_up(self, ending: Ending) -> dict[str, Any]:
        """What the job changed, kept for ever; and the commit, if one was asked for."""
        snapshots, start = self.bench.snapshots, self.job.start_tree
        if snapshots is None or start is None:
            return {"diff": None}
        try:
            end = await snapshots.take()
            stat = await snapshots.stat(start, end)
            sha256 = self.session.dir.blobs.put(await snapshots.diff(start, end))
        except (AgentdError, OSError) as exc:
            self._append("notice", level="warning", code="NO_DIFF", text=f"the job's changes could not be read: {exc}")
            return {"diff": None}
        if self.spec.auto_commit and ending.outcome is JobState.COMPLETED:
            await self._commit(snapshots, start, end)
        return {"diff": attrs.asdict(stat) | {"sha256": sha256, "tree": end}}

    async def _commit(self, snapshots: Snapshots, start: str, end: str) -> None:
        subject = self.spec.prompt.strip().split("\n", 1)[0][:72]
        try:
            commit = await snapshots.commit(start, end, subject)
        except (AgentdError, OSError) as exc:
            self._append("notice", level="warning", code="COMMIT_FAILED", text=f"the changes were not committed: {exc}")
            return
        if commit is None:
            self._append("notice", level="info", code="NOTHING_TO_COMMIT", text="nothing to commit")
            return
        self._append("commit", sha=commit.sha, files=list(commit.files), message=subject)
        if commit.left_out:
            text = f"not committed, because your own changes touch the same lines: {', '.join(commit.left_out)}"
            self._append("notice", level="warning", code="LEFT_OUT", text=text)

    def _finish(self, ending: Ending, wrapped: Mapping[str, Any]) -> None:
        data = {
            "outcome": ending.outcome,
            "stop_reason": ending.stop_reason,
            "error": ending.error,
            "result": ending.result,
            "turns": self.job.turns,
            "cost": self.job.cost,
            "duration_ms": round((time.monotonic() - self._started) * 1000),
        }
        try:
            self._append("job.finished", **data, **wrapped)
        except StoreFailed:
            # The disk is full or gone. The job is over all the same; the next start writes that it was interrupted.
            logger.exception("the end of job %s could not be written", self.job.id)
            self.job.state, self.job.ended, self.job.finished = JobState.FAILED, int(time.time() * 1000), data
        self.begun.set()
        self.done.set()

    def _append(self, kind: str, **data: Any) -> None:
        self.session.append(Entry(kind, data, self.job.id))


def _problem(code: str, message: str) -> dict[str, str]:
    return {"code": code, "message": message}


def read_spec(data: Mapping[str, Any]) -> JobSpec:
    """Raises InvalidRequest, naming every field that does not fit."""
    spec: JobSpec = structure(data, JobSpec)
    return spec
