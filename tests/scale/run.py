"""`build.py scale`: executors on a Slurm cluster of three nodes, all on this machine. As root."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import trio

from agentd.store.home import Home
from tests.launchers.site import Site, until
from tests.scale.cluster import PROGRAMS, can_make_networks, open_cluster
from tests.scale.scenarios import (
    LONG,
    Scenario,
    a_node_that_is_cut_off_ends_its_executor_before_another_may_start,
)
from tests.scale.yard import Yard

PYZ = Path(__file__).parents[2] / "dist" / "agentd.pyz"
NODES = 3
NEEDS_NETWORKS = [a_node_that_is_cut_off_ends_its_executor_before_another_may_start]


def main(words: list[str]) -> int:
    """*words*: parts of the names of scenarios; all if there are none. 1: something did not hold."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        print(f"scale: {', '.join(missing)} not installed; on Debian: apt-get install slurm-wlm", file=sys.stderr)
        return 1
    if os.geteuid() != 0:
        print("scale: only root can bring up a cluster", file=sys.stderr)
        return 1
    networks = can_make_networks()
    chosen = [each for each in LONG if not words or any(word in each.__name__ for word in words)]
    with tempfile.TemporaryDirectory(prefix="agd", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        root = Path(scratch)
        (root / "slurm").mkdir()
        site = Site(root, PYZ, Home(root / "home"))
        site.workspace.mkdir()
        began = time.monotonic()
        with open_cluster(root / "slurm", NODES, networks=networks) as cluster:
            kind = "each with a network of its own" if networks else "on one host: no namespaces can be made here"
            print(f"{NODES} nodes up in {time.monotonic() - began:.2f} s, {kind}", flush=True)
            os.environ["SLURM_CONF"] = str(cluster.conf)
            os.environ["SLURM_JOB_ID"] = "1"  # as if we were in a job: it must not matter
            failed = [each for each in chosen if not trio.run(holds, each, Yard(site, cluster), networks)]
    return 1 if failed else 0


async def holds(scenario: Scenario, yard: Yard, networks: bool) -> bool:
    name = scenario.__name__.replace("_", " ")
    if scenario in NEEDS_NETWORKS and not networks:
        print(f"  left out  {name}", flush=True)
        return True
    try:
        told = await scenario(yard)
        await until(yard.is_idle)
    except Exception as exc:
        print(f"  FAILED    {name}: {exc!r}; left: {yard.cluster.jobs()} {yard.executors()}", flush=True)
        import traceback

        traceback.print_exc()
        return False
    print(f"  holds     {name}: {told}", flush=True)
    return True


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:  # everything was taken down on the way here
        sys.exit(130)
