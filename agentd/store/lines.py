"""Records as lines of NDJSON and back, and where each lies in its file. Bytes and values only: nothing is opened here.

A line is sealed: its last key, `crc`, is the CRC-32 of all before it, since a flipped byte may well leave valid JSON.
It is whole when it ends in a newline, its seal holds, it parses, and it has the position that its place in the file
calls for. Damage (a flipped byte, a zeroed block) may also join lines or split them, so what follows it is believed
again only from a whole line whose position the damaged bytes leave room for. Every position before that line is lost:
readers see a notice in its place, so that positions have no gap.

Of lines that are written in one piece all but the last say `more`: a piece whose end is missing was never announced.

The first versions wrote no seals. Their lines are told by their keys, which are those six and no other.
"""

from __future__ import annotations

import json
import zlib
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
_MORE = b',"more":true'
_SEAL = b',"crc":"'
_SEALED_BYTES = len(b',"crc":"01234567"}')
_SHORTEST_LINE = len(b'{"pos":1,"ts":0,"job":null,"type":"","data":{},"parent":null}\n')

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False).encode
_encode_ascii = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode


def encode_line(record: Record, *, more: bool = False) -> bytes:
    """One record as a line; *more* of them are written with it. Raises what `encode_json` does."""
    fields = {
        "pos": record.pos,
        "ts": record.ts,
        "job": record.job,
        "type": record.type,
        "data": record.data,
        "parent": record.parent,
    }
    return seal(encode_json(fields), more=more)


def seal(text: bytes, *, more: bool = False) -> bytes:
    """A JSON object, which has a key, as a line that tells whether it is damaged."""
    head = text[:-1] + _MORE if more else text[:-1]
    return b'%b%b%08x"}\n' % (head, _SEAL, zlib.crc32(head))


def is_sealed(line: bytes) -> bool:
    """Whether *line*, without its newline, has a seal, be it broken."""
    return line[-_SEALED_BYTES:-10] == _SEAL


def is_intact(line: bytes) -> bool:
    """Whether *line*, without its newline, is what was sealed."""
    return is_sealed(line) and b"%08x" % zlib.crc32(line[:-_SEALED_BYTES]) == line[-10:-2]


def says_more(line: bytes) -> bool:
    """Whether *line*, without its newline, is whole, and the piece that it is of goes on."""
    return line[-_SEALED_BYTES - len(_MORE) : -_SEALED_BYTES] == _MORE and is_intact(line)


def bare_line(line: bytes, pos: int, ts: int) -> bytes:
    """The line of *pos* without its seal, for who gets it in another way than by reading the file; the notice that *ts*
    goes with if it is damaged."""
    if is_intact(line[:-1]):
        return line[: -_SEALED_BYTES - 1].removesuffix(_MORE) + b"}\n"
    return line if decode_line(line[:-1], pos) else bare_line(encode_line(damaged_notice(pos, ts)), pos, ts)


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
    value = parse_line(line.removesuffix(b"\n"))
    return to_record(value) if value is not None and value["pos"] == pos else None


def decode_lines(raw: bytes, first: int, count: int) -> list[Record] | None:
    """The *count* records that *raw* holds, from position *first*; None if any of it is damaged."""
    lines = raw.split(b"\n")
    if len(lines) != count + 1 or lines.pop():
        return None
    values = _parse_lines(raw, lines, first)
    return None if values is None else [to_record(value) for value in values]


def parse_line(line: bytes) -> dict[str, Any] | None:
    """What *line*, without its newline, says; None if it is damaged."""
    value = _parse(line)
    return value if _is_record(value) and _is_believed(line, value) else None


def _parse_lines(raw: bytes, lines: Sequence[bytes], first: int) -> list[dict[str, Any]] | None:
    """The same for all *lines* of *raw*, which are from position *first* on; None if any is damaged."""
    # One call of the parser for all of them takes two thirds of the time of one each. No newline is inside a line: JSON
    # escapes it.
    values = _parse(b"[" + raw[:-1].replace(b"\n", b",") + b"]")
    if type(values) is not list or len(values) != len(lines):
        return None
    for pos, (line, value) in enumerate(zip(lines, values, strict=True), first):
        if not _is_record(value) or value["pos"] != pos or not _is_believed(line, value):
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


def _is_believed(line: bytes, value: dict[str, Any]) -> bool:
    return is_intact(line) or (len(value) == len(_KEYS) and not is_sealed(line))


@attrs.frozen
class Damage:
    """*size* bytes at *offset* are no lines. Positions *first* to *last* are lost (none where *last* is smaller)."""

    first: int
    last: int
    offset: int
    size: int


class Index:
    """Where each position of a log lies. It grows at the end; nothing in it is ever scanned again.

    One that begins behind *pos*, whose line ends at *size* and has the time *ts*, knows only what follows it.
    """

    def __init__(self, pos: int = 0, size: int = 0, ts: int = 0) -> None:
        self._ends = array("Q", bytes(8 * pos))  # [pos]: the offset after its line; [0] is where the first one begins
        self._ends.append(size)
        self._patches: dict[int, bytes] = {}  # lines that read otherwise than their bytes in the file
        self.damages: list[Damage] = []
        self.last_ts = ts

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

        Bytes that no whole line follows yet are left: the rest of a line or of a piece, or damage at the end.
        """
        whole = chunk[: chunk.rfind(b"\n") + 1]
        lines = whole.split(b"\n")[:-1]
        while lines and says_more(lines[-1]):
            lines.pop()
        if not lines:
            return 0
        whole = whole[: sum(map(len, lines)) + len(lines)]
        values = _parse_lines(whole, lines, self.last_pos + 1)
        if values is None:
            return self._take_damaged(lines)
        self.add([len(line) + 1 for line in lines], values[-1]["ts"])
        return len(whole)

    def _take_damaged(self, lines: Sequence[bytes]) -> int:
        taken = doubtful = 0
        for line in lines:
            value = parse_line(line)
            lost = -1 if value is None else value["pos"] - self.last_pos - 1
            # A position that was damaged into a larger one would take thousands of records with it if it were believed.
            if value is None or not 0 <= lost <= doubtful // _SHORTEST_LINE + bool(doubtful):
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
