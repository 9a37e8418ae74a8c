"""The tools of chats: what they tell, and what they refuse, whatever a model or a repository comes up with."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome, ToolState
from agentd.tools.chat.registry import chat_tools
from agentd.tools.chat.secretfiles import looks_secret
from agentd.workspace.speccheck import problems


@attrs.frozen
class Ran:
    exit_code: int

    def to_json(self) -> Mapping[str, object]:
        return {"exit_code": self.exit_code}


async def run_command(command: str, context: ToolContext, seconds: float) -> Ran:
    return Ran(1 if "fail" in command else 0)


async def use(context: ToolContext, name: str, spec: Path | None = None, **given_input: Any) -> ToolOutcome:
    tools = {tool.name: tool for tool in chat_tools(run_command, ("check", "fail", "lint"), spec)}
    return await tools[name].run(given_input, context)


async def told(context: ToolContext, name: str, **more: Any) -> str:
    return "\n".join(block.text for block in (await use(context, name, **more)).content if isinstance(block, Text))


@pytest.fixture
def context(workspace: Path) -> ToolContext:
    return ToolContext(workspace, ToolState(workspace), {}, (), lambda _: None, lambda path: path.name)


@pytest.fixture
def repository(workspace: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", str(workspace)], check=True)
    return workspace


def test_tools_are_sorted_and_each_is_of_its_kind(tmp_path: Path) -> None:
    tools = chat_tools(run_command, (), tmp_path / "spec.md")
    assert [tool.name for tool in tools] == sorted(tool.name for tool in tools)
    kinds = {tool.name: tool.tool_class for tool in tools}
    assert {name for name, kind in kinds.items() if kind is ToolClass.EXEC} == {"shell", "diagram", "verify"}
    assert {name for name, kind in kinds.items() if kind is ToolClass.EDIT} == {"apply_patch", "write_spec"}
    assert len(kinds) == 12


# --- Looking ------------------------------------------------------------------------------------------------------


async def test_an_empty_workspace_is_told_as_such(context: ToolContext) -> None:
    assert await told(context, "repo_tree") == "The workspace has no files."
    assert await told(context, "repo_map") == "No definitions were found."
    assert await told(context, "search", query="x") == "No matches found"


async def test_no_more_is_told_than_was_asked_for(context: ToolContext, workspace: Path) -> None:
    for number in range(3):
        (workspace / f"{number}.py").write_text("def spam(): ...\n" * 2)
    assert await told(context, "repo_tree", max_files=2) == "0.py\n1.py"
    assert (await told(context, "repo_map", max_symbols=1)).count("spam") == 1
    lines = (await told(context, "search", query="spam", max_results=2)).split("\n")
    assert lines[0] == "0.py:1:def spam(): ..."
    assert lines[2].startswith("[there are more matches")


@pytest.mark.parametrize(
    ("name", "given_input"),
    [
        ("repo_tree", {"max_files": 0}),
        ("repo_map", {"max_symbols": -1}),
        ("search", {"query": ""}),
        ("search", {"query": "x", "max_results": 0}),
        ("search", {}),
        ("read_file", {"path": " "}),
        ("read_file", {"path": "../other"}),
        ("read_file", {"path": "/etc/passwd"}),
        ("read_file", {"path": "a\0b"}),
        ("read_file", {"path": "out/secret"}),
        ("read_file", {"path": ["a"]}),
        ("shell", {"command": " "}),
        ("shell", {"command": "true", "timeout_seconds": 0}),
        ("shell", {"command": "true", "timeout_seconds": 1801}),
        ("apply_patch", {"patch": "\n"}),
        ("apply_patch", {"patch": "\ud800"}),
        ("write_spec", {"content": " "}),
        ("write_spec", {"content": "\ud800"}),
    ],
)
async def test_what_makes_no_sense_is_an_error_of_the_call(
    context: ToolContext, repository: Path, tmp_path: Path, name: str, given_input: dict[str, Any]
) -> None:
    (repository / "out").symlink_to(tmp_path)
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(ToolFailed):
        await use(context, name, spec=repository / "spec.md", **given_input)


async def test_lines_of_a_file_are_read(context: ToolContext, workspace: Path) -> None:
    (workspace / "a.txt").write_text("".join(f"line {number}\n" for number in range(1, 1001)))
    assert (await told(context, "read_file", path="a.txt")).count("\tline ") == 400
    lines = (await told(context, "read_file", path="a.txt", start_line=-5, end_line=2)).split("\n")
    assert lines[:2] == ["     1\tline 1", "     2\tline 2"]
    assert (await told(context, "read_file", path="a.txt", start_line=7, end_line=3)).startswith("     7\tline 7\n")


SECRETS = (
    *(".env", ".env.local", "prod.env", "id_rsa", "id_ed25519", "server.pem", "tls.key", "credentials", ".netrc"),
    *("credentials.json", "aws/.aws/config", ".ssh/config", "secrets.yaml", "service-account-1.json", ".npmrc"),
)


@pytest.mark.parametrize("name", SECRETS)
async def test_secrets_are_neither_read_nor_found(context: ToolContext, workspace: Path, name: str) -> None:
    path = workspace / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("hunter2\n")
    (workspace / "innocent").symlink_to(path)
    for way in (name, f"./{name}", "innocent"):
        with pytest.raises(ToolFailed, match="looks as if it held secrets"):
            await use(context, "read_file", path=way)
    assert await told(context, "search", query="hunter2") == "No matches found"


@pytest.mark.parametrize("name", ["env.py", "environment.yml", "id_rsa.pub", "keys.md", "credentials_test.py", "a.txt"])
def test_what_only_sounds_like_a_secret_is_none(name: str) -> None:
    assert not looks_secret(name)


@given(st.text(max_size=80))
def test_any_name_is_one_or_the_other(name: str) -> None:
    assert looks_secret(name) in (True, False)


async def test_a_search_is_for_the_text_as_it_is_written(context: ToolContext, workspace: Path) -> None:
    (workspace / "a.py").write_text("  x = a.*b[0]\nX = 1\n")
    (workspace / "b.js").write_text("x = a.*b[0]\n")
    assert await told(context, "search", query="a.*b[0]", glob="*.py") == "a.py:1:x = a.*b[0]"
    assert await told(context, "search", query="X = 1") == "a.py:2:X = 1"
    assert await told(context, "search", query="x", glob="sub/*.py") == "No matches found"


# --- Doing --------------------------------------------------------------------------------------------------------


async def test_a_patch_applies_whole_or_not_at_all(context: ToolContext, repository: Path) -> None:
    (repository / "a").write_text("one\n")
    good = "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-one\n+two\n"
    bad = "--- a/b\n+++ b/b\n@@ -1 +1 @@\n-no\n+never\n"
    outcome = await use(context, "apply_patch", patch=good + bad)
    assert outcome.is_error
    assert (repository / "a").read_text() == "one\n"
    assert json.loads(await told(context, "apply_patch", patch=good))["applied"] is True
    assert (repository / "a").read_text() == "two\n"


@pytest.mark.parametrize("path", ["../outside", "/tmp/outside", ".git/hooks/pre-commit", "link/outside"])
async def test_a_patch_does_not_leave_the_workspace(
    context: ToolContext, repository: Path, tmp_path: Path, path: str
) -> None:
    (repository / "link").symlink_to(tmp_path)
    patch = f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n"
    assert (await use(context, "apply_patch", patch=patch)).is_error
    assert not (tmp_path / "outside").exists()
    assert not (repository / ".git/hooks/pre-commit").exists()


async def test_a_patch_needs_a_repository(context: ToolContext) -> None:
    with pytest.raises(ToolFailed, match="no git repository"):
        await use(context, "apply_patch", patch="x")
    with pytest.raises(ToolFailed, match="no git repository"):
        await use(context, "git_status")


async def test_all_checks_are_run_whichever_fail(context: ToolContext) -> None:
    outcome = await use(context, "verify")
    assert outcome.is_error
    assert json.loads(await told(context, "verify")) == [{"exit_code": 0}, {"exit_code": 1}, {"exit_code": 0}]


# --- Specs --------------------------------------------------------------------------------------------------------


async def test_a_spec_is_written_read_and_validated(context: ToolContext, workspace: Path) -> None:
    spec = workspace / "specs/x/spec.md"
    await use(context, "write_spec", spec=spec, content="# Goal")
    assert spec.read_text() == "# Goal\n"
    assert await told(context, "read_spec", spec=spec) == "# Goal\n"
    outcome = await use(context, "validate_spec", spec=spec)
    readable, plain = (block.text for block in outcome.content if isinstance(block, Text))
    assert json.loads(plain)["ok"] is False
    assert readable.startswith("The spec is not valid: missing heading: # Constraints / nuances; ")
    valid = "# Goals\n## Some constraints\n###### Acceptance\n"
    assert (await told(context, "validate_spec", spec=spec, content=valid)).startswith("The spec is valid.")


async def test_a_spec_that_leads_elsewhere_is_not_written(
    context: ToolContext, workspace: Path, tmp_path: Path
) -> None:
    (workspace / "specs").symlink_to(tmp_path)
    with pytest.raises(ToolFailed):
        await use(context, "write_spec", spec=workspace / "specs/spec.md", content="x")
    assert not (tmp_path / "spec.md").exists()


def test_headings_in_code_are_none() -> None:
    assert len(problems("```\n# Goal\n# Constraints\n# Acceptance\n```\n")) == 3
    assert problems("# GOAL\n# My Constraints / nuances\n## Acceptance tests #\n") == []
    assert problems("The goal\n") == [
        "missing heading: # Goal",
        "missing heading: # Constraints / nuances",
        "missing heading: # Acceptance tests",
    ]
