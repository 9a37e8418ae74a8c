"""A search over many files: in order, bounded, and ended when enough is known. That ripgrep changes nothing is in
tests/tools/test_grep.py."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from agentd.workspace import search as search_module
from agentd.workspace.filetypes import FILE_TYPES, globs_of
from agentd.workspace.globs import compile_filter
from agentd.workspace.pattern import Pattern
from agentd.workspace.scan import Scan
from agentd.workspace.search import MAX_IN_FLIGHT, PIECE, FileHits, Search
from agentd.workspace.worker import describe, pack, serve, unpack

QUICK, SLOW = "needle", "n.*e"


@pytest.fixture
def many(tmp_path: Path) -> list[bytes]:
    """Names of files in tmp_path, each tenth with a needle."""
    names = [b"%05d" % number for number in range(2 * PIECE + 100)]
    for number, name in enumerate(names):
        (tmp_path / os.fsdecode(name)).write_text("needle\n" if number % 10 == 0 else "hay\n")
    return names


def children() -> set[str]:
    """Process ids."""
    return {pid for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()}


async def found(top: Path, files: Iterator[bytes], pattern: str, most: int = 10**6) -> list[bytes]:
    paths: list[bytes] = []

    def take(hits: FileHits) -> bool:
        paths.append(hits.path)
        return len(paths) < most

    await Search(top, files, Scan(Pattern(pattern), "count"), take, keep=0).run()
    return paths


@pytest.mark.parametrize("pattern", [QUICK, SLOW])
async def test_files_come_in_the_order_they_were_given(tmp_path: Path, many: list[bytes], pattern: str) -> None:
    assert await found(tmp_path, iter(many), pattern) == many[::10]


@pytest.mark.parametrize("pattern", [QUICK, SLOW])
async def test_a_search_ends_when_there_is_enough(tmp_path: Path, many: list[bytes], pattern: str) -> None:
    assert await found(tmp_path, iter(many), pattern, most=3) == [many[0], many[10], many[20]]


async def test_files_are_not_listed_far_ahead_of_the_search(
    tmp_path: Path, many: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "FIRST_BATCH", 10)
    monkeypatch.setattr(search_module, "MAX_BATCH", 10)
    listed = 0

    def listing() -> Iterator[bytes]:
        nonlocal listed
        for name in many:
            listed += 1
            yield name

    assert await found(tmp_path, listing(), QUICK, most=1) == [many[0]]
    assert listed <= 10 * (MAX_IN_FLIGHT + 3)


async def test_a_search_of_nothing_ends(tmp_path: Path) -> None:
    assert await found(tmp_path, iter([]), SLOW) == []


async def test_a_cancelled_search_leaves_no_process(tmp_path: Path, many: list[bytes]) -> None:
    before = children()
    with trio.CancelScope() as scope:

        def cancel(_: FileHits) -> bool:
            scope.cancel()
            return True

        await Search(tmp_path, iter(many), Scan(Pattern(SLOW), "count"), cancel, keep=0).run()
    assert scope.cancelled_caught
    assert children() == before


def test_a_worker_answers_until_its_input_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(signal, "setitimer", lambda *_: None)
    (tmp_path / "a").write_text("x\nneedle\n")
    top, paths = os.fsencode(tmp_path) + b"/", [b"missing", b"a"]
    asked = pack(describe(Scan(Pattern(QUICK), "content"))) + pack((top, paths, 5)) + pack((top, paths, 0))
    answers = io.BytesIO()
    serve(io.BytesIO(asked), answers)
    answers.seek(0)
    assert unpack(answers.read) == [(1, (1, [(2, True, "needle")]))]
    assert unpack(answers.read) == [(1, (1, []))]
    assert unpack(answers.read) is None


def test_a_worker_that_is_asked_nothing_ends() -> None:
    serve(io.BytesIO(), io.BytesIO())


ORPHAN = """
import os, subprocess, sys
from agentd.workspace.pattern import Pattern
from agentd.workspace.scan import Scan
from agentd.workspace.worker import describe, pack
from agentd.workspace.workerprocess import command
reader, writer = os.pipe()
child = subprocess.Popen(command("agentd.workspace.worker"), stdin=reader, stdout=3, pass_fds=[3])
os.set_inheritable(writer, True)
os.write(writer, pack(describe(Scan(Pattern("(a|aa)+$"), "count"))) + pack((b"/", [sys.argv[1][1:].encode()], 0)))
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_a_worker_in_the_middle_of_a_match_ends_with_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "hostile"
    path.write_text("a" * 200 + "b\n")
    alive, held = os.pipe()  # the worker holds the writing end: it is closed when the worker is gone
    with subprocess.Popen(
        [sys.executable, "-c", f"import os; os.dup2({held}, 3)\n{ORPHAN}", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[held],
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        os.close(held)
        os.kill(worker, 0)
        parent.kill()
    assert os.read(alive, 1) == b""
    os.close(alive)


@pytest.mark.parametrize("name", sorted(FILE_TYPES))
def test_the_globs_of_a_type_can_be_used(name: str) -> None:
    assert compile_filter(globs_of(name) or "")


def test_types_have_their_other_names() -> None:
    assert globs_of("python") == globs_of("py") == "*.py,*.pyi"
    assert globs_of("klingon") is None
