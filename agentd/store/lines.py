"""Records as lines of NDJSON and back, and where each lies in its file. Bytes and values only: nothing is opened here.

A line is whole when it ends in a newline, parses, and has the position that its place in the file calls for. Damage (a
flipped byte, a zeroed block) may also join lines or split them, so what follows it is believed again only from a whole
line whose position the damaged bytes leave room for. Every position before that line is lost: readers see a notice in
its place, so that positions have no gap.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import attrs

from agentd.domain import Record
from agentd.errors import StoreFailed

MAX_DEPTH = 200  # of nested lists and objects: Python's parser gives up at about 900, sooner on a deep stack
DAMAGED = "RECORD_DAMAGED"  # the code of the notice that stands for a lost record
_KEYS = frozenset(("pos", "ts", "job", "type", "data", "parent"))  # a later version may write more
_SHORTEST_LINE = len(b'{"pos":1,"ts":0,"job":null,"type":"","data":{},"parent":null}\n')

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False).encode
_encode_ascii = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode


def encode_line(record: Record) -> bytes:
    """One record as a line. Raises what `encode_json` does."""
    fields = {
        "pos": record.pos,
        "ts": record.ts,
        "job": record.job,
        "type": record.type,
        "data": record.data,
        "parent": record.parent,
    }
    return encode_json(fields) + b"\n"


def encode_json(value: Any) -> bytes:
    """Compact JSON on one line, in UTF-8. Lone surrogates survive as escapes; NaN and infinities become null.

    Raises StoreFailed for what is nested deeper than MAX_DEPTH, since it might not be read back; TypeError or
    ValueError for what JSON cannot say at all.
    """
    try:
        text = _encode(value)
        encoded = text.encode()
    except (ValueError, RecursionError):
        check_depth(value)
        text = _encode_ascii(_without_nan(value))
        encoded = text.encode()
    if text.count("{") + text.count("[") > MAX_DEPTH:  # few lines have that many brackets, fewer that deep
        check_depth(value)
    return encoded


def check_depth(value: Any) -> None:
    """Raises StoreFailed if *value* nests deeper than MAX_DEPTH."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent) if isinstance(child, dict | list | tuple)]
        if not level:
            return
    raise StoreFailed(f"a record is nested deeper than {MAX_DEPTH} levels")


def _children(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list | tuple) else ()


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def damaged_notice(pos: int, ts: int) -> Record:
    """What a reader sees where a record is lost."""
    text = f"Record {pos} of this log was damaged. When it is repaired, what is left of it is in the quarantine file."
    return Record(pos, ts, None, "notice", {"level": "error", "text": text, "code": DAMAGED})


def decode_line(line: bytes, pos: int) -> Record | None:
    """The record at *pos*; None if *line* is damaged or has another position."""
    value = _parse(line)
    return to_record(value) if _is_record(value) and value["pos"] == pos else None


def decode_lines(raw: bytes, first: int, count: int) -> list[Record] | None:
    """The *count* records that *raw* holds, from position *first*; None if any of it is damaged."""
    values = _parse_lines(raw, first, count)
    return None if values is None else [to_record(value) for value in values]


def _parse_lines(raw: bytes, first: int, count: int) -> list[dict[str, Any]] | None:
    # One call of the parser for all of them takes two thirds of the time of one each. No newline is inside a line: JSON
    # escapes it.
    values = _parse(b"[" + raw[:-1].replace(b"\n", b",") + b"]")
    if type(values) is not list or len(values) != count or not raw.endswith(b"\n"):
        return None
    for pos, value in enumerate(values, first):
        if not _is_record(value) or value["pos"] != pos:
            return None
    return values


def to_record(value: dict[str, Any]) -> Record:
    return Record(value["pos"], value["ts"], value["job"], value["type"], value["data"], value["parent"])


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode())  # not json.loads(raw): it would guess at UTF-16
    except (ValueError, RecursionError):
        return None


def _is_record(value: Any) -> bool:
    return (
        type(value) is dict
        and value.keys() >= _KEYS
        and type(value["pos"]) is int
        and type(value["ts"]) is int
        and type(value["type"]) is str
        and type(value["data"]) is dict
        and (value["job"] is None or type(value["job"]) is str)
        and (value["parent"] is None or type(value["parent"]) is str)
    )


@attrs.frozen
class Damage:
    """*size* bytes at *offset* are no lines. Positions *first* to *last* are lost (none where *last* is smaller)."""

    first: int
    last: int
    offset: int
    size: int


class Index:
    """Where each position of a log lies. It grows at the end; nothing in it is ever scanned again."""

    def __init__(self) -> None:
        self._ends = array("Q", [0])  # [pos]: the offset after its line; [0] is where the first one begins
        self._patches: dict[int, bytes] = {}  # lines that read otherwise than their bytes in the file
        self.damages: list[Damage] = []
        self.last_ts = 0

    @property
    def last_pos(self) -> int:
        return len(self._ends) - 1

    @property
    def size(self) -> int:
        """Bytes of the file that are indexed."""
        return self._ends[-1]

    def add(self, lengths: Sequence[int], ts: int) -> None:
        """Whole lines that follow what is there, by their lengths with the newline."""
        end = self._ends[-1]
        for length in lengths:
            end += length
            self._ends.append(end)
        self.last_ts = ts

    def span(self, after: int, limit: int | None, max_bytes: int) -> tuple[int, int, int]:
        """(last position, offset, size) of what follows *after*: at most *limit* records, and *max_bytes* unless the
        first one alone is larger."""
        after = min(max(after, 0), self.last_pos)
        last = self.last_pos if limit is None else min(after + max(limit, 0), self.last_pos)
        start = self._ends[after]
        if self._ends[last] - start > max_bytes:
            last = max(bisect_right(self._ends, start + max_bytes, after, last) - 1, after + 1)
        return last, start, self._ends[last] - start

    def is_patched(self, first: int, last: int) -> bool:
        return bool(self._patches) and any(first <= pos <= last for pos in self._patches)

    def lines(self, raw: bytes, first: int, last: int) -> list[bytes]:
        """The lines of positions *first* to *last*, whose bytes in the file are *raw*."""
        base = self._ends[first - 1]
        cut = [raw[self._ends[pos - 1] - base : self._ends[pos] - base] for pos in range(first, last + 1)]
        return [self._patches.get(pos, line) for pos, line in enumerate(cut, first)]

    def take(self, chunk: bytes) -> int:
        """Index the whole lines of *chunk*, bytes of the file from `size` on. How many bytes that took.

        Bytes that no whole line follows yet are left: the rest of a line, or damage at the end.
        """
        whole = chunk[: chunk.rfind(b"\n") + 1]
        lines = whole.split(b"\n")[:-1]
        if not lines:
            return 0
        values = _parse_lines(whole, self.last_pos + 1, len(lines))
        if values is None:
            return self._take_damaged(lines)
        self.add([len(line) + 1 for line in lines], values[-1]["ts"])
        return len(whole)

    def _take_damaged(self, lines: Sequence[bytes]) -> int:
        taken = doubtful = 0
        for line in lines:
            value = _parse(line)
            lost = value["pos"] - self.last_pos - 1 if _is_record(value) else -1
            # A position that was damaged into a larger one would take thousands of records with it if it were believed.
            if not 0 <= lost <= doubtful // _SHORTEST_LINE + bool(doubtful):
                doubtful += len(line) + 1
                continue
            if doubtful:
                self._patch(lost, doubtful)
            self._take_after_damage(line, value, doubtful if not lost else 0)
            taken += doubtful + len(line) + 1
            doubtful = 0
        return taken

    def _patch(self, lost: int, size: int) -> None:
        """*size* damaged bytes stand for *lost* records."""
        first = self.last_pos + 1
        self.damages.append(Damage(first, first + lost - 1, self.size, size))
        for pos in range(first, first + lost):
            self._patches[pos] = encode_line(damaged_notice(pos, self.last_ts))
            self.add([size if pos == first else 0], self.last_ts)

    def _take_after_damage(self, line: bytes, value: dict[str, Any], extra: int) -> None:
        """*extra* bytes of damage lie before the line and stand for no record: they become part of its place."""
        if extra:
            self._patches[value["pos"]] = line + b"\n"
        self.add([extra + len(line) + 1], value["ts"])
