"""What a person writes, and what the built-in model takes it for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.providers.builtin.grammar import (
    ApplyDiff,
    ChangeTree,
    Create,
    CreateEmpty,
    EditLines,
    ListFiles,
    Replace,
    Run,
    Say,
    Show,
    Step,
)
from agentd.providers.builtin.literals import mask
from agentd.providers.builtin.task import Free, parse


def spelled_out(task: str) -> list[Step]:
    steps: list[Step] = []
    for item in parse(task):
        assert not isinstance(item.what, Free), item
        steps += item.what
    return steps


DIFF = "--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n a\n-it's\n+c"


@pytest.mark.parametrize(
    ("task", "steps"),
    [
        ("Run the command `sleep 20`.", [Run("sleep 20")]),
        ("Please run `git status`", [Run("git status")]),
        ("Run the command ``echo `date` ``", [Run("echo `date`")]),
        ("echo minimal job", [Run("echo minimal job")]),
        ('echo "it\'s"; ls', [Run('echo "it\'s"; ls')]),
        ("pytest -q tests/x.py", [Run("pytest -q tests/x.py")]),
        ("Run the command: make -j2 && echo ok", [Run("make -j2 && echo ok")]),
        ("Run the following command:\n```sh\nmake\nmake install\n```", [Run("make\nmake install")]),
        ("Run the commands `a`, `b` and `c`.", [Run("a"), Run("b"), Run("c")]),
        ("Run the command `ls` and tell me what it prints.", [Run("ls")]),
        ("Create the file walked.txt with the content: hello", [Create("walked.txt", "hello")]),
        ("Create the file Makefile with the content `all:`", [Create("Makefile", "all:")]),
        ("Create a file called /tmp/t.txt", [CreateEmpty("/tmp/t.txt")]),
        ("Create an empty file `Makefile`.", [CreateEmpty("Makefile")]),
        ("Create /tmp/t.txt with content hello", [Create("/tmp/t.txt", "hello")]),
        ("Create the file n.md with the content:\n- a\n- b", [Create("n.md", "- a\n- b\n")]),
        ("Create the file a.py:\n```python\nx = 'y'\n```\n", [Create("a.py", "x = 'y'\n")]),
        ("Write 'x' to a.txt", [Create("a.txt", "x")]),
        ("Write the following to a.txt: x", [Create("a.txt", "x")]),
        ("Write this file:\n```src/a.py\nx = 1\n```", [Create("src/a.py", "x = 1\n")]),
        ('```python title="src/a.py"\nx = 1\n```', [Create("src/a.py", "x = 1\n")]),
        ("File: src/b.py\n```\ny\n```", [Create("src/b.py", "y\n")]),
        ("Replace 'don't' with 'do not' in src/x.py", [Replace("src/x.py", "don't", "do not")]),
        ("Replace “a b” with \u2018c\u2019 in `my file.txt`.", [Replace("my file.txt", "a b", "c")]),
        ("Replace all occurrences of `a` with `b` in x.py.", [Replace("x.py", "a", "b")]),
        ("Replace\n```\na\nb\n```\nwith\n```\nc\n```\nin x.py", [Replace("x.py", "a\nb\n", "c\n")]),
        ('In `a.py`, replace "x" with "y".', [Replace("a.py", "x", "y")]),
        ("Replace foo with bar in src/x.py.", [Replace("src/x.py", "foo", "bar")]),
        ("Rename `f` to `g` in a.py and b.py", [Replace("a.py", "f", "g"), Replace("b.py", "f", "g")]),
        ("Remove 'x' from a.py", [Replace("a.py", "x", "")]),
        ("Remove the line `import os` from a.py", [EditLines("a.py", ("import os",), ())]),
        ("Insert `b` after `a` in x.txt", [EditLines("x.txt", ("a",), ("a", "b"))]),
        ("Insert the line `b` before the line `a` in x.txt", [EditLines("x.txt", ("a",), ("b", "a"))]),
        ("Append 'new' to the end of notes.txt", [EditLines("notes.txt", (), ("new",))]),
        ("Append hello there to notes.txt", [EditLines("notes.txt", (), ("hello there",))]),
        ("Append to notes.txt: one\ntwo", [EditLines("notes.txt", (), ("one", "two"))]),
        ("Delete the file my-old.txt", [ChangeTree("rm -- my-old.txt")]),
        ("Delete `a b.txt`.", [ChangeTree("rm -- 'a b.txt'")]),
        (
            "Move a.txt to b/a.txt",
            [
                ChangeTree(
                    "mv -n -- a.txt b/a.txt && if test -e a.txt; then echo 'b/a.txt is there already' >&2; false; fi"
                )
            ],
        ),
        ("Create the directory `x y`", [ChangeTree("mkdir -p -- 'x y'")]),
        ("Read the contents of /tmp/test.txt", [Show("/tmp/test.txt")]),
        ("List files in current directory", [ListFiles(".")]),
        ("List the files in /tmp", [ListFiles("/tmp")]),
        ('Reply with exactly: I am "here".', [Say('I am "here".')]),
        ("Reply with exactly 'ok'.", [Say("ok")]),
        ("Say hello.", [Say("hello")]),
        (f"Apply this patch:\n```diff\n{DIFF}\n```", [ApplyDiff(DIFF + "\n")]),
        (f"{DIFF}\n", [ApplyDiff(DIFF)]),
    ],
)
def test_what_is_spelled_out_is_understood(task: str, steps: list[Step]) -> None:
    assert spelled_out(task) == steps


@pytest.mark.parametrize(
    ("task", "steps"),
    [
        ("1. Run the command `ls`\n2) Create a.txt with the content: hi\n", [Run("ls"), Create("a.txt", "hi")]),
        ("Do the following:\n- Append 'b' to c.txt\n- run `make`", [EditLines("c.txt", (), ("b",)), Run("make")]),
        ("Create a.txt with the content: x; run `ls`", [Create("a.txt", "x"), Run("ls")]),
        ("Create a.txt with the content: x; y; run `ls`", [Create("a.txt", "x; y"), Run("ls")]),
        ("Create a.txt with the content: hi. Then run `ls`.", [Create("a.txt", "hi"), Run("ls")]),
        ("Create a.txt with the content `x` and then run the command `ls`", [Create("a.txt", "x"), Run("ls")]),
        ("Write both:\n```a.py\n1\n```\n```b.py\n2\n```", [Create("a.py", "1\n"), Create("b.py", "2\n")]),
        ("- Create a.py:\n  ```\n  if x:\n    y\n  ```\n- run `ls`", [Create("a.py", "if x:\n  y\n"), Run("ls")]),
    ],
)
def test_a_list_is_its_items(task: str, steps: list[Step]) -> None:
    assert spelled_out(task) == steps


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("Where are HTTP request heads parsed, and what limits apply?", "question"),
        ("Summarize recent changes in the repo.", "question"),
        ("Find all classes related to login. Show me where LoginController is defined.", "question"),
        ("What happens if I run the command `rm -rf /`?", "question"),
        (f"Why does this patch fail?\n{DIFF}", "question"),
        ("What is wrong here?\n```src/a.py\nx = 1\n```", "question"),
        ("echo the input back to the user.", "work"),
        ("ls the files that nobody uses", "work"),
        ("Implement a utility to sanitize filenames.", "work"),
        ("Run the tests", "work"),
        ("Create a file in /tmp", "work"),
        ("Create app.py with a function that adds two numbers", "work"),
        ("Create app.py with the content of main.py", "work"),
        ("Create app.py with code that adds two numbers", "work"),
        ("Create notes.txt with text about cats", "work"),
        ("Create app.py", "work"),
        ("Add README.md", "work"),
        ("Delete `unused_function`.", "work"),
        ("Rename `old_name` to `new_name`.", "work"),
        ("Replace tabs with spaces in x.py", "work"),
        ("Change the color to red in app.css", "work"),
        ("Hello, what can you do?", "talk"),
        ("Introduce yourself", "talk"),
    ],
)
def test_what_is_not_spelled_out_is_a_question_or_work_or_talk(task: str, kind: str) -> None:
    assert [item.what.kind for item in parse(task) if isinstance(item.what, Free)] == [kind]
    assert len(parse(task)) == 1


@pytest.mark.parametrize(
    "task",
    [
        "Run the command `rm x` only if it exists.",
        "Run the command `rm x`, but only in the build directory",
        "Run `deploy` unless the tests fail",
        "Replace 'a' with 'b' in x.py when it is a string",
        "Delete the file x.txt if it is empty",
    ],
)
def test_half_of_an_instruction_is_not_carried_out(task: str) -> None:
    assert [type(item.what) for item in parse(task)] == [Free]


def test_what_is_not_spelled_out_beside_what_is_stays_an_item() -> None:
    first, second = parse("Run `pytest` and fix the failures.")
    assert (first.what, second.what) == ((Run("pytest"),), Free("fix the failures.", "work"))


def test_blank_words_are_talk() -> None:
    assert isinstance(parse(" \n")[0].what, Free)


@given(st.text(alphabet=st.sampled_from("ab `'\"“”\u2018\u2019\n~-.\ue000\ue0010")))
def test_masking_loses_nothing(text: str) -> None:
    masked = mask(text)
    assert masked.restore(masked.text) == text


@given(
    st.lists(
        st.sampled_from(["Run ", "`x`", "create a.b", " with content", ":", "\n", "- ", "'", "; ", "then ", "```\n"])
    )
)
def test_parsing_never_fails_and_always_ends(pieces: list[str]) -> None:
    assert parse("".join(pieces))
