"""Which sessions there are, by what root.ndjson says."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from agentd.daemon.registry import Opened, Registry
from agentd.daemon.worktree_records import Worktree
from agentd.domain import Entry
from agentd.errors import StoreFailed
from agentd.store.rootlog import RootLog

WORKTREE = Worktree("w", Path("/base/w"), Path("/repo"), "agentd/session/w", "1" * 40)


def opened(name: str, worktree: Worktree | None = WORKTREE) -> Opened:
    return Opened(name, "manager", f"session {name}", "/base/w", worktree, "master")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "root.ndjson"


def load(path: Path) -> Registry:
    registry = Registry(RootLog(path))
    registry.load()
    return registry


async def test_a_session_is_there_from_its_opening_to_its_closing(path: Path) -> None:
    registry = load(path)
    first = await registry.note_opened(opened("a"))
    await registry.note_opened(opened("b", None))
    await registry.note_closed("b", "deleted")
    again = load(path)
    assert (again.open, set(again.leaving)) == ({"a": first}, {"b"})
    assert again.open == registry.open
    assert again.leaving == registry.leaving


async def test_what_was_removed_wholly_is_forgotten(path: Path) -> None:
    registry = load(path)
    await registry.note_opened(opened("a"))
    await registry.note_closed("a", "idle")
    await registry.note_removed("a")
    assert (load(path).open, load(path).leaving, registry.leaving) == ({}, {}, {})


async def test_the_time_of_an_opening_is_the_same_after_a_restart(path: Path) -> None:
    registry = Registry(RootLog(path, clock=lambda: 123_456))
    assert (await registry.note_opened(opened("a"))).ts == 123_456
    assert load(path).open["a"].ts == 123_456


def test_records_of_other_kinds_are_nothing_to_it(path: Path) -> None:
    RootLog(path).append([Entry("setting", {"id": "a"}), Entry("session.closed", {"id": "never opened"})])
    registry = load(path)
    assert (registry.open, registry.leaving, registry.damaged) == ({}, {}, 0)


def test_what_makes_no_sense_is_counted(path: Path) -> None:
    RootLog(path).append([Entry("session.opened", {"id": "a"}), Entry("session.opened", opened("b").to_json())])
    path.write_bytes(path.read_bytes() + b"garbage\n")
    registry = load(path)
    assert (set(registry.open), registry.damaged) == ({"b"}, 2)


async def test_what_others_append_meanwhile_is_seen_with_the_next_append(path: Path) -> None:
    registry = load(path)
    RootLog(path).append([Entry("session.opened", opened("other", None).to_json())])
    await registry.note_opened(opened("a"))
    assert registry.open.keys() == {"other", "a"}


async def test_many_at_once_are_all_there(path: Path) -> None:
    registry = load(path)
    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(registry.note_opened, opened(str(number)))
    assert len(load(path).open) == 30


async def test_what_the_disk_refuses_did_not_happen(path: Path) -> None:
    registry = load(path)
    await registry.note_opened(opened("a"))
    make_unusable(path)
    with pytest.raises(StoreFailed):
        await registry.note_closed("a", "deleted")
    assert registry.open.keys() == {"a"}


def make_unusable(path: Path) -> None:
    path.unlink()
    path.mkdir()
