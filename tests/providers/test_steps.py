"""The built-in model at what a task spells out, with tools in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.providers.conftest import Tell, World

READ_ONLY = ("Read", "Glob", "Grep", "LS")


async def test_a_command_is_run_and_its_output_told(tell: Tell, world: type[World]) -> None:
    talk = await tell("Run the command `echo hi`.", world(commands={"echo hi": "hi\n"}))
    assert talk.answer == "`echo hi` ran and printed:\nhi"
    assert [(call.name, call.input) for call in talk.calls] == [("Bash", {"command": "echo hi"})]


async def test_a_command_that_fails_is_told_with_its_output_and_not_tried_again(tell: Tell, world: type[World]) -> None:
    talk = await tell("Run the command `nope`.", world())
    assert talk.answer == "`nope` did not succeed:\nno such command\n[exit code 127]"
    assert len(talk.calls) == 1


async def test_a_long_output_is_cut_in_its_middle(tell: Tell, world: type[World]) -> None:
    talk = await tell("Run the command `big`.", world(commands={"big": "x" * 50_000}))
    assert len(talk.answer) < 5_000
    assert "characters left out" in talk.answer


async def test_a_file_is_created(tell: Tell, world: type[World]) -> None:
    tools = world()
    talk = await tell("Create the file a/b.txt with the content: hello", tools)
    assert tools.files == {"a/b.txt": "hello"}
    assert talk.answer == "Wrote a/b.txt"


async def test_an_empty_file_is_created_and_never_in_the_place_of_another(tell: Tell, world: type[World]) -> None:
    tools = world({"b.txt": "kept"})
    assert (await tell("Create an empty file called a.txt", tools)).answer == "Created a.txt"
    assert "b.txt exists and is not empty" in (await tell("Create the file b.txt", tools)).answer
    assert tools.files == {"a.txt": "", "b.txt": "kept"}


async def test_every_occurrence_is_replaced(tell: Tell, world: type[World]) -> None:
    tools = world({"x.py": "foo(foo)\n"})
    talk = await tell("Replace 'foo' with 'bar' in x.py", tools)
    assert tools.files == {"x.py": "bar(bar)\n"}
    assert talk.answer == "Replaced 2 occurrences in x.py"


async def test_a_text_that_is_not_there_is_told_and_nothing_else_is_tried(tell: Tell, world: type[World]) -> None:
    talk = await tell("Replace 'foo' with 'bar' in x.py", world({"x.py": "baz"}))
    assert talk.answer == "`x.py` was not changed: old_string was not found in x.py"
    assert len(talk.calls) == 1


async def test_a_refused_permission_is_told(tell: Tell, world: type[World]) -> None:
    talk = await tell("Create the file a.txt with the content: x", world(refused=frozenset({"Write"})))
    assert "`a.txt` was not changed: Write was not executed: permission was refused" in talk.answer


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("one\n", "one\ntwo\n"),
        ("one", "one\ntwo"),
        ("a\na\n", "a\na\ntwo\n"),
        ("}\nx\n}\n", "}\nx\n}\ntwo\n"),
        ("", "two\n"),
    ],
)
async def test_a_line_is_appended(tell: Tell, world: type[World], before: str, after: str) -> None:
    tools = world({"x": before})
    await tell("Append 'two' to the file x", tools)
    assert tools.files == {"x": after}


async def test_appending_to_a_file_that_is_not_there_is_told(tell: Tell, world: type[World]) -> None:
    tools = world()
    talk = await tell("Append 'two' to the file x", tools)
    assert talk.answer == "`x` was not changed: x does not exist"
    assert tools.files == {}


async def test_a_line_is_inserted_where_it_says_and_keeps_what_is_there(tell: Tell, world: type[World]) -> None:
    tools = world({"x.py": "def f():\n    a\n    aa\n"})
    await tell("Insert `    b` after the line `a` in x.py", tools)
    assert tools.files == {"x.py": "def f():\n    a\n    b\n    aa\n"}


async def test_a_whole_line_is_removed_and_no_part_of_another(tell: Tell, world: type[World]) -> None:
    tools = world({"x.py": "max = 1\nx = 1\ny\n"})
    await tell("Remove the line `x = 1` from x.py", tools)
    assert tools.files == {"x.py": "max = 1\ny\n"}


async def test_a_line_that_occurs_twice_is_not_guessed(tell: Tell, world: type[World]) -> None:
    tools = world({"x.py": "a\nb\na\n"})
    talk = await tell("Insert `c` after the line `a` in x.py", tools)
    assert "the line `a` is 2 times, so it does not say which is meant" in talk.answer
    assert tools.files == {"x.py": "a\nb\na\n"}


async def test_a_list_is_done_in_order_and_told_item_by_item(tell: Tell, world: type[World]) -> None:
    tools = world(commands={"cat a.txt": "hi"})
    talk = await tell("1. Create a.txt with the content: hi\n2. Run the command `cat a.txt`", tools)
    assert talk.answer == (
        "2 of 2 items done.\n\n"
        "1. Create a.txt with the content: hi: done.\nWrote a.txt\n\n"
        "2. Run the command `cat a.txt`: done.\n`cat a.txt` ran and printed:\nhi"
    )


async def test_a_list_stops_at_what_fails_and_says_what_was_not_done(tell: Tell, world: type[World]) -> None:
    tools = world()
    talk = await tell("- Run the command `nope`\n- Create a.txt with the content: hi", tools)
    assert talk.answer.startswith("0 of 2 items done.")
    assert talk.answer.endswith("2. Create a.txt with the content: hi: not done, because item 1 failed.")
    assert tools.files == {}


@pytest.mark.parametrize(
    ("task", "tool"),
    [
        ("Create a.txt with the content: x", "Write"),
        ("Replace 'a' with 'b' in a.txt", "Edit"),
        ("Run the command `ls`", "Bash"),
    ],
)
async def test_a_task_that_needs_a_tool_that_is_not_offered_is_declined(
    tell: Tell, world: type[World], task: str, tool: str
) -> None:
    talk = await tell(task, world(names=READ_ONLY))
    assert talk.calls == []
    assert talk.answer.startswith(f"This needs the tool {tool}, which is not offered here. Offered are: Glob, Grep,")


async def test_work_that_would_need_invention_is_looked_into_and_declined(tell: Tell, world: type[World]) -> None:
    tools = world({"names.py": "def sanitize(filename): ...\n"})
    talk = await tell("Implement a utility to sanitize filenames.", tools)
    assert talk.answer.startswith("I did not change anything: this asks for work that is not spelled out")
    assert "names.py:1" in talk.answer
    assert {call.name for call in talk.calls} <= set(READ_ONLY)


async def test_it_says_what_it_is(tell: Tell, world: type[World]) -> None:
    talk = await tell("What model are you?", world())
    assert "not a language model" in talk.answer


async def test_exactly_is_exactly(tell: Tell, world: type[World]) -> None:
    talk = await tell("Reply with exactly:  a `b`\nc ", world())
    assert talk.answer == "a `b`\nc"
