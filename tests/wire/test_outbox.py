"""Frames of several senders on a connection that takes what it likes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import BinaryIO

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from agentd.wire.outbox import Outbox, Share
from agentd.wire.transport import Bytes


class Narrow:
    """A transport that takes *sizes* bytes at a time without waiting, and one at a time otherwise."""

    def __init__(self, sizes: Iterator[int]) -> None:
        self.deadline = math.inf
        self.taken = b""
        self.open = trio.Event()  # before it is set nothing is taken from who waits
        self.breaks = False
        self._sizes = sizes

    def is_taken_from(self) -> bool:
        return False

    async def receive(self, max_bytes: int) -> bytes:
        raise NotImplementedError

    def send_nowait(self, data: Bytes) -> int:
        if self.breaks:
            raise OSError("broken")
        sent = min(next(self._sizes, 0), len(data))
        self.taken += bytes(data[:sent])
        return sent

    async def send_all(self, data: Bytes) -> None:
        for at in range(len(data)):
            await self.open.wait()
            await trio.lowlevel.checkpoint()
            self.taken += bytes(data[at : at + 1])

    async def send_file(self, file: BinaryIO, start: int, end: int) -> None:
        raise NotImplementedError

    def end_sending(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


def narrow(*sizes: int) -> Narrow:
    return Narrow(iter(sizes))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=30), st.lists(st.tuples(st.booleans(), st.integers(1, 5)), max_size=12))
def test_frames_never_interleave_whoever_sends_them(sizes: list[int], frames: list[tuple[bool, int]]) -> None:
    trio.run(_send_all, sizes, frames)


async def _send_all(sizes: list[int], frames: list[tuple[bool, int]]) -> None:
    way = narrow(*sizes)
    way.open.set()
    outbox = Outbox(way)
    share = Share(outbox)
    made = [bytes([65 + number]) * size for number, (_, size) in enumerate(frames)]

    async def push() -> None:
        """As a reader of a feed does it."""
        for (shared, _), frame in zip(frames, made, strict=True):
            if shared and (sent := share.send_nowait(frame)) < len(frame):
                await share.send_all(frame[sent:])
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(push)
        for (shared, _), frame in zip(frames, made, strict=True):
            if not shared:
                nursery.start_soon(outbox.send, frame)
    assert sorted(way.taken) == sorted(b"".join(made))
    assert all(frame in way.taken for frame in made)
    assert not outbox.busy


async def test_who_comes_while_a_frame_is_unfinished_waits_for_its_rest(nursery: trio.Nursery) -> None:
    way = narrow(2)
    way.open.set()
    outbox = Outbox(way)
    share = Share(outbox)
    assert share.send_nowait(b"shared") == 2
    nursery.start_soon(outbox.send, b"PONG")
    await wait_all_tasks_blocked()
    assert way.taken == b"sh"
    await share.send_all(b"ared")
    await wait_all_tasks_blocked()
    assert way.taken == b"sharedPONG"


async def test_nothing_is_sent_without_waiting_while_somebody_waits(nursery: trio.Nursery) -> None:
    way = narrow(100)
    outbox = Outbox(way)
    nursery.start_soon(outbox.send, b"slow")
    await wait_all_tasks_blocked()
    assert Share(outbox).send_nowait(b"quick") == 0
    way.open.set()
    await wait_all_tasks_blocked()
    assert Share(outbox).send_nowait(b"quick") == 5
    assert way.taken == b"slowquick"


async def test_after_a_frame_that_was_not_finished_nothing_follows(nursery: trio.Nursery) -> None:
    outbox = Outbox(narrow())
    with trio.move_on_after(0):
        await outbox.send(b"cancelled")
    with pytest.raises(trio.BrokenResourceError):
        await outbox.send(b"after it")
    with pytest.raises(trio.BrokenResourceError):
        Share(outbox).send_nowait(b"after it")


async def test_who_waited_is_told_when_a_frame_is_left_unfinished(nursery: trio.Nursery) -> None:
    outbox = Outbox(narrow(1))
    share = Share(outbox)
    assert share.send_nowait(b"left") == 1
    async with trio.open_nursery() as waiting:

        async def wait() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await outbox.send(b"PONG")

        waiting.start_soon(wait)
        await wait_all_tasks_blocked()
        share.leave()


async def test_nothing_follows_the_last_frame(nursery: trio.Nursery) -> None:
    way = narrow()
    way.open.set()
    outbox = Outbox(way)
    await outbox.send(b"bye", last=True)
    with pytest.raises(trio.BrokenResourceError):
        await outbox.send(b"one more")
    assert way.taken == b"bye"


async def test_a_share_that_is_whole_leaves_without_a_trace(nursery: trio.Nursery) -> None:
    way = narrow(100)
    way.open.set()
    outbox = Outbox(way)
    share = Share(outbox)
    assert share.send_nowait(b"whole") == 5
    share.leave()
    await outbox.send(b"!")
    assert way.taken == b"whole!"


async def test_who_waits_is_told_when_the_connection_breaks(nursery: trio.Nursery) -> None:
    way = narrow(1)
    outbox = Outbox(way)
    share = Share(outbox)
    assert share.send_nowait(b"half") == 1

    async def wait() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await outbox.send(b"PONG")

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    way.breaks = True
    with pytest.raises(OSError, match="broken"):
        share.send_nowait(b"alf")
