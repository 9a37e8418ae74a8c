"""Files that go with messages: how they come, what they are called, and how they are handed out. They are blobs of the
session; nothing is written by a name that a client gave. The contract: runs-and-chat.md, 9."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection

import attrs

from agentd.errors import PayloadTooLarge
from agentd.faces.chat.parts import Attachment
from agentd.faces.runs.answers import Refused
from agentd.faces.runs.requests import read_body
from agentd.store.blobs import Blobs
from agentd.store.naming import fresh
from agentd.wire.messages import Answer, FileResponse, Request
from agentd.wire.multipart import BadMultipart, MultipartParser, Part, boundary_of

LARGEST = 25 * 1024 * 1024  # bytes of one,
JSON_BYTES = 36 * 1024 * 1024  # and of a body that holds it as base64
FORM_BYTES = LARGEST + 256 * 1024  # and of a form
MOST = 200  # of a session
NAME_CHARS = 120
FIELD = "file"
DEFAULT_TYPE, DEFAULT_SUFFIX = "application/octet-stream", ".bin"
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,60}", re.IGNORECASE)
_SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})  # that a browser may show in its place
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f/\\:*?\"<>|\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@attrs.frozen
class Upload:
    name: str
    media_type: str
    data: bytes = attrs.field(repr=False)


async def read_upload(request: Request) -> Upload:
    """Of a route whose body is streamed. Raises Refused, PayloadTooLarge."""
    try:
        boundary = boundary_of(request.headers.get("content-type"))
        return await _from_json(request) if boundary is None else await _from_form(request, boundary)
    except BadMultipart as exc:
        raise Refused(str(exc).removesuffix(" @ $")) from exc


async def _from_json(request: Request) -> Upload:
    request.body = b"".join([piece async for piece in request.chunks(limit=JSON_BYTES)])
    body = read_body(request)
    encoded = body.needed("content_base64", "content_base64 required")
    try:
        data = base64.b64decode(re.sub(r"[ \t\r\n]", "", encoded), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("invalid base64 content") from None
    if len(data) > LARGEST:
        raise PayloadTooLarge(LARGEST)
    return Upload(body.text("name"), _media_type(body.text("mime_type")), data)


async def _from_form(request: Request, boundary: str) -> Upload:
    parser = MultipartParser(boundary)
    found: Part | None = None
    data, is_it = bytearray(), False
    async for piece in request.chunks(limit=FORM_BYTES):
        for event in parser.feed(piece):
            if isinstance(event, Part):
                is_it = found is None and event.name == FIELD
                found = event if is_it else found
            elif is_it:
                data += event
        if len(data) > LARGEST:
            raise PayloadTooLarge(LARGEST)
    parser.finish()
    if found is None:
        raise Refused("file required")
    return Upload(found.filename or "", _media_type(found.media_type), bytes(data))


def _media_type(given: str) -> str:
    bare = given.partition(";")[0].strip().lower()
    return bare if _TYPE.fullmatch(bare) else DEFAULT_TYPE


def name_for(given: str, taken: Collection[str]) -> str:
    """What an attachment is called: its own name as far as that will do."""
    name = _UNSAFE.sub("_", re.split(r"[/\\]", given.strip())[-1]).strip()
    if name in ("", ".", ".."):
        name = fresh("att_")
    name = name if not name.startswith(".") else "_" + name.lstrip(".")
    stem, dot, suffix = name.rpartition(".")
    if not (dot and stem and suffix):
        stem, suffix = name.rstrip("."), DEFAULT_SUFFIX[1:]
    suffix = suffix[: NAME_CHARS // 2]
    name = f"{stem[: NAME_CHARS - len(suffix) - 1]}.{suffix}"
    return name if name not in taken else f"{fresh('att_')}.{suffix}"


def answer(blobs: Blobs, name: str, found: Attachment) -> Answer:
    """Whatever it is, a browser takes it for no page of ours."""
    how = "inline" if found.media_type in _SHOWN else "attachment"
    plain = re.sub(r"[^ -~]|[\"\\%]", "_", name)
    headers = (
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Disposition", f'{how}; filename="{plain}"'),
        ("Content-Security-Policy", "sandbox; default-src 'none'"),
    )
    return FileResponse(blobs.path(found.sha256), found.media_type, headers)
