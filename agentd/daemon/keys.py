"""The tokens of the daemon itself: made at its first start, kept for the owner only, and never shown. No trio here.

They are raw, in files of the data directory, so that `curl -H "Authorization: Bearer $(cat FILE)"` works and other
verbs of this program can read them. What is given by a flag or a variable is used as it is, and stored nowhere.
"""

from __future__ import annotations

import logging
import re
import secrets
from pathlib import Path

import attrs

from agentd.errors import InvalidSetting
from agentd.store.files import PRIVATE_FILE, disk, write_atomic
from agentd.store.home import Home

TOKEN_BYTES = 32
READABLE = re.compile(r"[!-~]+")  # what an Authorization header can carry

logger = logging.getLogger(__name__)


@attrs.frozen
class Key:
    text: str = attrs.field(repr=False)
    path: Path | None = None  # the file that it is in; None: it was given


def open_key(home: Home, name: str, given: str | None = None) -> Key:
    """The token *name*: the one that is *given*, else the one that is stored, else a new one, which is stored.

    An empty file gets a new one: emptying it is how to replace a token. Raises InvalidSetting for a file that holds
    what no client can send, StoreFailed.
    """
    if given:
        return Key(given)
    path = home.tokens_path / name
    if stored := _read(path):
        return Key(stored, path)
    made = Key(secrets.token_urlsafe(TOKEN_BYTES), path)
    with disk(f"write {path}"):
        write_atomic(path, f"{made.text}\n".encode())
    return made


def _read(path: Path) -> str:
    with disk(f"read {path}"):
        try:
            mode, text = path.stat().st_mode, path.read_bytes().decode("latin-1").strip()
        except FileNotFoundError:
            return ""
        if mode & 0o077:
            logger.warning("%s could be read by others; it is for its owner only now. Empty it for a new token", path)
            path.chmod(PRIVATE_FILE)
    if text and not READABLE.fullmatch(text):
        raise InvalidSetting(f"{path} is not one word of ASCII, so no client can send it; empty it for a new token")
    return text
