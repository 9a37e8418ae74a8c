"""What can be read of a zip that Brokk wrote: the files, classes and texts of its last context. Its layout, format 4:
fragments-v4.json, contexts.jsonl, content_metadata.json, content/<id>.txt. What is not understood is passed over.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeGuard

import attrs

from agentd.engine.context import MOST_FRAGMENTS, MOST_NAME_CHARS, MOST_TEXT_BYTES
from agentd.engine.unpack import Unpacked
from agentd.errors import InvalidRequest
from agentd.wire.typed import parse

FRAGMENTS, CONTEXTS, METADATA = "fragments-v4.json", "contexts.jsonl", "content_metadata.json"
FOREIGN_ENTRIES = (FRAGMENTS, CONTEXTS, METADATA, "content/")  # what is read here
MOST_JSON_BYTES = 64 << 20
_TEXTS = ("StringFragmentDto", "PasteTextFragmentDto")
_GROUPS = ("editable", "readonly", "virtuals")


@attrs.frozen
class Part:
    kind: Literal["file", "class", "text"]
    name: str  # none, of a text
    text: bytes | None = attrs.field(default=None, repr=False)
    pinned: bool = False


def foreign_parts(archive: Unpacked) -> Iterator[Part]:
    """In the order of the last context; of all fragments, where no context says which of them count."""
    known = _object(archive, FRAGMENTS)
    fragments = {**_mapping(known.get("referenced")), **_mapping(known.get("virtual"))}
    context = _last_context(archive)
    metadata = _object(archive, METADATA)
    ids = [each for group in _GROUPS for each in _strings(context.get(group))] or list(fragments)
    pinned = set(_strings(context.get("pinned")))
    seen: set[tuple[str, str]] = set()
    for fragment_id in list(dict.fromkeys(ids))[:MOST_FRAGMENTS]:
        part = _part(_mapping(fragments.get(fragment_id)), archive, metadata)
        if part is not None and (part.text is not None or (part.kind, part.name) not in seen):
            seen.add((part.kind, part.name))
            yield attrs.evolve(part, pinned=fragment_id in pinned)


def _part(fragment: Mapping[str, Any], archive: Unpacked, metadata: Mapping[str, Any]) -> Part | None:
    kind = f"{fragment.get('type') or fragment.get('@class') or ''}".rpartition("$")[2].rpartition(".")[2]
    if kind == "ProjectFileDto" and (path := _inside(fragment.get("relPath"))):
        return Part("file", path)
    if kind == "SummaryFragmentDto" and fragment.get("summaryType") == "CODEUNIT_SKELETON":
        name = fragment.get("targetIdentifier")
        return Part("class", name) if _is_name(name) else None
    if kind in _TEXTS and (text := _text(fragment.get("contentId"), archive, metadata)) is not None:
        return Part("text", "", text)  # its description may be a piece of it, and names go into the log
    return None


def _inside(path: Any) -> str | None:
    """A path below the workspace, as it is written there."""
    if not _is_name(path) or "\0" in path:
        return None
    name = os.path.normpath(path.replace("\\", "/"))
    return None if name.startswith(("/", "..")) else name


def _text(content_id: Any, archive: Unpacked, metadata: Mapping[str, Any]) -> bytes | None:
    """None for one that is told as what changed in another."""
    name = f"content/{content_id}.txt"
    if not isinstance(content_id, str) or name not in archive:
        return None
    if _mapping(metadata.get(content_id)).get("appliesTo") is not None:
        return None
    try:
        data = archive.read(name, MOST_TEXT_BYTES)
        data.decode()
    except (InvalidRequest, UnicodeDecodeError):
        return None
    return data


def _last_context(archive: Unpacked) -> Mapping[str, Any]:
    lines = archive.lines(CONTEXTS, MOST_JSON_BYTES) if CONTEXTS in archive else ()
    last = deque(lines, maxlen=1)
    return _parsed(last[0]) if last else {}


def _object(archive: Unpacked, name: str) -> Mapping[str, Any]:
    return _parsed(archive.read(name, MOST_JSON_BYTES)) if name in archive else {}


def _parsed(data: bytes) -> Mapping[str, Any]:
    try:
        return _mapping(parse(data))
    except InvalidRequest:
        return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _strings(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _is_name(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MOST_NAME_CHARS
