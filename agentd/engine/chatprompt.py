"""What a turn of a chat puts before the model: instructions, the workspace, the spec, and what was said. The contract:
runs-and-chat.md, 6.3, 6.4, 8 and 14."""

from __future__ import annotations

from pathlib import Path

from agentd.domain import Block, ChatMessage, ChatPart, Image, Text
from agentd.errors import BlobNotFound
from agentd.store.blobs import Blobs
from agentd.workspace.filetypes import IMAGE_HEAD, image_type
from agentd.workspace.text import sniff

INLINE_BYTES = 64 * 1024  # of a text file that goes with a message
LARGEST_IMAGE = 10 * 1024 * 1024  # bytes: services refuse larger ones
NOTHING_SAID = "[nothing was said]"
GO_ON = "[Go on from where you stopped.]"

SPEC_MODE = """\
This session is about a spec, which is at {path}. It is what matters most here: whenever something is decided or becomes
clear, write it there with write_spec, which takes the whole text. It needs the headings Goal, Constraints / nuances and
Acceptance tests; validate_spec says what is missing."""


def spec_texts(path: Path, text: str) -> list[str]:
    """Instructions for spec mode, and the spec as it is."""
    return [SPEC_MODE.format(path=path), f"The spec now:\n\n{text}"]


def blocks_of(message: ChatMessage, blobs: Blobs) -> tuple[Block, ...]:
    """A message as a model gets it. Reads files. Raises StoreFailed."""
    blocks = [block for part in message.parts if (block := _block(part, blobs)) is not None]
    if message.role in ("system", "tool"):  # a model hears such from a person too, and is told what it is
        blocks.insert(0, Text(f"[{message.role} message]"))
    if message.role == "assistant":
        blocks = [block for block in blocks if isinstance(block, Text)]
    return tuple(blocks) or (Text(NOTHING_SAID),)


def _block(part: ChatPart, blobs: Blobs) -> Block | None:
    if part.type == "text":
        return Text(part.text) if part.text.strip() else None
    return (_image if part.type == "image" else _file)(part, blobs)


def _image(part: ChatPart, blobs: Blobs) -> Block:
    head = _head(part, blobs, IMAGE_HEAD, LARGEST_IMAGE)
    media_type = image_type(head) if head is not None else None
    return Text(f"[image: {part.ref}]") if media_type is None else Image(media_type, sha256=part.sha256)


def _file(part: ChatPart, blobs: Blobs) -> Block:
    data, name = _head(part, blobs, INLINE_BYTES, INLINE_BYTES), Text(f"[file: {part.ref}]")
    if not data or sniff(data) is None:
        return name
    try:
        return Text(f"{name.text}\n{data.decode()}")
    except UnicodeDecodeError:
        return name


def _head(part: ChatPart, blobs: Blobs, count: int, largest: int) -> bytes | None:
    """The first bytes of its file; None where there is none that is no larger than *largest*."""
    if part.sha256 is None:
        return None
    try:
        if blobs.size(part.sha256) > largest:
            return None
        with blobs.open(part.sha256) as file:
            return file.read(count)
    except BlobNotFound:
        return None
