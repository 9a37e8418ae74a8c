"""The index: what is looked at again, what is kept, and what happens when files, workers and caches misbehave."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from agentd.errors import ToolFailed
from agentd.workspace import workerprocess
from agentd.workspace.symbols import index as index_module
from agentd.workspace.symbols.cache import Files
from agentd.workspace.symbols.index import SymbolIndex
from agentd.workspace.symbols.lookup import definitions_in

OLD = 1_600_000_000_123_456_789  # ns: nothing so old is young


@pytest.fixture
def top(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    path.mkdir()
    return path.resolve()


@pytest.fixture
def index(top: Path, tmp_path: Path) -> SymbolIndex:
    return SymbolIndex(top, tmp_path / "cache")


def write(path: Path, text: str, modified: int = OLD) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(modified, modified))


def names(files: Files) -> dict[str, list[str]]:
    return {path.decode(): [each.name for each in definitions_in(look)] for path, look in sorted(files.items())}


def aged(files: Files) -> Files:
    """As if the files had been there for long when they were looked at."""
    return {path: look._replace(young=False) for path, look in files.items()}


class Scans:
    """Which files workers were asked to look at, in passes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passes: list[list[str]] = []
        real = index_module._Scanning.run

        async def run(scanning: index_module._Scanning) -> None:
            self.passes.append(sorted(path.decode() for piece in scanning._pieces for path, _ in piece))
            await real(scanning)

        monkeypatch.setattr(index_module._Scanning, "run", run)


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> Scans:
    return Scans(monkeypatch)


def children() -> set[str]:
    """Process ids."""
    return {pid for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()}


async def test_files_of_all_languages_are_found_and_others_are_not(top: Path, index: SymbolIndex) -> None:
    write(top / "a.py", "def python(): pass\n")
    write(top / "b" / "B.java", "package p; class Java {}\n")
    write(top / "c.go", "package c\nfunc Go() {}\n")
    write(top / "d.ts", "export class Script {}\n")
    write(top / "e.cpp", "namespace n { class Cpp {}; }\n")
    write(top / "f.cs", "class Sharp {}\n")
    write(top / "notes.md", "class NotHere:\n")
    write(top / "py", "def not_here(): pass\n")
    found = names(await index.refresh())
    assert {path: [name for name in there if name != "n"] for path, there in found.items()} == {
        "a.py": ["python"],
        "b/B.java": ["Java"],
        "c.go": ["Go"],
        "d.ts": ["Script"],
        "e.cpp": ["Cpp"],
        "f.cs": ["Sharp"],
    }


async def test_what_git_ignores_and_what_is_off_limits_is_left_out(top: Path, tmp_path: Path) -> None:
    (top / ".git").mkdir()
    (top / ".gitignore").write_text("build/\n*.gen.py\n")
    for name in ("a.py", "build/b.py", "c.gen.py", ".agentd/d.py", ".git/e.py"):
        write(top / name, "x = 1\n")
    index = SymbolIndex(top, tmp_path / "cache", off_limits=[top / ".agentd"])
    assert names(await index.refresh()) == {"a.py": ["x"]}


async def test_what_is_not_read_is_told_with_the_reason(
    top: Path, index: SymbolIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(top / "binary.py", "x = 1\0\n")
    write(top / "large.py", "x = 1\n" * 200_000)
    write(top / "packed.js", "var a=1;" * 10_000)
    write(top / "fine.py", "x = 1\n")
    skipped = {path.decode(): look.skipped for path, look in (await index.refresh()).items()}
    assert skipped == {
        "binary.py": "binary",
        "large.py": "larger than 1 MiB",
        "packed.js": "minified",
        "fine.py": "",
    }


async def test_links_are_not_followed(top: Path, index: SymbolIndex, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write(outside / "secret.py", "secret = 1\n")
    (top / "link.py").symlink_to(outside / "secret.py")
    (top / "directory").symlink_to(outside)
    write(top / "a.py", "a = 1\n")
    assert names(await index.refresh()) == {"a.py": ["a"]}


async def test_a_file_that_is_gone_between_walk_and_read_is_left_out(
    top: Path, index: SymbolIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(top / "a.py", "a = 1\n")
    write(top / "b.py", "b = 1\n")
    real = index_module._survey

    def survey(*arguments: object) -> object:
        found = real(*arguments)  # type: ignore[arg-type]
        (top / "a.py").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(index_module, "_survey", survey)
    assert names(await index.refresh()) == {"b.py": ["b"]}


async def test_an_unreadable_file_is_told_and_read_when_it_can_be(
    top: Path, index: SymbolIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(top / "a.py", "a = 1\n")
    (top / "a.py").chmod(0)
    if os.access(top / "a.py", os.R_OK):
        pytest.skip("needs a user who is not root")
    assert [look.skipped for look in (await index.refresh()).values()] == ["unreadable: Permission denied"]
    (top / "a.py").chmod(0o600)
    assert names(await index.refresh()) == {"a.py": ["a"]}


async def test_nothing_is_read_again_when_nothing_has_changed(top: Path, index: SymbolIndex, scans: Scans) -> None:
    write(top / "a.py", "a = 1\n")
    index._files = aged(await index.refresh())
    assert names(await index.refresh()) == {"a.py": ["a"]}
    assert scans.passes == [["a.py"]]


async def test_only_what_has_changed_is_read_again(top: Path, index: SymbolIndex, scans: Scans) -> None:
    write(top / "a.py", "a = 1\n")
    write(top / "b.py", "b = 1\n")
    index._files = aged(await index.refresh())
    write(top / "b.py", "changed = 1\n")
    write(top / "c.py", "c = 1\n")
    assert names(await index.refresh()) == {"a.py": ["a"], "b.py": ["changed"], "c.py": ["c"]}
    assert scans.passes[1] == ["b.py", "c.py"]


async def test_a_touched_file_is_not_scanned_again(top: Path, index: SymbolIndex) -> None:
    write(top / "a.py", "a = 1\n")
    before = (await index.refresh())[b"a.py"]
    os.utime(top / "a.py", ns=(OLD + 5, OLD + 5))
    after = (await index.refresh())[b"a.py"]
    assert after.modified == OLD + 5
    assert after.packed is before.packed


async def test_a_removed_file_and_a_renamed_one_are_noticed(top: Path, index: SymbolIndex) -> None:
    write(top / "a.py", "def f(): pass\n")
    write(top / "b.py", "b = 1\n")
    await index.refresh()
    (top / "a.py").rename(top / "c.py")
    (top / "b.py").unlink()
    files = await index.refresh()
    assert [each.qualified for look in files.values() for each in definitions_in(look)] == ["c.f"]


async def test_a_change_that_leaves_size_and_times_alone_is_noticed_while_the_file_is_young(
    top: Path, index: SymbolIndex
) -> None:
    now = time.time_ns()
    write(top / "a.py", "a = 1\n", now)
    files = await index.refresh()
    index._files = {path: look._replace(changed=0, young=True) for path, look in files.items()}
    write(top / "a.py", "b = 2\n", now)
    assert names(await index.refresh()) == {"a.py": ["b"]}


async def test_two_who_ask_at_once_share_a_pass(top: Path, index: SymbolIndex, scans: Scans) -> None:
    write(top / "a.py", "a = 1\n")
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(index.refresh)
    assert scans.passes == [["a.py"]]


async def test_who_asks_during_a_pass_gets_what_was_written_before_asking(
    top: Path, index: SymbolIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(top / "a.py", "a = 1\n")
    real = index_module._Scanning.run
    answers: list[Files] = []

    async def run(scanning: index_module._Scanning) -> None:
        await real(scanning)
        if not answers:  # everything was looked at, but the pass is not over
            write(top / "b.py", "b = 1\n")
            monkeypatch.setattr(index_module._Scanning, "run", real)
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()

    async def ask() -> None:
        answers.append(await index.refresh())

    monkeypatch.setattr(index_module._Scanning, "run", run)
    async with trio.open_nursery() as nursery:
        await index.refresh()
    assert names(answers[0]) == {"a.py": ["a"], "b.py": ["b"]}


async def test_a_cancelled_pass_leaves_no_process_and_keeps_what_it_found(
    top: Path, index: SymbolIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "PROGRESS_FILES", 1)
    monkeypatch.setattr(index_module, "PIECE", 1)
    for number in range(10):
        write(top / f"f{number}.py", "x = 1\n")
    before = children()
    with trio.CancelScope() as scope, index.watched(lambda *_: scope.cancel()):
        await index.refresh()
    assert scope.cancelled_caught
    assert children() == before
    assert 0 < len(index._files) < 10
    assert len(await index.refresh()) == 10


async def test_workers_do_not_outlive_their_work(top: Path, index: SymbolIndex) -> None:
    write(top / "a.py", "a = 1\n")
    before = children()
    await index.refresh()
    assert children() == before


async def test_progress_is_told_of_a_pass_with_many_files(
    top: Path, index: SymbolIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "PROGRESS_FILES", 5)
    monkeypatch.setattr(index_module, "PIECE", 2)
    for number in range(6):
        write(top / f"f{number}.py", "x = 1\n")
    told: list[tuple[int, int]] = []
    with index.watched(lambda done, total: told.append((done, total))):
        index._files = aged(await index.refresh())
        write(top / "f0.py", "yy = 1\n")
        await index.refresh()
    assert told == [(2, 6), (4, 6), (6, 6)]


async def test_workers_that_are_killed_cost_nothing(
    top: Path, index: SymbolIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "PIECE", 2)
    for number in range(9):
        write(top / f"f{number}.py", f"x{number} = 1\n")
    monkeypatch.setattr(index_module, "PROGRESS_FILES", 1)
    before = children()
    killed: set[str] = set()

    def kill_two(*_: object) -> None:
        for pid in sorted(children() - before - killed)[: 2 - len(killed)]:
            killed.add(pid)
            os.kill(int(pid), signal.SIGKILL)

    with index.watched(kill_two):
        files = await index.refresh()
    assert killed
    assert names(files) == {f"f{number}.py": [f"x{number}"] for number in range(9)}


DEADLY = """
import os
import agentd.workspace.symbols.worker as worker
scan = worker._scan
worker._scan = lambda data, path, watch: os.kill(os.getpid(), 9) if path == "f5.py" else scan(data, path, watch)
"""


async def test_a_file_that_kills_its_scanner_is_left_out_and_no_other(
    top: Path, index: SymbolIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = workerprocess._START
    first, second = start.split("; from")
    monkeypatch.setattr(workerprocess, "_START", f"{first}\n{DEADLY}from{second}")
    for number in range(9):
        write(top / f"f{number}.py", f"x{number} = 1\n")
    files = await index.refresh()
    assert {path for path, look in files.items() if look.skipped} == {b"f5.py"}
    assert names(files)["f8.py"] == ["x8"]


async def test_where_no_process_can_be_started_that_is_said(
    top: Path, index: SymbolIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    write(top / "a.py", "a = 1\n")
    with monkeypatch.context() as patch:
        patch.setattr(trio.lowlevel, "open_process", refuse)
        with pytest.raises(ToolFailed, match="Too many open files"):
            await index.refresh()
    assert names(await index.refresh()) == {"a.py": ["a"]}
