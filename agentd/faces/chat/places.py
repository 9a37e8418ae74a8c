"""Where the spec of a chat is: a file of the workspace, whatever links lead there. The rules: runs-and-chat.md, 8."""

from __future__ import annotations

import os
import re
from pathlib import Path

from agentd.errors import ToolFailed
from agentd.faces.runs.answers import Refused
from agentd.workspace import files, specfile


def spec_place(workspace: str, given: str) -> str:
    """The absolute path of the spec that a client named. Reads the disk. Raises Refused."""
    try:
        top = os.path.abspath(Path(workspace).expanduser())  # noqa: PTH100  # links stay as the client knows them
        path = os.path.normpath(os.path.join(top, given.strip()))  # noqa: PTH118
        real, real_top = Path(os.path.realpath(path)), Path(os.path.realpath(top))
    except (OSError, ValueError, RuntimeError):  # a NUL character, ~nobody
        raise Refused(f"spec_path is no path: {given!r}") from None
    if not real.is_relative_to(real_top):
        what = "spec_path" if Path(given.strip()).is_absolute() else "path"
        raise Refused(f"{what} escapes workspace: {given}")
    if real == real_top or real.is_dir():
        raise Refused(f"spec_path must be a file: {given}")
    if any(part.casefold() == ".git" for part in real.relative_to(real_top).parts):
        raise Refused(f"spec_path must be none of git's own files: {given}")
    return path


def default_place(workspace: str, ident: str) -> str:
    """For a chat that has named none."""
    return spec_place(workspace, f"specs/session-{ident}/spec.md")


def draft(workspace: str, path: str) -> bool:
    """Write a draft there unless there is a file; whether there was none. Blocks. Raises Refused."""
    top, real = Path(os.path.realpath(Path(workspace).expanduser())), Path(os.path.realpath(path))
    if real.exists():
        return False
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", real.parent.name).strip("-") or "spec"
    try:
        files.replace(real, top, specfile.draft(name).encode())
    except ToolFailed as exc:
        raise Refused(str(exc)) from exc
    return True
