"""Grep, with ripgrep and without: the same answers."""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from agentd.errors import ToolFailed
from agentd.tools import grep as grep_module
from agentd.tools.base import Tool, ToolOutcome
from agentd.tools.grep import COUNTED, Grep
from agentd.workspace import search as search_module
from agentd.workspace import workerprocess

Call = Callable[[Tool, Mapping[str, Any]], Awaitable[ToolOutcome]]
Told = Callable[[Tool, Mapping[str, Any]], Awaitable[str]]
Require = Callable[[str], str]

GREP = Grep(lambda: None)

NASTY: dict[str, bytes] = {
    "plain.py": b"import os\n\ndef needle(x):\n    return Needle\n",
    "no_end.py": b"first\nlast needle",
    "crlf.txt": b"needle\r\nsecond\r\nNEEDLE here\r\n",
    "mixed.txt": b"needle\nsecond\r\nneedle\r\n",
    "bom.py": b"\xef\xbb\xbfneedle at the start\nimport os\n",
    "utf16.txt": "needle in UTF-16 größe\n".encode("utf-16"),
    "latin1.txt": b"caf\xe9 needle \xff\xfe\n\xe9\n",
    "utf8.txt": "größe needle über\nÜBER\n".encode(),
    "binary.bin": b"needle\0needle\n",
    "late_nul.txt": b"needle\n" + b"x" * 9000 + b"\n\0 needle\n",
    "empty.txt": b"",
    "newlines.txt": b"\n\n\n\n",
    "long.js": b"var a=" + b"x" * 70_000 + b"needle" + b"y" * 70_000 + b"\nneedle\n",
    "huge.log": b"".join(b"%d line\n" % n for n in range(30_000)) + b"the needle\n" + b"end\n" * 20_000,
    ".hidden/secret.py": b"needle = 1\n",
    "-dash.txt": b"needle\n",
    "sp ace/na\xefme\n.txt".encode("latin-1").decode("latin-1"): b"needle\n",
    "deep/a/b/c/d.ts": b"// needle\nexport const x = 1;\n",
    "deep/ignored.log": b"needle\n",
    "build/out.py": b"needle\n",
    "keep/build/out.py": b"needle\n",
    ".git/config": b"needle\n",
    ".agentd/log": b"needle\n",
    "[id]/page.tsx": b"needle {}\n",
}
IGNORE = b"deep/*.log\n/build/\n"


@pytest.fixture
def nasty(workspace: Path) -> Path:
    for name, content in {**NASTY, ".gitignore": IGNORE}.items():
        path = workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (workspace / "link.py").symlink_to("plain.py")
    (workspace / "loop").symlink_to(".")
    (workspace / "outside").symlink_to("/etc")
    (workspace / "dangling").symlink_to("nowhere")
    os.mkfifo(workspace / "pipe")
    (workspace / "unreadable.txt").write_bytes(b"needle\n")
    (workspace / "unreadable.txt").chmod(0)
    Path(os.fsdecode(os.fsencode(workspace) + b"/not\xff.txt")).write_bytes(b"needle\n")
    return workspace


PATTERNS = [
    *("needle", "Needle", r"\bneedle\b", "^needle", "needle$", r"needle\(", "NEEDLE|größe", r"n\w+e", "(?i)needle"),
    *(r"[^e]{3}dle", r"\s*$", "^$", r"^\s", "caf.", "caf. needle", r"\d+ line$", "absent", ".", "über", r"(e)\1", "{}"),
    *(r"(?<=in )needle", r"needle(?!\()", r"\W$", r"^needle[^x]*$", "[[:upper:]]{6}", "end|\\r"),
]
OPTIONS: list[dict[str, Any]] = [
    {"output_mode": "content", "-i": True, "-C": 1},
    {"output_mode": "content", "multiline": True, "-A": 1, "-n": False},
    {"output_mode": "count", "head_limit": 3, "offset": 2},
]
FEW_PATTERNS = ["needle", r"[^e]{3}dle", "^$"]
MORE_OPTIONS: list[dict[str, Any]] = [
    {},
    {"output_mode": "content", "-B": 2, "head_limit": 7, "offset": 3},
    {"output_mode": "count", "-i": True, "multiline": True},
    {"glob": "*.{py,ts}", "output_mode": "count"},
    {"glob": "!*.py", "-i": True},
    {"type": "py"},
    {"path": "deep", "output_mode": "content"},
    {"path": "build"},
    {"path": "plain.py", "output_mode": "content", "-A": 1},
]


@pytest.mark.parametrize(
    ("patterns", "options"),
    [*((PATTERNS, options) for options in OPTIONS), *((FEW_PATTERNS, options) for options in MORE_OPTIONS)],
    ids=str,
)
async def test_ripgrep_changes_no_answer(
    nasty: Path, told: Told, require: Require, patterns: list[str], options: dict[str, Any]
) -> None:
    rg = require("rg")
    for pattern in patterns:
        asked = {"pattern": pattern} | options
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(search_module, "SMALL_PIECE", 0)  # or a tree this small would not be worth a process
            with_ripgrep = await told(Grep(lambda: rg), asked)
        assert with_ripgrep == await told(GREP, asked), pattern


@pytest.mark.parametrize("pattern", ["needle", "^$", "caf.|utf"])
async def test_a_thread_and_a_worker_give_one_answer(nasty: Path, told: Told, pattern: str) -> None:
    asked = {"pattern": pattern, "output_mode": "content", "-C": 1, "head_limit": 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_module, "SMALL_PIECE", 0)
        in_workers = await told(GREP, asked)
    assert in_workers == await told(GREP, asked)


async def test_files_that_match_are_listed_by_name(nasty: Path, told: Told) -> None:
    answer = await told(GREP, {"pattern": "needle"})
    assert (
        answer.split("\n")
        == [
            "-dash.txt",
            ".hidden/secret.py",
            "[id]/page.tsx",
            "bom.py",
            "crlf.txt",
            "deep/a/b/c/d.ts",
            "huge.log",
            "keep/build/out.py",
            "late_nul.txt",
            "latin1.txt",
            "long.js",
            "mixed.txt",
            "no_end.py",
            "not\ufffd.txt",
            "plain.py",
            "sp ace/naïme",
            ".txt",
            "unreadable.txt",
            "utf16.txt",
            "utf8.txt",
        ]
        or os.geteuid() != 0
    )


async def test_content_is_path_line_and_text(nasty: Path, told: Told) -> None:
    assert await told(GREP, {"pattern": "needle", "path": "plain.py", "output_mode": "content"}) == (
        "plain.py:3:def needle(x):"
    )


async def test_context_has_dashes_and_groups_are_kept_apart(workspace: Path, told: Told) -> None:
    (workspace / "a").write_text("1\nx\n3\n4\n5\nx\n7\n")
    (workspace / "b").write_text("x\n")
    assert await told(GREP, {"pattern": "x", "output_mode": "content", "-C": 1}) == (
        "a-1-1\na:2:x\na-3-3\n--\na-5-5\na:6:x\na-7-7\n--\nb:1:x"
    )


async def test_line_numbers_can_be_left_out(workspace: Path, told: Told) -> None:
    (workspace / "a").write_text("1\nx\n")
    assert await told(GREP, {"pattern": "x", "output_mode": "content", "-n": False, "-B": 1}) == "a-1\na:x"


async def test_count_is_lines_by_file(workspace: Path, told: Told) -> None:
    (workspace / "a").write_text("xx\nx\ny\n")
    (workspace / "b").write_text("y x\n")
    assert await told(GREP, {"pattern": "x", "output_mode": "count"}) == "a:2\nb:1"


async def test_people_are_told_how_much_it_was(workspace: Path, call: Call) -> None:
    (workspace / "a").write_text("xx\nx\ny\n")
    (workspace / "b").write_text("y x\n")
    assert (await call(GREP, {"pattern": "x", "output_mode": "content"})).summary == "3 matches in 2 files"
    assert (await call(GREP, {"pattern": "x"})).summary == "2 files"
    assert (await call(GREP, {"pattern": "z"})).summary == "no matches"


async def test_nothing_found_is_said(workspace: Path, told: Told) -> None:
    assert await told(GREP, {"pattern": "x"}) == "No matches found"


async def test_a_cut_answer_says_how_to_get_the_rest(workspace: Path, told: Told) -> None:
    (workspace / "a").write_text("x\n" * 30)
    first = await told(GREP, {"pattern": "x", "output_mode": "content", "head_limit": 10})
    assert first.split("\n")[-1] == "[20 more matching lines; offset=10 shows what follows]"
    rest = await told(GREP, {"pattern": "x", "output_mode": "content", "offset": 10})
    assert rest.split("\n") == [f"a:{number}:x" for number in range(11, 31)]


async def test_pages_make_up_the_whole(nasty: Path, told: Told) -> None:
    asked = {"pattern": "needle", "output_mode": "content", "-C": 1}
    whole = (await told(GREP, asked | {"head_limit": 0})).split("\n")
    pages: list[str] = []
    for offset in itertools.count(0, 7):
        page = (await told(GREP, asked | {"head_limit": 7, "offset": offset})).split("\n")
        pages += [line for line in page if not line.startswith("[") or "id" in line]
        if len(pages) >= len(whole):
            break
    assert "\n".join(pages) == "\n".join(whole)


async def test_what_would_be_too_much_is_not_counted_to_the_end(workspace: Path, told: Told) -> None:
    for number in range(4):
        (workspace / f"{number}").write_text("x\n" * (COUNTED - 1))
    answer = await told(GREP, {"pattern": "x", "output_mode": "content", "head_limit": 1})
    assert answer.split("\n") == [
        "0:1:x",
        f"[more than {COUNTED} more matching lines; offset=1 shows what follows]",
    ] or (answer.split("\n")[-1].startswith("[more than "))


async def test_an_offset_past_the_end_is_said(workspace: Path, told: Told) -> None:
    (workspace / "a").write_text("x\n")
    assert await told(GREP, {"pattern": "x", "offset": 5}) == "[offset 5 is past the end of the answer]"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"pattern": "foo("}, r"foo\\\("),
        ({"pattern": "x", "path": "../x"}, "outside the workspace"),
        ({"pattern": "x", "path": "missing"}, "does not exist"),
        ({"pattern": "x", "path": ".agentd"}, "off limits"),
        ({"pattern": "x", "type": "klingon"}, "No file type is called klingon"),
        ({"pattern": "x", "-A": -1}, "0 or more"),
        ({"pattern": "x", "-A": "1"}, "@ -A"),
        ({"pattern": "x", "output_mode": "lines"}, "output_mode"),
        ({"path": "."}, "pattern"),
        ({"pattern": "x", "path": "pipe"}, "no regular file"),
        ({"pattern": "a\\nb"}, "multiline"),
    ],
)
async def test_what_cannot_be_searched_is_said(workspace: Path, call: Call, asked: dict[str, Any], says: str) -> None:
    os.mkfifo(workspace / "pipe")
    with pytest.raises(ToolFailed, match=says):
        await call(GREP, asked)


HOSTILE = "(a|aa)+$"


def children() -> list[str]:
    """Command lines of search workers that are alive."""
    lists = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
    command_lines = [Path(f"/proc/{pid}/cmdline").read_text() for pids in lists for pid in pids]
    return [line for line in command_lines if "workspace.worker" in line]


async def test_a_pattern_that_would_run_for_ever_is_ended(
    workspace: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace / "a").write_text("a" * 200 + "b\n")
    monkeypatch.setattr(grep_module, "SECONDS", 0.3)
    with pytest.raises(ToolFailed, match="took longer"):
        await call(GREP, {"pattern": HOSTILE})
    assert not children()


async def test_a_search_can_be_cancelled_in_the_middle_of_a_match(workspace: Path, call: Call) -> None:
    (workspace / "a").write_text("a" * 200 + "b\n")
    with trio.move_on_after(0.3) as scope:
        await call(GREP, {"pattern": HOSTILE})
    assert scope.cancelled_caught
    assert not children()


async def test_ripgrep_spares_files_that_would_take_for_ever(workspace: Path, told: Told, require: Require) -> None:
    rg = require("rg")
    (workspace / "a").write_text("a" * 200 + "b\n")
    (workspace / "b").write_text("aaa\n")
    assert await told(Grep(lambda: rg), {"pattern": HOSTILE}) == "b"


async def test_a_ripgrep_that_does_not_work_is_done_without(nasty: Path, told: Told) -> None:
    asked = {"pattern": r"n\w+dle", "output_mode": "count"}
    assert await told(Grep(lambda: "/nonexistent/rg"), asked) == await told(GREP, asked)
    assert await told(Grep(lambda: "/bin/cat"), asked) == await told(GREP, asked)


async def test_a_worker_that_dies_is_a_failure_of_the_call(
    workspace: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace / "a").write_text("aab\n")
    monkeypatch.setattr(workerprocess, "_START", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(ToolFailed, match="died"):
        await call(GREP, {"pattern": HOSTILE})
