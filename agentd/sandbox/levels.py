"""Which sandbox works on this machine, found by running a command in it; and what a job gets of it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import attrs

from agentd.domain import Sandbox
from agentd.sandbox import confine
from agentd.sandbox.contain import PROBE_SECONDS, Containment, Level, run_command
from agentd.sandbox.enclosure import Means, Refused, through_confine
from agentd.sandbox.policy import Network, Policy, Proxy, SandboxLevel, exists, reachable, secrets
from agentd.sandbox.trees import Program, Tree

__all__ = ["Confinement", "Means", "SandboxLevel", "confine_for", "find_means", "offline"]

BWRAP = (
    *("--die-with-parent", "--new-session", "--cap-drop", "ALL"),
    *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
)
DEV = ("--dev", "/dev")
NEW_PROC = ("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys")
OLD_PROC = ("--ro-bind", "/proc", "/proc")  # containers may refuse a new one
PROBE = "true >probe && ! { true >>/proc/sys/kernel/core_pattern; } 2>/dev/null"  # `:` would end dash
NO_NETWORK = {"parent": 0, "namespaces": confine.NEWNET, "limits": [], "drop": False, "landlock": None, "filter": b""}
LANDLOCK_CREATE, LANDLOCK_VERSION = 444, 1
NONE_HERE = (
    "This job's commands have to be in a sandbox, and there is none on this machine: `agentd doctor` says what is "
    "missing. No command can be run; work with the file tools"
)
NOT_OURS = (
    "This job's commands have to be in a sandbox, where root has no rights beyond its own, and the workspace is in a "
    "directory of another user: agentd has to run as that one. No command can be run; work with the file tools"
)

_found: dict[tuple[Containment, tuple[SandboxLevel, ...]], Means] = {}  # it does not change while a process runs


async def find_means(containment: Containment, levels: Sequence[SandboxLevel] = tuple(SandboxLevel)) -> Means:
    """The strongest of *levels* that works here; NONE if none does. Found out once in a process."""
    key = containment, tuple(levels)
    if key not in _found:
        _found[key] = await _probe(containment, levels)
    return _found[key]


async def _probe(containment: Containment, levels: Sequence[SandboxLevel]) -> Means:
    for level in levels:
        for means in _candidates(level):
            if not await problem(containment, means):
                return means
    return Means(SandboxLevel.NONE)


async def problem(containment: Containment, means: Means) -> str:
    """Why a command does not run by *means*; empty if it does."""
    said: list[bytes] = []
    try:
        with tempfile.TemporaryDirectory(prefix="agentd-probe-") as name:
            workspace = _real(name)
            confined = containment.confined(Policy(workspace, hidden=secrets(os.environ)), means)
            env = {"PATH": os.environ.get("PATH", os.defpath)}
            done = await run_command(
                confined, PROBE, cwd=workspace, env=env, timeout=PROBE_SECONDS, on_output=said.append
            )
    except OSError as exc:
        return str(exc)
    lines = b"".join(said).decode(errors="replace").strip().splitlines() or [f"exit code {done.exit_code}"]
    return lines[-1] if done.exit_code else ""


def _candidates(level: SandboxLevel) -> Iterator[Means]:
    match level:
        case SandboxLevel.BWRAP if bwrap := shutil.which("bwrap"):
            users = (("--unshare-user",), ()) if os.getuid() == 0 else (("--unshare-user",),)
            for user in users:
                for proc in (NEW_PROC, OLD_PROC) if user else (NEW_PROC,):
                    yield Means(level, (bwrap, *BWRAP, *user), (*DEV, *proc), landlock_abi())
        case SandboxLevel.UNSHARE if (abi := landlock_abi()) > 0:
            yield Means(level, abi=abi)
        case SandboxLevel.LANDLOCK if (abi := landlock_abi()) > 0 and platform.machine() in ("x86_64", "aarch64"):
            yield Means(level, abi=abi)


async def problems(levels: Sequence[SandboxLevel]) -> dict[SandboxLevel, str]:
    """Why each of them does not work here; empty for one that does."""
    found = {}
    for level in levels:
        said = [await problem(Containment(Level.GROUP), means) for means in _candidates(level)]
        found[level] = (
            "" if "" in said else next(iter(said), "it is not installed" if level == "bwrap" else "not there")
        )
    return found


def landlock_abi() -> int:
    """Its version here; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(confine.libc.syscall(LANDLOCK_CREATE, None, 0, LANDLOCK_VERSION)))


# --- For jobs -----------------------------------------------------------------------------------------------------


@attrs.frozen
class Confinement:
    """What a job's commands run in. *refusal*: why they are refused; then *containment* refuses each."""

    containment: Containment
    level: SandboxLevel = SandboxLevel.NONE
    active: bool = False  # a sandbox was asked for
    refusal: str = ""


async def confine_for(
    containment: Containment,
    sandbox: Sandbox | None,
    site_mode: Literal["off", "best-effort", "require"],
    workspace: Path,
    directories: Sequence[Path] = (),
    state_dirs: Sequence[Path] = (),
    *,
    wished: bool = False,
    scratch: Path | None = None,
    proxy: Path | None = None,
) -> Confinement:
    """What a job gets that asks for *sandbox* (None: it does not say) on a site with *site_mode*. *wished*: it is the
    site that asks, which may do without. *directories* are the job's others beside the workspace; *state_dirs* agentd's
    own, which stay hidden, named or not, even in a writable one; *proxy* the socket of one that knows its hosts, for
    a job that names some: without it there is no network."""
    asked = sandbox if sandbox is not None else Sandbox(enabled=site_mode != "off")
    if not asked.enabled:
        return Confinement(containment)
    means = await find_means(containment)
    why = NONE_HERE if means.level is SandboxLevel.NONE else "" if reachable(workspace) else NOT_OURS
    if why:
        if (sandbox is None or wished) and site_mode == "best-effort":
            return Confinement(containment, active=True)
        return Confinement(Refused(containment.level, containment.prefix, why=why), active=True, refusal=why)
    hidden = _hidden(state_dirs, workspace)
    named = (_real(path) for path in (*directories, *_named(asked, workspace)))
    allowed = tuple(path for path in named if not any(path.is_relative_to(state) for state in hidden))
    policy = Policy(
        workspace,
        tuple(path for path in allowed if exists(path)),
        (*secrets(os.environ, allowed), *hidden),
        _network(asked, proxy),
        scratch=scratch,
    )
    return Confinement(containment.confined(policy, means), means.level, active=True)


def _named(sandbox: Sandbox, workspace: Path) -> Iterator[Path]:
    return (workspace / Path(path).expanduser() for path in sandbox.paths)


def _hidden(state_dirs: Sequence[Path], workspace: Path) -> tuple[Path, ...]:
    return tuple(path for path in map(_real, state_dirs) if path != workspace)


def _real(path: Path | str) -> Path:
    return Path(os.path.realpath(path))


def _network(sandbox: Sandbox, proxy: Path | None) -> Network | Proxy:
    if not sandbox.network:
        return Network.NONE
    if not sandbox.hosts:
        return Network.ALL
    return Proxy(proxy) if proxy is not None else Network.NONE


# --- Without network ----------------------------------------------------------------------------------------------


@attrs.frozen
class Alone(Containment):
    """Level 1, by a helper that makes a network namespace."""

    def _start(self, program: Program) -> Tree:
        with ExitStack() as files:
            return super()._start(through_confine(program, NO_NETWORK, files))


async def offline(containment: Containment) -> Containment | None:
    """*containment* with a network of nothing but a loopback; None where that is not to be had."""
    made = (
        attrs.evolve(containment, prefix=(*containment.prefix, "--unshare-net"))
        if containment.level is Level.BWRAP
        else Alone(containment.level, containment.prefix)
    )
    env = {"PATH": os.environ.get("PATH", os.defpath)}
    try:
        done = await run_command(made, ":", cwd=Path("/"), env=env, timeout=PROBE_SECONDS, on_output=len)
    except OSError:
        return None
    return made if done.exit_code == 0 else None
