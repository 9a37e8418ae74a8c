"""git_status and apply_patch: what git says, and what it is given. The contract: runs-and-chat.md, 7.1."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from agentd.domain import Text, ToolClass
from agentd.errors import GitFailed, ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import arg, as_bytes, input_schema, parse
from agentd.workspace.git import git, run_git, unfiltered

STATUS_SECONDS, PATCH_SECONDS = 10.0, 60.0
CLEAN = "Nothing has changed."
NO_REPOSITORY = "The workspace is no git repository"


@attrs.frozen
class NoInput:
    """Of a tool that is told nothing."""


class GitStatus:
    name = "git_status"
    description = "Show what has changed in the workspace, as `git status --porcelain` prints it."
    input_schema: Mapping[str, Any] = input_schema(NoInput)
    tool_class = ToolClass.READ

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return ""

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        if not (context.workspace / ".git").exists():
            raise ToolFailed(NO_REPOSITORY)
        try:
            env = await unfiltered(context.workspace)
            told = await git(context.workspace, "status", "--porcelain", env=env, seconds=STATUS_SECONDS)
        except GitFailed as exc:
            raise ToolFailed(str(exc)) from exc
        text = told.decode("utf-8", "replace").rstrip("\n")
        return ToolOutcome((Text(text or CLEAN),), f"{len(text.splitlines())} paths")


@attrs.frozen
class PatchInput:
    patch: str = arg("A unified diff, with paths relative to the workspace: --- a/x, +++ b/x, @@ …")


class ApplyPatch:
    name = "apply_patch"
    description = (
        "Change files by a unified diff, as `git apply` takes it; /dev/null stands for a file that is created or "
        "removed. All of it applies, or nothing does. Context lines have to be as they are in the file."
    )
    input_schema: Mapping[str, Any] = input_schema(PatchInput)
    tool_class = ToolClass.EDIT

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return _files(call_input.get("patch"))

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        patch = parse(PatchInput, call_input).patch
        if not patch.strip():
            raise ToolFailed("The patch is empty.")
        if not (context.workspace / ".git").exists():
            raise ToolFailed(f"{NO_REPOSITORY}, so no patch can be applied to it")
        data = as_bytes(patch if patch.endswith("\n") else f"{patch}\n", "patch")
        words = ("apply", "--whitespace=nowarn", "-")
        try:
            env = await unfiltered(context.workspace)
            done = await run_git(context.workspace, *words, input=data, env=env, seconds=PATCH_SECONDS)
        except GitFailed as exc:
            raise ToolFailed(str(exc)) from exc
        told = {"applied": done.code == 0, "stdout": done.stdout.decode("utf-8", "replace"), "stderr": done.stderr}
        summary = "applied" if done.code == 0 else done.stderr.split("\n", 1)[0][:120]
        return ToolOutcome((Text(json.dumps(told, ensure_ascii=False)),), summary, is_error=done.code != 0)


def _files(patch: object) -> str:
    """Those that a patch changes, on one line."""
    if not isinstance(patch, str):
        return ""
    heads = [line[4:].split("\t")[0].strip() for line in patch.splitlines() if line.startswith(("--- ", "+++ "))]
    names = dict.fromkeys(head.removeprefix("a/").removeprefix("b/") for head in heads if head != "/dev/null")
    return ", ".join(names)[:120]
