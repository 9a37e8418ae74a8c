"""`agentd executor`: one workspace, served over HTTP. Standalone, or supervised by the process that started it."""

from __future__ import annotations

import hmac
import json
import math
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from agentd.cli.apidocs import face_docs
from agentd.config import Option, Settings, data_dir, read_settings
from agentd.daemon.logs import configure_plain
from agentd.daemon.site import SITE, read_site
from agentd.domain import Hello, Models, Site
from agentd.engine.engine import open_engine
from agentd.engine.job import Bench
from agentd.engine.session import Session, Sessions
from agentd.errors import AgentdError, ExecutorFailed, InvalidSetting, only_cause
from agentd.faces.executor import control, routes
from agentd.providers.factory import make_registry, open_providers
from agentd.providers.settings import Catalog, read_catalog
from agentd.sandbox import forkserver
from agentd.sandbox.contain import Containment, probe
from agentd.sandbox.leash import (
    STARTED,
    STOPPED,
    Lease,
    read_hello,
    ready_line,
    say,
    source_address,
    watch_leash,
)
from agentd.store.home import Home, SessionDir, make_home
from agentd.tools.base import Tool, ToolState
from agentd.tools.registry import built_in
from agentd.wire import egress
from agentd.wire.listeners import Listener, open_tcp_listeners, open_unix_listener
from agentd.wire.messages import Answer, Request
from agentd.wire.routing import Mount
from agentd.wire.server import serve
from agentd.wire.typed import structure
from agentd.wire.urlpolicy import UrlPolicy
from agentd.workspace.git import repository_root
from agentd.workspace.snapshot import Snapshots
from agentd.workspace.symbols.query import Symbols

LEASE_GRACE = 4  # whole seconds for what is under way, after which it is killed
KEEP_SECONDS = 5.0  # to write the index of symbols at the end
OPTIONS = {
    "listen-addr": Option("LISTEN_ADDR"),
    "auth-token": Option("AUTH_TOKEN"),
    "workspace-dir": Option("WORKSPACE_DIR"),
    "exec-id": Option("EXEC_ID"),
    "config": Option("AGENTD_CONFIG"),
    "model-alias": Option("MODEL_ALIASES", many=True),
    "default-code-model": Option("DEFAULT_CODE_MODEL"),
    "default-scan-model": Option("DEFAULT_SCAN_MODEL"),
    "exit-on-stdin-eof": Option("EXIT_ON_STDIN_EOF", switch=True),
    "read-only": Option("READ_ONLY", switch=True),
    "data-dir": Option("AGENTD_DATA_DIR"),
    **SITE,
    "supervised": Option(switch=True),
    "callback": Option(),
    "advertise": Option(),
}


def main(argv: list[str], containment: Containment | None = None) -> int:
    """The exit code. *containment*: what probe() has found on this machine, if it was asked already."""
    if any(word in ("-h", "--help") for word in argv):
        from agentd.cli.help import page, show

        show(page("executor"))
        return 0
    if argv[:1] == ["--fork-server"]:
        return serve_forks(int(argv[1]))
    configure_plain("agentd executor", "warning")
    try:
        settings = read_settings(OPTIONS, argv, os.environ)
        if settings.switch("supervised"):
            with telling(hello := read_hello()):
                if hello.site.offline:
                    egress.install(hello.site.reachable)
                trio.run(serve_supervised, settings, hello, containment)
        else:
            trio.run(serve_standalone, settings)
    except (AgentdError, ExceptionGroup) as group:
        exc = only_cause(group)
        if not isinstance(exc, AgentdError):
            raise
        print(f"agentd executor: {exc}", file=sys.stderr)
        if isinstance(exc, InvalidSetting):
            print("`agentd help executor` shows how it is used", file=sys.stderr)
        return 1
    return 0


# --- Standalone ---------------------------------------------------------------------------------------------------


async def serve_standalone(settings: Settings) -> None:
    """Serve until SIGTERM, SIGINT or, if asked for, the end of standard input. Raises AgentdError."""
    workspace = _workspace(settings)
    token = settings.required("auth-token")
    exec_id = _exec_id(settings)
    address = settings.required("listen-addr")
    catalog = read_catalog(settings.read_file(), os.environ)
    site = read_site(settings)
    if site.offline:
        from agentd.daemon.contacts import go_offline

        site = go_offline(site, catalog, os.environ)
    home = open_home(settings, workspace)
    with home.lock():
        home.sweep()
        async with trio.open_nursery() as nursery:
            sessions = Sessions(home, nursery)
            sessions.load(home.sessions())
            async with (
                open_bench(settings, workspace, home.root, home.root, catalog, site=site) as bench,
                open_engine(bench, sessions) as engine,
            ):
                app = routes.App(engine, exec_id, token)
                async with serving(_listeners(address), [app.mount(), *face_docs("executor")]) as listeners:
                    print(f"agentd executor {exec_id} listening on {listeners[0].address}", flush=True)
                    leash = [watch_leash] if settings.switch("exit-on-stdin-eof") else []
                    await _wait_for_the_first(_wait_for_signal, *leash)
                    app.ready = False
                    await engine.close()
                    app.close_feeds()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving(listeners: list[Listener], mounts: list[Mount]) -> AsyncIterator[list[Listener]]:
    async with trio.open_nursery() as nursery:
        # Any Host: this listener answers for its token alone, and proxies and tunnels put all kinds of names before it.
        await nursery.start(lambda *, task_status: serve(listeners, mounts, hosts=None, task_status=task_status))
        yield listeners
        nursery.cancel_scope.cancel()


def _workspace(settings: Settings) -> Path:
    path = Path(settings.required("workspace-dir")).resolve()
    if not path.is_dir():
        raise InvalidSetting(f"--workspace-dir: {path} is not a directory")
    return path


def _exec_id(settings: Settings) -> str:
    text = settings.text("exec-id")
    try:
        return str(uuid.UUID(text)) if text else str(uuid.uuid4())
    except ValueError:
        raise InvalidSetting(f"--exec-id: {text} is not a UUID") from None


def open_home(settings: Settings, workspace: Path) -> Home:
    """`.agentd` in the workspace, unless a place is named or the workspace cannot be written. Raises StoreFailed."""
    if (named := settings.text("data-dir")) is not None:
        return make_home(Path(named).absolute())
    if os.access(workspace, os.W_OK) or (workspace / ".agentd").is_dir():
        return make_home(workspace / ".agentd", ignored_by_git=True)
    name = uuid.uuid5(uuid.NAMESPACE_URL, workspace.as_uri())  # the same place at the next start
    return make_home(data_dir(None, os.environ) / "workspaces" / str(name))


def _listeners(address: str) -> list[Listener]:
    if address.startswith("unix:"):
        return [open_unix_listener(Path(address.removeprefix("unix:")))]
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise InvalidSetting(f"--listen-addr: {address} is neither host:port nor unix:/path")
    return open_tcp_listeners(host.strip("[]"), int(port))


async def _wait_for_the_first(*waits: Callable[[], Awaitable[object]]) -> None:
    async def wait(one: Callable[[], Awaitable[object]]) -> None:
        await one()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for one in waits:
            nursery.start_soon(wait, one)


async def _wait_for_signal() -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            return


# --- Supervised ---------------------------------------------------------------------------------------------------


def serve_forks(parent: int) -> int:
    """Be the fork server of *parent*, a daemon: its children are supervised executors."""
    from agentd.cli.warm import warm_up

    if not forkserver.die_with(parent):
        return 1
    warm_up()
    probed = forkserver.aside(lambda: json.dumps(attrs.asdict(trio.run(probe))))
    known = structure(json.loads(probed), Containment) if probed else None
    return forkserver.serve(partial(main, containment=known), parent)


@contextmanager
def telling(hello: Hello) -> Iterator[None]:
    """Tell a daemon that looks at us through a launcher where the session's writer begins and ends."""
    if hello.parent is None:
        say(STARTED)
    try:
        yield
    finally:
        if hello.parent is None:
            say(STOPPED)


async def serve_supervised(settings: Settings, hello: Hello, containment: Containment | None = None) -> None:
    """Serve the hello's session until standard input ends, a signal, or /_/shutdown. Raises AgentdError, also at the
    end of its lease."""
    workspace, directory = _workspace(settings), SessionDir(Path(hello.session_dir))
    lease = Lease(hello.lease or math.inf)
    directory.sweep()
    async with trio.open_nursery() as nursery:
        sessions = Sessions(None, nursery)
        sessions.load([directory])
        session = sessions.get(hello.session)
        await sessions.open(session)
        catalog = structure(hello.providers, Catalog) if hello.providers else Catalog()
        async with (
            open_bench(
                settings,
                workspace,
                directory.path,
                _cache_dir(session, workspace),
                catalog,
                containment=containment,
                is_repository=session.state.isolation == "worktree" or None,
                home=directory.path.parent.parent,
                url_policy=UrlPolicy(hello.url_policy),
                hook_secret=hello.hook_secret,
                site=hello.site,
            ) as bench,
            open_engine(bench, sessions) as engine,
        ):
            inside = control.Control(engine, session, hello.token)
            public = routes.App(engine, _exec_id(settings), hello.token)
            listeners = _own_listeners(settings, directory)
            mounts = [_renewing(mount, lease, hello.token) for mount in (inside.mount(), public.mount())]
            async with serving(listeners, mounts):
                address = settings.text("advertise") or listeners[0].address
                sys.stdout.buffer.write(ready_line(hello, address, bench.confine.level))
                sys.stdout.buffer.flush()
                await _wait_for_the_first(watch_leash, _wait_for_signal, inside.stop.wait, lease.watch)
                if lease.left <= 0:
                    signal.alarm(LEASE_GRACE)  # it may be overdue: then another one has the session
                public.ready = False
                await engine.close(interrupt=True)
                public.close_feeds()
                inside.feed.close()
        nursery.cancel_scope.cancel()
    if lease.left <= 0:
        raise ExecutorFailed(f"no request came for {lease.seconds:g} s: its daemon is gone, or cannot reach it")


def _own_listeners(settings: Settings, directory: SessionDir) -> list[Listener]:
    """A socket of the session's; or, for a daemon on another machine, TCP on the network that leads there."""
    if (peer := settings.text("callback")) is not None:
        return open_tcp_listeners(source_address(peer), 0)
    return [open_unix_listener(directory.path / "executor.sock")]


def _renewing(mount: Mount, lease: Lease, token: str) -> Mount:
    """*mount*, where every request with the token renews the lease."""
    admitted, guard = f"Bearer {token}".encode(), mount.guard

    def renew(request: Request) -> Answer | None:
        if hmac.compare_digest(request.headers.get("authorization").encode(), admitted):
            lease.renew()
        return guard(request) if guard is not None else None

    return attrs.evolve(mount, guard=renew)


# --- What both have in common -------------------------------------------------------------------------------------


def _cache_dir(session: Session, workspace: Path) -> Path:
    """Sessions in one place share what is kept of it; a worktree has one session, and goes with it."""
    if session.state.isolation == "worktree":
        return session.dir.path
    name = uuid.uuid5(uuid.NAMESPACE_URL, workspace.as_uri())
    return session.dir.path.parent.parent / "workspaces" / str(name)


def _off_limits(workspace: Path, ours: Iterable[Path]) -> tuple[Path, ...]:
    """What file tools must not touch. Not what the workspace itself is in, as worktrees are in a daemon's data
    directory: of that, no tool reaches anything but the workspace."""
    return tuple(path for path in ours if not workspace.is_relative_to(path.resolve()))


@asynccontextmanager
async def open_bench(
    settings: Settings,
    workspace: Path,
    state_dir: Path,
    cache_dir: Path,
    catalog: Catalog,
    *,
    containment: Containment | None = None,
    is_repository: bool | None = None,
    home: Path | None = None,
    url_policy: UrlPolicy = UrlPolicy.LOCAL,
    hook_secret: str = "",
    site: Site | None = None,
) -> AsyncIterator[Bench]:
    """What jobs work with here. What is None is found out; *home* is the user's data directory, which no tool may see.
    Raises InvalidRequest for an alias or a role that leads nowhere."""
    if containment is None:
        containment = await probe()
    if is_repository is None:
        is_repository = await repository_root(workspace) is not None
    tools: dict[str, Tool] = {tool.name: tool for tool in built_in(url_policy)}
    defaults = Models(code=settings.text("default-code-model"), scan=settings.text("default-scan-model"))
    off_limits = _off_limits(workspace, {state_dir, home or data_dir(None, os.environ), *map(Path, catalog.files)})
    symbols = Symbols(workspace, cache_dir / "symbols", off_limits=off_limits)
    with open_providers(catalog, os.environ) as providers:
        yield Bench(
            workspace=workspace,
            registry=make_registry(catalog, providers, aliases=settings.aliases("model-alias"), roles=defaults),
            tools=tools,
            confine=containment,
            off_limits=off_limits,
            state=ToolState(workspace),
            read_only=settings.switch("read-only"),
            snapshots=Snapshots(workspace, state_dir / "objects") if is_repository else None,
            symbols=symbols,
            url_policy=url_policy,
            hook_secret=hook_secret,
            site=site or Site(),
        )
    with trio.move_on_after(KEEP_SECONDS, shield=True):
        await symbols.aclose()
