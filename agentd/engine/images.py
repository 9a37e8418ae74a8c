"""Images of a conversation: had when a job begins, kept as blobs of the session, and put before models that see.

What is kept in the log and in memory is a blob's name; the bytes come in when a model is asked. The rules: the agent
API contract, 4.1 and 12.5. An image's type is what its first bytes say, whatever anybody calls it.
"""

from __future__ import annotations

import base64
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from agentd.domain import Block, Image, ImagePart, Message, Text, ToolResult
from agentd.errors import AgentdError, BlobNotFound
from agentd.store.blobs import Blobs
from agentd.wire.urlpolicy import UrlPolicy
from agentd.workspace.filetypes import IMAGE_HEAD, image_type

if TYPE_CHECKING:
    from agentd.wire.http import HttpSettings

LARGEST = 10 * 1024 * 1024  # bytes
FETCH_SECONDS = 30.0  # for one image, with all its redirects
MAX_REDIRECTS = 5
KEPT_CHARACTERS = 64 * 1024 * 1024  # of base64: what models were sent last is not read and encoded for every turn
NOT_SEEN = "[an image ({}) was left out: this model reads text only]"
GONE = "[an image was here that is no longer kept]"

_ACCEPT = [("Accept", "image/jpeg, image/png, image/gif, image/webp")]


class ImageFetchFailed(AgentdError):
    """The text names the image by its place in the request, from 1, and of a URL the host alone."""

    code = "IMAGE_FETCH_FAILED"


async def load_images(
    parts: Sequence[ImagePart],
    blobs: Blobs,
    policy: UrlPolicy = UrlPolicy.LOCAL,
    *,
    settings: HttpSettings | None = None,
) -> tuple[Image, ...]:
    """The images of *parts* as blobs of a session; those with a URL are fetched, one after the other. *settings*: how
    servers are reached; those of the environment if there are none. Raises ImageFetchFailed, StoreFailed."""
    return tuple([await _load(number, part, blobs, policy, settings) for number, part in enumerate(parts, 1)])


async def _load(number: int, part: ImagePart, blobs: Blobs, policy: UrlPolicy, settings: HttpSettings | None) -> Image:
    try:
        if part.url is None:
            return await trio.to_thread.run_sync(_checked, part.sha256 or "", blobs)
        data = await _fetch(part.url, policy, settings)
        media_type = _type_of(data[:IMAGE_HEAD])
        return Image(media_type, sha256=await trio.to_thread.run_sync(blobs.put, data))
    except ImageFetchFailed as exc:
        raise ImageFetchFailed(f"image {number}: {exc}") from exc


def _checked(sha256: str, blobs: Blobs) -> Image:
    try:
        with blobs.open(sha256) as file:
            head = file.read(IMAGE_HEAD)
        if blobs.size(sha256) > LARGEST:
            raise ImageFetchFailed(f"it is larger than {LARGEST} bytes")
    except BlobNotFound as exc:
        raise ImageFetchFailed("it is not there") from exc
    return Image(_type_of(head), sha256=sha256)


def _type_of(head: bytes) -> str:
    if (media_type := image_type(head)) is None:
        raise ImageFetchFailed("it is no JPEG, PNG, GIF or WebP image")
    return media_type


async def _fetch(url: str, policy: UrlPolicy, settings: HttpSettings | None) -> bytes:
    from agentd.wire.failure import HttpFailed
    from agentd.wire.http import Deadlines, HttpClient, HttpSettings
    from agentd.wire.urlpolicy import UrlRefused
    from agentd.wire.urls import InvalidUrl

    deadlines = Deadlines(total=FETCH_SECONDS)
    try:
        async with HttpClient((settings or HttpSettings.from_env(os.environ)).under(policy)) as client:
            answer = await client.request(
                "GET", url, headers=_ACCEPT, deadlines=deadlines, redirects=MAX_REDIRECTS, limit=LARGEST
            )
    except (HttpFailed, UrlRefused, InvalidUrl) as exc:
        raise ImageFetchFailed(str(exc)) from exc
    if answer.status != 200:
        raise ImageFetchFailed(f"the server answered with HTTP {answer.status}")
    return answer.body


# --- Before a model -----------------------------------------------------------------------------------------------


def for_model(messages: Sequence[Message], blobs: Blobs, sees: bool) -> tuple[Message, ...]:
    """The messages with their images in them, or, for a model that does not see, a text in the place of each, so that
    it knows what it misses. The same messages always become equal ones; one without images stays as it is. Reads files.
    Raises StoreFailed."""
    return tuple(_shown(message, blobs, sees) for message in messages)


def _shown(message: Message, blobs: Blobs, sees: bool) -> Message:
    if not any(isinstance(block, Image | ToolResult) for block in message.content):
        return message
    content = tuple(_block(block, blobs, sees) for block in message.content)
    return message if content == message.content else attrs.evolve(message, content=content)


def _block(block: Block, blobs: Blobs, sees: bool) -> Block:
    if isinstance(block, Image):
        return _part(block, blobs, sees)
    if isinstance(block, ToolResult) and any(isinstance(part, Image) for part in block.content):
        return attrs.evolve(block, content=tuple(_part(part, blobs, sees) for part in block.content))
    return block


def _part(part: Text | Image, blobs: Blobs, sees: bool) -> Text | Image:
    if isinstance(part, Text):
        return part
    if not sees:
        return Text(NOT_SEEN.format(part.media_type))
    if part.data or part.sha256 is None:
        return part
    try:
        return attrs.evolve(part, data=_kept.get(blobs, part.sha256))
    except BlobNotFound:
        return Text(GONE)  # a conversation that failed on it would fail for ever


class _Kept:
    """Blobs as base64, those used last."""

    def __init__(self) -> None:
        self._texts: OrderedDict[tuple[Path, str], str] = OrderedDict()
        self._characters = 0

    def get(self, blobs: Blobs, sha256: str) -> str:
        """Raises BlobNotFound, StoreFailed."""
        key = (blobs.directory, sha256)
        if key not in self._texts:
            self._texts[key] = base64.b64encode(blobs.get(sha256)).decode("ascii")
            self._characters += len(self._texts[key])
        self._texts.move_to_end(key)
        text = self._texts[key]
        while self._characters > KEPT_CHARACTERS and len(self._texts) > 1:
            self._characters -= len(self._texts.popitem(last=False)[1])
        return text


_kept = _Kept()
