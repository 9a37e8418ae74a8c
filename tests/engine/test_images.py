"""Images: which are taken, from where, and what a model gets to see of them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from agentd.domain import Image, ImagePart, Message, Text, ToolResult, ToolUse
from agentd.engine import images
from agentd.engine.images import GONE, LARGEST, NOT_SEEN, ImageFetchFailed, for_model, load_images
from agentd.errors import StoreFailed
from agentd.providers import anthropic, openai
from agentd.providers.protocol import ModelRequest
from agentd.store.blobs import Blobs
from agentd.wire.http import HttpSettings
from agentd.wire.urlpolicy import UrlPolicy
from tests.wire.stranger import Link, answering, names, once, stranger

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
KINDS = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0" + bytes(20),
    "image/gif": b"GIF89a" + bytes(20),
    "image/webp": b"RIFF\x10\0\0\0WEBPVP8 " + bytes(20),
}
NO_IMAGES = [b"", b"\x89PNG", b"<svg/>", b"BM" + bytes(20), b"RIFF\0\0\0\0WAVE", b"\0\0\0\x1cftypavif", b"%PDF-1.7"]


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def ok(body: bytes, status: int = 200, kind: str = "text/html") -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def load(blobs: Blobs, *parts: ImagePart | str, **options: Any) -> tuple[Image, ...]:
    asked = [ImagePart("image/png", url=part) if isinstance(part, str) else part for part in parts]
    return await load_images(asked, blobs, **{"settings": HttpSettings(), **options})


# --- Loading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("media_type", "data"), KINDS.items())
async def test_an_image_is_what_its_first_bytes_say(blobs: Blobs, media_type: str, data: bytes) -> None:
    sha256 = blobs.put(data)
    assert await load(blobs, ImagePart("image/other", sha256=sha256)) == (Image(media_type, sha256=sha256),)


@pytest.mark.parametrize("data", NO_IMAGES)
async def test_what_begins_as_no_image_is_refused(blobs: Blobs, data: bytes) -> None:
    with pytest.raises(ImageFetchFailed, match="image 1: it is no JPEG, PNG, GIF or WebP image"):
        await load(blobs, ImagePart("image/png", sha256=blobs.put(data)))
    async with stranger(answering(ok(data, kind="image/png"))) as server:
        with pytest.raises(ImageFetchFailed, match="image 1: it is no JPEG"):
            await load(blobs, server.url)


@pytest.mark.parametrize("part", [ImagePart("image/png", sha256="0" * 64), ImagePart("image/png", sha256="../x")])
async def test_a_blob_that_is_not_there_is_told(blobs: Blobs, part: ImagePart) -> None:
    with pytest.raises(ImageFetchFailed, match="image 2: it is not there"):
        await load(blobs, ImagePart("image/png", sha256=blobs.put(PNG)), part)


async def test_a_url_is_fetched_into_a_blob_whatever_the_server_calls_it(blobs: Blobs) -> None:
    async with stranger(answering(ok(KINDS["image/gif"]))) as server:
        [image] = await load(blobs, f"{server.url}/a.png?k=v")
    assert (image.media_type, image.data) == ("image/gif", "")
    assert blobs.get(image.sha256 or "") == KINDS["image/gif"]
    assert (server.seen[0].method, server.seen[0].target) == ("GET", "/a.png?k=v")


async def test_images_keep_their_order(blobs: Blobs) -> None:
    sha256 = blobs.put(PNG)
    async with stranger(once(ok(KINDS["image/gif"]))) as server:
        found = await load(blobs, server.url, ImagePart("image/png", sha256=sha256), server.url)
    assert [image.media_type for image in found] == ["image/gif", "image/png", "image/gif"]


async def test_redirects_are_followed(blobs: Blobs) -> None:
    moved = b"HTTP/1.1 302 X\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
    async with stranger(answering(moved, ok(PNG))) as server:
        assert len(await load(blobs, server.url)) == 1
    assert [seen.target for seen in server.seen] == ["/", "/b"]


@pytest.mark.parametrize("status", [204, 206, 304, 403, 404, 500])
async def test_a_bad_status_is_told_and_not_what_came_with_it(blobs: Blobs, status: int) -> None:
    answer = b"HTTP/1.1 %d X\r\n\r\n" % status if status in (204, 304) else ok(PNG, status)
    async with stranger(once(answer)) as server:
        with pytest.raises(ImageFetchFailed, match=f"image 1: the server answered with HTTP {status}"):
            await load(blobs, server.url)
    assert blobs.sizes() == {}


async def test_what_is_too_large_is_not_read_to_its_end(blobs: Blobs) -> None:
    async def flood(link: Link) -> None:
        await link.request()
        await link.send(b"HTTP/1.1 200 X\r\n\r\n", PNG)
        while True:
            await link.send(bytes(1 << 20))

    async with stranger(flood) as server:
        with pytest.raises(ImageFetchFailed, match=f"larger than {LARGEST} bytes"):
            await load(blobs, server.url)


async def test_ten_mib_are_taken_and_a_byte_more_is_not(blobs: Blobs) -> None:
    whole = PNG + bytes(LARGEST - len(PNG))
    assert len(await load(blobs, ImagePart("image/png", sha256=blobs.put(whole)))) == 1
    with pytest.raises(ImageFetchFailed, match="larger than"):
        await load(blobs, ImagePart("image/png", sha256=blobs.put(whole + b"\0")))


async def test_a_server_that_drips_is_left_in_time(blobs: Blobs, autojump_clock: MockClock) -> None:
    async def drip(link: Link) -> None:
        await link.request()
        await link.drip(ok(PNG + bytes(9999)))

    async with stranger(drip) as server:
        with pytest.raises(ImageFetchFailed, match="not finished within 30 s"):
            await load(blobs, server.url)


REFUSED = "image 1: URLs targeting internal resources are not allowed"


@pytest.mark.parametrize("url", ["http://169.254.169.254/x.png", "http://meta.test/", "http+unix://%2Ftmp%2Fx/a"])
async def test_urls_are_held_to_the_policy(blobs: Blobs, url: str) -> None:
    with pytest.raises(ImageFetchFailed, match=REFUSED):
        await load(blobs, url, settings=names(meta_test="169.254.169.254"))


async def test_redirects_are_held_to_the_policy_too(blobs: Blobs) -> None:
    moved = b"HTTP/1.1 302 X\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    async with stranger(answering(moved)) as server:
        with pytest.raises(ImageFetchFailed, match=REFUSED):
            await load(blobs, server.url)
        with pytest.raises(ImageFetchFailed, match=REFUSED):
            await load(blobs, server.url, policy=UrlPolicy.STRICT)
    assert len(server.seen) == 1


@pytest.mark.parametrize("url", ["ftp://h/a.png", "a.png", "http://", "http://h/a b"])
async def test_what_is_no_url_is_refused(blobs: Blobs, url: str) -> None:
    with pytest.raises(ImageFetchFailed, match="image 1: "):
        await load(blobs, url)


async def test_a_failure_tells_nothing_of_the_url_but_its_host(blobs: Blobs) -> None:
    async with stranger(answering(ok(b"", 404))) as server:
        url = server.url.replace("//", "//user:geheim@") + "/geheim?sig=geheim"
    with pytest.raises(ImageFetchFailed) as failed:
        await load(blobs, url)
    assert f"127.0.0.1:{server.port}" in str(failed.value)
    assert "geheim" not in str(failed.value)


# --- Before a model -----------------------------------------------------------------------------------------------


def conversation(image: Image) -> tuple[Message, ...]:
    return (
        Message("user", (Text("What is it?"), image), "m1"),
        Message("assistant", (ToolUse("t", "Read", {"file_path": "a.gif"}),), "m2", "x"),
        Message("user", (ToolResult("t", (Text("a"), image)), ToolResult("u", (Text("b"),), is_error=True))),
        Message("user", (Text("Well?"),)),
    )


def test_a_model_that_sees_gets_the_images(blobs: Blobs) -> None:
    stored = Image("image/png", sha256=blobs.put(PNG))
    whole = Image("image/png", base64.b64encode(PNG).decode(), stored.sha256)
    assert for_model(conversation(stored), blobs, True) == conversation(whole)


def test_an_image_that_is_in_the_log_is_sent_as_it_is(blobs: Blobs) -> None:
    said = conversation(Image("image/png", "aGk="))
    assert all(shown is message for shown, message in zip(for_model(said, blobs, True), said, strict=True))


@pytest.mark.parametrize("image", [Image("image/png", sha256="0" * 64), Image("image/png", "aGk=")])
def test_a_model_that_does_not_see_is_told_what_it_misses(blobs: Blobs, image: Image) -> None:
    prompt, call, results, last = for_model(conversation(image), blobs, False)
    note = Text(NOT_SEEN.format("image/png"))
    assert prompt == Message("user", (Text("What is it?"), note), "m1")
    assert results.content == (ToolResult("t", (Text("a"), note)), ToolResult("u", (Text("b"),), is_error=True))
    assert (call, last) == (conversation(image)[1], conversation(image)[3])


def test_an_image_that_is_gone_is_told_and_the_rest_goes_on(blobs: Blobs) -> None:
    prompt, *_ = for_model(conversation(Image("image/png", sha256="0" * 64)), blobs, True)
    assert prompt.content == (Text("What is it?"), Text(GONE))


def test_a_damaged_image_is_no_image(blobs: Blobs) -> None:
    sha256 = blobs.put(PNG + b"damaged")
    blobs.path(sha256).write_bytes(PNG)
    with pytest.raises(StoreFailed, match="is damaged"):
        for_model(conversation(Image("image/png", sha256=sha256)), blobs, True)


def test_the_same_conversation_is_read_once(blobs: Blobs) -> None:
    said = conversation(Image("image/png", sha256=blobs.put(PNG + b"once")))
    first = for_model(said, blobs, True)
    blobs.delete(said[0].content[1].sha256)  # type: ignore[union-attr, arg-type]
    assert for_model(said, blobs, True) == first


def test_what_is_kept_in_memory_is_bounded(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "KEPT_CHARACTERS", 100)
    stored = [Image("image/png", sha256=blobs.put(PNG + bytes([number]))) for number in range(5)]
    asked = (Message("user", tuple(stored)),)
    [shown] = for_model(asked, blobs, True)
    for image in stored:
        blobs.delete(image.sha256 or "")
    [again] = for_model(asked, blobs, True)
    assert all(isinstance(block, Image) and block.data for block in shown.content)
    kept = [block for block in again.content if isinstance(block, Image)]
    assert 0 < len(kept) * len(base64.b64encode(PNG)) <= 100


def test_an_image_reaches_either_kind_of_service(blobs: Blobs) -> None:
    said = conversation(Image("image/png", sha256=blobs.put(PNG)))
    data, note = base64.b64encode(PNG), NOT_SEEN.format("image/png").encode()
    for sees in (True, False):
        request = ModelRequest("m", "", for_model(said, blobs, sees), ())
        for body in (
            openai.encode_request(request, openai.OpenAIOptions()).body,
            anthropic.encode_request(request, anthropic.AnthropicOptions()).body,
        ):
            assert (body.count(data), body.count(note)) == ((2, 0) if sees else (0, 2))
