"""What the commands, MCP servers and file tools of one job may touch: as it asks for, or as its site has it.

Contract of the agent API, section 19; what is offline has no network beside, whatever a job asks for.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import trio

from agentd.domain import JobSpec, Mode, Sandbox, Site
from agentd.sandbox.contain import Containment
from agentd.store.files import disk, remove_tree, temp_directory
from agentd.wire.urlpolicy import UrlPolicy

OFF, REQUIRED = "off", "require"
NO_NAMESPACE = (
    "agentd is offline, and this machine has no way to run a command without a network: `agentd doctor` says what is "
    "missing. No command can be run; work with the file tools"
)


@attrs.frozen
class Confinement:
    """*confine* may be one that refuses every command; *beside*: places that file tools reach beside the workspace,
    None for all; *network*: whether every host can be reached."""

    confine: Containment
    level: str = OFF  # of the sandbox
    beside: tuple[Path, ...] | None = ()
    network: bool = True


@attrs.frozen
class Confining:
    """Where a job is at work. *scratch*: where there is room for what its commands have as /tmp."""

    confine: Containment
    site: Site
    workspace: Path
    directories: Sequence[Path]
    off_limits: Sequence[Path]
    scratch: Path
    url_policy: UrlPolicy
    notice: Callable[[str, str, str], object]

    @asynccontextmanager
    async def open(self, spec: JobSpec) -> AsyncIterator[Confinement]:
        """In force as long as the block lasts. Raises StoreFailed, ListenFailed."""
        asked = spec.sandbox
        if asked is not None and self.site.sandbox == REQUIRED:
            asked = attrs.evolve(asked, enabled=True)  # whoever runs this machine has said so
        if not (self.site.sandbox != OFF if asked is None else asked.enabled):
            beside = None if spec.mode is Mode.QUERY else ()
            yield (
                await _offline(self.confine, beside) if self.site.offline else Confinement(self.confine, beside=beside)
            )
            return
        if asked is not None and self.site.offline:
            asked = attrs.evolve(asked, network=False)
        async with AsyncExitStack() as stack:
            yield await self._sandbox(stack, asked)

    async def _sandbox(self, stack: AsyncExitStack, asked: Sandbox | None) -> Confinement:
        from agentd.sandbox.levels import confine_for

        scratch = await stack.enter_async_context(_temp_directory(self.scratch))
        tmp = scratch / "tmp"
        tmp.mkdir()
        proxy = None
        if asked is not None and asked.network and asked.hosts:
            from agentd.sandbox.netproxy import open_proxy

            opening = open_proxy(scratch / "proxy.sock", asked.hosts, self.url_policy, self.notice)
            proxy = await stack.enter_async_context(opening)
        made = await confine_for(
            self.confine,
            asked,
            self.site.sandbox,
            self.workspace,
            self.directories,
            self.off_limits,
            scratch=tmp,
            proxy=proxy,
        )
        return Confinement(
            made.containment,
            made.level,
            _reached(self.workspace, self.directories, asked),
            asked is not None and asked.network and not asked.hosts,
        )


@asynccontextmanager
async def _temp_directory(directory: Path) -> AsyncIterator[Path]:
    """It may have grown large: removing it takes a while."""
    with disk("make a place for temporary files"), temp_directory(directory) as path:
        try:
            yield path
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(remove_tree, path)


async def _offline(confine: Containment, beside: tuple[Path, ...] | None) -> Confinement:
    from agentd.sandbox.enclosure import Refused
    from agentd.sandbox.levels import offline

    alone = await offline(confine)
    return Confinement(alone or Refused(confine.level, confine.prefix, why=NO_NAMESPACE), beside=beside)


def _reached(workspace: Path, directories: Sequence[Path], asked: Sandbox | None) -> tuple[Path, ...]:
    """Real paths; those that are not there are left out."""
    named = [workspace / Path(path).expanduser() for path in (asked.paths if asked is not None else ())]
    return tuple(Path(os.path.realpath(path)) for path in (*directories, *named) if path.exists())
