"""Source files read as the index does: text of at most a megabyte, below the workspace, through no link. Standard
library only: scanning processes import this."""

from __future__ import annotations

import errno
import os
import stat

from agentd.workspace.paths import is_below
from agentd.workspace.text import PROBE_BYTES, sniff

MAX_FILE_BYTES = 1 << 20

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def read(top: bytes, path: bytes) -> tuple[os.stat_result, bytes] | None:
    """The file *path* below *top* (a real path that ends in a slash), or somewhat more than MAX_FILE_BYTES of it. None:
    it is gone, or is no regular file there any more. Raises OSError if it cannot be read."""
    try:
        descriptor = os.open(top + path, _FLAGS)
    except OSError as exc:
        if exc.errno in _GONE:
            return None
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or not is_below(top, descriptor):
            return None
        parts, size = [], 0
        while size <= MAX_FILE_BYTES and (data := os.read(descriptor, MAX_FILE_BYTES + 1)):
            parts.append(data)
            size += len(data)
        return found, b"".join(parts)
    finally:
        os.close(descriptor)


def decode(data: bytes) -> str | None:
    """The text, whatever is in it that is none; None if it is binary."""
    encoding = sniff(data[:PROBE_BYTES])
    return None if encoding is None else data[len(encoding.bom) :].decode(encoding.codec, "replace")
