"""A disk that is full, forbidden or failing, and a process that has no descriptors left, against real executors.

Each time: no lie (what got a 2xx is there after kill -9), an error that names what would help, health answers, what is
durable can be read, and when the cause is gone the same process works again.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.executors import TOKEN, Executor, Forge, Place, make_repository
from tests.faults.story import (
    SCRIPTS,
    Client,
    Promises,
    Refused,
    check_after_restart,
    check_goes_on,
    job_body,
    settings,
)
from tests.witness import until

EVERY = "AGENTD_FAULTS" in os.environ
STEPS = range(9) if EVERY else (0, 2, 4)
BUSY_SECONDS = 1.0  # how long a process is watched that should be idle
RECOVERY_SECONDS = 10.0
SMALL_DISK = "4m"
Require = Callable[[str], str]


@pytest.fixture(scope="module")
def forge() -> Iterator[Forge]:
    with Forge.open() as forge:
        yield forge


def place_of(root: Path, forge: Forge, *more: str, home: Path | None = None) -> Place:
    make_repository(root / "workspace")
    return Place(root, forge, (*settings(root), *more), home)


def go_on_with(executor: Executor, told: Promises, from_step: int) -> list[str]:
    """The rest of the story, as far as it is let; what was refused, and why."""
    refusals = []
    client = Client(executor, told)
    for step in client.steps()[from_step:]:
        try:
            step()
        except Refused as exc:
            refusals.append(str(exc))
        assert executor.ask("GET", "/health/live").status == 200
        assert executor.ask("GET", "/health/ready").status == 200
    for job in told.ended:
        with suppress(Refused):
            assert client.events_of(job) == told.seen[job]
    return refusals


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("failure", ["ENOSPC", "EACCES", "EIO"])
def test_whatever_the_disk_refuses_no_promise_is_broken(tmp_path: Path, forge: Forge, failure: str, step: int) -> None:
    place, told, switch = place_of(tmp_path, forge), Promises(), tmp_path / "switch"
    with place.executor(switch=switch) as executor:
        for work in Client(executor, told).steps()[:step]:
            work()
        switch.write_text(failure)
        assert go_on_with(executor, told, step)
        switch.unlink()
        check_goes_on(executor)
    check_after_restart(place, told).kill()


def test_of_a_job_that_was_refused_when_it_was_on_disk_already_nothing_comes(tmp_path: Path, forge: Forge) -> None:
    place, told, switch = place_of(tmp_path, forge), Promises(), tmp_path / "switch"
    body = job_body("talker", "ASK", contextText=[])
    with place.executor(switch=switch) as executor:
        Client(executor, told).steps()[0]()
        switch.write_text("EIO")
        for _ in range(2):
            assert executor.ask("POST", "/v1/jobs", body, Idempotency_Key="k").status == 507
        switch.unlink()
        answer = executor.ask("POST", "/v1/jobs", body, Idempotency_Key="k")
        assert answer.status == 201
        told.jobs["k"], told.tried["k"] = answer.body["jobId"], body
        executor.wait_for_end(answer.body["jobId"])
        states = {job["jobId"]: job["state"] for job in executor.ask("GET", "/v1/jobs").body["jobs"]}
    executor = check_after_restart(place, told)
    assert {job["jobId"]: job["state"] for job in executor.ask("GET", "/v1/jobs").body["jobs"]} == states
    assert sorted(states.values()) == ["COMPLETED", "FAILED"]
    executor.kill()


SLOW = [
    {"parts": ["Words. " * 20, {"delay_seconds": 0.2}, "more.", {"call": "Bash", "input": {"command": "sleep 0.2"}}]},
    {"parts": [{"delay_seconds": 0.2}, "Further.", {"call": "Read", "input": {"file_path": "a.py"}}]},
    {"parts": ["So, ", {"delay_seconds": 0.3}, "done."]},
]


@pytest.mark.parametrize("after", [1, 3, 5, 8])
@pytest.mark.parametrize("failure", ["ENOSPC", "EIO"])
def test_a_job_that_the_disk_ends_has_one_end_and_its_readers_hear_of_it(
    tmp_path: Path, forge: Forge, monkeypatch: pytest.MonkeyPatch, failure: str, after: int
) -> None:
    monkeypatch.setitem(SCRIPTS, "slow", SLOW)
    place, told, switch = place_of(tmp_path, forge), Promises(), tmp_path / "switch"
    with place.executor(switch=switch) as executor:
        body = told.tried["k"] = job_body("slow", "CODE")
        job = told.jobs["k"] = executor.ask("POST", "/v1/jobs", body, Idempotency_Key="k").body["jobId"]
        with executor.stream(f"/v1/jobs/{job}/events?format=sse") as stream:
            assert executor.events(job, after, wait=10)
            told.seen[job] = executor.events(job)
            switch.write_text(failure)
            failed = executor.wait_for_end(job)
            assert failed["state"] == "FAILED"
            assert os.strerror(getattr(errno, failure)) in failed["error"]
            assert executor.ask("GET", "/health/ready").status == 200
            switch.unlink()
            sent = [json.loads(line.removeprefix(b"data: ")) for line in stream if line.startswith(b"data: ")]
        assert sent[: len(told.seen[job])] == told.seen[job]
        told.seen[job] = executor.events(job)
        assert sent == told.seen[job]
        assert (sent[-1]["type"], sent[-1]["data"]["message"]) == ("ERROR", failed["error"])
        told.ended[job] = executor.wait_for_end(job)
        assert (told.ended[job]["state"], told.ended[job]["error"]) == ("FAILED", failed["error"])
        check_goes_on(executor)
    check_after_restart(place, told).kill()


# --- Real ones ----------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(where: Path, require: Require) -> Iterator[tuple[Path, list[str]]]:
    """A disk of SMALL_DISK mounted at *where* in a namespace of its own: its path from outside, and the words that a
    command needs before it to be inside."""
    unshare, nsenter = require("unshare"), require("nsenter")
    where.mkdir()
    script = f"mount -t tmpfs -o size={SMALL_DISK} none {where} && echo mounted && exec sleep 600"
    with subprocess.Popen([unshare, "-rm", "sh", "-c", script], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        try:
            if holder.stdout.readline() != "mounted\n":
                pytest.skip("needs a user namespace in which tmpfs may be mounted")
            command = [nsenter, "-t", str(holder.pid), "-U", "-m", "--preserve-credentials", f"--wd={Path.cwd()}"]
            yield Path(f"/proc/{holder.pid}/root{where}"), command
        finally:
            holder.kill()


def fill(disk: Path) -> Path:
    """What takes all the room that there was."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return ballast


@pytest.mark.parametrize("step", STEPS)
def test_on_a_disk_that_is_full_no_promise_is_broken(tmp_path: Path, require: Require, step: int) -> None:
    with small_disk(tmp_path / "disk", require) as (disk, inside), Forge.open(*inside) as forge:
        place = place_of(tmp_path, forge, "--data-dir", str(tmp_path / "disk/home"), home=disk / "home")
        told = Promises()
        with place.executor() as executor:
            for work in Client(executor, told).steps()[:step]:
                work()
            ballast = fill(disk)
            refusals = go_on_with(executor, told, step)
            assert any("No space left on device; free some space" in text for text in refusals)
            ballast.unlink()
            check_goes_on(executor)
        check_after_restart(place, told).kill()


def test_a_tool_that_finds_the_disk_full_tells_the_model(
    tmp_path: Path, require: Require, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        SCRIPTS,
        "filler",
        [
            {"parts": [{"call": "Write", "input": {"file_path": "big.txt", "content": "x" * (5 << 20)}}]},
            {"parts": ["So it is."], "expect": {"contains": ["big.txt: no space is left on the disk"]}},
        ],
    )
    with small_disk(tmp_path / "disk", require) as (disk, inside), Forge.open(*inside) as forge:
        (disk / "workspace").mkdir()
        place = Place(tmp_path, forge, (*settings(tmp_path), "--data-dir", str(tmp_path / "home")), tmp_path / "home")
        place.workspace_path = tmp_path / "disk/workspace"
        with place.executor() as executor:
            made = executor.ask("POST", "/v1/jobs", job_body("filler", "CODE"), Idempotency_Key="k")
            ended = executor.wait_for_end(made.body["jobId"])
            assert (ended["state"], ended["result"]) == ("COMPLETED", "So it is."), ended["error"]


@pytest.mark.parametrize("step", STEPS)
def test_in_a_directory_that_is_forbidden_no_promise_is_broken(tmp_path: Path, require: Require, step: int) -> None:
    powers = "-dac_override,-dac_read_search"  # without these root, too, is told that it may not
    command = [require("setpriv"), f"--bounding-set={powers}", f"--inh-caps={powers}"] if os.geteuid() == 0 else []
    with Forge.open(*command) as forge:
        place, told = place_of(tmp_path, forge), Promises()
        with place.executor() as executor:
            for work in Client(executor, told).steps()[:step]:
                work()
            directories = [path for path in (place.home, *place.home.rglob("*")) if path.is_dir()]
            for path in directories:
                path.chmod(0o500)
            refusals = go_on_with(executor, told, step)
            assert any("Permission denied; the user that agentd runs as must" in text for text in refusals)
            for path in directories:
                path.chmod(0o700)
            check_goes_on(executor)
        check_after_restart(place, told).kill()


@pytest.mark.parametrize(("descriptors", "clients"), [(64, 30), (40, 30), (64, 300)])
def test_without_descriptors_no_promise_is_broken(
    tmp_path: Path, require: Require, descriptors: int, clients: int
) -> None:
    with Forge.open(require("prlimit"), f"--nofile={descriptors}") as forge:
        place, told = place_of(tmp_path, forge), Promises()
        with place.executor() as executor:
            friend, *crowd = [connect(executor) for _ in range(clients)]
            before = cpu_seconds(executor)
            time.sleep(BUSY_SECONDS)
            assert cpu_seconds(executor) - before < BUSY_SECONDS / 4
            status, body = ask_over(friend, "GET", "/health/ready", b"")
            assert status == 200, body
            status, body = ask_over(friend, "POST", "/v1/sessions", b'{"name": "many"}')
            assert status == 201 or b"ulimit -n" in body, body
            for each in (friend, *crowd):
                each.close()
            assert until(executor.is_ready, RECOVERY_SECONDS)
            Client(executor, told).tell()
            assert executor.said().count("cannot accept connections") <= 1
        check_after_restart(place, told).kill()


def connect(executor: Executor) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(str(executor.address))
    return client


def ask_over(client: socket.socket, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    client.sendall(head.encode() + body)
    answer = client.recv(65536)
    return int(answer.split(b" ", 2)[1]), answer


def cpu_seconds(executor: Executor) -> float:
    fields = Path(f"/proc/{executor.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if sys.platform != "linux":
    pytest.skip("namespaces, capabilities and /proc are Linux's", allow_module_level=True)
