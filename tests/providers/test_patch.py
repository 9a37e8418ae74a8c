from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.providers.builtin.patch import FilePatch, Hunk, find, parse_diff, replacement

if TYPE_CHECKING:
    from tests.providers.conftest import Tell, World

GIT_DIFF = """\
diff --git a/x.py b/x.py
index 1..2 100644
--- a/x.py
+++ b/x.py
@@ -1,3 +1,3 @@ class X:
 a
-b
+B

@@ -9 +9,2 @@
 z
+end
\\ No newline at end of file
diff --git a/new.txt b/new.txt
new file mode 100644
--- /dev/null
+++ b/new.txt
@@ -0,0 +1,2 @@
+one
+two
diff --git a/old.txt b/old.txt
deleted file mode 100644
--- a/old.txt
+++ /dev/null
@@ -1 +0,0 @@
-gone
"""


def test_a_diff_of_git_is_read() -> None:
    assert parse_diff(GIT_DIFF) == [
        FilePatch("x.py", "x.py", (Hunk(("a", "b"), ("a", "B"), 1), Hunk(("z",), ("z", "end"), 9))),
        FilePatch(None, "new.txt", (Hunk((), ("one", "two"), 0),)),
        FilePatch("old.txt", None, (Hunk(("gone",), (), 1),)),
    ]


def test_a_stripped_blank_line_inside_a_hunk_is_a_blank_line_of_its_context() -> None:
    (patch,) = parse_diff("--- x\n+++ x\n@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n")
    assert patch.hunks == (Hunk(("a", "", "b"), ("a", "", "c"), 1),)


def test_a_text_without_hunks_is_no_diff() -> None:
    assert parse_diff("hello") == []


def test_a_hunk_goes_to_the_place_nearest_to_what_it_says() -> None:
    lines = ["x", "-", "x", "-", "x"]
    assert [find(Hunk(("x",), ("y",), at), lines, 1) for at in (1, 4, 99)] == [0, 2, 4]
    assert find(Hunk(("q",), ("y",), 1), lines, 1) is None


lines = st.lists(st.sampled_from(["", "a", "b", "ab"]), min_size=1, max_size=6)


@given(
    before=lines, after=lines, old=lines, new=st.lists(st.sampled_from(["", "a", "N"]), max_size=3), end=st.booleans()
)
def test_a_replacement_changes_the_lines_of_its_hunk_and_no_others(
    before: list[str], after: list[str], old: list[str], new: list[str], end: bool
) -> None:
    whole = [*before, *old, *after]
    edit = replacement(Hunk(tuple(old), tuple(new), len(before) + 1), whole, len(before))
    content = "\n".join(whole) + "\n" * end
    assert edit.old in content
    if content.count(edit.old) == 1:
        assert content.replace(edit.old, edit.new) == "\n".join([*before, *new, *after]) + "\n" * end


async def test_a_diff_is_applied_hunk_by_hunk(tell: Tell, world: type[World]) -> None:
    tools = world({"x.py": "a\nb\n\n\n\n\n\n\nz\n", "old.txt": "gone\n"}, commands={"rm -- old.txt": ""})
    talk = await tell(f"Apply this diff:\n{GIT_DIFF}", tools)
    assert tools.files["x.py"] == "a\nB\n\n\n\n\n\n\nz\nend\n"
    assert tools.files["new.txt"] == "one\ntwo\n"
    assert talk.answer.startswith("All 4 changes were applied:")
    assert talk.turns == 3


async def test_a_hunk_that_does_not_fit_is_said_and_the_others_are_applied(tell: Tell, world: type[World]) -> None:
    tools = world({"x.py": "a\nb\n"})
    talk = await tell("--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-q\n+Q\n@@ -2 +2 @@\n-b\n+B\n", tools)
    assert tools.files == {"x.py": "a\nB\n"}
    assert talk.answer.startswith("1 of 2 changes of the diff were applied; not this: x.py: the hunk at line 1")
    assert "x.py: the hunk at line 1 does not fit" in talk.answer


async def test_a_hunk_whose_lines_occur_more_than_once_goes_where_it_says(tell: Tell, world: type[World]) -> None:
    tools = world({"x.py": "x\nend\ny\nend\nz\nend\n"})
    await tell("--- a/x.py\n+++ b/x.py\n@@ -4 +4 @@\n-end\n+END\n", tools)
    assert tools.files == {"x.py": "x\nend\ny\nEND\nz\nend\n"}


@pytest.mark.parametrize("missing", ["gone.py"])
async def test_a_file_that_is_not_there_is_said(tell: Tell, world: type[World], missing: str) -> None:
    talk = await tell(f"--- a/{missing}\n+++ b/{missing}\n@@ -1 +1 @@\n-q\n+Q\n", world())
    assert f"not applied: {missing}: {missing} does not exist" in talk.answer
