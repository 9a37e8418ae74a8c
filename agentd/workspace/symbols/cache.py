"""What is known of a workspace's files, kept from one start to the next. It is a cache: what is missing, damaged or of
another version counts as unknown, never as an error. It is JSON because whoever wrote it may not have been us."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping
from hashlib import blake2b
from importlib.resources import files as resources
from itertools import islice
from pathlib import Path
from typing import Any

from agentd.store.files import PRIVATE_DIR, temp_file
from agentd.workspace.symbols.packed import Packed
from agentd.workspace.symbols.worker import Look

NAME = "symbols.ndjson"
FORMAT = 1
FILES_A_LINE = 64  # each line is decoded in one step, in which no other thread runs
MAX_LINE_BYTES = 256 << 20
SUM_BYTES = 16

Files = Mapping[bytes, Look]
_TYPES = (str, int, int, int, bool, str, str, str, str, str, str, str)


def load(directory: Path) -> dict[bytes, Look]:
    """By path. What cannot be read is left out."""
    found: dict[bytes, Look] = {}
    try:
        with (directory / NAME).open("rb") as file:
            if file.readline(1024) != _header():
                return {}
            while line := file.readline(MAX_LINE_BYTES):
                found.update(_rows(line))
    except OSError:
        pass  # there is none, or the disk fails: then what was read so far is what there is
    return found


def save(directory: Path, files: Files) -> None:
    """In one step: a crash leaves the old one or the new one. Raises OSError."""
    directory.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    with temp_file(directory) as temp:
        temp.file.write(_header())
        rest = iter(files.items())
        while some := list(islice(rest, FILES_A_LINE)):
            data = json.dumps([_row(path, look) for path, look in some], separators=(",", ":")).encode()
            temp.file.write(_sum(data) + b" " + data + b"\n")
        temp.become(directory / NAME, durable=False)


def _header() -> bytes:
    """What has to be the same for a cache to be of use: the format, and all that decides what scanners find."""
    scanners = blake2b(digest_size=SUM_BYTES)
    for file in sorted(resources(__package__).iterdir(), key=lambda file: file.name):
        if file.name.endswith((".py", ".bin")):  # .bin: agentd/bundles.py
            scanners.update(file.read_bytes())
    about = {"agentd symbols": FORMAT, "python": sys.version_info[:2], "scanners": scanners.hexdigest()}
    return json.dumps(about).encode() + b"\n"


def _sum(data: bytes) -> bytes:
    return blake2b(data, digest_size=SUM_BYTES).hexdigest().encode()


def _row(path: bytes, look: Look) -> list[Any]:
    *about, digest, skipped, packed = look
    *texts, rest = packed or Packed()
    return [os.fsdecode(path), *about, digest.hex(), skipped, *texts, base64.b64encode(rest).decode()]


def _rows(line: bytes) -> dict[bytes, Look]:
    sum_, _, data = line.removesuffix(b"\n").partition(b" ")
    if sum_ != _sum(data):
        return {}
    try:
        return dict(map(_entry, json.loads(data)))
    except (ValueError, TypeError, RecursionError):
        return {}


def _entry(row: Any) -> tuple[bytes, Look]:
    """Raises ValueError or TypeError for what save() did not write."""
    if tuple(map(type, row)) != _TYPES:
        raise TypeError
    path, modified, changed, size, young, digest, skipped, names, kinds, scopes, scope_of, rest = row
    packed = Packed(names, kinds, scopes, scope_of, base64.b64decode(rest, validate=True))
    return os.fsencode(path), Look(modified, changed, size, young, bytes.fromhex(digest), skipped, packed)
