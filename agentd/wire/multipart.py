"""multipart/form-data as it comes: bytes in, parts out. No sockets and no trio here. The rules: RFC 7578, RFC 2046 5.1.

Whatever pieces the body comes in, the parts are the same; nothing of a part's content is kept here but what may be the
beginning of a boundary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

import attrs

from agentd.errors import InvalidRequest

MAX_HEAD_BYTES = 16 * 1024  # of the header of one part
MAX_PARTS = 1000
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_PARAMETER = re.compile(r';\s*([!#$&+\-^_`|~\w.]+\*?)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"\s]*))', re.ASCII)


class BadMultipart(InvalidRequest):
    """The body is not what its Content-Type says."""

    def __init__(self, problem: str) -> None:
        super().__init__([f"not multipart/form-data: {problem} @ $"])


@attrs.frozen
class Part:
    """The beginning of one. *filename* None: it is no file; *media_type* "": it does not say."""

    name: str
    filename: str | None
    media_type: str


Event = Part | bytes  # of a part the beginning, and then its content in pieces


def boundary_of(content_type: str) -> str | None:
    """Of a Content-Type; None where that is no multipart/form-data. Raises BadMultipart for one without a boundary."""
    kind, _, _ = content_type.partition(";")
    if kind.strip().lower() != "multipart/form-data":
        return None
    boundary = parameters(content_type).get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise BadMultipart("its Content-Type has no usable boundary")
    return boundary


def parameters(field: str) -> dict[str, str]:
    """Those of a header field, by name in lower case. Quoted pairs are undone where they stand for a quote: browsers
    send backslashes of file names as they are. A `filename*` is decoded."""
    found: dict[str, str] = {}
    for name, quoted, bare in _PARAMETER.findall(field):
        value = re.sub(r'\\(["\\])', r"\1", quoted) if quoted else bare
        found.setdefault(name.lower(), value)
    charset, _, rest = found.get("filename*", "").partition("'")
    if charset.lower() == "utf-8":
        found["filename"] = unquote(rest.partition("'")[2], errors="replace")
    return found


class MultipartParser:
    """feed() pieces of the body, then finish(). Both raise BadMultipart."""

    def __init__(self, boundary: str) -> None:
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._buffer = bytearray(b"\r\n")  # so that the first delimiter is like the others
        self._state = "preamble"  # then: delimiter, head, content, end
        self._parts = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """To be consumed before the next call."""
        self._buffer += data
        step = True
        while step:
            step = False
            for event in self._step():
                if event is not None:
                    yield event
                step = True

    def finish(self) -> None:
        if self._state != "end":
            raise BadMultipart("it ends in the middle")

    def _step(self) -> Iterator[Event | None]:
        """What can be told now; something is yielded as long as there is more to do."""
        match self._state:
            case "preamble" | "content":
                yield from self._content()
            case "delimiter":
                yield from self._after_delimiter()
            case "head":
                yield from self._head()
            case _:
                self._buffer.clear()  # an epilogue says nothing

    def _content(self) -> Iterator[Event | None]:
        at = self._buffer.find(self._delimiter)
        end = at if at != -1 else max(len(self._buffer) - len(self._delimiter) + 1, 0)
        piece = bytes(self._buffer[:end])
        del self._buffer[: end if at == -1 else end + len(self._delimiter)]
        if piece and self._state == "content":
            yield piece
        if at != -1:
            self._state = "delimiter"
            yield None

    def _after_delimiter(self) -> Iterator[Event | None]:
        if self._buffer.startswith(b"--"):
            self._state = "end"
            yield None
        elif (end := self._buffer.find(b"\r\n")) != -1:
            if self._buffer[:end].strip(b" \t"):
                raise BadMultipart("there is something behind a boundary")
            del self._buffer[:end]  # the line's end stays: a part without a header begins with an empty line
            self._state = "head"
            yield None
        elif len(self._buffer) > MAX_HEAD_BYTES:
            raise BadMultipart("there is something behind a boundary")

    def _head(self) -> Iterator[Event | None]:
        end = self._buffer.find(b"\r\n\r\n")
        if end > MAX_HEAD_BYTES or (end == -1 and len(self._buffer) > MAX_HEAD_BYTES):
            raise BadMultipart(f"the header of a part is longer than {MAX_HEAD_BYTES} bytes")
        if end == -1:
            return
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise BadMultipart(f"it has more than {MAX_PARTS} parts")
        part = _part(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        self._state = "content"
        yield part


def _part(head: bytes) -> Part:
    fields: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if line and not colon:
            raise BadMultipart("the header of a part has a line that is none")
        fields.setdefault(name.strip().lower(), value.strip())
    disposition = fields.get("content-disposition", "")
    told = parameters(disposition)
    if not disposition.lower().startswith("form-data") or "name" not in told:
        raise BadMultipart("a part does not say its name")
    return Part(told["name"], told.get("filename"), fields.get("content-type", ""))
