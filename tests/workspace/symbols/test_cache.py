"""The index from one start to the next: what is used again, and what is not believed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from agentd.workspace.symbols import cache
from agentd.workspace.symbols import index as index_module
from agentd.workspace.symbols import worker as worker_module
from agentd.workspace.symbols.cache import Files
from agentd.workspace.symbols.index import SymbolIndex
from agentd.workspace.symbols.lookup import definitions_in
from agentd.workspace.symbols.worker import Look

OLD = 1_600_000_000_123_456_789  # ns: nothing so old is young


@pytest.fixture
def top(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    path.mkdir()
    return path.resolve()


@pytest.fixture
def index(top: Path, tmp_path: Path) -> SymbolIndex:
    return SymbolIndex(top, tmp_path / "cache")


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Which files workers are asked to look at, by passes."""
    passes: list[list[str]] = []
    real = index_module._Scanning.run

    async def run(scanning: index_module._Scanning) -> None:
        passes.append(sorted(path.decode() for piece in scanning._pieces for path, _ in piece))
        await real(scanning)

    monkeypatch.setattr(index_module._Scanning, "run", run)
    return passes


def write(path: Path, text: str, modified: int = OLD) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(modified, modified))


def names(files: Files) -> dict[str, list[str]]:
    return {path.decode(): [each.name for each in definitions_in(look)] for path, look in sorted(files.items())}


@pytest.fixture
def cached(top: Path, tmp_path: Path) -> Path:
    """The cache of a workspace of three files, none of them young."""
    found: dict[bytes, Look] = {}
    for name in ("a.py", "b.py", "c.py"):
        write(top / name, f"def {name[0]}(): pass\n")
        look = worker_module.look_at(os.fsencode(top) + b"/", name.encode(), b"", worker_module._Watch())
        assert look is not None
        found[name.encode()] = look
    cache.save(tmp_path / "cache", {path: look._replace(young=False) for path, look in found.items()})
    return tmp_path / "cache" / cache.NAME


def change(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


EXPECTED = {"a.py": ["a"], "b.py": ["b"], "c.py": ["c"]}


async def test_the_next_index_scans_only_what_has_changed_since(
    top: Path, cached: Path, scanned: list[list[str]]
) -> None:
    write(top / "b.py", "bb = 1\n")
    (top / "c.py").unlink()
    assert names(await SymbolIndex(top, cached.parent).refresh()) == {"a.py": ["a"], "b.py": ["bb"]}
    assert scanned == [["b.py"]]


async def test_a_cache_of_another_copy_saves_the_scans(
    top: Path, cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(top, tmp_path / "copy")
    before = cache.load(cached.parent)
    files = await SymbolIndex(tmp_path / "copy", cached.parent).refresh()
    assert {path: look.packed for path, look in files.items()} == {path: look.packed for path, look in before.items()}


def test_a_cache_cut_anywhere_is_read_as_far_as_it_goes(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "FILES_A_LINE", 1)
    cache.save(cached.parent, cache.load(cached.parent))
    whole, data = cache.load(cached.parent), cached.read_bytes()
    assert len(whole) == 3
    for length in range(len(data)):
        cached.write_bytes(data[:length])
        found = cache.load(cached.parent)
        assert found.items() <= whole.items()
    cached.write_bytes(data)
    assert cache.load(cached.parent) == whole


def test_a_cache_with_a_wrong_byte_anywhere_is_not_believed(cached: Path) -> None:
    whole, data = cache.load(cached.parent), cached.read_bytes()
    for at in range(len(data)):
        cached.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert cache.load(cached.parent) in ({}, whole)


@pytest.mark.parametrize(
    "row",
    [
        b"[]",
        b"{}",
        b"[[]]",
        b"[1]",
        b"null",
        b'[["a", 1, 1, 1, false, "zz", "", "", "", "", "", ""]]',
        b'[["a", 1, 1, 1, 0, "", "", "", "", "", "", ""]]',
        b'[["a", 1, 1, 1, false, "", "", "", "", "", "", "?"]]',
        b'[["a", "1", 1, 1, false, "", "", "", "", "", "", ""]]',
        b"[" * 100_000,
    ],
)
def test_a_cache_that_somebody_else_wrote_is_no_error(cached: Path, row: bytes) -> None:
    cached.write_bytes(cache._header() + cache._sum(row) + b" " + row + b"\n")
    assert cache.load(cached.parent) == {}


def test_definitions_that_somebody_else_made_up_are_none(cached: Path) -> None:
    files = cache.load(cached.parent)
    wrong = {
        path: look._replace(packed=look.packed and look.packed._replace(rest=b"?")) for path, look in files.items()
    }
    assert names(wrong) == {"a.py": [], "b.py": [], "c.py": []}


async def test_a_cache_of_other_scanners_is_thrown_away(top: Path, cached: Path, scanned: list[list[str]]) -> None:
    change(cached, b'"scanners": "', b'"scanners": "0')
    assert names(await SymbolIndex(top, cached.parent).refresh()) == EXPECTED
    assert scanned == [["a.py", "b.py", "c.py"]]


async def test_a_cache_that_cannot_be_written_is_a_warning(
    top: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    index = SymbolIndex(top, tmp_path / "file" / "cache")
    write(top / "a.py", "a = 1\n")
    assert names(await index.refresh()) == {"a.py": ["a"]}
    await index.aclose()
    assert "cannot be kept" in caplog.text
    assert names(await index.refresh()) == {"a.py": ["a"]}


async def test_a_full_disk_leaves_the_old_cache(
    top: Path, cached: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = cache.load(cached.parent)
    write(top / "d.py", "d = 1\n")
    index = SymbolIndex(top, cached.parent)
    await index.refresh()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(json, "dumps", refuse)
        await index.aclose()
    assert "No space left" in caplog.text
    assert cache.load(cached.parent) == before
    assert os.listdir(cached.parent) == [cached.name]  # noqa: PTH208


async def test_the_cache_is_written_once_enough_is_new(
    top: Path, index: SymbolIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "UNSAVED_FILES", 2)
    write(top / "a.py", "a = 1\n")
    await index.refresh()
    assert not (tmp_path / "cache" / cache.NAME).exists()
    write(top / "b.py", "b = 1\n")
    write(top / "c.py", "c = 1\n")
    await index.refresh()
    assert set(cache.load(tmp_path / "cache")) == {b"a.py", b"b.py", b"c.py"}


def test_names_that_are_no_utf_8_survive_the_cache(tmp_path: Path) -> None:
    files = {b"\xff\xfe.py": Look(1, 2, 3, False, b"d" * 16)}
    cache.save(tmp_path, files)
    assert cache.load(tmp_path) == files
