"""What every tool is: a name, a schema, a class of permission, and one function. No tool knows who asked for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import attrs

from agentd.domain import Image, Text, ToolClass
from agentd.sandbox.contain import GROUP, Containment
from agentd.tools.background import Background
from agentd.workspace import paths
from agentd.workspace.symbols.query import Symbols


@attrs.define
class ToolState:
    """What lives as long as the session's executor: a `cd` in Bash is still there at the next call."""

    cwd: Path


@attrs.frozen
class ToolContext:
    """Where a call acts, and what it may tell while it does."""

    workspace: Path  # absolute and resolved; relative paths in inputs are relative to it
    state: ToolState
    env: Mapping[str, str]  # the whole environment of commands: nothing is inherited
    off_limits: tuple[Path, ...]  # agentd's own state: no file tool reads or writes below these, in any mode
    on_output: Callable[[str], None]  # live output, for people; it need not be the whole of it
    keep: Callable[[Path], str]  # store a file as an artifact of this call; its name, to tell the model
    background: Background | None = None  # for what runs on after its call; None: nothing may
    symbols: Symbols | None = None  # what the workspace defines; None: nobody keeps an index of it
    call: str = ""  # its id, for a tool whose call is a conversation of its own
    beside: tuple[Path, ...] | None = ()  # what file tools reach beside the workspace; None: all there is
    confine: Containment = GROUP  # how commands are kept together, and what they may touch

    def resolve(self, raw: str) -> Path:
        """The real path that an input names. Raises ToolFailed for one that may not be reached."""
        return paths.resolve(raw, self.workspace, self.off_limits, beside=self.beside)

    def resolve_for_writing(self, raw: str) -> Path:
        """The same; git's own files are refused too."""
        return paths.resolve_for_writing(raw, self.workspace, self.off_limits, beside=self.beside)


@attrs.frozen
class ToolOutcome:
    """*content* is what the model is told, *summary* is for people: one line of at most 120 characters."""

    content: tuple[Text | Image, ...]
    summary: str
    is_error: bool = False


class Tool(Protocol):
    """One tool. Stateless: one object serves all sessions."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def input_schema(self) -> Mapping[str, Any]: ...
    @property
    def tool_class(self) -> ToolClass: ...

    def subject(self, call_input: Mapping[str, Any]) -> str:
        """What a call is about, on one line, for people: a path, a command, a pattern. Never raises."""

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        """Do it. Raises ToolFailed, whose text the model is told; anything else is a bug. Cancellable at any await."""
