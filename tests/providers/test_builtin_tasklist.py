"""The built-in model makes a task list of an objective."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.providers.builtin.split import Task, split
from agentd.providers.builtin.task import Free, parse

if TYPE_CHECKING:
    from tests.providers.conftest import Tell, World

PLAN_TOOLS = ("Glob", "Grep", "LS", "Read", "TaskList")
DIFF = "--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n a\n-it's\n+c"
FENCED = "  ```src/a.py\n  if x:\n    y\n  ```"


def titles(objective: str) -> list[str]:
    return [task.title for task in split(objective)]


def test_the_clauses_behind_a_colon_are_tasks_that_say_what_they_are_part_of() -> None:
    tasks = split("Refactor the authentication module: improve error handling, add logging, and create unit tests.")
    within = "(part of: Refactor the authentication module)"
    assert tasks == [
        Task("Improve error handling", f"Improve error handling {within}"),
        Task("Add logging", f"Add logging {within}"),
        Task("Create unit tests", f"Create unit tests {within}"),
    ]


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("Fix the login page and add tests", ["Fix the login page", "Add tests"]),
        ("First add a cache, then test it; finally document it.", ["Add a cache", "Test it", "Document it"]),
        ("Add a logout button. It should be red. Then write tests.", ["Add a logout button", "Write tests"]),
        ("The page is slow. Profile it and fix it. Do not change the API.", ["Profile it", "Fix it"]),
        (
            "Clean up the code, update the README and run `make`.",
            ["Clean up the code", "Update the README", "Run `make`"],
        ),
        ("Rename it and update all imports. Why is it slow?", ["Rename it", "Update all imports", "Why is it slow?"]),
        ("1. Improve the docs\n2. Where is foo?\n3. `make`", ["Improve the docs", "Where is foo?", "`make`"]),
        (
            "Refactor the login:\n- improve errors\n- add logging\n  - to files\n  - to stderr",
            ["Improve errors", "Add logging"],
        ),
    ],
)
def test_every_instruction_is_a_task(objective: str, expected: list[str]) -> None:
    assert titles(objective) == expected


@pytest.mark.parametrize(
    "objective",
    [
        "Implement a utility to sanitize filenames.",
        "Add commands to create and delete users",
        "Refactor and simplify the parser",
        "Add logging and test coverage",
        "Fix the crash: it comes when the server, left alone, sleeps",
        "Where are request heads parsed, and what limits apply? Show me the code.",
        "Create the file n.md with the content:\n- write a\n- write b",
        "Make sure that the tests pass.",
    ],
)
def test_what_cannot_be_divided_is_one_task_with_all_its_words(objective: str) -> None:
    assert [task.text for task in split(objective)] == [objective]


SPELLED_OUT = st.sampled_from(
    [
        'Create the file a.txt with the content: it\'s "hi"',
        "Create n.md with the content:\n```\n- a\n\n- b\n```",
        "Replace 'don't' with 'do not' in src/x.py",
        "Insert `    b` after the line `a` in x.py",
        "Run the commands `a`, `b` and `c`.",
        "Delete the file my-old.txt",
        f"Apply this patch:\n```diff\n{DIFF}\n```",
        f"Write this file:\n{FENCED}",
    ]
)


@given(st.lists(SPELLED_OUT, min_size=2, max_size=5), st.sampled_from(["- ", "1. ", ""]))
def test_what_is_spelled_out_is_tasks_that_say_just_the_same_alone(objectives: list[str], mark: str) -> None:
    objective = "\n".join(f"{mark}{each}" for each in objectives)
    wanted = [item.what for item in parse(objective)]
    assert not any(isinstance(what, Free) for what in wanted)
    assert [item.what for task in split(objective) for item in parse(task.text.strip())] == wanted


@given(st.text(alphabet=st.sampled_from("ab `'\"\n-:.,;?() ")), st.text(alphabet=st.sampled_from("add fix it\n.")))
def test_splitting_never_fails(first: str, second: str) -> None:
    assert all(task.title and task.text.strip() for task in split(f"{first}fix {second}"))


def test_the_words_around_a_task_are_never_carried_out() -> None:
    (item,) = parse("Fix it (part of: Fix it. Run `rm x`. Create a.txt with the content: hi)")
    assert isinstance(item.what, Free)


def test_words_in_brackets_at_the_end_of_a_content_stay_there() -> None:
    task = "Create a.txt with the content: x (part of: y)"
    assert parse(task)[0].text == task


async def test_a_plan_is_made_after_a_look_at_the_repository(tell: Tell, world: type[World]) -> None:
    tools = world({"auth.py": "class Authentication: ...\n", "other.py": "pass\n"}, names=PLAN_TOOLS)
    objective = "Refactor the authentication module: improve error handling, add logging, and create unit tests."
    talk = await tell(objective, tools)
    assert [call.name for call in talk.calls] == ["Grep", "TaskList"]
    assert talk.calls[1].input == {"tasks": [{"title": task.title, "text": task.text} for task in split(objective)]}
    assert talk.answer.startswith("The plan has 3 tasks:\n1. Improve error handling (not spelled out)\n2. Add logging")
    assert "Files that mention its words: auth.py." in talk.answer
    assert "not a language model" in talk.answer
    assert (talk.turns, talk.stopped) == (3, "end_turn")


async def test_the_files_that_are_named_are_looked_for(tell: Tell, world: type[World]) -> None:
    tools = world({"x.py": "a\n"}, names=PLAN_TOOLS)
    talk = await tell("- Replace 'a' with 'b' in x.py\n- Create y.py with the content: y", tools)
    assert [call.name for call in talk.calls] == ["Glob", "TaskList"]
    assert "Of the 2 files that it names, these are there now: x.py." in talk.answer
    assert "1. Replace 'a' with 'b' in x.py (spelled out)" in talk.answer
    assert tools.files == {"x.py": "a\n"}


async def test_a_question_is_one_task(tell: Tell, world: type[World]) -> None:
    talk = await tell("Where is the config read?", world(names=PLAN_TOOLS))
    assert talk.calls[-1].input == {
        "tasks": [{"title": "Where is the config read?", "text": "Where is the config read?"}]
    }
    assert "(a question)" in talk.answer


async def test_where_there_is_nothing_to_do_there_is_no_list(tell: Tell, world: type[World]) -> None:
    talk = await tell("Hello!", world(names=PLAN_TOOLS))
    assert talk.calls == []
    assert talk.answer.startswith("There is nothing to be done in this, so the list has no tasks.")


async def test_a_list_that_is_not_taken_is_said(tell: Tell, world: type[World]) -> None:
    talk = await tell("Add tests", world(names=PLAN_TOOLS, refused=frozenset({"TaskList"})))
    assert talk.answer.startswith("The list of tasks was not taken: TaskList was not executed")


async def test_more_tasks_than_a_list_takes_are_named_and_left_out(tell: Tell, world: type[World]) -> None:
    talk = await tell("\n".join(f"- Add page {number}" for number in range(102)), world(names=PLAN_TOOLS))
    assert len(talk.calls[-1].input["tasks"]) == 100
    assert "- Add page 100\n- Add page 101" in talk.answer
