"""Calls of a whole job that lead out of the workspace are refused in every permission mode, with a sandbox and without.
What is outside is not kept either, nor changed by going back to a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from agentd.domain import Mode, PermissionMode, Sandbox, ToolClass, ToolPolicy
from agentd.engine.checkpoints import read_checkpoints
from agentd.engine.rewind import rewind
from agentd.providers.scripted import call, reply
from agentd.sandbox.contain import probe
from agentd.tools.base import ToolContext
from agentd.tools.registry import FILE_TOOLS, built_in
from tests.workshop import FakeTool, Workshop, ended, only, spec

SECRET = "kept-to-themselves"
NAMES = tuple(tool.name for tool in FILE_TOOLS)


@pytest.fixture
async def confined(workshop: Workshop, tmp_path: Path, require: Callable[[str], str]) -> Workshop:
    require("bwrap")
    workshop.tools, workshop.confine = built_in(), await probe()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.txt").write_text(SECRET)
    (workshop.workspace / "link").symlink_to(tmp_path / "outside")
    return workshop


def calls(path: str) -> list[Any]:
    inputs: dict[str, dict[str, Any]] = {
        "Write": {"file_path": path, "content": "x"},
        "Edit": {"file_path": path, "old_string": SECRET, "new_string": "x"},
        "MultiEdit": {"file_path": path, "edits": [{"old_string": SECRET, "new_string": "x"}]},
        "NotebookEdit": {"notebook_path": path, "cell_id": "1", "new_source": "x"},
        "NotebookRead": {"notebook_path": path},
        "Glob": {"pattern": "*", "path": path},
        "Grep": {"pattern": ".", "path": path, "output_mode": "content"},
        "LS": {"path": str(Path(path).parent)},
        "Read": {"file_path": path},
    }
    return [call(name, **inputs[name]) for name in NAMES]


# A query without a sandbox reaches everything: contract of the agent API, section 19.
@pytest.mark.parametrize(("mode", "sandbox"), [(Mode.CODE, None), (Mode.CODE, Sandbox()), (Mode.QUERY, Sandbox())])
@pytest.mark.parametrize("permission", [PermissionMode.BYPASS, PermissionMode.ACCEPT_EDITS])
async def test_calls_outside_are_refused_and_keep_nothing(
    confined: Workshop, tmp_path: Path, mode: Mode, sandbox: Sandbox | None, permission: PermissionMode
) -> None:
    paths = ["../outside/secret.txt", str(tmp_path / "outside/secret.txt"), "link/secret.txt"]
    confined.says(reply(*(each for path in paths for each in calls(path))), "Done.")
    tools = ToolPolicy(permission_mode=permission, allowed=NAMES, ask_seconds=0)
    _, records = await confined.do(mode=mode, sandbox=sandbox, tools=tools, checkpoints=True)
    assert [data["ok"] for data in only(records, "tool.finished")] == [False] * len(paths) * len(NAMES)
    assert SECRET not in str([data["content"] for data in only(records, "tool.finished")])
    assert (tmp_path / "outside/secret.txt").read_text() == SECRET
    assert [path for path in (tmp_path / "home").rglob("blobs/**/*") if _holds(path)] == []


def _holds(path: Path) -> bool:
    return path.is_file() and SECRET.encode() in path.read_bytes()


async def test_going_back_changes_nothing_outside(confined: Workshop, tmp_path: Path) -> None:
    """Where a call was refused, and the file's owner has changed it meanwhile."""
    secret = tmp_path / "outside/secret.txt"

    async def work(call_input: Mapping[str, Any], context: ToolContext) -> str:
        await trio.Path(secret).write_text("changed by its owner")
        return ""

    confined.tools = (*built_in(), FakeTool("Owner", ToolClass.READ, work))
    confined.says(reply(*calls(str(secret))), reply(call("Owner")), "Done.")
    async with confined.open() as engine:
        accepted = await engine.accept(spec(mode=Mode.CODE, checkpoints=True))
        await ended(accepted.session, accepted.job)
        (checkpoint,) = await read_checkpoints(accepted.session.view)
        await rewind(accepted.session, confined.workspace, checkpoint.id)
    assert secret.read_text() == "changed by its owner"
