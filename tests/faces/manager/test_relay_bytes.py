"""Whatever a client sends and whatever an executor answers: it is the same on the other side, byte for byte."""

from __future__ import annotations

import string
import tempfile
from pathlib import Path

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.managerapi import Asked, Talk, head, open_fake_manager, read_answer

VISIBLE = "".join(char for char in string.printable if "!" <= char <= "~")
PATH = st.text([char for char in VISIBLE if char not in "?#"], max_size=30)
QUERY = st.none() | st.text([char for char in VISIBLE if char != "#"], max_size=30)
PIECES = st.lists(st.binary(max_size=200), max_size=6)


@settings(max_examples=60, deadline=None)
@given(PATH, QUERY, PIECES, PIECES, st.booleans(), st.booleans())
def test_target_and_both_bodies_pass_byte_for_byte(
    path: str, query: str | None, sent: list[bytes], answered: list[bytes], counted: bool, known: bool
) -> None:
    target = f"/v1/jobs/{path}" + ("" if query is None else f"?{query}")
    with tempfile.TemporaryDirectory() as directory:
        body, came, answer = trio.run(exchange, Path(directory), target, sent, answered, counted, known)
    assert (came.target, came.body) == (target, body)
    assert answer == b"".join(answered)


async def exchange(
    directory: Path, target: str, sent: list[bytes], answered: list[bytes], counted: bool, known: bool
) -> tuple[bytes, Asked, bytes]:
    async def play(talk: Talk, asked: Asked) -> None:
        asked.body = await talk.body()
        length = str(sum(map(len, answered)))
        await (talk.begin(content_length=length) if known else talk.begin(transfer_encoding="chunked"))
        for piece in filter(None, answered):
            await talk.piece(piece)
        await talk.end()

    body = b"".join(sent)
    framing = f"Content-Length: {len(body)}" if counted else "Transfer-Encoding: chunked"
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in sent if piece]
    async with open_fake_manager(directory) as manager:
        manager.executor.play = play
        _, token = await manager.create()
        async with await manager.call(head("POST", target, token, framing)) as stream:
            for piece in sent if counted else [*chunks, b"0\r\n\r\n"]:
                await stream.send_all(piece)
            with trio.fail_after(10):
                status, _, answer = await read_answer(stream)
        assert status == 200, answer
        [came] = manager.executor.asked
        return body, came, answer
