"""One step of a run, by its type: what it does, and what is kept of that. The table: runs-and-chat.md, 5.3."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs

from agentd.engine.calls import Surroundings
from agentd.engine.specruncommand import TIMED_OUT, run
from agentd.errors import GitFailed
from agentd.store.specrun import DIAGRAMS, Step
from agentd.workspace.git import Done as GitDone
from agentd.workspace.git import run_git, unfiltered

PATCH_SECONDS = 60.0
TOLD_CHARS = 10_000  # of each stream, for people who watch: the artifact has more


@attrs.frozen
class Done:
    """*message*: for people, why it failed; *told*: what it said. *artifact*: what is kept of it."""

    ok: bool
    message: str = ""
    told: str = ""
    duration_ms: int = 0
    exit_code: int | None = None  # of a command
    applied: bool | None = None  # of a patch
    artifact: Mapping[str, Any] | None = None

    @property
    def artifact_name(self) -> str:
        return "command.json" if self.exit_code is not None else "patch_apply.json"

    def to_json(self) -> dict[str, Any]:
        """As a phase's details."""
        found = {"exit_code": self.exit_code, "applied": self.applied}
        return {"ok": self.ok, "message": self.message} | {k: value for k, value in found.items() if value is not None}


CarryOut = Callable[[Step, str, Surroundings, Callable[[str], object]], Awaitable[Done]]


async def carry_out(step: Step, patch: str, around: Surroundings, on_output: Callable[[str], object]) -> Done:
    match step.type:
        case "command" | "verify":
            return await _command(step.command or "", around, on_output)
        case "diagram":
            return await _command(DIAGRAMS, around, on_output)
        case "patch":
            return await _patch(patch, around)
    return Done(True)


async def _command(command: str, around: Surroundings, on_output: Callable[[str], object]) -> Done:
    if not command.strip():
        return Done(True, "no command (skipped)")
    ran = await run(command, around.workspace, around.env, around.confine, on_output)
    ended = "timed out" if ran.exit_code == TIMED_OUT else f"exit code {ran.exit_code}"
    last = next((line for line in reversed(ran.stderr.splitlines()) if line.strip()), "")[:200]
    message = "" if ran.exit_code == 0 else f"{ended}: {last}" if last else ended
    told = "\n".join(_end(text) for text in (ran.stdout, ran.stderr) if text)
    return Done(ran.exit_code == 0, message, told, ran.duration_ms, ran.exit_code, artifact=ran.to_json())


async def _patch(patch: str, around: Surroundings) -> Done:
    if not patch.strip():
        return Done(True, "no patch (skipped)")
    if not (around.workspace / ".git").exists():
        return _applied(GitDone(128, b"", "the workspace is no git repository, so no patch can be applied to it"), 0)
    whole = patch if patch.endswith("\n") else f"{patch}\n"
    words = ("apply", "--whitespace=nowarn", "-")
    began = time.monotonic()
    try:
        env = await unfiltered(around.workspace)
        done = await run_git(around.workspace, *words, input=whole.encode(), env=env, seconds=PATCH_SECONDS)
    except GitFailed as exc:
        done = GitDone(TIMED_OUT, b"", str(exc))
    return _applied(done, round(1000 * (time.monotonic() - began)))


def _applied(done: GitDone, duration_ms: int) -> Done:
    ok, stdout = done.code == 0, done.stdout.decode("utf-8", "replace")
    artifact = {"applied": ok, "stdout": stdout, "stderr": done.stderr}
    message = "" if ok else f"the patch does not apply: {done.stderr}"
    return Done(ok, message, _end(f"{stdout}{done.stderr}"), duration_ms, applied=ok, artifact=artifact)


def _end(text: str) -> str:
    return text if len(text) <= TOLD_CHARS else f"…{text[-TOLD_CHARS:]}"
