"""One exchange over streams in memory: any bytes, in pieces of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair

from agentd.wire.exchange import Deadlines, Outgoing, Watch, Wire
from agentd.wire.failure import HttpFailed
from agentd.wire.incoming import Answer, WholeAnswer

GET = Outgoing("GET", "/", [("Host", "a.test")])
HEAD = b"HTTP/1.1 200 OK\r\nX-A: b\r\n"
ANSWERS = [
    HEAD + b"Content-Length: 6\r\n\r\nabcdef",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n3\r\ndef\r\n0\r\nT: x\r\n\r\n",
    HEAD + b"\r\nabcdef",
    b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 6\r\n\r\nabcdef",
]


class Socket:
    """What is at the bottom of a stream, as far as a connection knows."""

    def __init__(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False


async def exchange(pieces: Sequence[bytes], sock: Socket) -> WholeAnswer:
    """The answer of a server that sends these, each by itself, and hangs up."""
    ours, theirs = memory_stream_pair()
    wire = Wire(ours, cast("trio.socket.SocketType", sock))
    watch = Watch("GET a.test", Deadlines(math.inf, 60, 60))

    async def serve() -> None:
        for piece in pieces:
            await theirs.send_all(piece)
            await trio.sleep(0.1)
        await theirs.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        try:
            answer = Answer(await wire.begin(GET, watch), wire, watch)
            return await answer.whole(1000)
        finally:
            nursery.cancel_scope.cancel()


def run(pieces: Sequence[bytes], sock: Socket | None = None) -> WholeAnswer:
    try:
        return trio.run(exchange, pieces, sock or Socket(), clock=MockClock(autojump_threshold=0))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_may_be_cut_anywhere(answer: bytes) -> None:
    for cut in range(len(answer) + 1):
        assert run([answer[:cut], answer[cut:]]).body == b"abcdef"
    assert run([answer[i : i + 1] for i in range(len(answer))]).headers["x-a"] == "b"


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_ends_early_is_a_failure(answer: bytes) -> None:
    ends_by_itself = answer != ANSWERS[2]
    for cut in range(len(answer) - 1 if ends_by_itself else len(HEAD)):
        sock = Socket()
        with pytest.raises(HttpFailed) as failed:
            run([answer[:cut]], sock)
        assert failed.value.kind == "network"


@given(st.lists(st.binary(max_size=30), max_size=5), st.sampled_from([b"", b"HTTP/1.1 ", HEAD, *ANSWERS]))
@example([b"\r\n\r\n"], b"HTTP/1.1 200")
@example([b"HTTP/1.1 101 X\r\n\r\n"], b"")
def test_any_bytes_are_an_answer_or_a_failure(pieces: list[bytes], first: bytes) -> None:
    try:
        came = 200 <= run([first, *pieces]).status < 1000
    except HttpFailed as failed:
        came = str(failed).startswith("GET a.test: ") and len(str(failed)) < 400
    assert came
