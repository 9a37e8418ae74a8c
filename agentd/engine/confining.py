"""What the commands, MCP servers and file tools of one job may touch: as it asks for, or as its site has it.

Contract of the agent API, section 19; what is offline has no network beside, whatever a job asks for.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

from agentd.domain import JobSpec, Mode, Sandbox, Site
from agentd.sandbox.contain import Containment

OFF, REQUIRED = "off", "require"
NO_NAMESPACE = (
    "agentd is offline, and this machine has no way to run a command without a network: `agentd doctor` says what is "
    "missing. No command can be run; work with the file tools"
)


@attrs.frozen
class Confinement:
    """*confine* may be one that refuses every command; *beside*: places that file tools reach beside the workspace,
    None for all."""

    confine: Containment
    level: str = OFF  # of the sandbox
    beside: tuple[Path, ...] | None = ()
    network: bool = True


@asynccontextmanager
async def open_confinement(
    confine: Containment,
    site: Site,
    spec: JobSpec,
    workspace: Path,
    directories: Sequence[Path],
    off_limits: Sequence[Path],
) -> AsyncIterator[Confinement]:
    """In force as long as the block lasts."""
    asked = spec.sandbox
    if asked is not None and site.sandbox == REQUIRED:
        asked = attrs.evolve(asked, enabled=True)  # whoever runs this machine has said so
    everywhere = None if spec.mode is Mode.QUERY else ()
    if not (site.sandbox != OFF if asked is None else asked.enabled):
        yield await _offline(confine, everywhere) if site.offline else Confinement(confine, beside=everywhere)
        return
    from agentd.sandbox.levels import confine_for

    if asked is not None and site.offline:
        asked = attrs.evolve(asked, network=False)
    made = await confine_for(confine, asked, site.sandbox, workspace, directories, off_limits)
    yield Confinement(
        made.containment,
        made.level,
        _reached(workspace, directories, asked),
        asked is not None and asked.network,
    )


async def _offline(confine: Containment, beside: tuple[Path, ...] | None) -> Confinement:
    from agentd.sandbox.enclosure import Refused
    from agentd.sandbox.levels import offline

    alone = await offline(confine)
    return Confinement(alone or Refused(confine.level, confine.prefix, why=NO_NAMESPACE), beside=beside)


def _reached(workspace: Path, directories: Sequence[Path], asked: Sandbox | None) -> tuple[Path, ...]:
    """Real paths; those that are not there are left out."""
    named = [workspace / Path(path).expanduser() for path in (asked.paths if asked is not None else ())]
    return tuple(Path(os.path.realpath(path)) for path in (*directories, *named) if path.exists())
