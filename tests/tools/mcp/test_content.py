from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from agentd.domain import Image, Text
from agentd.tools.mcp.content import IMAGES, LONGEST_RESULT, read_content, read_contents

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 20


class Kept:
    def __init__(self) -> None:
        self.files: list[bytes] = []

    def __call__(self, path: Path) -> str:
        self.files.append(path.read_bytes())
        return f"file {len(self.files)}"


@pytest.fixture
def kept() -> Kept:
    return Kept()


def base(data: bytes) -> str:
    return base64.b64encode(data).decode()


def image(data: bytes, told_type: str = "image/png") -> dict[str, Any]:
    return {"type": "image", "data": base(data), "mimeType": told_type}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def test_texts_beside_each_other_are_one(kept: Kept) -> None:
    assert read_content([text("a"), text("b")], kept) == (Text("a\nb"),)


def test_an_image_stands_where_it_stood(kept: Kept) -> None:
    shown = Image("image/png", base(PNG))
    assert read_content([text("a"), image(PNG), text("b")], kept) == (Text("a"), shown, Text("b"))


def test_an_image_is_what_its_bytes_say(kept: Kept) -> None:
    assert read_content([image(PNG, "image/svg+xml")], kept) == (Image("image/png", base(PNG)),)


def test_an_image_that_models_do_not_take_is_kept(kept: Kept) -> None:
    (part,) = read_content([image(b"<svg/>", "image/svg+xml")], kept)
    assert part == Text("[6 bytes of image/svg+xml: kept as file 1]")
    assert kept.files == [b"<svg/>"]


def test_an_image_that_is_too_large_is_kept(kept: Kept) -> None:
    read_content([image(PNG + b"x" * 4_000_000)], kept)
    assert len(kept.files) == 1


def test_so_many_images_are_shown(kept: Kept) -> None:
    parts = read_content([image(PNG)] * (IMAGES + 5), kept)
    assert sum(isinstance(part, Image) for part in parts) == IMAGES
    assert len(kept.files) == 5


def test_audio_is_kept(kept: Kept) -> None:
    (part,) = read_content([{"type": "audio", "data": base(b"RIFF"), "mimeType": "audio/wav"}], kept)
    assert part == Text("[4 bytes of audio/wav: kept as file 1]")


def test_a_link_is_told_on_one_line(kept: Kept) -> None:
    link = {"type": "resource_link", "uri": "a:b", "name": "n\nx", "mimeType": "text/plain", "description": "d"}
    assert read_content([link], kept) == (Text("[resource: a:b (text/plain): n x: d]"),)


def test_a_resource_is_text_with_its_uri(kept: Kept) -> None:
    resource = {"type": "resource", "resource": {"uri": "a:b", "text": "hello"}}
    assert read_content([resource], kept) == (Text("[resource a:b]\nhello"),)


def test_a_blob_that_is_text_is_text(kept: Kept) -> None:
    assert read_contents([{"uri": "a:b", "blob": base("é".encode()), "mimeType": "text/plain"}], kept) == (Text("é"),)


def test_a_blob_that_is_an_image_is_an_image(kept: Kept) -> None:
    assert read_contents([{"uri": "a:b", "blob": base(PNG)}], kept) == (Image("image/png", base(PNG)),)


STRANGE: list[Any] = [
    None,
    5,
    "text",
    {"type": "text"},
    [5, None, []],
    [{}],
    [{"type": 5}],
    [{"type": "text", "text": 5}],
    [{"type": "image"}],
    [{"type": "image", "data": "!!!", "mimeType": "image/png"}],
    [{"type": "image", "data": 5, "mimeType": []}],
    [{"type": "resource"}],
    [{"type": "resource", "resource": []}],
    [{"type": "resource", "resource": {"blob": "é"}}],
    [{"type": "resource_link", "uri": {}, "name": 5}],
    [{"type": "tool_use", "name": "x"}],
]


@pytest.mark.parametrize("content", STRANGE)
def test_strange_content_does_no_harm(kept: Kept, content: Any) -> None:
    assert all(isinstance(part, Text) for part in read_content(content, kept))


def test_a_long_result_is_cut_and_kept_whole(kept: Kept) -> None:
    parts = read_content([text("a" * LONGEST_RESULT), image(PNG), text("b" * 50)], kept)
    assert [part.text[:20] if isinstance(part, Text) else part.media_type for part in parts] == [
        "a" * 20,
        "image/png",
        "[cut here: these are",
    ]
    assert kept.files == [b"a" * LONGEST_RESULT + b"\n" + b"b" * 50]


def test_a_million_parts_are_not_read(kept: Kept) -> None:
    (part,) = read_content([text("a")] * 1_000_000, kept)
    assert isinstance(part, Text)
    assert part.text.endswith("[999000 more parts are left out]")
