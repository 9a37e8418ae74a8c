"""`agentd doctor`: what this machine has, what it lacks, and what to do about it. Nothing is changed."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from agentd.config import Option, Settings, Table, config_path, data_dir, read_config, read_settings
from agentd.daemon.site import SITE, read_site
from agentd.domain import Site
from agentd.errors import AgentdError

OPTIONS = {
    "json": Option(switch=True),
    "config": Option("AGENTD_CONFIG"),
    "data-dir": Option(),
    "egress": Option(switch=True),
}
MARKS = {"good": "✓", "poor": "!", "bad": "✗"}
COMMAND_SECONDS = 10.0
CONTAINMENT = {
    "bwrap": ("good", "every command in a process namespace of its own: nothing outlives it", ""),
    "subreaper": (
        "poor",
        "what a command leaves behind is swept up, unless agentd is killed first",
        "install bubblewrap",
    ),
    "group": ("poor", "a command that hides well enough can outlive its job", "install bubblewrap (Linux)"),
}
SANDBOX = {
    "bwrap": ("good", "commands can be kept from files, processes and the network"),
    "unshare+landlock": ("good", "commands can be kept from files, processes and the network"),
    "landlock": ("poor", "commands can be kept from writing elsewhere and from the network, `agentd help sandbox`"),
}
CONFINING = ("seccomp", "apparmor", "systempaths")
CONTAINERS = ("/.dockerenv", "/run/.containerenv")
# What forbids namespaces to ordinary users: the file that says so, what it then holds, what to do.
FORBIDDEN = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "give bwrap an AppArmor profile that allows userns"),
    ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
    ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
)
OLDEST_SQLITE = (3, 35, 0)
PORTS = {8787: "runs, chat and the dashboard", 8080: "the session manager", 54000: "the agent API"}
BUILT = 1767225600  # 2026-01-01: no clock of a machine that runs this shows less


@attrs.frozen
class Finding:
    """*state*: good; poor, when agentd works but something is worse for it; bad, when it does not work."""

    name: str
    state: str
    text: str
    remedy: str = ""


def main(argv: list[str]) -> int:
    """0; 1 when something that agentd cannot do without is missing."""
    if any(word in ("-h", "--help") for word in argv):
        from agentd.cli.help import page, show

        show(page("doctor"))
        return 0
    try:
        settings = read_settings(OPTIONS, argv, os.environ)
    except AgentdError as exc:
        print(f"agentd doctor: {exc}", file=sys.stderr)
        return 2
    worst = 0
    try:
        findings = egress(settings, os.environ) if settings.switch("egress") else examine(settings, os.environ)
    except AgentdError as exc:
        print(f"agentd doctor: {exc}", file=sys.stderr)
        return 2
    for finding in findings:
        print(json.dumps(attrs.asdict(finding)) if settings.switch("json") else line(finding), flush=True)
        worst = max(worst, finding.state == "bad")
    return worst


def egress(given: Settings, env: Mapping[str, str]) -> Sequence[Finding]:
    """What could be contacted. Raises InvalidSetting."""
    from agentd.cli.doctoregress import examine
    from agentd.daemon.settings import EXECUTORS

    settings = Settings({"config": Option("AGENTD_CONFIG"), **SITE, **EXECUTORS}, env)
    settings.add("config", given.text("config") or "")
    return list(examine(settings, env))


def line(finding: Finding) -> str:
    remedy = f"  → {finding.remedy}" if finding.remedy else ""
    return f"{MARKS[finding.state]} {finding.name:12} {finding.text}{remedy}"


def examine(settings: Settings, env: Mapping[str, str]) -> Iterator[Finding]:
    """One finding after the other, as they are made."""
    yield Finding("python", "good", f"{platform.python_version()} ({sys.executable})")
    yield sqlite()
    yield openssl()
    yield program("git", "bad", "install git: agentd needs it to show and commit what changed")
    yield program("rg", "poor", "install ripgrep: searches in large repositories get faster")
    yield containment()
    yield sandbox()
    yield certificates(env)
    yield proxies(env)
    yield storage(data_dir(settings.text("data-dir"), env))
    yield from map(port, PORTS)
    yield clock(time.time())
    yield configuration(config_path(settings.text("config"), env))
    yield from additions(settings.text("config"), env)
    yield from services(settings.text("config"), env)


# --- Python and programs ------------------------------------------------------------------------------------------


def sqlite() -> Finding:
    try:
        import sqlite3
    except ImportError:
        return Finding("sqlite", "poor", "this Python has no sqlite3", "install Python's sqlite3 module")
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        return Finding("sqlite", "poor", f"{sqlite3.sqlite_version} is old", "use a Python with SQLite 3.35 or later")
    return Finding("sqlite", "good", sqlite3.sqlite_version)


def openssl() -> Finding:
    try:
        import ssl
    except ImportError:
        remedy = "install Python's ssl module: without it only services without TLS can be reached"
        return Finding("ssl", "poor", "this Python has no ssl", remedy)
    return Finding("ssl", "good", f"{ssl.OPENSSL_VERSION}{', TLS 1.3' if ssl.HAS_TLSv1_3 else ''}")


def program(name: str, state_without: str, remedy: str) -> Finding:
    path = shutil.which(name)
    if path is None:
        return Finding(name, state_without, "not found in PATH", remedy)
    said, works = run([path, "--version"])
    if not works:
        return Finding(name, state_without, f"{path} does not work: {said}", remedy)
    return Finding(name, "good", f"{said} ({path})")


def run(argv: Sequence[str]) -> tuple[str, bool]:
    """The first line of what a program says, or why it does not work; and whether it does."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as exc:
        return str(exc), False
    lines = (done.stdout + done.stderr).strip().splitlines() or [f"exit code {done.returncode}"]
    return lines[0], done.returncode == 0


def containment() -> Finding:
    import trio

    from agentd.sandbox.contain import probe

    level = trio.run(probe).level
    state, text, remedy = CONTAINMENT[level]
    return Finding("containment", state, f"{level}: {text}", remedy)


def sandbox() -> Finding:
    """The level that commands would really have, and what keeps them from a better one."""
    import trio

    from agentd.sandbox.levels import SandboxLevel, problems
    from agentd.sandbox.seccomp import make_filter

    why = trio.run(problems, [level for level in SandboxLevel if level is not SandboxLevel.NONE])
    bwrap = why[SandboxLevel.BWRAP]
    level = next((level for level, problem in why.items() if not problem), None)
    if level is None:
        told = "; ".join(f"{name}: {problem}" for name, problem in why.items())
        return Finding("sandbox", "poor", f"there is none ({told})", better_sandbox(bwrap))
    state, text = SANDBOX[level]
    if make_filter() is None:
        state, text = "poor", f"{text}; system calls are not filtered on {platform.machine()}"
    problem = f"; bwrap: {bwrap}" if bwrap else ""
    return Finding("sandbox", state, f"{level}: {text}{problem}", better_sandbox(bwrap))


def better_sandbox(problem: str) -> str:
    """What would make bwrap work, as *problem* keeps it from that."""
    if not problem:
        return ""
    if shutil.which("bwrap") is None:
        return "install bubblewrap (Linux)"
    for name, value, remedy in FORBIDDEN:
        path = Path("/proc/sys", name)
        if path.is_file() and path.read_text().strip() == value and os.getuid() != 0:
            return remedy
    if any(map(os.path.exists, CONTAINERS)):
        return f"start the container with {' '.join(f'--security-opt {name}=unconfined' for name in CONFINING)}"
    return "allow user namespaces to unprivileged users"


# --- The network --------------------------------------------------------------------------------------------------


def certificates(env: Mapping[str, str]) -> Finding:
    from agentd.wire.failure import HttpFailed

    try:
        from agentd.wire.tls import Trust, authorities, make_context
    except ImportError:
        return Finding("certificates", "poor", "there is no ssl to use them", "install Python's ssl module")
    trust = Trust.from_env(env)
    try:
        count = len(make_context(trust).get_ca_certs())
    except HttpFailed as exc:
        return Finding("certificates", "poor", str(exc), "install ca-certificates, or set SSL_CERT_FILE")
    where = " and ".join(filter(None, authorities(trust)))
    return Finding("certificates", "good", f"{count} authorities in {where}" if count else f"authorities in {where}")


def proxies(env: Mapping[str, str]) -> Finding:
    from agentd.wire.failure import HttpFailed
    from agentd.wire.proxy import Proxies
    from agentd.wire.urls import parse_url

    chosen = Proxies.from_env(env)
    try:
        used = [f"{s}: {proxy}" for s in ("https", "http") if (proxy := chosen.choose(parse_url(f"{s}://example.com")))]
    except HttpFailed as exc:
        return Finding("proxy", "bad", str(exc), "correct the variable, or unset it")
    return Finding("proxy", "good", ", ".join(used) or "none: services are reached directly")


def port(number: int) -> Finding:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", number))
            listener.listen()
        except OSError as exc:
            remedy = f"end what listens there, or give {PORTS[number]} another address"
            return Finding(f"port {number}", "poor", f"cannot be used: {exc.strerror}", remedy)
    return Finding(f"port {number}", "good", f"free, for {PORTS[number]}")


# --- Places -------------------------------------------------------------------------------------------------------


def storage(root: Path) -> Finding:
    """Whether what is written in the data directory, or where it would be made, stays there and can be locked."""
    from agentd.store.files import temp_file

    there = next(path for path in (root, *root.parents) if path.exists())
    try:
        with temp_file(there) as temp:
            temp.file.write(b"agentd doctor\n")
            temp.file.flush()
            os.fsync(temp.file.fileno())
            locks = excludes_others(temp.path)
        free = shutil.disk_usage(there).free
    except OSError as exc:
        return Finding("data", "bad", f"{there}: {exc.strerror}", "set AGENTD_DATA_DIR, or use --data-dir")
    if not locks:
        remedy = "set AGENTD_DATA_DIR to a local disk"
        return Finding("data", "bad", f"{root}: its file system keeps no locks", remedy)
    state, remedy = ("good", "") if free > 1 << 30 else ("poor", "make room")
    return Finding("data", state, f"{root}, {free / (1 << 30):.1f} GiB free", remedy)


def excludes_others(path: Path) -> bool:
    """Whether a file that is locked, as temporary files are while they are made, cannot be locked again."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def clock(now: float) -> Finding:
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < BUILT:
        return Finding("clock", "bad", f"{shown} cannot be", "set the clock: no certificate is valid at this time")
    return Finding("clock", "good", shown)


# --- Models -------------------------------------------------------------------------------------------------------


def configuration(path: Path | None) -> Finding:
    from agentd.providers.settings import read_catalog

    if path is None:
        return Finding("config", "good", "no configuration file; `agentd help config` says what can be in one")
    try:
        config = read_config(path)
        read_catalog(config, os.environ)
        site_of(str(path), os.environ)
    except AgentdError as exc:
        return Finding("config", "bad", str(exc), "correct the file: `agentd help config` shows one")
    tables = [*config.tables("providers").values(), *config.table("mcp").tables("servers").values()]
    if any(map(has_keys, tables)) and path.stat().st_mode & 0o077:
        return Finding("config", "poor", f"{path} has keys in it and others can read it", f"chmod 600 {path}")
    return Finding("config", "good", str(path))


def has_keys(table: Table) -> bool:
    """Whether there is a text in it that may be a key, and no variable."""
    texts = [table.values.get("api_key", "${}"), *table.words("headers").values(), *table.words("env").values()]
    return any("${" not in text for text in texts)


def site_of(flag: str | None, env: Mapping[str, str]) -> Site:
    """What is set for every job. Raises InvalidSetting."""
    settings = Settings({"config": Option("AGENTD_CONFIG"), **SITE}, env)
    settings.add("config", flag or "")
    settings.read_file()
    return read_site(settings)


def additions(flag: str | None, env: Mapping[str, str]) -> Iterator[Finding]:
    """Plugins that are not there, and MCP servers that are not tried. None is loaded or started."""
    try:
        site = site_of(flag, env)
    except AgentdError:
        return  # told already
    for plugin in site.plugins:
        if plugin.enabled and not Path(plugin.path or "").is_dir():
            yield Finding("plugin", "poor", f"{plugin.name}: {plugin.path} is no directory", "correct its path")
    for name, server in site.servers.items():
        if server.problem:
            yield Finding("mcp", "poor", f"{name}: {server.problem}", "`agentd help config` shows one")
    if any(not server.problem for server in site.servers.values()):
        names = ", ".join(name for name, server in site.servers.items() if not server.problem)
        yield Finding("mcp", "good", f"{names}; `agentd mcp test` says whether they answer")


def services(flag: str | None, env: Mapping[str, str]) -> Iterator[Finding]:
    """Whether each language model service answers."""
    import trio

    from agentd.cli.models import outcome, reach_all
    from agentd.providers.factory import open_providers
    from agentd.providers.settings import Catalog, load_catalog

    async def reach(catalog: Catalog) -> list[Finding]:
        with open_providers(catalog, env) as providers:
            return [
                Finding(
                    each.service, "bad" if each.problem else "good", f"{each.base_url}: {outcome(each)}", each.remedy
                )
                for each in await reach_all(providers)
            ]

    try:
        catalog = load_catalog(flag, env)
    except AgentdError:
        return  # told already
    yield from trio.run(reach, catalog)
    if not catalog.providers:
        yield Finding("models", "good", "no service is set: builtin does the work; `agentd help config` says how to")
