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
TARGETS = {SandboxLevel.BWRAP: "≤ 2.5×", SandboxLevel.UNSHARE: "≤ 20×", SandboxLevel.LANDLOCK: "≤ 8×"}


def rows(_peers: str | None = None) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as directory:
        workspace = Path(directory).resolve()
        subprocess.run(["git", "init", "-q", workspace], check=True)
        yield from trio.run(measured, workspace)


async def measured(workspace: Path) -> list[Row]:
    contained = await probe()
    made = {f"{level}, no network": level for level in TARGETS}
    sandboxes = {what: await confined(contained, workspace, level) for what, level in made.items()}
    if (bwrap := await confined(contained, workspace, SandboxLevel.BWRAP, Network.ALL)) is not None:
        made["bwrap, all network"], sandboxes["bwrap, all network"] = SandboxLevel.UNSHARE, bwrap
    rows = []
    for what, sandbox in sandboxes.items():
        if sandbox is not None:
            ours, theirs = await compared(sandbox, contained, workspace)
            rows.append(Row(f"sandbox: {what}", ours, "ms", TARGETS[made[what]], f"level 1: {contained.level}", theirs))
    return rows


async def confined(
    contained: Containment, workspace: Path, level: SandboxLevel, network: Network = Network.NONE
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
