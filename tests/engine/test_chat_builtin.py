"""Chats with the built-in model: what is spelled out is done, by a chat's own tools."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agentd.domain import ChatMessage, ChatPart, ChatSpec, JobSpec, JobState, Mode, Models, PermissionMode, ToolPolicy
from agentd.engine.chatcalls import VALIDATE_SPEC
from agentd.engine.chatprompt import GO_ON
from agentd.providers.builtin import BuiltinProvider
from agentd.providers.builtin.provider import BESIDE
from tests.workshop import Workshop, ended, only


@pytest.fixture(autouse=True)
def repository(workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (workshop.workspace / "hello.txt").write_text("hello\nworld\n")
    subprocess.run(["git", "init", "--quiet", str(workshop.workspace)], check=True)
    workshop.services = [BuiltinProvider()]
    return workshop.workspace


async def told(workshop: Workshop, text: str) -> tuple[list[str], str]:
    """The tools that were called, and the answer."""
    chat = ChatSpec("turn_1", (ChatMessage("msg_1", "user", (ChatPart("text", text),)),))
    free = ToolPolicy(permission_mode=PermissionMode.BYPASS)
    async with workshop.open() as engine:
        accepted = await engine.accept(JobSpec(Mode.CHAT, text, Models("builtin"), chat=chat, tools=free))
        await ended(accepted.session, accepted.job)
        assert accepted.job.state is JobState.COMPLETED
        assert accepted.job.finished is not None
        records = list(accepted.session.view.records())
    return [data["name"] for data in only(records, "tool.finished")], accepted.job.finished["result"]


async def test_a_command_is_run(workshop: Workshop) -> None:
    calls, answer = await told(workshop, "Run the command `echo walk`.")
    assert calls == ["shell"]
    assert "walk" in answer


async def test_a_file_is_made(workshop: Workshop, repository: Path) -> None:
    calls, _ = await told(workshop, "Create the file `src/a.txt` with the content:\n```\none\ntwo\n```")
    assert calls[-1] == "apply_patch"
    assert (repository / "src/a.txt").read_text().strip() == "one\ntwo"


async def test_a_text_is_replaced(workshop: Workshop, repository: Path) -> None:
    calls, _ = await told(workshop, "Replace `hello` with `goodbye` in hello.txt.")
    assert calls == ["read_file", "apply_patch"]
    assert (repository / "hello.txt").read_text() == "goodbye\nworld\n"


async def test_a_diff_is_applied(workshop: Workshop, repository: Path) -> None:
    diff = "--- a/hello.txt\n+++ b/hello.txt\n@@ -1,2 +1,2 @@\n hello\n-world\n+moon\n"
    await told(workshop, f"Apply this diff:\n```diff\n{diff}```")
    assert (repository / "hello.txt").read_text() == "hello\nmoon\n"


async def test_a_file_is_shown(workshop: Workshop) -> None:
    calls, answer = await told(workshop, "Show me the file `hello.txt`.")
    assert calls == ["read_file"]
    assert "world" in answer


async def test_what_cannot_be_done_here_is_said(workshop: Workshop) -> None:
    calls, answer = await told(workshop, "Please update the README.")
    assert answer
    assert "apply_patch" not in calls


def test_what_the_engine_says_in_a_persons_place_is_no_task() -> None:
    assert GO_ON.startswith(BESIDE)
    assert f"[{VALIDATE_SPEC} was run; ".startswith(BESIDE)
