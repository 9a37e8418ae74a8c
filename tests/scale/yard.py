"""A cluster, and a place on it where executors are launched."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from agentd.daemon.launch import Launched
from agentd.sandbox.leash import starttime
from agentd.store.home import SessionDir
from tests.launchers.processes import children, command_line, parent_of, processes
from tests.launchers.recipes import recipe
from tests.launchers.site import Site
from tests.scale.cluster import Cluster


@attrs.frozen
class Yard:
    site: Site
    cluster: Cluster

    @property
    def template(self) -> str:
        """The one of the manual."""
        return recipe("slurm").replace("HEAD", self.cluster.head)

    @asynccontextmanager
    async def launch(self, **more: object) -> AsyncIterator[Launched]:
        async with self.site.launch(self.template, **more) as executor:
            yield executor

    def is_idle(self) -> bool:
        return not self.cluster.jobs() and not self.executors()

    def executors(self) -> list[int]:
        """Their pids as we see them, wherever they are."""
        mine = b"\0".join(word.encode() for word in self.site.argv[1:3])
        return [pid for pid in processes(sys.executable) if mine in command_line(pid)]

    def pid_of(self, executor: Launched) -> int:
        """As we see it: on a node with processes of its own it has another number."""
        [pid] = [pid for pid in self.executors() if starttime(pid) == executor.ready.starttime]
        return pid

    def launcher_of(self, session: SessionDir) -> int:
        """Not the shepherd that srun forks: that one cancels the job when srun is killed."""
        ours = {pid for pid in children(os.getpid()) if parent_of(pid) == os.getpid()}
        [pid] = [pid for pid in processes("srun") if pid in ours and session.id.encode() in command_line(pid)]
        return pid

    def fill(self) -> str:
        """A job that leaves no room for another."""
        nodes = str(len(self.cluster.nodes_in("idle")))
        job = self.cluster.run(
            "sbatch", "--parsable", "--exclusive", "-N", nodes, "-o", "/dev/null", "--wrap", "sleep 999"
        )
        return job.strip()
