"""When the built-in model says that a task failed: where a spelled-out edit does not apply, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.providers.conftest import EDITORS, PLANNERS

if TYPE_CHECKING:
    from tests.providers.conftest import Tell, World


@pytest.mark.parametrize(
    "task",
    [
        "Replace 'nowhere' with 'b' in x.py",
        "Replace 'a' with 'b' in gone.py",
        "Insert `b` after the line `z` in x.py",
        "Append 'b' to gone.py",
        "Delete the file gone.py",
        "--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-q\n+Q\n",
        "Run the command `ok`. Then replace 'nowhere' with 'b' in x.py",
    ],
)
async def test_an_edit_that_does_not_apply_fails_the_task(tell: Tell, world: type[World], task: str) -> None:
    talk = await tell(task, world({"x.py": "a\n"}, {"ok": ""}))
    assert talk.stopped == "failed"


@pytest.mark.parametrize(
    "task",
    [
        "Replace 'a' with 'b' in x.py",
        "Run the command `nope`.",
        "Run the command `nope` and then replace 'a' with 'b' in x.py",
        "Read gone.py",
        "Where is `nothing_like_it` defined?",
        "Implement a utility to sanitize filenames.",
        "What can you do?",
    ],
)
async def test_nothing_else_does(tell: Tell, world: type[World], task: str) -> None:
    talk = await tell(task, world({"x.py": "a\n"}))
    assert talk.stopped == "end_turn"


async def test_an_edit_without_the_tools_for_it_is_declined_and_does_not_fail(tell: Tell, world: type[World]) -> None:
    talk = await tell("Replace 'nowhere' with 'b' in x.py", world({"x.py": "a\n"}, names=("Read", "Grep")))
    assert talk.stopped == "end_turn"


@pytest.mark.parametrize("names", [EDITORS, PLANNERS])
async def test_an_edit_that_a_person_refuses_is_told_and_no_failure(
    tell: Tell, world: type[World], names: tuple[str, ...]
) -> None:
    tools = world({"x.py": "a\n"}, refused=frozenset({"Edit"}), names=names)
    talk = await tell("1. Replace 'a' with 'b' in x.py\n2. Create y.py with the content: y", tools)
    assert talk.stopped == "end_turn"
    assert talk.answer.startswith("0 of 2 items done. Item 1 failed: `x.py` was not changed: Edit was not executed")
    assert tools.files == {"x.py": "a\n"}
