"""Read: what of a file a model sees."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agentd.domain import Image
from agentd.errors import ToolFailed
from agentd.tools import read as read_module
from agentd.tools.base import Tool, ToolOutcome
from agentd.tools.read import DEFAULT_LINES, MAX_LINE_CHARACTERS, Read

Call = Callable[[Tool, Mapping[str, Any]], Awaitable[ToolOutcome]]
Told = Callable[[Tool, Mapping[str, Any]], Awaitable[str]]


async def test_lines_are_numbered(workspace: Path, told: Told) -> None:
    (workspace / "a").write_text("one\n\n  three\n")
    assert await told(Read(), {"file_path": "a"}) == "     1\tone\n     2\t\n     3\t  three"


async def test_the_last_line_needs_no_end(workspace: Path, told: Told) -> None:
    (workspace / "a").write_text("one\ntwo")
    assert await told(Read(), {"file_path": "a"}) == "     1\tone\n     2\ttwo"


async def test_people_are_told_how_many_lines(workspace: Path, call: Call) -> None:
    (workspace / "a").write_text("one\ntwo\n")
    assert (await call(Read(), {"file_path": "a"})).summary == "read 2 lines"
    assert (await call(Read(), {"file_path": "a", "limit": 1})).summary == "read 1 line"


async def test_a_part_says_where_it_goes_on(workspace: Path, told: Told) -> None:
    (workspace / "a").write_text("".join(f"{number}\n" for number in range(1, 11)))
    assert await told(Read(), {"file_path": "a", "offset": 3, "limit": 2}) == (
        "     3\t3\n     4\t4\n[lines 3-4 of 10; offset=5 reads on]"
    )
    assert await told(Read(), {"file_path": "a", "offset": 9, "limit": 2}) == "     9\t9\n    10\t10"


async def test_a_long_file_is_cut(workspace: Path, told: Told) -> None:
    (workspace / "a").write_text("x\n" * (DEFAULT_LINES + 5) + "no end")
    lines = (await told(Read(), {"file_path": "a"})).split("\n")
    assert len(lines) == DEFAULT_LINES + 1
    assert lines[-1] == f"[lines 1-{DEFAULT_LINES} of {DEFAULT_LINES + 6}; offset={DEFAULT_LINES + 1} reads on]"


async def test_a_long_line_is_cut(workspace: Path, told: Told) -> None:
    (workspace / "a").write_text("x" * 100_000 + "\nshort\n" + "é" * MAX_LINE_CHARACTERS + "\n")
    first, second, third = (await told(Read(), {"file_path": "a"})).split("\n")
    assert first == f"     1\t{'x' * MAX_LINE_CHARACTERS} [line cut: it is 100001 bytes long]"
    assert second == "     2\tshort"
    assert third == f"     3\t{'é' * MAX_LINE_CHARACTERS}"


async def test_an_answer_has_a_size(workspace: Path, told: Told) -> None:
    (workspace / "a").write_text(("x" * 1999 + "\n") * 500)
    answer = await told(Read(), {"file_path": "a", "limit": 500})
    assert len(answer) < read_module.MAX_CHARACTERS + 2 * MAX_LINE_CHARACTERS
    assert "of 500; offset=" in answer.split("\n")[-1]


async def test_lines_after_a_huge_part_are_not_counted_to_the_end(
    workspace: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_module, "COUNTED_BYTES", read_module._CHUNK_BYTES)
    (workspace / "a").write_text("x\n" * read_module._CHUNK_BYTES)
    last = (await told(Read(), {"file_path": "a", "limit": 1})).split("\n")[-1]
    assert last == f"[lines 1-1 of more than {read_module._CHUNK_BYTES // 2 + 1}; offset=2 reads on]"


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"", "[the file is empty]"),
        (b"a\r\nb\r\n", "     1\ta\n     2\tb"),
        (b"\xef\xbb\xbfa\n", "     1\ta"),
        (b"caf\xe9\n", "     1\tcaf\ufffd"),
        ("größe\n".encode("utf-16"), "     1\tgröße"),
        (b"a\rb\n", "     1\ta\rb"),
        (b"\n", "     1\t"),
    ],
)
async def test_text_is_shown_as_text(workspace: Path, told: Told, content: bytes, shown: str) -> None:
    (workspace / "a").write_bytes(content)
    assert await told(Read(), {"file_path": "a"}) == shown


PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0" + bytes(9), "image/jpeg"),
        (b"GIF89a" + bytes(9), "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
    ],
)
async def test_an_image_is_an_image_whatever_its_name(
    workspace: Path, call: Call, content: bytes, media_type: str
) -> None:
    (workspace / "a.txt").write_bytes(content)
    outcome = await call(Read(), {"file_path": "a.txt"})
    assert outcome.content == (Image(media_type, base64.b64encode(content).decode()),)


NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        {"cell_type": "markdown", "id": "intro", "metadata": {}, "source": ["# Title\n", "text"]},
        {
            "cell_type": "code",
            "metadata": {},
            "execution_count": 1,
            "source": "print(1)",
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["1\n"]},
                {"output_type": "display_data", "data": {"image/png": "…"}, "metadata": {}},
                {"output_type": "error", "ename": "E", "evalue": "", "traceback": ["\x1b[31mE\x1b[0m: x"]},
            ],
        },
    ],
}


async def test_a_notebook_is_shown_as_cells(workspace: Path, told: Told) -> None:
    (workspace / "a.ipynb").write_text(json.dumps(NOTEBOOK))
    note, *lines = (await told(Read(), {"file_path": "a.ipynb"})).split("\n")
    assert note == "[a notebook, shown as cells: lines are of this view]"
    assert [line.partition("\t")[2] for line in lines] == [
        *("[cell 1: markdown, id intro]", "# Title", "text", "[cell 2: code]", "print(1)"),
        *("[output]", "1", "[output]", "[image/png: not shown]", "[output]", "E: x"),
    ]


@pytest.mark.parametrize("content", ["{", "[]", '{"cells": 1}', '{"cells": [{}]}', "[" * 100_000])
async def test_a_broken_notebook_is_shown_as_it_is(workspace: Path, told: Told, content: str) -> None:
    (workspace / "a.ipynb").write_text(content)
    assert (await told(Read(), {"file_path": "a.ipynb"})).startswith(f"     1\t{content[:100]}")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"file_path": "b"}, "does not exist. Similar names: .*bc"),
        ({"file_path": "sub"}, "is a directory; LS lists it"),
        ({"file_path": "binary"}, "binary file"),
        ({"file_path": "large.png"}, "make a smaller copy"),
        ({"file_path": "bc", "offset": 4}, "past the end: the file has 2 lines"),
        ({"file_path": "bc", "offset": -1}, "from 1"),
        ({"file_path": "bc", "limit": 0}, "at least 1"),
        ({"file_path": "bc", "limit": "2"}, "an integer.* @ limit"),
        ({"file_path": ["bc"]}, "a string @ file_path"),
        ({}, "file_path"),
        ({"file_path": "../x"}, "outside the workspace"),
        ({"file_path": ".agentd/log"}, "off limits"),
    ],
)
async def test_what_cannot_be_read_is_said(
    workspace: Path, call: Call, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], says: str
) -> None:
    monkeypatch.setattr(read_module, "MAX_IMAGE_BYTES", 20)
    (workspace / "sub").mkdir()
    (workspace / "bc").write_text("1\n2\n")
    (workspace / "binary").write_bytes(b"\x7fELF\0\0")
    (workspace / "large.png").write_bytes(PNG)
    with pytest.raises(ToolFailed, match=says):
        await call(Read(), asked)


async def test_an_offset_just_behind_the_last_line_is_empty(workspace: Path, told: Told) -> None:
    (workspace / "a").write_text("1\n2\n")
    assert await told(Read(), {"file_path": "a", "offset": 3}) == "[the file has 2 lines; nothing is at offset 3]"


async def test_null_means_not_given(workspace: Path, told: Told) -> None:
    (workspace / "a").write_text("1\n")
    assert await told(Read(), {"file_path": "a", "offset": None, "unknown": 1}) == "     1\t1"


async def test_a_call_is_about_its_file() -> None:
    assert Read().subject({"file_path": "a/b.py"}) == "a/b.py"
    assert Read().subject({"file_path": 1}) == ""
    assert Read().subject({"file_path": "a\nb" + "x" * 500}) == "a b" + "x" * 116 + "…"
