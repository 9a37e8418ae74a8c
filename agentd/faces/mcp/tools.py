"""The tools that this server offers, in one table: what each is called, takes, answers, and needs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import attrs

from agentd.daemon.access import Need, Principal
from agentd.errors import AgentdError, ToolFailed
from agentd.faces.mcp import asking, following, jobs, looking
from agentd.faces.mcp.answers import told
from agentd.faces.mcp.app import App, Call, Run
from agentd.faces.mcp.views import Schema
from agentd.tools.schema import input_schema, parse
from agentd.wire.jsonrpc import INVALID_PARAMS, RpcError
from agentd.wire.messages import to_json


@attrs.frozen
class Tool:
    """*takes*: an attrs class of arg()s. *writes*: it may change something; *undoes*: something that was there.
    *repeats*: to do it twice is as good as once. *open_world*: it deals with more than this machine."""

    name: str
    title: str
    description: str
    takes: type[Any]
    output: Schema
    need: Need
    run: Run
    writes: bool = False
    undoes: bool = False
    repeats: bool = True
    open_world: bool = False

    def shown(self) -> dict[str, Any]:
        hints = {"title": self.title, "readOnlyHint": not self.writes, "openWorldHint": self.open_world}
        if self.writes:
            hints |= {"destructiveHint": self.undoes, "idempotentHint": self.repeats}
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": {**input_schema(self.takes), "additionalProperties": False},
            "outputSchema": self.output,
            "annotations": hints,
        }


TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "start_job",
            "Start an agent job",
            "Have a coding agent work in a directory of this machine: answer questions about a repository, search it, "
            "change code, run commands. Returns the job's id at once, or after wait_seconds what has happened until "
            "then. Follow it with follow_job, stop it with cancel_job, see what it changed with job_diff.",
            jobs.StartJob,
            following.FOLLOWED,
            "act",
            jobs.start,
            writes=True,
            undoes=True,
            repeats=False,
            open_world=True,
        ),
        Tool(
            "follow_job",
            "Follow a job",
            "Wait for a job and get what has happened in it since a position: what the agent said, the tools that it "
            "used, what it asks. Returns when the job is done, when it asks something, or after wait_seconds. Call it "
            "again with the position it gave until done is true; result is what the job came to.",
            following.FollowJob,
            following.FOLLOWED,
            "see",
            following.follow,
        ),
        Tool(
            "job_status",
            "Show a job",
            "How a job is now: its state, its model, turns and cost, what it asks, and once it is done its result.",
            following.OneJob,
            following.STATUS,
            "see",
            following.status,
        ),
        Tool(
            "cancel_job",
            "Cancel a job",
            "Stop a job that is queued, running or waiting. What it has changed until then stays.",
            following.OneJob,
            jobs.CANCELLED,
            "act",
            jobs.cancel,
            writes=True,
        ),
        Tool(
            "list_asks",
            "List what waits for an answer",
            "What jobs ask and nobody has answered: may this tool be used, is this plan good, questions. A job that "
            "asks waits until it is told, or until the ask's deadline.",
            asking.ListAsks,
            asking.ASKS,
            "asks",
            asking.list_asks,
        ),
        Tool(
            "answer_ask",
            "Answer an ask",
            "Settle what a job asks: allow or deny a tool call, answer a question. The job goes on at once. The user "
            "may want to decide this: when in doubt show them the ask first.",
            asking.AnswerAsk,
            asking.ANSWERED,
            "settle",
            asking.answer_ask,
            writes=True,
            undoes=True,
            repeats=False,
            open_world=True,
        ),
        Tool(
            "list_jobs",
            "List jobs",
            "Jobs, the latest first.",
            jobs.ListJobs,
            jobs.JOBS,
            "see",
            jobs.list_jobs,
        ),
        Tool(
            "list_sessions",
            "List sessions",
            "Sessions, the latest first. A session is a conversation with an agent in one directory; each of its jobs "
            "knows what was said in those before.",
            jobs.ListSessions,
            jobs.SESSIONS,
            "see",
            jobs.list_sessions,
        ),
        Tool(
            "job_diff",
            "Show what a job changed",
            "The changes that a job has made in its directory, as a unified diff; of a job that is not done, all that "
            "its session has changed until now. The directory has to be in a git repository.",
            jobs.JobDiff,
            jobs.DIFF,
            "see",
            jobs.diff,
        ),
        Tool(
            "search",
            "Search files",
            "Search the files of a directory with a regular expression, without a job. What git ignores is left out, "
            "and so are binary files. Prints path:line:text.",
            looking.Search,
            looking.FOUND,
            "act",
            looking.search,
        ),
        Tool(
            "symbols",
            "Look up symbols",
            "Look up classes, functions, methods and fields of the source files in a directory, without a job: where "
            "they are defined, what a file defines, the source of one, and who uses it. Names that are alike are told "
            "apart only by their qualified names.",
            looking.LookUp,
            looking.FOUND,
            "act",
            looking.look_up,
        ),
    )
}


@cache
def _shown(name: str) -> dict[str, Any]:
    return TOOLS[name].shown()


def listed(principal: Principal) -> dict[str, Any]:
    """The result of `tools/list`: those that the caller may use, always in the same order."""
    return {"tools": [_shown(name) for name, tool in TOOLS.items() if principal.may(tool.need)]}


async def called(app: App, call: Call) -> dict[str, Any]:
    """The result of `tools/call`. Raises RpcError for what is no call of a tool that there is, InputRequired."""
    name, arguments = call.params.get("name"), call.params.get("arguments")
    tool = TOOLS.get(name) if isinstance(name, str) else None
    if tool is None or not call.principal.may(tool.need):
        raise RpcError(INVALID_PARAMS, f"Unknown tool: {name[:100]}" if isinstance(name, str) else "name is missing")
    if arguments is not None and not isinstance(arguments, Mapping):
        raise RpcError(INVALID_PARAMS, "arguments has to be an object")
    call.need = tool.need
    try:
        outcome = await tool.run(app, call, _read(tool, arguments or {}))
    except AgentdError as exc:
        return {"content": [{"type": "text", "text": told(exc)}], "isError": True}
    text = outcome.text if outcome.text is not None else to_json(outcome.value).decode()
    return {"content": [{"type": "text", "text": text}], "structuredContent": outcome.value, "isError": False}


def _read(tool: Tool, arguments: Mapping[str, Any]) -> Any:
    """Raises ToolFailed, with every misfit in it: whoever calls can put it right."""
    known = input_schema(tool.takes)["properties"]
    if unknown := sorted(set(arguments) - set(known)):
        names = ", ".join(name[:40] for name in unknown[:5])
        raise ToolFailed(f"{tool.name} has no argument {names}; it takes {', '.join(known)}")
    return parse(tool.takes, arguments)
