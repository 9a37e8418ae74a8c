"""Handshakes and frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from agentd.wire.frames import (
    PING,
    BadHandshake,
    binary_frame,
    close_frame,
    is_close,
    is_handshake,
    text_frame,
    upgrade,
)
from agentd.wire.messages import Request
from tests.wire.rawsocket import HANDSHAKE, KEY


async def handler(socket: object) -> None:
    """Is never called here."""


def handshake_of(method: str = "GET", **changed: str | None) -> Request:
    fields = {**HANDSHAKE, **{name.replace("_", "-"): value for name, value in changed.items()}}
    return Request(method, "/ws", {name: value for name, value in fields.items() if value is not None})


def client() -> Connection:
    return Connection(ConnectionType.CLIENT)


def test_a_good_handshake_is_an_upgrade() -> None:
    answer = upgrade(handshake_of(), handler)
    assert (answer.key, answer.status) == (KEY, 101)


def test_a_handshake_may_have_its_tokens_in_any_case_and_among_others() -> None:
    assert upgrade(handshake_of(Upgrade="h2c, WebSocket", Connection="keep-alive, UPGRADE"), handler).status == 101


@pytest.mark.parametrize(
    ("request_", "status", "field"),
    [
        (handshake_of(Upgrade=None), 426, ("Upgrade", "websocket")),
        (handshake_of(Upgrade="h2c"), 426, ("Upgrade", "websocket")),
        (handshake_of("POST"), 400, None),
        (handshake_of("HEAD"), 400, None),
        (handshake_of(Connection="close"), 400, None),
        (handshake_of(Connection=None), 400, None),
        (handshake_of(Sec_WebSocket_Version=None), 400, ("Sec-WebSocket-Version", "13")),
        (handshake_of(Sec_WebSocket_Version="8"), 426, ("Sec-WebSocket-Version", "13")),
        (handshake_of(Sec_WebSocket_Version="13, 8"), 426, ("Sec-WebSocket-Version", "13")),
        (handshake_of(Sec_WebSocket_Key=None), 400, None),
        (handshake_of(Sec_WebSocket_Key="short"), 400, None),
        (handshake_of(Sec_WebSocket_Key=f"{KEY}, {KEY}"), 400, None),
    ],
)
def test_another_handshake_is_refused_and_says_how(
    request_: Request, status: int, field: tuple[str, str] | None
) -> None:
    with pytest.raises(BadHandshake) as caught:
        upgrade(request_, handler)
    assert caught.value.status == status
    assert field is None or field in caught.value.headers


def test_a_plain_request_is_no_handshake() -> None:
    assert is_handshake(handshake_of(Sec_WebSocket_Key=None))
    assert not is_handshake(handshake_of(Upgrade=None))


@given(st.text(max_size=400) | st.sampled_from([125, 126, 65535, 65536]).map("x".__mul__))
def test_a_text_frame_is_what_a_library_reads_as_that_text(text: str) -> None:
    library = client()
    library.receive_data(text_frame(text.encode()))
    pieces = list(library.events())
    assert all(isinstance(piece, TextMessage) for piece in pieces)
    assert "".join(piece.data for piece in pieces if isinstance(piece, TextMessage)) == text
    assert isinstance(pieces[-1], TextMessage)
    assert pieces[-1].message_finished


@given(st.binary(max_size=300))
def test_a_binary_frame_is_what_a_library_reads_as_those_bytes(data: bytes) -> None:
    library = client()
    library.receive_data(binary_frame(data))
    assert list(library.events()) == [BytesMessage(data=data, frame_finished=True, message_finished=True)]


@given(st.integers(3000, 4999), st.text())
def test_a_close_frame_has_a_reason_of_whole_characters(code: int, reason: str) -> None:
    library = client()
    frame = close_frame(code, reason)
    library.receive_data(frame)
    (event,) = library.events()
    assert isinstance(event, CloseConnection)
    assert event.code == code
    assert reason.startswith(event.reason or "")
    assert is_close(frame)


def test_a_ping_is_no_close() -> None:
    library = client()
    library.receive_data(PING)
    assert list(library.events()) == [Ping(payload=b"")]
    assert not is_close(PING)
