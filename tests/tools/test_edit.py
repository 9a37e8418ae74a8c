"""Edit and Write: what they change, what they leave alone, and what they say when they cannot."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from agentd.errors import ToolFailed
from agentd.tools.base import Tool, ToolOutcome
from agentd.tools.edit import Edit
from agentd.tools.replacement import numbered, replace
from agentd.tools.write import Write

Call = Callable[[Tool, Mapping[str, Any]], Awaitable[ToolOutcome]]
Told = Callable[[Tool, Mapping[str, Any]], Awaitable[str]]

texts = st.text(st.sampled_from("ab \n"), max_size=30)
patiently = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
pieces = st.text(st.sampled_from("ab \n"), min_size=1, max_size=3)


@st.composite
def texts_with_pieces(draw: st.DrawFn) -> tuple[str, str]:
    """A text of more than one line, and something that is in it."""
    text = draw(texts) + "\n" + draw(texts)
    start = draw(st.integers(0, len(text) - 1))
    return text, text[start : start + draw(st.integers(1, 3))]


def change(old: str, new: str, **more: Any) -> dict[str, Any]:
    return {"file_path": "file", "old_string": old, "new_string": new, **more}


@patiently
@given(text=texts, old=pieces, new=texts, everywhere=st.booleans())
def test_a_replacement_is_that_of_str(text: str, old: str, new: str, everywhere: bool) -> None:
    assume(old != new)
    count = text.count(old)
    if count == 0 or (count > 1 and not everywhere):
        with pytest.raises(ToolFailed):
            replace(text, old, new, everywhere=everywhere)
    else:
        done = replace(text, old, new, everywhere=everywhere)
        assert done.text == text.replace(old, new)
        assert done.count == count


@patiently
@given(chosen=texts_with_pieces(), new=texts)
def test_line_ends_make_no_difference_to_a_replacement(chosen: tuple[str, str], new: str) -> None:
    text, old = chosen
    assume(old != new)
    expected = text.replace(old, new).replace("\n", "\r\n")
    assert replace(text.replace("\n", "\r\n"), old, new, everywhere=True).text == expected
    assert replace(text, old.replace("\n", "\r\n"), new, everywhere=True).text.replace("\r\n", "\n") == text.replace(
        old, new
    )


@patiently
@given(chosen=texts_with_pieces(), new=texts)
def test_the_lines_of_each_replacement_are_known(chosen: tuple[str, str], new: str) -> None:
    text, old = chosen
    assume(old != new)
    done = replace(text, old, new, everywhere=True)
    at = 0
    expected = []
    for before in text.split(old)[:-1]:
        at += len(before)
        first = done.text.count("\n", 0, at) + 1
        expected.append((first, first + new.removesuffix("\n").count("\n")))
        at += len(new)
    assert list(done.lines) == expected


def test_of_many_changed_lines_the_first_are_shown() -> None:
    shown = numbered("x\n" * 100, ((1, 30), (21, 60)))
    assert shown == [*(f"{number:>6}\tx" for number in range(1, 51)), "[10 more changed lines]"]


async def test_an_edit_says_what_became_of_the_lines(workspace: Path, told: Told) -> None:
    (workspace / "file").write_text("one\ntwo\nthree\n")
    assert await told(Edit(), change("two\n", "2\n2½\n")) == "Replaced 1 occurrence in file\n     2\t2\n     3\t2½"
    assert (workspace / "file").read_text() == "one\n2\n2½\nthree\n"


async def test_every_occurrence_is_replaced_where_asked(workspace: Path, told: Told) -> None:
    (workspace / "file").write_text("a\nx\na a\n")
    assert await told(Edit(), change("a", "b", replace_all=True)) == (
        "Replaced 3 occurrences in file\n     1\tb\n     3\tb b"
    )


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        (b"a\r\nb\r\nc\r\n", "a\nb", "x\ny\nz", b"x\r\ny\r\nz\r\nc\r\n"),
        (b"a\r\nb\nc\r\n", "b\n", "x\n", b"a\r\nx\nc\r\n"),
        (b"a\nb\r\nc\n", "b\nc", "x\ny", b"a\nx\r\ny\n"),
        (b"a\nb\n", "a\r\nb", "x", b"x\n"),
        (b"caf\xe9\nfoo \xff\n", "foo", "bar", b"caf\xe9\nbar \xff\n"),
        (b"\xef\xbb\xbffoo\n", "foo", "bar", b"\xef\xbb\xbfbar\n"),
        ("\ufeffgröße\r\n".encode("utf-16-le"), "größe", "weite", "\ufeffweite\r\n".encode("utf-16-le")),
        (b"a\rb\n", "b", "c", b"a\rc\n"),
        (b"no end", "end", "END", b"no END"),
    ],
)
async def test_what_is_not_edited_stays_byte_for_byte(
    workspace: Path, call: Call, before: bytes, old: str, new: str, after: bytes
) -> None:
    (workspace / "file").write_bytes(before)
    await call(Edit(), change(old, new))
    assert (workspace / "file").read_bytes() == after


@pytest.mark.parametrize(
    ("content", "asked", "says"),
    [
        ("a\nb\n", change("x", "y"), "not found"),
        ("a\nb\na\n", change("a", "y"), r"there 2 times \(lines 1, 3\).*replace_all"),
        ("a\n", change("a", "a"), "the same"),
        ("a\n", change("", "y"), "not empty"),
        (
            "    def f(self):\n        pass\n",
            change("def f(self):\n    pass", "x"),
            "other white space:\n     1\t    def",
        ),
        ("def alpha_beta(x):\n", change("def alpha_bet(x):", "x"), "Similar lines are:\n     1\tdef alpha_beta"),
        ("a\nb\n", change("     1\ta\n     2\tb", "x"), "line numbers that Read prints"),
        ("a\0b", change("a", "b"), "binary"),
        ("a\n", change("a", "\ud800"), "surrogate"),
        ("a\n", change("\udcff", "b"), "surrogate"),
        ("a\n", {"file_path": "file", "old_string": "a"}, "new_string"),
        ("a\n", change("a", "b", replace_all="yes"), "replace_all"),
        ("a\n", change("a", "b") | {"file_path": "fil"}, "Similar names: file"),
        ("a\n", change("a", "b") | {"file_path": ".git/config"}, "git commands"),
        ("a\n", change("a", "b") | {"file_path": "/etc/passwd"}, "outside the workspace"),
        ("a\n", change("a", "b") | {"file_path": "."}, "a directory"),
    ],
)
async def test_what_cannot_be_edited_is_said_and_left_alone(
    workspace: Path, call: Call, content: str, asked: dict[str, Any], says: str
) -> None:
    (workspace / "file").write_text(content)
    with pytest.raises(ToolFailed, match=says):
        await call(Edit(), asked)
    assert (workspace / "file").read_text() == content


async def test_an_empty_old_string_creates_a_file(workspace: Path, told: Told) -> None:
    assert await told(Edit(), change("", "new\n") | {"file_path": "a/b/c"}) == "Created a/b/c"
    assert (workspace / "a/b/c").read_text() == "new\n"
    (workspace / "empty").touch()
    assert await told(Edit(), change("", "new\n") | {"file_path": "empty"}) == "Created empty"


async def test_write_makes_a_file_and_its_directories(workspace: Path, told: Told) -> None:
    assert await told(Write(), {"file_path": "a/b.txt", "content": "1\n2\n"}) == "Created a/b.txt: 2 lines"
    assert (workspace / "a/b.txt").read_text() == "1\n2\n"


async def test_write_replaces_all_of_a_file_and_keeps_its_mode(workspace: Path, told: Told) -> None:
    (workspace / "run.sh").write_text("old")
    (workspace / "run.sh").chmod(0o755)
    assert await told(Write(), {"file_path": "run.sh", "content": "new\n"}) == "Replaced all of run.sh: 1 line"
    assert (workspace / "run.sh").read_text() == "new\n"
    assert (workspace / "run.sh").stat().st_mode & 0o777 == 0o755


async def test_a_link_stays_a_link_to_what_is_written(workspace: Path, call: Call) -> None:
    (workspace / "target").write_text("old")
    (workspace / "link").symlink_to("target")
    await call(Write(), {"file_path": "link", "content": "new"})
    assert (workspace / "link").is_symlink()
    assert (workspace / "target").read_text() == "new"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"file_path": "a"}, "content"),
        ({"file_path": "a", "content": 1}, "a string @ content"),
        ({"file_path": "sub", "content": ""}, "is a directory"),
        ({"file_path": "file/x", "content": ""}, "not a directory"),
        ({"file_path": "out/x", "content": ""}, "outside"),
        ({"file_path": ".agentd/x", "content": ""}, "off limits"),
        ({"file_path": ".git/hooks/x", "content": ""}, "git commands"),
        ({"file_path": "x", "content": "\udc80"}, "surrogate"),
        ({"file_path": "pipe", "content": ""}, "no regular file"),
    ],
)
async def test_what_cannot_be_written_is_said(workspace: Path, call: Call, asked: dict[str, Any], says: str) -> None:
    (workspace / "sub").mkdir()
    (workspace / "file").touch()
    (workspace / "out").symlink_to("..")
    os.mkfifo(workspace / "pipe")
    with pytest.raises(ToolFailed, match=says):
        await call(Write(), asked)
