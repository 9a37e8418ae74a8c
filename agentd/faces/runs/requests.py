"""Bodies of the runs and chat API: a JSON object, field by field. The rules: its contract, section 1.

Unknown fields are ignored; a text of nothing but white space is as good as none, and so is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.faces.runs.answers import Refused
from agentd.wire.messages import Request
from agentd.wire.typed import NotJson, parse

_WORDS = {str: "a string", bool: "a boolean", list: "an array", dict: "an object"}


@attrs.frozen
class Body:
    """Every method raises Refused for a value of another type."""

    fields: Mapping[str, Any]

    def text(self, name: str) -> str:
        """As it was given; "" where it is absent or blank."""
        value = self._of(str, name)
        return value if value is not None and value.strip() else ""

    def needed(self, name: str, refusal: str) -> str:
        """The same of one that has to be there. Raises Refused with that text."""
        if not (value := self.text(name)):
            raise Refused(refusal)
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self._of(bool, name)
        return default if value is None else bool(value)

    def array(self, name: str) -> list[Any] | None:
        value: list[Any] | None = self._of(list, name)
        return value

    def object(self, name: str) -> dict[str, Any] | None:
        value: dict[str, Any] | None = self._of(dict, name)
        return value

    def _of(self, kind: type, name: str) -> Any:
        value = self.fields.get(name)
        if value is not None and type(value) is not kind:
            raise Refused(f"{name} must be {_WORDS[kind]}")
        return value


def read_body(request: Request) -> Body:
    """Raises Refused."""
    try:
        value = parse(request.body)
    except NotJson:
        value = None
    if type(value) is not dict:
        raise Refused("invalid json")
    return Body(value)


async def workspace_of(body: Body) -> str:
    """The directory to work in, as it was given. Raises Refused."""
    given = body.needed("workspace_path", "workspace_path is empty")
    await check_directory(given)
    return given


async def check_directory(given: str) -> None:
    """Raises Refused where *given* is no directory."""
    if not await trio.to_thread.run_sync(_is_directory, given):
        raise Refused("workspace_path must be a directory")


def place_of(given: str) -> Path:
    """The directory that a client named, absolute, with links resolved."""
    return Path(given).expanduser().resolve()


def _is_directory(given: str) -> bool:
    try:
        return place_of(given).is_dir()
    except (OSError, ValueError, RuntimeError):  # a NUL character, a loop of links, ~nobody
        return False
