"""Read: a file of the workspace as numbered lines, an image as an image, a notebook as cells."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import attrs
import trio

from agentd.domain import Image, Text, ToolClass
from agentd.errors import ToolFailed
from agentd.tools import notebook
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import arg, input_schema, parse, subject
from agentd.workspace.files import open_for_reading
from agentd.workspace.filetypes import image_type
from agentd.workspace.paths import shown
from agentd.workspace.text import PROBE_BYTES, sniff

DEFAULT_LINES = 2000
MAX_LINE_CHARACTERS = 2000
MAX_CHARACTERS = 200_000  # of one answer
MAX_IMAGE_BYTES = 3_750_000  # 5 MB as base64, which is what model services take
MAX_WHOLE_BYTES = 64 << 20  # of files that can only be read whole: notebooks and UTF-16
COUNTED_BYTES = 256 << 20  # how far on the lines after the last one shown are counted

_CHUNK_BYTES = 1 << 18


@attrs.frozen
class ReadInput:
    file_path: str = arg("The file: absolute, or relative to the workspace")
    offset: int | None = arg("The line to start at, from 1", default=None)
    limit: int | None = arg(f"How many lines to read; {DEFAULT_LINES} if not given", default=None)


class Read:
    name = "Read"
    description = (
        "Read a file. Text comes as lines numbered from 1 with a tab after the number, "
        f"{DEFAULT_LINES} lines if no limit is given and {MAX_LINE_CHARACTERS} characters of each; offset and limit "
        "read other parts. Images (PNG, JPEG, GIF, WebP) are shown, notebooks (.ipynb) come as cells with their output."
    )
    input_schema: Mapping[str, Any] = input_schema(ReadInput)
    tool_class = ToolClass.READ

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "file_path")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(ReadInput, call_input)
        if (asked.offset or 0) < 0 or (asked.limit is not None and asked.limit < 1):
            raise ToolFailed("offset counts lines from 1, and limit has to be at least 1")
        path = context.resolve(asked.file_path)
        return await trio.to_thread.run_sync(_read, path, context.workspace, asked)


def _read(path: Path, workspace: Path, asked: ReadInput) -> ToolOutcome:
    with open_for_reading(path, workspace) as raw:
        file = io.BufferedReader(raw, _CHUNK_BYTES)  # type: ignore[type-var]  # a FileIO, which typeshed calls BinaryIO
        head = file.peek(PROBE_BYTES)
        media_type = image_type(head)
        if media_type:
            return _image(file, media_type, shown(path, workspace))
        text, note = _as_utf8(file, head, path, shown(path, workspace))
        return _numbered(text, max(asked.offset or 1, 1), asked.limit or DEFAULT_LINES, note)


def _image(file: BinaryIO, media_type: str, name: str) -> ToolOutcome:
    data = file.read(MAX_IMAGE_BYTES + 1)
    if len(data) > MAX_IMAGE_BYTES:
        raise ToolFailed(f"{name} is an image of more than {MAX_IMAGE_BYTES} bytes; make a smaller copy and read that")
    image = Image(media_type, base64.b64encode(data).decode("ascii"))
    return ToolOutcome((image,), f"read an image of {len(data)} bytes")


def _as_utf8(file: BinaryIO, head: bytes, path: Path, name: str) -> tuple[BinaryIO, str]:
    """The file as UTF-8 without a byte order mark, and what to tell of the view. Raises ToolFailed if it is binary."""
    encoding = sniff(head)
    if encoding is None:
        raise ToolFailed(f"{name} is a binary file. If you need what is in it, use a program that understands it")
    if path.suffix == ".ipynb":
        rendered = notebook.render(_whole(file, name))
        file.seek(0)
        if rendered is not None:
            return io.BytesIO(rendered.encode("utf-8", "replace")), "a notebook, shown as cells: lines are of this view"
    if encoding.codec != "utf-8":
        text = _whole(file, name).decode("utf-16", "replace")
        return io.BytesIO(text.encode("utf-8", "replace")), ""
    file.seek(len(encoding.bom))
    return file, ""


def _whole(file: BinaryIO, name: str) -> bytes:
    data = file.read(MAX_WHOLE_BYTES + 1)
    if len(data) > MAX_WHOLE_BYTES:
        raise ToolFailed(f"{name} is larger than {MAX_WHOLE_BYTES} bytes and can only be read whole; take a part of it")
    return data


def _numbered(file: BinaryIO, first: int, limit: int, note: str) -> ToolOutcome:
    before = _skip(file, first - 1)
    if before < first - 1:
        raise ToolFailed(f"offset {first} is past the end: the file has {before} lines")
    lines: list[str] = []
    room = MAX_CHARACTERS
    while len(lines) < limit and room > 0:
        text = _line(file)
        if text is None:
            break
        lines.append(f"{first + len(lines):>6}\t{text}")
        room -= len(lines[-1]) + 1
    after, complete = _count(file)
    last = first + len(lines) - 1
    notes: list[str] = []
    if after:
        total = f"{last + after}" if complete else f"more than {last + after}"
        notes.append(f"lines {first}-{last} of {total}; offset={last + 1} reads on")
    elif not lines:
        notes.append(
            "the file is empty" if first == 1 else f"the file has {before} lines; nothing is at offset {first}"
        )
    told = [*([f"[{note}]"] if note else ()), *lines, *(f"[{one}]" for one in notes)]
    return ToolOutcome((Text("\n".join(told)),), f"read {len(lines)} line{'s'[: len(lines) != 1]}")


def _line(file: BinaryIO) -> str | None:
    """The next line without its end, cut if it is long; None at the end of the file."""
    data = file.readline(4 * MAX_LINE_CHARACTERS + 2)
    if not data:
        return None
    rest = 0 if data.endswith(b"\n") else _skip_line(file)
    text = data.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
    if rest == 0 and len(text) <= MAX_LINE_CHARACTERS:
        return text
    return f"{text[:MAX_LINE_CHARACTERS]} [line cut: it is {len(data) + rest} bytes long]"


def _skip_line(file: BinaryIO) -> int:
    skipped = 0
    while data := file.readline(_CHUNK_BYTES):
        trio.from_thread.check_cancelled()
        skipped += len(data)
        if data.endswith(b"\n"):
            break
    return skipped


def _skip(file: BinaryIO, lines: int) -> int:
    """Skip so many lines, or as many as there are; how many."""
    for done in range(lines):
        if done % 10_000 == 0:
            trio.from_thread.check_cancelled()
        data = file.readline(_CHUNK_BYTES)
        if not data:
            return done
        if not data.endswith(b"\n"):
            _skip_line(file)
    return lines


def _count(file: BinaryIO) -> tuple[int, bool]:
    """How many lines follow, and whether that is all of them."""
    lines, last = 0, b"\n"
    for _ in itertools.repeat(None, COUNTED_BYTES // _CHUNK_BYTES):
        trio.from_thread.check_cancelled()
        data = file.read(_CHUNK_BYTES)
        if not data:
            return lines + (last != b"\n"), True
        lines += data.count(b"\n")
        last = data[-1:]
    return lines, False
