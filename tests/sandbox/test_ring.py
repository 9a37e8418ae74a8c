"""The latest of what a command says, in bounded space."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.sandbox.ring import Ring, Unread


@pytest.fixture
def ring() -> Iterator[Ring]:
    with closing(Ring(8)) as one:
        yield one


def test_what_was_written_is_new_until_it_is_passed(ring: Ring) -> None:
    ring.write(b"abc")
    assert ring.unread() == ring.unread() == Unread(b"abc", 0)
    ring.passed(2)
    assert ring.unread() == Unread(b"c", 0)
    ring.passed(1)
    assert (ring.unread(), ring.has_news) == (Unread(b"", 0), False)


def test_of_too_much_the_last_is_kept_and_the_rest_is_counted(ring: Ring) -> None:
    ring.write(b"0123456789")
    assert ring.unread() == Unread(b"23456789", 2)
    ring.passed(2 + 3)
    ring.write(b"ab")
    assert ring.unread() == Unread(b"56789ab", 0)


def test_what_is_left_of_what_was_read_is_no_news(ring: Ring) -> None:
    ring.write(b"abc")
    ring.unread()
    assert ring.has_news
    ring.passed(1)
    assert not ring.has_news
    ring.write(b"d")
    assert (ring.has_news, ring.unread()) == (True, Unread(b"bcd", 0))


def test_what_is_written_while_something_is_read_stays_new(ring: Ring) -> None:
    ring.write(b"abc")
    news = ring.unread()
    ring.write(b"0123456789")
    ring.passed(news.lost + len(news.data))
    assert ring.unread() == Unread(b"23456789", 2)


def test_a_disk_that_refuses_loses_what_was_not_read_and_the_next_is_kept(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring.write(b"ab")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda *_: 0)
        ring.write(b"cd")
    assert (ring.has_news, ring.unread()) == (True, Unread(b"", 4))
    ring.write(b"ef")
    assert ring.unread() == Unread(b"ef", 4)


def test_the_file_has_no_name_and_never_more_than_its_size(ring: Ring) -> None:
    for _ in range(100):
        ring.write(b"x" * 5)
    assert os.fstat(ring.fileno()).st_size == 8
    assert "(deleted)" in str(Path(f"/proc/self/fd/{ring.fileno()}").readlink())


@given(steps=st.lists(st.one_of(st.binary(max_size=12), st.integers(0, 12)), max_size=20), size=st.integers(1, 9))
def test_it_reads_as_the_end_of_all_that_was_written(steps: list[bytes | int], size: int) -> None:
    written, read = b"", 0
    with closing(Ring(size)) as ring:
        for step in steps:
            if isinstance(step, bytes):
                ring.write(step)
                written += step
            else:
                count = min(step, len(written) - read)
                ring.passed(count)
                read += count
            lost = max(len(written) - size - read, 0)
            assert ring.unread() == Unread(written[read + lost :], lost)
