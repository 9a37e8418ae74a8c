"""What a server answers with, as a model is told it: text, images that models take, and all else kept as a file."""

from __future__ import annotations

import base64
import binascii
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agentd.domain import Image, Text
from agentd.tools.mcp import protocol
from agentd.tools.read import MAX_IMAGE_BYTES
from agentd.workspace.filetypes import IMAGE_HEAD, image_type

LONGEST_RESULT = 100_000  # characters that a model is told
BLOCKS = 1000
IMAGES = 20

Keep = Callable[[Path], str]
Parts = list[Text | Image]


def read_content(blocks: Any, keep: Keep) -> tuple[Text | Image, ...]:
    """Content blocks of a tool's result or a prompt's message; what does not fit is *kept*. Raises OSError."""
    parts: Parts = []
    known = protocol.objects_of(blocks)
    for block in known[:BLOCKS]:
        parts.append(_part(block, keep, images=sum(isinstance(part, Image) for part in parts)))
    if len(known) > BLOCKS:
        parts.append(Text(f"[{len(known) - BLOCKS} more parts are left out]"))
    return cut(_merged(parts), keep)


def read_contents(contents: Any, keep: Keep) -> tuple[Text | Image, ...]:
    """What a resource consists of, likewise."""
    return read_content([{"type": "resource", "resource": each} for each in protocol.objects_of(contents)], keep)


def _part(block: Mapping[str, Any], keep: Keep, *, images: int) -> Text | Image:
    kind = block.get("type")
    if kind == "text":
        return Text(_text(block.get("text")))
    if kind in ("image", "audio"):
        return _data(block.get("data"), block.get("mimeType"), keep, images=images)
    if kind == "resource_link":
        return Text(f"[resource: {describe_resource(block)}]")
    if kind == "resource":
        return _resource(protocol.object_of(block.get("resource")), keep, images=images)
    return Text(f"[a part of type {protocol.one_line(kind, 40) or 'unknown'} is left out]")


def _resource(resource: Mapping[str, Any], keep: Keep, *, images: int = 0) -> Text | Image:
    if isinstance(resource.get("blob"), str):
        return _data(resource["blob"], resource.get("mimeType"), keep, images=images)
    uri = protocol.one_line(resource.get("uri"), 500)
    return Text(f"[resource {uri}]\n{_text(resource.get('text'))}" if uri else _text(resource.get("text")))


def describe_resource(entry: Mapping[str, Any]) -> str:
    """uri (media type): name: description, on one line."""
    uri = protocol.one_line(entry.get("uri", entry.get("uriTemplate")), 500)
    kind = protocol.one_line(entry.get("mimeType"), 80)
    named = [protocol.one_line(entry.get("title") or entry.get("name"), 120)]
    named.append(protocol.one_line(entry.get("description"), 300))
    return ": ".join([f"{uri} ({kind})" if kind else uri, *filter(None, named)])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _data(data: Any, told_type: Any, keep: Keep, *, images: int) -> Text | Image:
    """An image that a model can be shown, or a word on the file that it is kept as."""
    try:
        raw = base64.b64decode(_text(data), validate=True)
    except (binascii.Error, ValueError):
        return Text("[data that is no base64 is left out]")
    kind = protocol.one_line(told_type, 80) or "unknown type"
    shown_as = image_type(raw[:IMAGE_HEAD])
    if shown_as is not None and len(raw) <= MAX_IMAGE_BYTES and images < IMAGES:
        return Image(shown_as, base64.b64encode(raw).decode("ascii"))
    if kind.startswith("text/"):
        return Text(raw.decode("utf-8", "replace"))
    return Text(f"[{len(raw)} bytes of {kind}: kept as {_kept(raw, keep)}]")


def _kept(data: bytes, keep: Keep) -> str:
    with tempfile.NamedTemporaryFile(prefix="agentd-mcp-") as file:
        file.write(data)
        file.flush()
        return keep(Path(file.name))


def _merged(parts: Parts) -> Parts:
    merged: Parts = []
    for part in parts:
        if isinstance(part, Text) and merged and isinstance(merged[-1], Text):
            merged[-1] = Text(f"{merged[-1].text}\n{part.text}")
        else:
            merged.append(part)
    return [part for part in merged if not isinstance(part, Text) or part.text]


def cut(parts: Parts, keep: Keep) -> tuple[Text | Image, ...]:
    """The first LONGEST_RESULT characters; of more the whole is kept."""
    texts = [part.text for part in parts if isinstance(part, Text)]
    if sum(map(len, texts)) <= LONGEST_RESULT:
        return tuple(parts)
    whole = "\n".join(texts)
    name = _kept(whole.encode("utf-8", "replace"), keep)
    left, shown = LONGEST_RESULT, Parts()
    for part in parts:
        shown.append(Text(part.text[:left]) if isinstance(part, Text) else part)
        left -= len(part.text[:left]) if isinstance(part, Text) else 0
    note = f"[cut here: these are {LONGEST_RESULT} of {len(whole)} characters. The whole is kept as {name}]"
    return (*(part for part in shown if not isinstance(part, Text) or part.text), Text(note))


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)
