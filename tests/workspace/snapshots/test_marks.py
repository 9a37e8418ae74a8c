"""What files were, beyond what a tree tells."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentd.errors import GitFailed
from agentd.workspace.marks import Was
from agentd.workspace.snapshot import Snapshots

if TYPE_CHECKING:
    from tests.workspace.snapshots.conftest import Repository


async def since(snapshots: Snapshots, tree: str, also: Iterable[Path] = ()) -> dict[str, Was]:
    return {path.name: was for path, was in (await snapshots.changed_since("m", tree, None, also)).items()}


async def held(snapshots: Snapshots, found: dict[str, Was]) -> dict[str, bytes | None]:
    there = [was for was in found.values() if was.kind != "absent"]
    async with aclosing(await snapshots.contents(there)) as contents:
        return {Path(was.path.decode()).name: data async for was, data in contents}


async def test_what_changed_is_told_as_it_was(repository: Repository) -> None:
    repository.commit(a="a\n", program="p\n", removed="r\n")
    (repository.top / "program").chmod(0o755)
    (repository.top / "link").symlink_to("a")
    snapshots = repository.snapshots()
    tree = await snapshots.mark("m", None)
    repository.write("a", "other\n")
    repository.write("program", "other\n")
    repository.write("new", "new\n")
    for name in ("removed", "link"):
        (repository.top / name).unlink()
    found = await since(snapshots, tree)
    assert {name: (was.kind, was.size, was.executable) for name, was in found.items()} == {
        "a": ("file", 2, False),
        "program": ("file", 2, True),
        "removed": ("file", 2, False),
        "link": ("link", 1, False),
        "new": ("absent", 0, False),
    }
    assert await held(snapshots, found) == {"a": b"a\n", "program": b"p\n", "removed": b"r\n", "link": b"a"}


async def test_a_tree_that_was_just_taken_is_not_taken_again(repository: Repository) -> None:
    repository.commit(a="a\n")
    snapshots = repository.snapshots()
    tree = await snapshots.take()
    repository.write("a", "other\n")
    assert await snapshots.mark("m", tree) == tree
    assert (await since(snapshots, tree)).keys() == {"a"}


async def test_a_tree_of_long_ago_is_taken_anew(repository: Repository) -> None:
    repository.commit(a="a\n")
    snapshots = repository.snapshots()
    old = await snapshots.take()
    repository.write("a", "other\n")
    await snapshots.take()
    assert await snapshots.mark("m", old) != old


async def test_what_is_asked_for_is_told_though_it_did_not_change(repository: Repository) -> None:
    repository.commit(a="a\n")
    repository.write(".gitignore", "ignored\n")
    repository.write("ignored", "precious\n")
    snapshots = repository.snapshots()
    tree = await snapshots.mark("m", None)
    also = [repository.top / name for name in ("a", "never", "ignored", "d/e")] + [Path("/elsewhere")]
    found = await since(snapshots, tree, also)
    assert {name: was.kind for name, was in found.items()} == {"a": "file", "never": "absent", "e": "absent"}


async def test_what_is_in_a_submodule_is_not_known(repository: Repository) -> None:
    inner = repository.another("inner")
    inner.commit(x="x\n")
    repository.git("add", "inner")
    repository.commit(a="a\n")
    snapshots = repository.snapshots()
    tree = await snapshots.mark("m", None)
    assert await since(snapshots, tree, [inner.top / "x", inner.top / "y"]) == {}
    (inner.top / ".git").rename(repository.scratch.with_name("git of inner"))
    assert (await since(snapshots, tree)).keys() <= {"inner"}


async def test_contents_that_are_gone_are_not_known(repository: Repository) -> None:
    repository.commit(a="staged and dropped\n")
    blob = repository.git("rev-parse", "HEAD:a").strip()
    snapshots = repository.snapshots()
    tree = await snapshots.mark("m", None)
    (repository.top / "a").unlink()
    (repository.top / ".git/objects" / blob[:2] / blob[2:]).unlink()
    found = await since(snapshots, tree)
    assert (found["a"].kind, found["a"].blob) == ("file", None)
    assert await held(snapshots, found) == {"a": None}


async def test_many_files_and_large_ones_are_read_in_batches(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.workspace.marks.BATCH_BYTES", 100)
    monkeypatch.setattr("agentd.workspace.marks.ARGUMENTS", 5)
    files = {f"f{number}": "x" * (number * 7) + "\n" for number in range(30)}
    repository.commit(**files)
    snapshots = repository.snapshots()
    tree = await snapshots.mark("m", None)
    for name in files:
        (repository.top / name).unlink()
    found = await since(snapshots, tree)
    assert await held(snapshots, found) == {name: text.encode() for name, text in files.items()}
    assert (await since(snapshots, tree, [repository.top / f"none{number}" for number in range(12)])).keys() > {"none3"}


async def test_a_mark_that_is_gone_is_an_error(repository: Repository) -> None:
    repository.commit(a="a\n")
    snapshots = repository.snapshots()
    tree = await snapshots.mark("m", None)
    snapshots.forget_mark("m")
    with pytest.raises(GitFailed, match="gone or damaged"):
        await since(snapshots, tree)
