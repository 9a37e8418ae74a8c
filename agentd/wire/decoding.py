"""Content codings of answers, taken off piece by piece: a few bytes can stand for gigabytes. No sockets here.

The rules: RFC 9110 (8.4.1), RFC 1952 (gzip), RFC 1950 and 1951 (deflate, which many servers send without the wrapper).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zlib import _Decompress as Inflate

ACCEPTED = "gzip, deflate"
PIECE_BYTES = 64 * 1024  # what one step makes at most, whatever went in

_GZIP, _ZLIB, _RAW = 31, 15, -15  # zlib's wbits


class BadCoding(Exception):
    """The text says what is wrong with the answer."""


class Decoder:
    """feed() it what came, take pieces until there is none, and finish() when nothing more comes."""

    def __init__(self, coding: str) -> None:
        self._gzip = coding != "deflate"
        self._inflate = zlib.decompressobj(_GZIP) if self._gzip else None
        self._rest = b""  # what has not gone in yet
        self._fed = False

    def feed(self, data: bytes) -> None:
        self._rest += data
        self._fed = True

    def piece(self) -> bytes:
        """b"": more has to be fed. Raises BadCoding for what is not of that coding."""
        while (inflate := self._member()) is not None:
            try:
                made = inflate.decompress(self._rest, PIECE_BYTES)
            except zlib.error as exc:
                raise BadCoding("the answer is not compressed in the way it says") from exc
            self._rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
            if made or not inflate.eof:
                return made
        return b""

    def finish(self) -> None:
        """Raises BadCoding if it was not the whole."""
        if self._fed and (self._inflate is None or not self._inflate.eof):
            raise BadCoding("the compressed answer breaks off")

    def _member(self) -> Inflate | None:
        """What takes the rest. A gzip file may be several in a row; what else follows an end is left out."""
        if self._inflate is None and len(self._rest) >= 2:  # deflate: two bytes tell which of its two forms it is
            wrapped = self._rest[0] & 0x0F == 8 and int.from_bytes(self._rest[:2], "big") % 31 == 0
            self._inflate = zlib.decompressobj(_ZLIB if wrapped else _RAW)
        elif self._inflate is not None and self._inflate.eof:
            if not self._gzip or not self._rest.startswith(b"\x1f"):
                self._rest = b""
                return None
            self._inflate = zlib.decompressobj(_GZIP)
        return self._inflate


def decoder_for(content_encoding: str) -> Decoder | None:
    """None: nothing to decode. Raises BadCoding for what we did not ask for."""
    codings = [coding.strip() for coding in content_encoding.lower().split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in ("gzip", "x-gzip", "deflate"):
        raise BadCoding(f"the answer is compressed in a way that was not asked for: {codings[0][:20]}")
    return Decoder(codings[0])
