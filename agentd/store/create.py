"""A new session on the disk: all of it, or nothing. No trio here: a command that only makes a session starts fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from agentd.domain import Entry, Record
from agentd.store.files import disk, making_directory, write_atomic
from agentd.store.generations import begin_generation
from agentd.store.lines import encode_line

LOG_NAME = "log.ndjson"
Clock = Callable[[], int]  # epoch milliseconds


def epoch_ms() -> int:
    return time.time_ns() // 1_000_000


def number(entries: Iterable[Entry], after: int, ts: int) -> list[Record]:
    """Entries as the records behind position *after*."""
    return [
        Record(pos, ts, entry.job, entry.type, entry.data, entry.parent) for pos, entry in enumerate(entries, after + 1)
    ]


def create_log(
    directory: Path,
    entries: Sequence[Entry],
    *,
    clock: Clock = epoch_ms,
    fill: Callable[[Path], Sequence[Entry]] | None = None,
) -> Path:
    """A new session's *directory* with a log that holds *entries*, all of it synced; the log's path.

    *fill* gets the directory before it has its name, puts durably into it what it likes, and returns the entries that
    come behind the others. A crash leaves all of it or none, as does what *fill* raises. Raises StoreFailed, also if
    the directory is there already.
    """
    with disk("create the session"), making_directory(directory) as made:
        more = fill(made) if fill else ()
        write_atomic(made / LOG_NAME, b"".join(map(encode_line, number([*entries, *more], 0, clock()))))
        begin_generation(made / LOG_NAME, 0)
    return directory / LOG_NAME
