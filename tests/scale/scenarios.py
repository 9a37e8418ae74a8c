"""What has to hold of executors on a cluster. Each says what it measured, and leaves nothing on the cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import trio

from agentd.daemon.executors import Seat, open_seats
from agentd.daemon.launchers import Launcher
from agentd.daemon.lines import Output
from agentd.daemon.plan import Plan
from tests.launchers.processes import argv_and_environment, is_alive
from tests.launchers.site import SECRET, ask, death, until
from tests.scale.cluster import NODE_CPUS
from tests.scale.whole import the_session_manager_works_and_comes_back_after_it_was_killed
from tests.scale.yard import Yard

MANY = 4  # sessions
LEASE = 3.0  # seconds, where one has to end
DAEMON = """
import sys, trio
from agentd.daemon.launch import launch
from agentd.daemon.launchers import Launcher
from agentd.domain import Hello
async def main():
    async with launch(["true"], Hello("orphan", sys.argv[2]), ready_seconds=30, launcher=Launcher(sys.argv[1])):
        pass
trio.run(main)
"""


Scenario = Callable[[Yard], Awaitable[str]]


async def it_starts_works_and_leaves_no_job(yard: Yard) -> str:
    began = time.monotonic()
    async with yard.launch() as executor:
        ready = time.monotonic()
        [job] = yard.cluster.jobs()
        assert " RUNNING agentd:" in job
        seen = argv_and_environment(yard.pid_of(executor))
        assert SECRET.encode() not in seen
        assert executor.token.encode() not in seen
        assert executor.address.startswith("http://127.") is not yard.cluster.has_networks
        leaving = time.monotonic()
    over = time.monotonic()
    freed = await until(lambda: not yard.cluster.jobs())
    return f"ready after {ready - began:.2f} s, ended in {over - leaving:.2f} s, job gone {freed:.2f} s later"


async def it_queues_says_so_and_starts_when_there_is_room(yard: Yard) -> str:
    blocker, output, told = yard.fill(), Output("s"), 0.0
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def make_room() -> None:
            nonlocal told
            await until(lambda: any("queued and waiting for resources" in line for line in output.words))
            await trio.sleep(2)  # longer than what it may take to be ready
            yard.cluster.run("scancel", blocker)
            told = time.monotonic()

        async with yard.launch(output=output, ready_seconds=1.9) as executor:
            after = time.monotonic() - told
            assert told
            assert await ask(executor)
    return f"ready {after:.2f} s after there was room"


async def what_is_cancelled_in_the_queue_leaves_it(yard: Yard) -> str:
    blocker, output, began = yard.fill(), Output("s"), 0.0
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def give_up() -> None:
                await until(lambda: any("queued" in line for line in output.words))
                nonlocal began
                began = time.monotonic()
                scope.cancel()

            async with yard.launch(output=output):
                raise AssertionError("there was room")
    took = time.monotonic() - began
    assert [job.split()[0] for job in yard.cluster.jobs()] == [blocker]
    yard.cluster.run("scancel", blocker)
    return f"out of the queue after {took:.2f} s"


async def a_killed_daemon_leaves_nothing_in_the_queue(yard: Yard) -> str:
    blocker = yard.fill()
    (yard.site.root / "orphan").mkdir(exist_ok=True)
    argv = [sys.executable, "-c", DAEMON, yard.template, str(yard.site.root / "orphan")]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as daemon:  # noqa: ASYNC220
        await until(lambda: any("PENDING agentd:orphan" in job for job in yard.cluster.jobs()))
        daemon.kill()
    took = await until(lambda: len(yard.cluster.jobs()) == 1)
    yard.cluster.run("scancel", blocker)
    return f"out of the queue after {took:.2f} s"


async def scancel_is_a_death(yard: Yard) -> str:
    async with yard.launch() as executor:
        [job] = yard.cluster.jobs()
        began = time.monotonic()
        yard.cluster.run("scancel", job.split()[0])
        why = await death(executor)
        took = time.monotonic() - began
        assert "CANCELLED" in why or "Force Terminated" in why, why
    return f"noticed after {took:.2f} s"


async def a_killed_executor_is_a_death(yard: Yard) -> str:
    async with yard.launch() as executor:
        began = time.monotonic()
        os.kill(yard.pid_of(executor), signal.SIGKILL)
        await death(executor)
        took = time.monotonic() - began
    return f"noticed after {took:.2f} s"


async def when_srun_is_killed_the_far_side_ends(yard: Yard) -> str:
    session = yard.site.session()
    async with yard.launch(session=session) as executor:
        pid = yard.pid_of(executor)
        began = time.monotonic()
        os.kill(yard.launcher_of(session), signal.SIGKILL)
        assert (await death(executor)).startswith("killed by SIGKILL")
        noticed = time.monotonic() - began
    ended = time.monotonic() - began
    assert not is_alive(pid)
    freed = await until(lambda: not yard.cluster.jobs()) + ended
    return f"noticed after {noticed:.2f} s, executor gone after {ended:.2f} s, job after {freed:.2f} s"


async def a_lost_node_is_a_death(yard: Yard) -> str:
    async with yard.launch(lease=LEASE) as executor:
        [job] = yard.cluster.jobs()
        node = yard.cluster.node_of(job.split()[0])
        began = time.monotonic()
        yard.cluster.cut_power(node)
        await death(executor)
        noticed = time.monotonic() - began
    over = time.monotonic() - began
    yard.cluster.run("scontrol", "update", f"NodeName={node.name}", "State=DOWN", "Reason=lost")  # Slurm takes longer
    return f"lease {LEASE:g} s: noticed after {noticed:.1f} s, another may start after {over:.1f} s"


async def a_node_that_is_cut_off_ends_its_executor_before_another_may_start(yard: Yard) -> str:
    async with yard.launch(lease=LEASE) as executor:
        [job] = yard.cluster.jobs()
        node, pid = yard.cluster.node_of(job.split()[0]), yard.pid_of(executor)
        began, ended = time.monotonic(), 0.0
        yard.cluster.cut_network(node)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def watch() -> None:
                nonlocal ended
                ended = await until(lambda: not is_alive(pid))

            await death(executor)
            noticed = time.monotonic() - began
    over = time.monotonic() - began
    assert ended < over
    yard.cluster.cut_network(node, up=True)
    await until(lambda: len(set(yard.cluster.nodes_in("idle"))) == len(yard.cluster.nodes))
    times = f"it ended after {ended:.1f} s, noticed after {noticed:.1f} s, another may start after {over:.1f} s"
    return f"lease {LEASE:g} s: {times}"


# --- Sessions of a daemon -----------------------------------------------------------------------------------------


def plan(yard: Yard) -> Plan:
    site = yard.site
    return Plan(launcher=Launcher(yard.template), program=lambda *words: [*site.argv[:2], *words])


async def work(seat: Seat, key: str) -> None:
    """A job from beginning to end, by the executor's public API."""
    launched = await seat.up()
    headers = [("Authorization", f"Bearer {launched.token}"), ("Idempotency-Key", key)]
    body = json.dumps({"taskInput": "What is here?", "plannerModel": "builtin", "tags": {"mode": "ASK"}}).encode()
    client = seat.client()
    created = await client.request("POST", "/v1/jobs", headers=headers, body=body)
    assert created.status == 201, created.body
    job = json.loads(created.body)["jobId"]
    with trio.fail_after(60):
        while (state := (await ask(launched, f"/v1/jobs/{job}"))["state"]) != "COMPLETED":
            assert state in ("QUEUED", "RUNNING")
            await trio.sleep(0.05)


async def sessions_work_side_by_side(yard: Yard) -> str:
    async with open_seats(plan(yard)) as seats:
        chosen = [seats.seat(yard.site.session(), yard.site.workspace) for _ in range(MANY)]
        began = time.monotonic()
        async with trio.open_nursery() as nursery:
            for seat in chosen:
                nursery.start_soon(seat.up)
        up = time.monotonic() - began
        async with trio.open_nursery() as nursery:
            for seat in chosen:
                nursery.start_soon(work, seat, "one")
        worked = time.monotonic() - began - up
        leaving = time.monotonic()
    ended = time.monotonic() - leaving
    return f"{MANY} up in {up:.2f} s, a job in each in {worked:.2f} s, all ended in {ended:.2f} s"


async def a_session_goes_on_elsewhere_when_its_node_is_lost(yard: Yard) -> str:
    async with open_seats(plan(yard)) as seats:
        seat = seats.seat(yard.site.session(), yard.site.workspace)
        await work(seat, "one")
        [job] = yard.cluster.jobs()
        first = yard.cluster.node_of(job.split()[0])
        began = time.monotonic()
        yard.cluster.cut_power(first)
        await until(lambda: seat.state != "live")
        noticed = time.monotonic() - began
        await work(seat, "two")
        back = time.monotonic() - began
        nodes = {yard.cluster.node_of(job.split()[0]).name for job in yard.cluster.jobs()}
        assert nodes - {first.name}
        jobs = await ask(await seat.up(), "/v1/jobs")
        assert len(jobs if isinstance(jobs, list) else jobs["jobs"]) == 2
    return f"noticed after {noticed:.1f} s, its next job done after {back:.1f} s on {', '.join(nodes - {first.name})}"


SHORT: list[Scenario] = [
    it_starts_works_and_leaves_no_job,
    it_queues_says_so_and_starts_when_there_is_room,
    what_is_cancelled_in_the_queue_leaves_it,
    a_killed_daemon_leaves_nothing_in_the_queue,
    scancel_is_a_death,
    a_killed_executor_is_a_death,
    when_srun_is_killed_the_far_side_ends,
    sessions_work_side_by_side,
    the_session_manager_works_and_comes_back_after_it_was_killed,
    a_lost_node_is_a_death,  # it stays lost
]
LONG: list[Scenario] = [
    *SHORT[:-1],
    a_node_that_is_cut_off_ends_its_executor_before_another_may_start,
    a_lost_node_is_a_death,
    a_session_goes_on_elsewhere_when_its_node_is_lost,
]
assert NODE_CPUS * 2 >= MANY
