"""Executors on a small Slurm cluster that these tests bring up: the short form of `build.py scale`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.launchers.site import Site, until
from tests.scale.cluster import PROGRAMS, Cluster, open_cluster
from tests.scale.scenarios import SHORT, Scenario
from tests.scale.yard import Yard


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with (
        tempfile.TemporaryDirectory(prefix="agd", dir="/tmp", ignore_cleanup_errors=True) as scratch,
        open_cluster(Path(scratch), slurmd_seconds=4) as one,
    ):
        yield one


@pytest.fixture
def yard(
    require: Callable[[str], str], site: Site, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Yard:
    for program in PROGRAMS:
        require(program)
    if os.geteuid() != 0:
        pytest.skip("needs root, to bring up a cluster")
    cluster: Cluster = request.getfixturevalue("cluster")
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    monkeypatch.setenv("SLURM_JOB_ID", "1")  # as if we were in a job: it must not matter
    return Yard(site, cluster)


@pytest.mark.parametrize("scenario", SHORT, ids=lambda scenario: scenario.__name__.replace("_", " "))
async def test_on_a_cluster(scenario: Scenario, yard: Yard) -> None:
    await scenario(yard)
    await until(yard.is_idle)
