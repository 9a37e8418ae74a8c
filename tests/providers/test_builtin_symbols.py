"""The built-in model where the tools that know the code are on offer: it asks them, and cites what they say."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentd.domain import ToolUse
from agentd.workspace.symbols.query import Symbols
from tests.providers.conftest import Workspace

if TYPE_CHECKING:
    from tests.providers.conftest import Conversation, Tell, World

READ_TOOLS = ("Read", "Glob", "Grep", "LS", "NotebookRead")
SYMBOL_TOOLS = ("SearchSymbols", "ClassSkeleton", "MethodSource", "FindUsages", "FileSummary", "GitLog")
SERVICE = "src/main/java/com/example/service"
FILES = {
    f"{SERVICE}/UserService.java": """\
package com.example.service;

/** Looks after users: finds and stores them. */
public class UserService {
    private final AuthenticationManager manager;
    private int tries = 3;

    public User findUserById(long id) {
        return manager.load(id);
    }
}
""",
    f"{SERVICE}/AuthenticationManager.java": """\
package com.example.service;

public class AuthenticationManager {
    public User load(long id) { return null; }
}
""",
    "src/main/java/com/example/api/LoginController.java": """\
package com.example.api;

import com.example.service.AuthenticationManager;

public class LoginController {
    void login(AuthenticationManager manager) {
        manager.load(1);
    }
}
""",
    "README.md": "# Users\n",
}


@pytest.fixture
async def code(tmp_path: Path) -> AsyncIterator[Workspace]:
    root = tmp_path / "code"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    symbols = Symbols(root, tmp_path / "cache")
    yield Workspace(root, (*READ_TOOLS, *SYMBOL_TOOLS), symbols)
    await symbols.aclose()


def tools_of(talk: Conversation) -> set[str]:
    return {call.name for call in talk.calls}


def assert_cited_right(talk: Conversation, root: Path) -> None:
    """Every quoted line stands where it is said to be: whole, or as a declaration without its body."""
    quoted = re.findall(r"- (\S+):(\d+) (?:[a-z]+ )?`(.*)`$", talk.answer, re.MULTILINE)
    assert quoted
    for path, number, text in quoted:
        line = (root / path).read_text().split("\n")[int(number) - 1]
        assert text.rstrip("…") in line, (path, number, text)


async def test_definitions_are_told_with_their_signatures(tell: Tell, code: Workspace) -> None:
    talk = await tell(
        "Find all classes and methods related to authentication. "
        "Show me where AuthenticationManager and LoginController are defined.",
        code,
    )
    assert tools_of(talk) == {"SearchSymbols", "FindUsages"}
    assert f"`AuthenticationManager` is defined in:\n- {SERVICE}/AuthenticationManager.java:3 class" in talk.answer
    assert "LoginController.java:5 class `public class LoginController`" in talk.answer
    assert "3 definitions with" in talk.answer
    assert "LoginController.java:6 method `void login(AuthenticationManager manager)`" in talk.answer
    assert_cited_right(talk, code.root)


async def test_the_structure_of_a_directory_is_told_with_fields_and_methods(tell: Tell, code: Workspace) -> None:
    talk = await tell(
        f"Show me the structure of all classes in the '{SERVICE}' directory. List their fields and method signatures.",
        code,
    )
    assert tools_of(talk) == {"FileSummary"}
    assert f"`{SERVICE}` defines, in 2 files:" in talk.answer
    for declaration in ("public class UserService", "private int tries = 3", "public User findUserById(long id)"):
        assert f"`{declaration}`" in talk.answer
    assert_cited_right(talk, code.root)


async def test_a_directory_that_is_not_there_is_said_with_those_that_are(tell: Tell, code: Workspace) -> None:
    talk = await tell("Show me the structure of all classes in the 'java/service' directory.", code)
    assert talk.answer.startswith("`java/service`: java/service does not exist")
    assert f"There is `{SERVICE}`; ask for that." in talk.answer


async def test_usages_are_counted_by_file_and_told_with_what_they_are_in(tell: Tell, code: Workspace) -> None:
    talk = await tell("Find all usages of AuthenticationManager and summarize where it's referenced.", code)
    assert "`AuthenticationManager` is used in 3 lines of 2 files:" in talk.answer
    assert "LoginController.java: 2 lines, in `LoginController.login`" in talk.answer
    assert_cited_right(talk, code.root)


async def test_a_class_is_explained_by_its_members_and_its_own_words(tell: Tell, code: Workspace) -> None:
    talk = await tell("Explain the UserService class structure and its key responsibilities.", code)
    assert talk.answer.startswith(f"`UserService` is defined in {SERVICE}/UserService.java:4, with 3 members:")
    assert "What it says of itself:" in talk.answer
    assert "finds and stores them" in talk.answer
    assert_cited_right(talk, code.root)


async def test_the_source_of_a_method_is_shown(tell: Tell, code: Workspace) -> None:
    talk = await tell("Show me the source of `findUserById`, and where it is used.", code)
    assert "     9\t        return manager.load(id);" in talk.answer


async def test_a_name_that_is_nowhere_is_said(tell: Tell, code: Workspace) -> None:
    talk = await tell("Where is PaymentGateway defined?", code)
    assert "Nothing in the workspace mentions" in talk.answer


async def test_recent_changes_are_summed_up(tell: Tell, code: Workspace) -> None:
    commit(code.root, "Add users", ".")
    (code.root / "README.md").write_text("# More\n")
    commit(code.root, "Say more", "README.md")
    talk = await tell("Summarize recent changes in the repo.", code)
    assert tools_of(talk) == {"GitLog"}
    assert re.match(r"The last 2 commits, on [\d-]+, by Ann \(2\)\. There are no others\.", talk.answer)
    assert "- src/main: 1 commit" in talk.answer
    assert re.search(r"- \w{7,10} [\d-]+ Ann: `Say more` \(1 file\)\n", talk.answer)


async def test_without_a_history_that_is_said(tell: Tell, code: Workspace) -> None:
    talk = await tell("Summarize recent changes in the repo.", code)
    assert talk.answer.startswith("I cannot see the commits")


async def test_tools_that_fail_are_made_up_for_by_searching(tell: Tell, world: type[World]) -> None:
    refused = frozenset(SYMBOL_TOOLS)
    tools = world({"a.py": "class Users: ...\n"}, names=(*READ_TOOLS, *SYMBOL_TOOLS), refused=refused)
    for question in ("Where is `Users` defined?", "Explain the structure of the class `Users`."):
        assert "a.py:1" in (await tell(question, tools)).answer


async def test_what_is_not_on_offer_is_not_called(tell: Tell, code: Workspace) -> None:
    tools = Workspace(code.root, READ_TOOLS)
    talk = await tell("Where is AuthenticationManager defined?", tools)
    assert all(isinstance(call, ToolUse) and call.name in READ_TOOLS for call in talk.calls)
    assert "AuthenticationManager.java:3" in talk.answer


def commit(root: Path, subject: str, path: str) -> None:
    who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    for arguments in (["init", "-q"], ["add", path], [*who, "commit", "-qm", subject]):
        subprocess.run(["git", *arguments], cwd=root, check=True)


async def test_a_definition_in_a_file_whose_path_has_spaces_is_found(tell: Tell, code: Workspace) -> None:
    (code.root / "my tools").mkdir()
    (code.root / "my tools" / "büro tage.py").write_text("def working_days():\n    return 5\n")
    talk = await tell("Where is working_days defined?", code)
    assert "- my tools/büro tage.py:1 function `def working_days()`" in talk.answer
