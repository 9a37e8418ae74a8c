"""One job from its first record to its last. Whatever happens in between, the last record is written."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from agentd.config import PASS_ENV, tool_environment
from agentd.domain import Entry, Image, JobSpec, JobState, Mode, Site, Text, ToolClass, block_to_json
from agentd.engine import context, images
from agentd.engine.asks import Asks
from agentd.engine.branch import Branch
from agentd.engine.caller import Caller
from agentd.engine.callers import Callers
from agentd.engine.calls import Surroundings
from agentd.engine.changes import Changes
from agentd.engine.checkpoints import Checkpoints
from agentd.engine.combinedhooks import CombinedHooks, HookSet
from agentd.engine.confining import Confinement, Confining
from agentd.engine.conversation import Ending, Material
from agentd.engine.customs import Customs, open_mcp, read_customs
from agentd.engine.elicitation import Elicitor
from agentd.engine.hooks import Hooks
from agentd.engine.limits import Budget
from agentd.engine.modes import MODES
from agentd.engine.permissions import Permissions
from agentd.engine.prompter import ToolPrompter
from agentd.engine.rules import RuleBook
from agentd.engine.session import Session
from agentd.engine.work import OWN_COMMANDS, Work
from agentd.errors import AgentdError, ModelUnavailable, ProviderFailed, ReadOnly, StoreFailed, only_cause
from agentd.providers.policy import Policy
from agentd.providers.registry import Registry, Resolved, Role
from agentd.sandbox.contain import GROUP, Containment
from agentd.store.fold import JobView
from agentd.tools.background import Shell, open_background
from agentd.tools.base import Tool, ToolState
from agentd.wire.typed import structure
from agentd.wire.urlpolicy import UrlPolicy
from agentd.workspace.snapshot import Snapshots
from agentd.workspace.symbols.query import Symbols

if TYPE_CHECKING:
    from agentd.tools.mcp.servers import Servers

NET = ToolClass.NET
MATERIAL_SHARE = 0.25  # of a model's context that what a client put into it may take
GOODBYE_SECONDS = 20.0  # for the last snapshot, diff and commit of a job that has ended or was cancelled
logger = logging.getLogger(__name__)


@attrs.frozen
class Bench:
    """What the jobs of one executor work with."""

    workspace: Path
    registry: Registry
    tools: Mapping[str, Tool]
    off_limits: tuple[Path, ...]
    state: ToolState
    read_only: bool  # jobs of modes that write fail at once
    snapshots: Snapshots | None  # None where the workspace is not in a git repository
    policy: Policy = attrs.field(factory=Policy)  # one for all calls of models
    url_policy: UrlPolicy = UrlPolicy.LOCAL  # of hooks and images
    hook_secret: str = attrs.field(default="", repr=False)  # by which deliveries are signed; empty: they are not
    symbols: Symbols | None = None  # what the workspace defines
    confine: Containment = GROUP  # how commands are kept together
    site: Site = attrs.field(factory=Site)


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
    _leaving: bool = False
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _started: float = attrs.field(factory=time.monotonic)
    _branch: Branch = attrs.field(init=False)
    _changes: Changes = attrs.field(init=False)
    _webhooks: Hooks = attrs.field(init=False)
    _hooks: HookSet = attrs.field(init=False)  # these, and others that the job brings
    _checkpoints: Checkpoints | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        taken = {call.id for message in self.session.state.history.messages for call in message.calls}
        self._branch = Branch(self.session, self.job, taken_ids=taken)
        self._changes = Changes(self._branch, self.bench.snapshots)
        self._hooks = self._webhooks = Hooks(
            self.spec.hooks,
            self._about,
            self._tell_hook,
            secret=self.bench.hook_secret,
            policy=self.bench.url_policy,
        )

        if self.spec.checkpoints:
            blobs = self.session.dir.blobs
            self._checkpoints = Checkpoints(
                self._branch, self.bench.workspace, self.bench.snapshots, blobs, off_limits=self.bench.off_limits
            )

    def _about(self) -> Mapping[str, Any]:
        """What hooks are told with every event."""
        mode = self.job.permission_mode or self.spec.tools.permission_mode
        return {"session_id": self.session.id, "cwd": str(self.bench.workspace), "permission_mode": mode}

    def cancel(self) -> None:
        self.cancelling = True
        self._scope.cancel()

    def interrupt(self) -> None:
        """End it because the executor ends. Nobody asked for that, so it is not cancelled; and one that waits for an
        ask goes on waiting, for the next executor."""
        self._leaving = True
        self._scope.cancel()

    async def run(self) -> None:
        """Do the job and write its end. Raises nothing but Cancelled."""
        ending = _interrupted()
        diff: dict[str, Any] | None = None
        try:
            ending = await self._attempt()
            if self._stays:
                return
            with trio.move_on_after(GOODBYE_SECONDS, shield=True):
                diff = await self._changes.diff()
                if self._checkpoints is not None:
                    await self._checkpoints.finish(diff["tree"] if diff else None)
        except StoreFailed as exc:
            logger.error("what job %s changed could not be kept: %s", self.job.id, exc)
        finally:
            if not self._stays:
                self._finish(ending, diff)
            self.begun.set()
            self.done.set()

    @property
    def _stays(self) -> bool:
        """Whether the log leaves it where another executor takes it up: nothing is in flight but the ask."""
        return self._leaving and self.job.state is JobState.WAITING and self.job.at_rest

    async def _attempt(self) -> Ending:
        """The job's work; every way it can go wrong has become an Ending."""
        try:
            with self._scope, trio.fail_after(self.spec.limits.seconds or float("inf")):
                ending = await self._outcome()
                failed = ending.outcome is not JobState.COMPLETED
                await self._hooks.stopped(failed, self._duration_ms, ending.result)
                return ending
        except trio.TooSlowError:
            text = f"the job took longer than its limit of {self.spec.limits.seconds:g} s"
            return Ending.failed("timeout", "TIME_LIMIT", text)
        return Ending(JobState.CANCELLED, "cancelled") if self.cancelling else _interrupted()

    async def _outcome(self) -> Ending:
        try:
            return await self._work()
        except Exception as exc:
            return self._failure(only_cause(exc))

    def _failure(self, exc: Exception) -> Ending:
        match exc:
            case ProviderFailed():
                return Ending.failed("llm_error", exc.code, str(exc))
            case AgentdError():
                return Ending.failed("error", exc.code, str(exc))
        logger.error("job %s failed on a bug of ours", self.job.id, exc_info=exc)
        return Ending.failed("error", "INTERNAL_ERROR", f"internal error ({type(exc).__name__}); see the log")

    async def _work(self) -> Ending:
        rule = MODES[self.spec.mode]
        if rule.writes and self.bench.read_only:
            refusal = ReadOnly(self.spec.mode.name)
            self._branch.notice("warning", refusal.code, str(refusal))
            raise refusal
        customs = await self._read_customs()
        models = self._models()
        callers = await models.for_roles(rule.roles)
        async with AsyncExitStack() as stack:
            work = await self._bring_together(stack, customs, models, callers)
            is_new = self.job.state is JobState.QUEUED
            if is_new:
                self._begin(callers[rule.recipe.role].model, work)
            self.begun.set()
            if rule.writes and self.job.start_tree is None:
                await self._changes.begin(self.job.id)
            if self._checkpoints is not None:
                await self._checkpoints.begin(self.job.prompt)
            try:
                if is_new and (refused := await self._submit(work)) is not None:
                    return refused
                work.material = await self._material(callers)
                return await work.run()
            finally:
                if not self._leaving:
                    self._tell_of(work.around.background.running)

    def _models(self) -> Callers:
        return Callers(self.bench.registry, self.bench.policy, self.spec, self._branch, self.begun.set)

    async def _read_customs(self) -> Customs:
        """What is on disk for this job. Raises AgentdError."""
        spec = self.spec
        seen = tool_environment(PASS_ENV, spec.env)
        customs = await read_customs(self.bench.workspace, self.bench.site, spec, seen, self._branch)
        if customs.settings.model is not None and spec.models.planner is None:
            await self._take_model(customs.settings.model)
        return customs

    async def _take_model(self, name: str) -> None:
        """Of a settings file, for a client that named none; if it is there: such files name models of one service."""
        try:
            await self._models().named(name)
        except ModelUnavailable as exc:
            self._branch.notice("warning", "SETTINGS_MODEL", f"the model of the settings is not used: {exc}")
        else:
            self.spec = attrs.evolve(self.spec, models=attrs.evolve(self.spec.models, planner=name))

    async def _submit(self, work: Work) -> Ending | None:
        """Have the hook look at the prompt, and fetch its images; what the model gets is in the history afterwards. An
        ending where the hook refuses. Raises AgentdError."""
        said = await self._hooks.prompt_submitted(self.spec.prompt)
        if said.verdict == "deny":
            reason = said.reason or "the UserPromptSubmit hook denies it"
            return Ending.failed("error", "HOOK_DENIED", reason)
        prompt = await self._expanded(work, (said.modified_input or {}).get("prompt", self.spec.prompt))
        loaded: tuple[Image, ...] = ()
        if self.spec.images:
            loaded = await images.load_images(self.spec.images, self.session.dir.blobs, self.bench.url_policy)
            self._tell_of_images(work)
        if prompt != self.spec.prompt or loaded:
            content = [block_to_json(Text(prompt)), *map(block_to_json, loaded)]
            self._branch.append("message.changed", id=self.job.prompt, content=content)
            self.spec = work.spec = attrs.evolve(self.spec, prompt=prompt)
        return None

    async def _expanded(self, work: Work, prompt: str) -> str:
        """What a slash command stands for; what is none is what it is. Raises ToolFailed."""
        line = prompt.strip()
        if self.spec.mode is not Mode.QUERY or not line.startswith("/") or line in OWN_COMMANDS:
            return prompt
        expanded = await work.expand(line)
        return prompt if expanded is None else expanded

    def _tell_of_images(self, work: Work) -> None:
        model = work.callers[MODES[self.spec.mode].recipe.role].model
        if model.info.vision is False:
            text = f"{model.name} does not see images; it is told that there are some"
            self._branch.notice("warning", "IMAGES_NOT_SEEN", text)

    async def _material(self, callers: Mapping[Role, Caller]) -> Material:
        """What the client put into the context, as far as the smallest model has room for it."""
        limits = [caller.model.info.context_tokens for caller in callers.values()]
        tokens = min((limit for limit in limits if limit is not None), default=None)
        chars = context.MATERIAL_CHARS if tokens is None else round(MATERIAL_SHARE * tokens * context.CHARS_PER_TOKEN)
        most = min(chars, context.MATERIAL_CHARS)
        return Material(await context.material(self.bench, self.session, self.job.id, chars=most), self.job.prompt)

    async def _bring_together(
        self, stack: AsyncExitStack, customs: Customs, models: Callers, callers: Mapping[Role, Caller]
    ) -> Work:
        """All that the job works with; what of it has to end is on *stack*."""
        bench, spec, site, policy = self.bench, self.spec, self.bench.site, self.spec.tools
        directories = [bench.workspace / directory for directory in spec.directories]
        env = tool_environment(PASS_ENV, {**customs.settings.env, **spec.env})
        confined = await stack.enter_async_context(self._confined(directories))
        background = await stack.enter_async_context(open_background(self._started_in_background()))
        if customs.servers:
            self.begun.set()  # they may take a while to connect
        self._hooks = self._all_hooks(customs, confined.confine, env)
        elicitor = Elicitor(self._branch, self.asks, policy.ask_seconds)
        servers = await stack.enter_async_context(
            open_mcp(
                confined.admitted(customs.servers),
                lambda terms: terms(
                    cwd=bench.workspace,
                    env=env,
                    roots=(bench.workspace, *directories),
                    confine=confined.confine,
                    url_policy=bench.url_policy,
                    network=confined.has_servers,
                    notice=self._branch.notice,
                    elicit=elicitor.ask,
                    connect_seconds=site.connect_seconds,
                ),
            )
        )
        around = Surroundings(
            bench.workspace,
            bench.state,
            env,
            bench.off_limits,
            self.session.dir.blobs,
            background,
            self._permissions(customs, directories),
            self._hooks,
            checkpoints=self._checkpoints,
            confine=confined.confine,
            symbols=bench.symbols,
            beside=confined.beside,
            prompter=self._prompter(servers),
        )
        tools = (
            bench.tools if confined.hosts is None else {n: t for n, t in bench.tools.items() if t.tool_class is not NET}
        )
        budget = Budget(spec.limits, self.job.turns, self.job.cost)
        return Work(
            self._branch,
            spec,
            callers,
            tools,
            around,
            self.asks,
            self._changes,
            budget,
            models.named,
            customs,
            servers,
            confined.level,
            confined.hosts is None,
        )

    def _confined(self, directories: Sequence[Path]) -> AbstractAsyncContextManager[Confinement]:
        bench = self.bench
        confining = Confining(
            bench.confine,
            bench.site,
            bench.workspace,
            directories,
            bench.off_limits,
            self.session.dir.path,
            bench.url_policy,
            self._branch.notice,
        )
        return confining.open(self.spec)

    def _all_hooks(self, customs: Customs, confine: Containment, env: Mapping[str, str]) -> HookSet:
        """The webhooks of the request, and behind them the programs of plugins, where the site lets them run."""
        if customs.found is None or not customs.found.hooks:
            return self._webhooks
        if not self.bench.site.plugin_hooks:
            names = ", ".join(sorted({hook.plugin for hook in customs.found.hooks}))
            self._branch.notice(
                "warning", "PLUGIN_HOOKS", f"hooks of {names} do not run: allow_plugin_hooks is not set"
            )
            return self._webhooks
        from agentd.engine.pluginhooks import plugin_hooks

        workspace, found = self.bench.workspace, customs.found.hooks
        theirs = plugin_hooks(found, self._about, self._tell_hook, confine=confine, workspace=workspace, env=env)
        return CombinedHooks([self._webhooks, *theirs])

    def _prompter(self, servers: Servers | None) -> ToolPrompter | None:
        name = self.spec.tools.prompt_tool
        if name is None:
            return None
        if servers is None or servers.tool_named(name) is None:
            text = f"{name}, which was to decide about permissions, is no tool of a server that is there"
            self._branch.notice("warning", "PROMPT_TOOL", text)
        return None if servers is None else ToolPrompter(partial(servers.tool_named, name))

    def _tell_hook(self, kind: str, data: dict[str, Any]) -> None:
        self._branch.write(Entry(kind, data))

    def _permissions(self, customs: Customs, directories: Sequence[Path]) -> Permissions:
        bench, policy = self.bench, self.spec.tools
        book = RuleBook(policy.rules + customs.settings.rules)
        for problem in book.problems:
            self._branch.notice("warning", "RULE", problem)
        return Permissions(policy, self.session.state, self.job, bench.workspace, directories, bench.state, book)

    def _begin(self, resolved: Resolved, work: Work) -> None:
        self._branch.append(
            "job.started",
            model=resolved.name,
            resolved_model=resolved.model,
            provider=resolved.provider.name,
            tools=list(work.on_offer),
            mcp_servers=[attrs.asdict(status) for status in work.servers.statuses] if work.servers else [],
            permission_mode=self.spec.tools.permission_mode,
            containment=self.bench.confine.level,
            sandbox=work.sandbox,
            network=work.network,
            history=len(self.session.state.imported_jobs) + len(self.session.state.jobs) - 1,
            cwd=str(self.bench.workspace),
            **({"instructions": dict(work.instructions)} if work.servers is not None else {}),
            **work.customs.told(self.bench.workspace, work.servers),
        )

    def _started_in_background(self) -> int:
        """How many commands the session has asked to run in the background, until now: their ids are taken."""
        calls = (call for message in self.session.state.history.messages for call in message.calls)
        return sum(call.name == "Bash" and bool(call.input.get("run_in_background")) for call in calls)

    def _tell_of(self, running: Sequence[Shell]) -> None:
        """Say which commands the end of the job ends."""
        if running:
            names = ", ".join(f"{shell.id} ({shell.title})" for shell in running)
            text = f"still running in the background, and ended with the job: {names}"
            self._branch.notice("info", "BACKGROUND_ENDED", text)

    def _finish(self, ending: Ending, diff: Mapping[str, Any] | None) -> None:
        context.forget_texts(self.session, self.job.id)
        try:
            self._branch.append("job.finished", **self._told(ending, diff))
        except StoreFailed as exc:
            # The disk is full or gone. The job is over all the same, and not otherwise once the disk takes its end.
            logger.error("the end of job %s is not written yet: %s", self.job.id, exc)
            failed = ending.outcome is JobState.FAILED
            told = self._told(ending if failed else Ending.failed("error", exc.code, str(exc)), diff)
            self.session.owe(Entry("job.finished", told, self.job.id))
            self.job.state, self.job.ended, self.job.finished = JobState.FAILED, int(time.time() * 1000), told

    def _told(self, ending: Ending, diff: Mapping[str, Any] | None) -> dict[str, Any]:
        """What job.finished says."""
        structured = {} if self.spec.output is None else {"structured": ending.structured}
        return structured | {
            "outcome": ending.outcome,
            "stop_reason": ending.stop_reason,
            "error": ending.error,
            "result": ending.result,
            "turns": self.job.turns,
            "cost": self.job.cost,
            "duration_ms": self._duration_ms,
            "diff": diff,
            "permission_mode": self._about()["permission_mode"],
        }

    @property
    def _duration_ms(self) -> int:
        return round((time.monotonic() - self._started) * 1000)


def _interrupted() -> Ending:
    problem = _problem("INTERRUPTED", "the executor stopped while this job was at work")
    return Ending(JobState.INTERRUPTED, "interrupted", error=problem)


def _problem(code: str, message: str) -> dict[str, str]:
    return {"code": code, "message": message}


def read_spec(data: Mapping[str, Any]) -> JobSpec:
    """Raises InvalidRequest, naming every field that does not fit."""
    spec: JobSpec = structure(data, JobSpec)
    return spec
