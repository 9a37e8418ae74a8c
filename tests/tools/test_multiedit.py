"""MultiEdit: all of its edits, in order, or none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agentd.errors import ToolFailed
from agentd.tools import replacement
from agentd.tools.base import Tool, ToolOutcome
from agentd.tools.multiedit import MultiEdit, Ranges, moved
from agentd.tools.replacement import replace

Call = Callable[[Tool, Mapping[str, Any]], Awaitable[ToolOutcome]]
Told = Callable[[Tool, Mapping[str, Any]], Awaitable[str]]

pieces = st.lists(st.sampled_from(["a\n", "b\n", "ab\n"]), min_size=1, max_size=3).map("".join)


def edits(*pairs: tuple[str, str], path: str = "file") -> dict[str, Any]:
    return {"file_path": path, "edits": [{"old_string": old, "new_string": new} for old, new in pairs]}


async def test_each_edit_sees_what_the_ones_before_it_have_left(workspace: Path, told: Told) -> None:
    (workspace / "file").write_text("one\n")
    await told(MultiEdit(), edits(("one", "two"), ("two", "three")))
    assert (workspace / "file").read_text() == "three\n"


async def test_it_says_what_became_of_the_lines_of_every_edit(workspace: Path, told: Told) -> None:
    (workspace / "file").write_text("a\nb\nc\nd\n")
    text = await told(MultiEdit(), edits(("d\n", "D\n"), ("a\n", "1\n2\n"), ("c\n", "")))
    assert text == "Made 3 edits in file\n     1\t1\n     2\t2\n     4\tD"
    assert (workspace / "file").read_text() == "1\n2\nb\nD\n"


async def test_when_one_edit_fails_it_is_named_and_nothing_is_written(workspace: Path, call: Call) -> None:
    (workspace / "file").write_text("one\n")
    before = (workspace / "file").stat()
    with pytest.raises(
        ToolFailed, match=r"^edits\[1\] cannot be made, so nothing was changed: old_string was not found"
    ):
        await call(MultiEdit(), edits(("one", "two"), ("one", "three")))
    assert (workspace / "file").read_text() == "one\n"
    assert (workspace / "file").stat() == before


async def test_an_empty_old_string_first_creates_the_file_that_the_others_edit(workspace: Path, told: Told) -> None:
    assert (await told(MultiEdit(), edits(("", "a\nb\n"), ("b", "B"), path="new/file"))).startswith(
        "Created new/file\n"
    )
    assert (workspace / "new/file").read_text() == "a\nB\n"


async def test_line_ends_and_encoding_stay(workspace: Path, call: Call) -> None:
    (workspace / "file").write_bytes(b"\xef\xbb\xbfa\r\nb\r\n\xff\r\n")
    await call(MultiEdit(), edits(("a\nb", "x\ny"), ("y", "z\nz")))
    assert (workspace / "file").read_bytes() == b"\xef\xbb\xbfx\r\nz\r\nz\r\n\xff\r\n"


async def test_null_for_what_may_be_left_out_means_it_was_not_given(workspace: Path, call: Call) -> None:
    (workspace / "file").write_text("a")
    await call(
        MultiEdit(), {"file_path": "file", "edits": [{"old_string": "a", "new_string": "b", "replace_all": None}]}
    )
    assert (workspace / "file").read_text() == "b"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (edits(), "edits is empty"),
        ({"file_path": "file"}, "edits"),
        ({"file_path": "file", "edits": "a"}, "an array @ edits"),
        ({"file_path": "file", "edits": ["a"]}, r"an object @ edits\[0\]"),
        ({"file_path": "file", "edits": [{"old_string": "a"}]}, r"missing @ edits\[0\]\.new_string"),
        (edits(("a", "b"), ("b", 1)), r"a string @ edits\[1\]\.new_string"),  # type: ignore[arg-type]
        (edits(("a", "b"), ("", "x")), r"edits\[1\].*only the first edit"),
        (edits(("a", "b"), ("b", "b")), r"edits\[1\].*the same"),
        (edits(("a", "a a"), ("a", "b")), r"edits\[1\].*there 2 times"),
        (edits(("", "x")), "exists and is not empty"),
        (edits(("a", "\ud800")), r"edits\[0\]\.new_string holds a lone surrogate"),
        (edits(("a", "b"), path="other"), "does not exist"),
        (edits(("a", "b"), path=".agentd/log"), "off limits"),
        (edits(("a", "b"), path=".git/config"), "git commands"),
        (edits(("a", "b"), path="binary"), "binary"),
    ],
)
async def test_what_cannot_be_done_is_said_and_the_file_left_alone(
    workspace: Path, call: Call, asked: dict[str, Any], says: str
) -> None:
    (workspace / "file").write_text("a\n")
    (workspace / "binary").write_bytes(b"a\0")
    with pytest.raises(ToolFailed, match=says):
        await call(MultiEdit(), asked)
    assert (workspace / "file").read_text() == "a\n"


async def test_edits_that_make_a_text_grow_without_end_are_stopped(
    workspace: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replacement, "MAX_CHARACTERS", 1000)
    (workspace / "file").write_text("a")
    doubling = [{"old_string": "a", "new_string": "aa", "replace_all": True}] * 30
    with pytest.raises(ToolFailed, match=r"edits\[9\].*grow beyond 1000 characters"):
        await call(MultiEdit(), {"file_path": "file", "edits": doubling})


@given(text=st.text(st.sampled_from("ab\n"), max_size=30), changes=st.lists(st.tuples(pieces, pieces), max_size=4))
def test_lines_outside_of_the_ranges_of_what_was_replaced_are_lines_of_the_text_before(
    text: str, changes: list[tuple[str, str]]
) -> None:
    assume(all(old != new for old, new in changes))
    before = text
    ranges: Ranges = ()
    for old, new in changes:
        if old in text:
            done = replace(text, old, new, everywhere=True)
            ranges = moved(ranges, done, old.count("\n"), new.count("\n")) + done.lines
            text = done.text
    assert is_subsequence(outside(text, ranges), before.split("\n"))


def outside(text: str, ranges: Ranges) -> list[str]:
    inside = {number for first, last in ranges for number in range(first, last + 1)}
    return [line for number, line in enumerate(text.split("\n"), 1) if number not in inside]


def is_subsequence(some: list[str], all_of_them: list[str]) -> bool:
    left = iter(all_of_them)
    return all(line in left for line in some)
