"""What a sandbox costs each command, beside a command that is only contained: `true` in a repository."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import trio

from agentd.sandbox.contain import Containment, probe, run_command
from agentd.sandbox.levels import SandboxLevel, find_means
from agentd.sandbox.policy import Network, Policy, secrets
from tests.bench.table import Row

ROUNDS = 40
ENV = {"PATH": os.environ.get("PATH", os.defpath)}
CASES = (
    ("bwrap, no network", SandboxLevel.BWRAP, Network.NONE, "≤ 2.5×"),
    ("bwrap, all network", SandboxLevel.BWRAP, Network.ALL, "≤ 8×"),
    ("unshare+landlock", SandboxLevel.UNSHARE, Network.NONE, "≤ 8×"),
    ("landlock", SandboxLevel.LANDLOCK, Network.NONE, "≤ 8×"),
)


def rows(_peers: str | None = None) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as directory:
        workspace = Path(directory).resolve()
        subprocess.run(["git", "init", "-q", workspace], check=True)
        yield from trio.run(measured, workspace)


async def measured(workspace: Path) -> list[Row]:
    contained = await probe()
    rows = []
    for what, level, network, target in CASES:
        if (sandbox := await confined(contained, workspace, level, network)) is not None:
            ours, theirs = await compared(sandbox, contained, workspace)
            rows.append(Row(f"sandbox: {what}", ours, "ms", target, f"level 1: {contained.level}", theirs))
    return rows


async def confined(
    contained: Containment, workspace: Path, level: SandboxLevel, network: Network
) -> Containment | None:
    """None: it does not work here."""
    means = await find_means(contained, [level])
    policy = Policy(workspace, hidden=secrets(os.environ), network=network)
    return contained.confined(policy, means) if means.level is level else None


async def compared(sandbox: Containment, contained: Containment, workspace: Path) -> tuple[float, float]:
    """Medians, in milliseconds, of runs that take turns."""
    times = [(await timed(sandbox, workspace), await timed(contained, workspace)) for _ in range(ROUNDS)]
    ours, theirs = zip(*times, strict=True)
    return statistics.median(ours), statistics.median(theirs)


async def timed(containment: Containment, workspace: Path) -> float:
    began = time.perf_counter()
    await run_command(containment, "true", cwd=workspace, env=ENV, timeout=30, on_output=len)
    return (time.perf_counter() - began) * 1000
