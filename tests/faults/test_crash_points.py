"""A crash at every write of an executor's life, and logs cut at every place. AGENTD_FAULTS for all; else a few.

Whatever the moment: it opens, says what it repaired, everything that was acknowledged is there, no job is in limbo, a
tool call has one result, numbering has no gap and no repeat, a key has one job, no text of a job outlives it, and what
was seen of events is what they were. What is checked is in story.py.
"""

from __future__ import annotations

import copy
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from agentd.engine.session import load_state
from agentd.store.home import Home, SessionDir
from agentd.store.lines import says_more
from tests.faults.executors import Died, Executor, Forge, Place, make_repository
from tests.faults.story import Promises, check_after_restart, check_goes_on, settings, tell_until_death

EVERY = "AGENTD_FAULTS" in os.environ
FEW = 6
NewPlace = Callable[[], Place]


@pytest.fixture(scope="module")
def forge() -> Iterator[Forge]:
    with Forge.open() as forge:
        yield forge


@pytest.fixture
def new_place(tmp_path: Path, forge: Forge) -> NewPlace:
    """Another one each time; the one before is gone."""
    root = tmp_path / "place"
    make_repository(tmp_path / "repository")

    def make() -> Place:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        shutil.copytree(tmp_path / "repository", root / "workspace")
        return Place(root, forge, settings(root))

    return make


@pytest.fixture
def lived(new_place: NewPlace, tmp_path: Path) -> tuple[Place, Promises, int]:
    """An executor's whole life, which ended by kill -9: where, what was promised, and how often it asked the disk."""
    place, told, count = new_place(), Promises(), tmp_path / "count"
    with place.executor(count=count) as executor:
        assert tell_until_death(executor, told), executor.said()
    return place, told, count.stat().st_size


def some(points: Sequence[int]) -> Sequence[int]:
    """All of them, or a few from the first to the last."""
    return points if EVERY or len(points) <= FEW else points[:: len(points) // (FEW - 1)]


@contextmanager
def about(where: str, place: Place) -> Iterator[None]:
    try:
        yield
    except BaseException as exc:
        exc.add_note(f"{where}; the executors said: {[out.read_text() for out in sorted(place.root.glob('out-*'))]}")
        raise


def live(place: Place, told: Promises, die_at: int) -> bool:
    """Whether it lived through the story."""
    try:
        executor = place.start(die_at=die_at)
    except Died:
        return False
    try:
        return tell_until_death(executor, told)
    finally:
        executor.kill()


def check(place: Place, told: Promises) -> Executor:
    executor = check_after_restart(place, told)
    check_goes_on(executor)
    executor.kill()
    return executor


def test_after_a_crash_at_any_call_of_the_disk_everything_promised_is_there(
    new_place: NewPlace, lived: tuple[Place, Promises, int]
) -> None:
    for die_at in some(range(1, lived[2] + 1)):
        place, told = new_place(), Promises()
        with about(f"it died at call {die_at}", place):
            live(place, told, die_at)
            check(place, told)


def test_cut_at_the_end_of_any_piece_a_log_is_taken_up(lived: tuple[Place, Promises, int], tmp_path: Path) -> None:
    place, told, _ = lived
    keep(place, tmp_path / "kept")
    for number, (log, raw) in enumerate([(log, log.read_bytes()) for log in logs(place, told)]):
        for cut in some(ends_of_pieces(raw)):
            restore(place, tmp_path / "kept", log, raw[:cut])
            with about(f"the log of session {number} was cut after {cut} bytes", place):
                executor = check(place, unheard(told))
                assert "was never finished" not in executor.said()


def test_cut_after_any_byte_of_its_last_piece_a_log_has_all_before_it(
    lived: tuple[Place, Promises, int], tmp_path: Path
) -> None:
    place, told, _ = lived
    keep(place, tmp_path / "kept")
    _, log, _ = logs(place, told)
    raw = log.read_bytes()
    *_, start, end = ends_of_pieces(raw)
    before = attrs.evolve(told, ended={}, seen={})  # the last piece is the end of the session's last job
    for cut in some(range(start + 1, end)):
        restore(place, tmp_path / "kept", log, raw[:cut])
        with about(f"the log was cut after {cut} bytes of {end}", place):
            executor = check(place, copy.deepcopy(before))
            assert f"{cut - start} bytes before position" in executor.said()


def test_cut_within_the_piece_that_accepts_a_job_a_log_knows_nothing_of_it(
    lived: tuple[Place, Promises, int], tmp_path: Path
) -> None:
    place, told, _ = lived
    keep(place, tmp_path / "kept")
    log, _, _ = logs(place, told)
    raw = log.read_bytes()
    start = raw.rindex(b"\n", 0, raw.index(told.jobs["reads"].encode())) + 1
    end = next(each for each in ends_of_pieces(raw) if each > start)
    for cut in some(range(start, end)):
        restore(place, tmp_path / "kept", log, raw[:cut])
        with about(f"the log was cut after {cut} bytes, of the piece from {start} to {end}", place):
            check(place, unheard(told))
            assert told.jobs["reads"] not in load_state(SessionDir(log.parent)).jobs


def logs(place: Place, told: Promises) -> list[Path]:
    """In the order in which their sessions were made."""
    return [Home(place.home).session(each).log_path for each in told.sessions]


def ends_of_pieces(raw: bytes) -> list[int]:
    """Where what was written at once ends: the places at which a log can end when nothing is torn."""
    ends, at = [], 0
    for line in raw.splitlines(keepends=True):
        at += len(line)
        if not says_more(line[:-1]):
            ends.append(at)
    return ends


def keep(place: Place, kept: Path) -> None:
    shutil.copytree(place.workspace, kept, symlinks=True)


def restore(place: Place, kept: Path, log: Path, raw: bytes) -> None:
    """All is as it was kept, but for the log."""
    shutil.rmtree(place.workspace)
    shutil.copytree(kept, place.workspace, symlinks=True)
    log.write_bytes(raw)


def unheard(told: Promises) -> Promises:
    """Of a client that asks for the same things, and has forgotten what it was told."""
    return Promises(tried=dict(told.tried))


def test_after_crashes_at_every_call_of_the_recovery_too(
    new_place: NewPlace, lived: tuple[Place, Promises, int]
) -> None:
    for die_at in some(range(1, lived[2] + 1)):
        place, told = new_place(), Promises()
        with about(f"it died at call {die_at}", place):
            live(place, told, die_at)
            starts = itertools.count(1)
            while not starts_and_dies_at(place, next(starts)):
                pass
            check(place, told)


def starts_and_dies_at(place: Place, call: int) -> bool:
    """Whether it lived."""
    try:
        place.start(die_at=call).kill()
    except Died:
        return False
    return True
