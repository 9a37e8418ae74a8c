"""The built-in model as the planner of two: it reads and runs itself, and hands spelled-out edits to the code model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.providers.conftest import PLANNERS

if TYPE_CHECKING:
    from tests.providers.conftest import Conversation, Tell, World

DIFF = "--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n a\n-it's\n+c"


def made(talk: Conversation) -> list[tuple[str, object]]:
    """Each call as its tool and what it is about."""
    return [(call.name, next(iter(call.input.values()))) for call in talk.calls]


@pytest.mark.parametrize(
    ("task", "before", "after"),
    [
        ('Create the file a.txt with the content: it\'s "hi"', {}, {"a.txt": 'it\'s "hi"'}),
        ("Replace 'don't' with 'do not' in x.py", {"x.py": "don't"}, {"x.py": "do not"}),
        ("Create the file a.py:\n```python\nif x:\n    y\n```", {}, {"a.py": "if x:\n    y\n"}),
        (DIFF, {"x.py": "a\nit's\n"}, {"x.py": "a\nc\n"}),
    ],
)
async def test_the_words_of_an_edit_go_to_the_code_model_as_they_stand(
    tell: Tell, world: type[World], task: str, before: dict[str, str], after: dict[str, str]
) -> None:
    tools = world(before, names=PLANNERS)
    talk = await tell(task, tools)
    assert made(talk) == [("Code", task)]
    assert tools.files == after
    assert talk.stopped == "end_turn"


async def test_edits_commands_and_questions_are_done_in_the_order_of_the_task(tell: Tell, world: type[World]) -> None:
    tools = world({"names.py": "def sanitize(): ...\n"}, {"make": "ok"}, names=PLANNERS)
    task = "1. Create a.txt with the content: hi\n2. Run the command `make`\n3. Where is `sanitize` defined?"
    talk = await tell(task, tools)
    assert made(talk)[:2] == [("Code", "Create a.txt with the content: hi"), ("Bash", "make")]
    assert {call.name for call in talk.calls[2:]} == {"Grep"}
    assert talk.answer.startswith("3 of 3 items done.")
    assert "Wrote a.txt" in talk.answer
    assert "names.py:1" in talk.answer


async def test_a_file_is_deleted_by_the_code_model(tell: Tell, world: type[World]) -> None:
    talk = await tell("Delete the file a.txt", world(commands={"rm -- a.txt": ""}, names=PLANNERS))
    assert made(talk) == [("Code", "Delete the file a.txt")]


async def test_an_edit_that_the_code_model_could_not_apply_fails_the_task(tell: Tell, world: type[World]) -> None:
    talk = await tell("- Replace 'a' with 'b' in x.py\n- Create y.txt with the content: y", world(names=PLANNERS))
    assert talk.stopped == "failed"
    assert talk.answer.startswith("0 of 2 items done. Item 1 failed: It was not applied: `x.py` was not changed:")
    assert talk.answer.endswith("2. Create y.txt with the content: y: not done, because item 1 failed.")
    assert len(talk.calls) == 1


async def test_work_that_is_not_spelled_out_is_looked_into_and_nothing_is_handed_over(
    tell: Tell, world: type[World]
) -> None:
    tools = world({"client.py": "class RestClient: ...\n"}, names=PLANNERS)
    talk = await tell("Design a REST client for the new API.", tools)
    assert {call.name for call in talk.calls} <= {"Glob", "Grep", "Read", "LS"}
    assert talk.answer.startswith("I did not change anything: this asks for work that is not spelled out")
    assert "client.py:1" in talk.answer
    assert talk.stopped == "end_turn"


async def test_a_line_that_is_a_command_is_run(tell: Tell, world: type[World]) -> None:
    talk = await tell("echo minimal job", world(commands={"echo minimal job": "minimal job\n"}, names=PLANNERS))
    assert talk.answer == "`echo minimal job` ran and printed:\nminimal job"


async def test_a_task_of_a_list_is_done_without_the_words_that_introduce_it(tell: Tell, world: type[World]) -> None:
    tools = world(names=PLANNERS)
    talk = await tell(["Task 2 of 3 of: Create b.txt with the content: no", "Create a.txt with the content: hi"], tools)
    assert tools.files == {"a.txt": "hi"}
    assert talk.stopped == "end_turn"
