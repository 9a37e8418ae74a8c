"""A workspace at a glance: which files are listed, and what of them is mapped."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.workspace import overview
from agentd.workspace.specfile import HEADINGS, draft


def write(top: Path, *paths: str, text: str = "x\n") -> None:
    for path in paths:
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text)


def test_files_are_listed_sorted_without_what_others_made(tmp_path: Path) -> None:
    skipped = [f"{name}/x.py" for name in (*overview.SKIPPED, ".git")]
    write(tmp_path, "b.py", "a/c.py", "a.py", *skipped, *[f"deep/{path}" for path in skipped])
    assert overview.files(tmp_path) == ["a.py", "a/c.py", "b.py"]


def test_what_git_ignores_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, ".git/HEAD", "a.py", "secret.py")
    write(tmp_path, ".gitignore", text="secret.py\n")
    assert overview.files(tmp_path) == [".gitignore", "a.py"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "top/a.py", "elsewhere/b.py")
    (tmp_path / "top/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "top/b.py").symlink_to(tmp_path / "elsewhere/b.py")
    assert overview.files(tmp_path / "top") == ["a.py"]


@pytest.mark.parametrize(("depth", "count"), [(1, 1), (2, 2), (30, 3)])
def test_directories_are_entered_so_deep(tmp_path: Path, depth: int, count: int) -> None:
    write(tmp_path, "a", "b/a", "b/c/a")
    assert len(overview.files(tmp_path, depth=depth)) == count


def test_no_more_files_are_listed_than_asked_for(tmp_path: Path) -> None:
    write(tmp_path, *map(str, range(20)))
    assert len(overview.files(tmp_path, most=7)) == 7


def test_a_name_that_is_no_text_is_listed_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "a\udcff").write_text("")
    assert overview.files(tmp_path) == ["a?"]


def test_the_map_says_what_files_define_and_where(tmp_path: Path) -> None:
    write(tmp_path, "a.py", text="LIMIT = 1\n\n\nclass A:\n    def go(self):\n        pass\n\n\ndef f():\n    pass\n")
    write(tmp_path, "b.js", text="const x = 1;\nfunction g() {}\n")
    lines = overview.symbol_map(tmp_path, ["a.py", "b.js", "notes.md", "gone.py"])
    assert lines[0] == "a.py"
    assert [line.split(" (")[0].split()[0] for line in lines[1:4]] == ["class", "method", "function"]
    assert lines[1].endswith("(line 4)")
    at = lines.index("b.js")
    assert [line.split()[0] for line in lines[at + 1 :]] == ["field", "function"]
    assert not any("LIMIT" in line for line in lines)


def test_the_map_is_bounded(tmp_path: Path) -> None:
    write(tmp_path, "a.py", text="".join(f"def f{number}(): pass\n" for number in range(1000)))
    write(tmp_path, "b.py", text="def g(): pass\n")
    assert len(overview.symbol_map(tmp_path, ["a.py", "b.py"])) == overview.MAP_LINES + 3
    assert len(overview.symbol_map(tmp_path, ["a.py", "b.py"], most=10)) == 11


def test_a_draft_has_every_part_of_a_spec() -> None:
    text = draft("my-feature", "Make it fast.")
    assert text.startswith("---\nname: my-feature\n")
    assert [line[2:] for line in text.splitlines() if line.startswith("# ")] == list(HEADINGS)
    assert "\nMake it fast.\n" in text
