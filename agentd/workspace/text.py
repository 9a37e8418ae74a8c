"""Bytes of a file as text and back again, unchanged where nobody changed them. Standard library only: search workers
import this. A file is binary when git says so: a NUL among its first 8000 bytes (and no byte order mark)."""

from __future__ import annotations

PROBE_BYTES = 8000

_BOMS = (
    (b"\xff\xfe\x00\x00", None),  # UTF-32: binary to us; it must be asked first, it begins like UTF-16
    (b"\x00\x00\xfe\xff", None),
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


class Encoding:
    """How a text file is written: its byte order mark and its codec."""

    __slots__ = ("bom", "codec")

    def __init__(self, bom: bytes, codec: str) -> None:
        self.bom = bom
        self.codec = codec

    def decode(self, data: bytes) -> str:
        """The text without the mark. Bytes that are no UTF-8 become lone surrogates, which encode() turns back.
        Raises UnicodeDecodeError for half a UTF-16 unit."""
        return data[len(self.bom) :].decode(self.codec, "surrogateescape" if self.codec == "utf-8" else "surrogatepass")

    def encode(self, text: str) -> bytes:
        """The inverse of decode. Raises UnicodeEncodeError for lone surrogates that no byte stands behind."""
        return self.bom + text.encode(self.codec, "surrogateescape" if self.codec == "utf-8" else "surrogatepass")


UTF_8 = Encoding(b"", "utf-8")


def sniff(head: bytes) -> Encoding | None:
    """The encoding of a file that begins with *head* (PROBE_BYTES of it are enough); None if it is binary."""
    for bom, codec in _BOMS:
        if head.startswith(bom):
            return None if codec is None else Encoding(bom, codec)
    return None if b"\0" in head[:PROBE_BYTES] else UTF_8


def printable(text: str) -> str:
    """*text* as it can be sent: what stands for a byte that is no UTF-8 becomes U+FFFD."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
