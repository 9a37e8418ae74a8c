"""What a command says, however much: text for people as it comes, its head and tail for the model, the rest on disk."""

from __future__ import annotations

import codecs
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

SPOOL_LIMIT = 32 << 20  # bytes of one command's output that are kept on disk
LIVE_LIMIT = 1 << 18  # characters of one command's output that are shown while it runs
LIVE_END = "\n[there is more output than is shown live]\n"


class Output:
    """Takes bytes with feed(), then finish(). At most *limit* characters are kept in memory, half of them the last.

    Once there are more, the whole goes to a file that has no name, so that a crash leaves none behind. Bytes that are
    not UTF-8 become U+FFFD in text and stay what they are in the file.
    """

    def __init__(self, limit: int, on_text: Callable[[str], object]) -> None:
        self.characters = 0
        self.spooling = False
        self.spooled = 0  # bytes
        self.spool_cut = False  # the file is not the whole: it was too much, or the disk refused
        self._half = limit // 2
        self._on_text = on_text
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._raw = bytearray()  # all of it, until there is a file
        self._head = ""
        self._tail = ""
        self._file: IO[bytes] | None = None

    @property
    def whole(self) -> str | None:
        """All of it as text, or None when there was more than the limit."""
        return None if self.characters > 2 * self._half else self._head + self._tail

    @property
    def head(self) -> str:
        return self._head

    @property
    def tail(self) -> str:
        return self._tail

    @property
    def path(self) -> Path | None:
        """The file, once there is one. The name is good while this object is open."""
        return Path(f"/dev/fd/{self._file.fileno()}") if self._file is not None else None

    def feed(self, data: bytes) -> None:
        self._keep(self._decoder.decode(data), data)

    def finish(self) -> None:
        self._keep(self._decoder.decode(b"", final=True), b"")
        if self._file is not None:
            self._file.seek(0)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _keep(self, text: str, data: bytes) -> None:
        self._show(text)
        self.characters += len(text)
        room = self._half - len(self._head)
        self._head += text[:room]
        self._tail = (self._tail + text[room:])[-self._half :]
        if self.spooling:
            self._spool(data)
            return
        self._raw += data
        if self.characters > 2 * self._half:
            self.spooling = True
            self._spool(self._raw)
            self._raw = bytearray()

    def _show(self, text: str) -> None:
        if text and self.characters < LIVE_LIMIT:
            rest = LIVE_LIMIT - self.characters
            self._on_text(text if len(text) <= rest else text[:rest] + LIVE_END)

    def _spool(self, data: bytes | bytearray) -> None:
        """A write to the page cache, so it may be made on the event loop."""
        if self.spool_cut:
            return
        part = data[: SPOOL_LIMIT - self.spooled]
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="agentd-output-", buffering=0)  # noqa: SIM115  # see close()
            self.spooled += self._file.write(part)
        except OSError:
            self.spool_cut = True  # a full disk: the command goes on, its middle is lost
        self.spool_cut |= len(part) < len(data)
