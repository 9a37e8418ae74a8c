"""Reading a session log: whole lines by position, through offsets that are in memory. It needs no lock and takes none.

A cursor is the last position that a reader has seen, with the generation of the log that it saw it in.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from agentd.domain import Record
from agentd.errors import StoreFailed
from agentd.store.files import disk
from agentd.store.generations import Generations, boot_id
from agentd.store.lines import Index, bare_line, damaged_notice, decode_line, decode_lines

READ_BYTES = 1 << 20  # what one read returns at most, unless one record alone is larger
SCAN_BYTES = 1 << 20


def scan(fd: int, index: Index, size: int) -> None:
    """Index what was appended to the file, which has *size* bytes by now. Raises OSError."""
    step = SCAN_BYTES
    while index.size < size:
        chunk = os.pread(fd, min(step, size - index.size), index.size)
        if index.take(chunk):
            step = SCAN_BYTES
        elif len(chunk) < step:
            return
        else:
            step *= 2  # a line, or a damaged place, that is longer than this


class LogView:
    """What readers see of a log: positions 1 to `last_pos`, without a gap. A damaged record reads as a notice."""

    def __init__(self, path: Path, fd: int, index: Index) -> None:
        self.path = path
        self._fd = fd
        self._index = index

    @property
    def last_pos(self) -> int:
        """0 while the log is empty."""
        return self._index.last_pos

    @property
    def size(self) -> int:
        """Bytes up to the end of the record at `last_pos`."""
        return self._index.size

    @property
    def generations(self) -> Generations:
        return Generations.load(self.path) or Generations(boot_id(), (0,))

    @property
    def generation(self) -> int:
        """From 1; goes with a position wherever one is handed out as a cursor. See `can_resume`."""
        return self.generations.current

    def can_resume(self, pos: int, generation: int | None = None) -> bool:
        """Whether a reader that has seen *pos* can go on behind it. If not, tell it to start over: a reset event.

        Without a *generation* only a cursor beyond the end is noticed.
        """
        return 0 <= pos <= self.last_pos and (generation is None or self.generations.kept(pos, generation))

    def read_lines(self, after: int, limit: int | None = None, max_bytes: int = READ_BYTES) -> bytes:
        """The records behind position *after* as lines of the file: at most *limit*, and at most *max_bytes* bytes
        unless the first alone is larger. Empty at the end. Raises StoreFailed."""
        last, offset, size = self._index.span(after, limit, max_bytes)
        raw = self._pread(offset, size)
        first = max(after, 0) + 1
        return b"".join(self._index.lines(raw, first, last)) if self._index.is_patched(first, last) else raw

    def read_json(self, after: int, limit: int | None = None, max_bytes: int = READ_BYTES) -> bytes:
        """The same without what protects them in the file: one JSON object a line, `Record`'s fields. Raises
        StoreFailed."""
        last, offset, size = self._index.span(after, limit, max_bytes)
        first, ts = max(after, 0) + 1, self._index.last_ts
        lines = self._index.lines(self._pread(offset, size), first, last)
        return b"".join(bare_line(line, pos, ts) for pos, line in enumerate(lines, first))

    def read(self, after: int, limit: int | None = None, max_bytes: int = READ_BYTES) -> list[Record]:
        """The same as records. There may be more: read again behind the last one. Raises StoreFailed."""
        last, offset, size = self._index.span(after, limit, max_bytes)
        first = max(after, 0) + 1
        raw = self._pread(offset, size)
        return decode_lines(raw, first, last - first + 1) or self._decode_each(raw, first, last)

    def records(self, after: int = 0) -> Iterator[Record]:
        """All records behind *after*, those included that are appended meanwhile. Memory stays bounded."""
        while records := self.read(after):
            yield from records
            after = records[-1].pos

    def line(self, pos: int) -> bytes:
        """One record's line with its newline; empty if there is no such position. Raises StoreFailed."""
        return self.read_lines(pos - 1, 1) if pos >= 1 else b""

    def _decode_each(self, raw: bytes, first: int, last: int) -> list[Record]:
        """One by one: some of them are patched, or were damaged since they were indexed."""
        lines = self._index.lines(raw, first, last) if last >= first else []
        ts = self._index.last_ts
        return [decode_line(line, pos) or damaged_notice(pos, ts) for pos, line in enumerate(lines, first)]

    def _pread(self, offset: int, size: int) -> bytes:
        try:
            raw = os.pread(self._fd, size, offset)
            while len(raw) < size and (more := os.pread(self._fd, size - len(raw), offset + len(raw))):
                raw += more
        except OSError as exc:
            raise StoreFailed(f"cannot read the session log: {exc.strerror}") from exc
        if len(raw) < size:
            raise StoreFailed("cannot read the session log: it is shorter than it was")
        return raw


class LogReader(LogView):
    """Reads a log that another process may be writing. It sees what was there at the last `refresh`."""

    def __init__(self, path: Path) -> None:
        """Raises StoreFailed if there is no such file."""
        super().__init__(path, -1, Index())
        self.refresh()

    def refresh(self, length: int | None = None) -> int:
        """Look at what was appended, up to *length* bytes as the writer announced them; the new last position.

        Without a length all whole lines count, and a writer whose disk is full may still take back the last of them. If
        a writer has replaced the file, to repair it, or cut it, all of it is indexed anew. Raises StoreFailed.
        """
        with disk("read the session log"):
            status = self.path.stat()
            if self._fd < 0 or status.st_ino != os.fstat(self._fd).st_ino or status.st_size < self.size:
                self._reopen()
            size = os.fstat(self._fd).st_size
            scan(self._fd, self._index, size if length is None else min(size, length))
        return self.last_pos

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _reopen(self) -> None:
        self.close()
        self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self._index = Index()
