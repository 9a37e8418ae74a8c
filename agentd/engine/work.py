"""The work of one job: which conversations its mode consists of, and what happens around them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
import trio

from agentd.domain import TASK_MODES, Agent, JobSpec, JobState, Mode, PermissionMode, SystemPrompt, Text, block_to_json
from agentd.engine import structured
from agentd.engine.asks import Asks
from agentd.engine.branch import Branch
from agentd.engine.caller import Caller
from agentd.engine.calls import Calls, Surroundings
from agentd.engine.changes import Changes
from agentd.engine.confining import OFF
from agentd.engine.conversation import Conversation, Ending, Material
from agentd.engine.customs import Customs
from agentd.engine.delegate import CODE_TOOL, Code
from agentd.engine.limits import Budget
from agentd.engine.modes import CODE, MODES, PLAN, SCAN, Recipe, system_prompt
from agentd.engine.offer import Offer, Part
from agentd.engine.permissions import names_tool
from agentd.engine.questions import AskUserQuestion, ExitPlanMode
from agentd.engine.skilltools import COMMAND_TOOL, SKILL_TOOL, RunCommand, UseSkill
from agentd.engine.subagents import MOST_TURNS, NOT_THEIRS, Delegate
from agentd.engine.tasklist import TASK_TOOL, TaskList
from agentd.errors import ModelUnavailable, ProviderFailed
from agentd.providers.registry import Role
from agentd.store.fold import Task
from agentd.tools.base import Tool

if TYPE_CHECKING:
    from agentd.tools.mcp.servers import Servers

OF_MODES = frozenset({CODE_TOOL, TASK_TOOL})  # tools that some modes always have: what they lead to is decided there
MOST_LISTS = 10  # that a planner may make: one that goes on making new ones never stops of itself
INSTRUCTION_CHARS = 4000  # of what an MCP server says of its tools
REASON_CHARS = 240  # of an answer, as the reason why nothing was done


@attrs.define
class Work:
    """*callers*: the models of the roles that the mode needs, and `scan` where a scan comes first; *caller_of*: that of
    a model by its name, which raises ModelUnavailable; *servers*: MCP servers, if the job has any."""

    branch: Branch
    spec: JobSpec
    callers: Mapping[Role, Caller]
    tools: Mapping[str, Tool]
    around: Surroundings
    asks: Asks
    changes: Changes
    budget: Budget
    caller_of: Callable[[str], Awaitable[Caller]]
    customs: Customs = attrs.field(factory=Customs)
    servers: Servers | None = None
    sandbox: str = OFF  # the level in force
    network: bool = True  # every host can be reached
    material: Material = attrs.field(factory=Material)

    @property
    def on_offer(self) -> Mapping[str, Tool]:
        """The tools of the conversation that does the work."""
        return self._offered(MODES[self.spec.mode].recipe, self._own_tools)

    async def run(self) -> Ending:
        """Raises AgentdError."""
        if self.spec.mode is Mode.LUTZ:
            return await self._tasks()
        if self.spec.mode is Mode.QUERY:
            return await self._query()
        if self.spec.mode is Mode.SPEC_RUN:
            from agentd.engine.specrun import run_spec

            return await run_spec(self)
        if self.spec.mode is Mode.SPEC_DRAFT:
            from agentd.engine.specdraft import draft_spec

            return await draft_spec(self)
        if self.spec.mode is Mode.CHAT:
            from agentd.engine.chat import take_turn

            return await take_turn(self)
        if self.spec.pre_scan and self.spec.mode is Mode.ASK:
            await self._scan()
        rule = MODES[self.spec.mode]
        ending = await self._converse(self._conversation(rule.recipe, *self._own_tools))
        if self.spec.auto_commit and rule.writes and ending.outcome is JobState.COMPLETED:
            await self.changes.commit(self.spec.prompt)
        return ending

    async def _converse(self, conversation: Conversation) -> Ending:
        """A conversation, and what is asked for after it."""
        acted = len(self.around.acted)
        ending = await conversation.run()
        if ending.outcome is not JobState.COMPLETED:
            return ending
        if self.spec.mode in TASK_MODES and MODES[self.spec.mode].writes and len(self.around.acted) == acted:
            self.branch.notice("warning", "NO_EDIT", f"no edit was made: {_first_sentence(ending.result or '')}")
        if self.spec.auto_compress:
            await self._compress(conversation)
        return ending

    async def _compress(self, conversation: Conversation) -> None:
        try:
            await conversation.sum_up()
        except ProviderFailed as exc:
            self.branch.notice("warning", "NOT_COMPRESSED", f"the history was not compressed: {exc}")

    # --- QUERY: what the client says ------------------------------------------------------------------------------

    async def _query(self) -> Ending:
        if (own := OWN_COMMANDS.get(self.spec.prompt.strip())) is not None:
            return await own(self)
        conversation = self._conversation(MODES[Mode.QUERY].recipe, *self._own_tools)
        conversation.output = self.spec.output
        return await self._converse(conversation)

    @property
    def _own_tools(self) -> Sequence[Tool]:
        if self.spec.mode is Mode.CHAT and self.spec.chat is not None:
            from agentd.engine.chat import tools_of

            return tools_of(self.spec.chat, self.around)
        customs: list[Tool] = [Delegate(self.customs.agents, self._delegate)] if self.customs.agents else []
        if self.spec.mode is not Mode.QUERY:
            return customs
        plan = [ExitPlanMode(self._change_mode)] if self.around.permissions.mode is PermissionMode.PLAN else []
        return (AskUserQuestion(), *plan, *customs, *self._written_down())

    def _written_down(self) -> Iterator[Tool]:
        """What reads skills and commands: where there are some, and where it is asked for by name."""
        allowed, customs = self.spec.tools.allowed, self.customs
        if customs.skills or SKILL_TOOL in allowed:
            yield UseSkill(customs.skills)
        if customs.has_own_commands or COMMAND_TOOL in allowed:
            listed = (each for each in customs.commands.items() if not each[1].disable_model_invocation)
            yield RunCommand({name: each.description for name, each in listed}, self.expand)

    async def expand(self, line: str) -> str | None:
        """What a line that begins with a slash stands for; None where there is no such command. Raises ToolFailed."""
        name, _, arguments = line.removeprefix("/").partition(" ")
        if (command := self.customs.commands.get(name)) is not None:
            return await trio.to_thread.run_sync(command.expand, arguments.strip())
        if self.servers is not None and name in self.servers.prompts:
            return await self.servers.get_prompt(name, arguments.strip())
        return None

    def _change_mode(self, mode: PermissionMode) -> None:
        self.branch.append("session.changed", permission_mode=mode)

    async def _compact(self) -> Ending:
        await self._conversation(MODES[Mode.QUERY].recipe).sum_up("manual")
        return Ending(JobState.COMPLETED, "completed", "The conversation was summed up.")

    async def _clear(self) -> Ending:
        self.branch.append("history.cleared")
        self.branch.notice("info", "CLEARED", "what was said before is forgotten")
        return Ending(JobState.COMPLETED, "completed", "What was said before is forgotten.")

    # --- LUTZ: a plan, then its tasks -----------------------------------------------------------------------------

    async def _tasks(self) -> Ending:
        phase = self.branch.job.phase
        planned = phase is not None and phase["name"] != "plan"
        if not planned and (ending := await self._plan()) is not None:
            return ending
        tasks = self._list
        results = []
        for number, task in enumerate(tasks, 1):
            if not task.done:
                ending = await self._task(number, len(tasks), task)
                if not ending.is_regular:
                    return ending
                results.append(f"{number}. {task.title}\n{ending.result or ''}".strip())
        return Ending(JobState.COMPLETED, "completed", "\n\n".join(results))

    @property
    def _list(self) -> list[Task]:
        return self.branch.session.state.tasks

    async def _plan(self) -> Ending | None:
        """Make the task list. An ending is the job's: there is nothing to be done, or no plan."""
        lists: list[Sequence[Task]] = []

        def keep(tasks: Sequence[Task]) -> None:
            if len(lists) == MOST_LISTS:
                raise ProviderFailed(f"the model made its task list anew {MOST_LISTS} times, and came to no end of it")
            lists.append(tasks)
            self._keep_list(tasks)

        self._phase("plan", 0, 0, 0, self.spec.prompt)
        tool = TaskList(keep)
        ending = await self._conversation(PLAN, tool).run()
        if not ending.is_regular:
            return ending
        if not lists and tool.refused:
            text = f"there is no plan: the model's task list could not be taken. {tool.refused[-1]}"
            return Ending.failed("failed", "NO_PLAN", text)
        if not lists or not lists[-1]:
            self.branch.notice("info", "NO_TASKS", "the plan has no tasks, so nothing was done")
            return ending
        self._phase("planned", 0, len(lists[-1]), 0, "")
        return None

    async def _task(self, number: int, count: int, task: Task) -> Ending:
        phase = self.branch.job.phase or {}
        if (phase["name"], phase["index"]) != ("task", number):  # else an earlier executor stopped in the middle of it
            self._phase("task", number, count, 100 * (number - 1) // count, task.title)
            await self.changes.begin(f"{self.branch.job.id}/{task.id}")
            heading = f"Task {number} of {count} of the list. Do this one alone; the others have their turn."
            self._say(self.branch, heading, task.text)
        ending = await self._converse(self._conversation(MODES[Mode.LUTZ].recipe))
        if ending.is_regular:
            if self.spec.auto_commit:
                await self.changes.commit(task.title)
            self._keep_list([attrs.evolve(each, done=each.done or each.id == task.id) for each in self._list])
            self._phase("task.done", number, count, 100 * number // count, task.title)
        return ending

    def _keep_list(self, tasks: Sequence[Task]) -> None:
        self.branch.append("tasks", tasks=[attrs.asdict(task) for task in tasks])

    def _phase(self, name: str, index: int, count: int, percent: int, title: str) -> None:
        self.branch.append("phase", name=name, index=index, count=count, percent=percent, title=title)

    # --- Conversations below the job's own ------------------------------------------------------------------------

    async def _scan(self) -> None:
        """Look for what matters to the question, and put it before the model. Nothing about it fails the job."""
        self.branch.notice("info", "SCAN_STARTED", "scanning the repository before answering")
        found = ""
        if "scan" in self.callers:
            branch = self.branch.below(f"scan:{self.branch.job.id}")
            self._say(branch, self.spec.prompt)
            try:
                found = (await self._conversation(SCAN, branch=branch).run()).result or ""
            except ProviderFailed as exc:
                self.branch.notice("warning", "SCAN_FAILED", f"the scan did not work: {exc}")
        if found:
            text = Text(f"A scan of the repository found this:\n\n{found}")
            self.material = attrs.evolve(self.material, texts=(*self.material.texts, text))
        self.branch.notice("info", "SCAN_COMPLETED", f"the scan is complete{'' if found else ', and found nothing'}")

    async def _code(self, call: str, instructions: str) -> Ending:
        """Have the code model follow instructions."""
        branch = self.branch.below(call)
        message = self._say(branch, instructions)
        material = attrs.evolve(self.material, before=message)
        return await self._conversation(CODE, branch=branch, material=material).run()

    async def _delegate(self, call: str, name: str, agent: Agent, prompt: str) -> Ending:
        """Have a subagent do something."""
        caller = await self._caller_for(name, agent.model)
        branch, theirs = self.branch.below(call), agent.tools
        self._say(branch, prompt)
        tools = Part(self.on_offer, lambda t: t not in NOT_THEIRS and (theirs is None or names_tool(theirs, t)))
        calls = Calls(branch, tools, self.asks, self.around.apart())
        system = system_prompt(CODE, self.around.workspace, SystemPrompt(agent.prompt), memory=self.customs.memory)
        budget = self.budget.below(MOST_TURNS)
        try:
            ending = await Conversation(branch, system, caller.writing_to(branch.write), calls, budget).run()
        except ProviderFailed as exc:  # the job's own model may be another, and knows what to do without
            ending = Ending.failed("llm_error", exc.code, str(exc))
        await self.around.hooks.subagent_stopped(name, ending.outcome is not JobState.COMPLETED, ending.result)
        return ending

    async def _caller_for(self, agent: str, model: str | None) -> Caller:
        """The parent's where none is named, or that one is not there: files of agents name models of one service."""
        own = self.callers[MODES[self.spec.mode].recipe.role]
        if model is None:
            return own
        try:
            return await self.caller_of(model)
        except ModelUnavailable as exc:
            text = f"the subagent {agent} works with {own.model.name}: {exc}"
            self.branch.notice("warning", "SUBAGENT_MODEL", text)
            return own

    def _say(self, branch: Branch, *texts: str) -> str:
        """In a person's place; the id of the message."""
        message_id = str(uuid.uuid4())
        branch.say(message_id, [block_to_json(Text(text)) for text in texts])
        return message_id

    def _conversation(
        self, recipe: Recipe, *own_tools: Tool, branch: Branch | None = None, material: Material | None = None
    ) -> Conversation:
        branch = branch or self.branch
        system = self._system(recipe, branch)
        calls = Calls(branch, self._offered(recipe, own_tools), self.asks, self.around)
        caller = self.callers[recipe.role].writing_to(branch.write)
        return Conversation(branch, system, caller, calls, self.budget, material or self.material)

    def _system(self, recipe: Recipe, branch: Branch) -> str:
        customs, spec = self.customs, self.spec
        skills = customs.skill_list if not spec.tools.allowed or SKILL_TOOL in spec.tools.allowed else ""
        told = _instructions(self.instructions) if recipe.servers else ""
        asked = "" if spec.output is None or branch.parent else structured.instructions(spec.output)
        behind = (customs.style, skills if spec.mode is Mode.QUERY else "", told, asked)
        return system_prompt(recipe, self.around.workspace, spec.system, *behind, memory=customs.memory)

    @property
    def instructions(self) -> Mapping[str, str]:
        """What MCP servers say of their tools, as much of it as models are told."""
        said = self.servers.instructions if self.servers is not None else {}
        return {name: text[:INSTRUCTION_CHARS] for name, text in said.items()}

    def _offered(self, recipe: Recipe, own_tools: Sequence[Tool]) -> Mapping[str, Tool]:
        own = {tool.name: tool for tool in (Code(self._code), *own_tools)}
        ours = offered(recipe, {**self.tools, **own}, self.spec)
        return Offer(ours, self.servers, self.spec.tools.disallowed) if recipe.servers else ours


OWN_COMMANDS = {"/compact": Work._compact, "/clear": Work._clear}  # of every query


def _first_sentence(text: str) -> str:
    sentence = re.split(r"(?<=[.!?])\s|\n", text.strip(), maxsplit=1)[0]
    return sentence if len(sentence) <= REASON_CHARS else f"{sentence[: REASON_CHARS - 1]}…"


def _instructions(said: Mapping[str, str]) -> str:
    return "\n\n".join(f"The MCP server {name} says of its tools:\n{text}" for name, text in said.items())


def offered(recipe: Recipe, tools: Mapping[str, Tool], spec: JobSpec) -> dict[str, Tool]:
    """The tools of *recipe* that are there and that the job's policy lets it have."""
    policy = spec.tools
    names = recipe.tools if recipe.tools is not None else [name for name in tools if name not in OF_MODES]
    there = [name for name in names if name in tools and name not in policy.disallowed]
    return {name: tools[name] for name in there if not policy.allowed or name in policy.allowed or name in OF_MODES}
