"""What the commands, MCP servers and file tools of one job may touch: as it asks for, or as its site has it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from agentd.domain import JobSpec, Mode
from agentd.sandbox.contain import Containment

OFF = "off"


@attrs.frozen
class Confinement:
    """*beside*: places that file tools reach beside the workspace, None for all; *refusal*: why no command may run."""

    confine: Containment
    level: str = OFF  # of the sandbox
    beside: tuple[Path, ...] | None = ()
    network: bool = True
    refusal: str = ""


@asynccontextmanager
async def open_confinement(
    confine: Containment, spec: JobSpec, directories: Sequence[Path]
) -> AsyncIterator[Confinement]:
    """In force as long as the block lasts."""
    yield Confinement(confine, beside=None if spec.mode is Mode.QUERY else ())
