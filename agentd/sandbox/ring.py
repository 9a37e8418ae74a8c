"""The latest of what a command says, in a file of bounded size, for who asks now and then what is new."""

from __future__ import annotations

import os
import tempfile

import attrs

RING_BYTES = 8 << 20


@attrs.frozen
class Unread:
    data: bytes
    lost: int  # bytes before them that nobody has read and that are gone


class Ring:
    """Takes bytes without end and keeps the last *size* of them in a file that has no name, so that a crash leaves
    none behind. Reading and writing are the page cache's business, so they may be done on the event loop.
    Raises OSError if there can be no such file."""

    def __init__(self, size: int = RING_BYTES) -> None:
        self._size = size
        self._file = tempfile.TemporaryFile(prefix="agentd-ring-", buffering=0)  # noqa: SIM115  # see close()
        self._written = 0  # bytes, ever; byte n is at n % size
        self._read = 0
        self._floor = 0  # what is before it is gone, because the disk refused it
        self._seen = self._looked_at = 0  # how much was written at the last passed(), at the last unread()

    @property
    def has_news(self) -> bool:
        """Whether anything was written since the reading before the last passed(), which need not have passed all."""
        return self._written > self._seen

    def write(self, data: bytes) -> None:
        """A disk that refuses loses what has not been read, and nothing else."""
        self._written += len(data)
        kept = data[-self._size :]
        at = (self._written - len(kept)) % self._size
        to_the_end = self._size - at
        try:
            self._pwrite(kept[:to_the_end], at)
            self._pwrite(kept[to_the_end:], 0)
        except OSError:
            self._floor = self._written

    def unread(self) -> Unread:
        """What is new. It is new until it is passed()."""
        self._looked_at = self._written
        start = max(self._read, self._floor, self._written - self._size)
        at, count = start % self._size, self._written - start
        descriptor, to_the_end = self.fileno(), self._size - at
        data = os.pread(descriptor, min(count, to_the_end), at) + os.pread(descriptor, max(count - to_the_end, 0), 0)
        return Unread(data, start - self._read)

    def passed(self, count: int) -> None:
        """So many bytes of those that were new have been read, lost ones included."""
        self._read += count
        self._seen = self._looked_at

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()

    def _pwrite(self, data: bytes, at: int) -> None:
        if os.pwrite(self.fileno(), data, at) < len(data):
            raise OSError("a short write")
