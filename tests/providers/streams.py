"""Playing an answer's bytes to a decoder, cut at any place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from agentd.providers.assemble import Assembler
from agentd.providers.failures import ServiceFailed, Target
from agentd.providers.protocol import StreamEvent

TARGET = Target("the service", "some-model")


class Decoder(Protocol):
    def feed(self, data: bytes) -> Iterator[StreamEvent]: ...
    def close(self) -> Iterator[StreamEvent]: ...


Played = tuple[list[StreamEvent], str]  # events, and how it failed, if it did


def play(make: Callable[[Target], Decoder], pieces: Iterable[bytes]) -> Played:
    """What came, up to the failure."""
    decoder = make(TARGET)
    events: list[StreamEvent] = []
    try:
        for piece in pieces:
            for event in decoder.feed(piece):
                events.append(event)  # noqa: PERF402 (extend() would lose what came before a failure)
        for event in decoder.close():
            events.append(event)  # noqa: PERF402
    except ServiceFailed as exc:
        return events, f"{type(exc).__name__}: {exc.detail}"
    return events, ""


def at_every_cut(make: Callable[[Target], Decoder], data: bytes) -> Played:
    """The outcome, which is the same wherever the bytes are cut in two, and one byte at a time."""
    whole = play(make, [data])
    for cut in range(1, len(data)):
        assert play(make, [data[:cut], data[cut:]]) == whole, cut
    assert play(make, [bytes([byte]) for byte in data]) == whole
    return whole


def assembled(events: Iterable[StreamEvent]) -> Assembler:
    assembler = Assembler()
    for event in events:
        assembler.feed(event)
    return assembler


def data_lines(*values: Any) -> bytes:
    """As Server-Sent Events without names; text stands for itself."""
    texts = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values)
    return "".join(f"data: {text}\n\n" for text in texts).encode()
