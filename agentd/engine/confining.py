"""What the commands, MCP servers and file tools of one job may touch: as it asks for, or as its site has it.

Contract of the agent API, section 19; what is offline has no network beside, whatever a job asks for.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import trio

from agentd.domain import EVERY_HOST, JobSpec, McpServer, Mode, Sandbox, Site
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
    None for all; *hosts*: that are reached, None for all."""

    confine: Containment
    level: str = OFF  # of the sandbox
    beside: tuple[Path, ...] | None = ()
    hosts: tuple[str, ...] | None = None
    site_only: bool = False  # nobody but the site has asked for the sandbox

    def admitted(self, servers: Mapping[str, McpServer]) -> dict[str, McpServer]:
        """*servers*, where those that are not to be reached say so."""
        if self.site_only or not self.hosts:
            return dict(servers)
        return {name: self._admitted(server, self.hosts) for name, server in servers.items()}

    def _admitted(self, server: McpServer, hosts: Sequence[str]) -> McpServer:
        from agentd.sandbox.netproxy import Allowed
        from agentd.wire.urls import InvalidUrl, parse_url

        try:
            url = parse_url(server.url) if server.url is not None else None
        except InvalidUrl:  # whoever connects says so
            url = None
        allowed = filter(None, map(Allowed.parse, hosts))
        if url is None or any(each.covers(url.host, url.port) for each in allowed):
            return server
        return attrs.evolve(server, problem=f"{url.host} is none of the hosts that the sandbox lets this job reach")

    @property
    def has_servers(self) -> bool:
        """Whether MCP servers are reached that are not programs."""
        return self.site_only or self.hosts != ()


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
        async with AsyncExitStack() as stack:
            yield await self._sandbox(stack, asked)

    async def _sandbox(self, stack: AsyncExitStack, asked: Sandbox | None) -> Confinement:
        from agentd.sandbox.levels import confine_for

        scratch = await stack.enter_async_context(_temp_directory(self.scratch))
        tmp = scratch / "tmp"
        tmp.mkdir()
        wanted = self._of_site if asked is None else asked
        if self.site.offline:
            wanted = attrs.evolve(wanted, network=False)
        proxy = None
        if wanted.network and wanted.hosts:
            from agentd.sandbox.netproxy import open_proxy

            opening = open_proxy(scratch / "proxy.sock", wanted.hosts, self.url_policy, self.notice)
            proxy = await stack.enter_async_context(opening)
        made = await confine_for(
            self.confine,
            wanted,
            self.site.sandbox,
            self.workspace,
            self.directories,
            self.off_limits,
            wished=asked is None,
            scratch=tmp,
            proxy=proxy,
        )
        return Confinement(
            made.containment,
            made.level,
            _reached(self.workspace, self.directories, wanted),
            () if not wanted.network else wanted.hosts or None,
            asked is None,
        )

    @property
    def _of_site(self) -> Sandbox:
        hosts = self.site.sandbox_hosts
        return Sandbox(network=bool(hosts), hosts=() if hosts == EVERY_HOST else hosts)


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


def _reached(workspace: Path, directories: Sequence[Path], asked: Sandbox) -> tuple[Path, ...]:
    """Real paths; those that are not there are left out."""
    named = [workspace / Path(path).expanduser() for path in asked.paths]
    return tuple(Path(os.path.realpath(path)) for path in (*directories, *named) if path.exists())
