"""What every launcher may do to us, and what it must not come to: with a shell as the launcher."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import attrs
import pytest
import trio

from agentd.daemon import launch as launch_module
from agentd.daemon import leases
from agentd.daemon.launchers import Launcher
from agentd.daemon.lines import Output
from agentd.domain import PROTOCOL, Hello
from agentd.errors import ExecutorFailed, NotStarted
from agentd.wire.client import Address, Client
from agentd.wire.failure import HttpFailed
from tests.launchers.processes import argv_and_environment, is_alive, parent_of
from tests.launchers.site import SECRET, Site, ask, death, until


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_module, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(leases, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(launch_module, "TERM_SECONDS", 0.1)


async def test_an_executor_behind_a_shell_works_and_ends_with_its_block(site: Site) -> None:
    began = trio.current_time()
    async with site.launch("sh -c {cmd}") as executor:
        assert await ask(executor) == {"session": site.home.sessions()[0].id, "job": None, "position": 1}
    assert not is_alive(executor.pid)
    assert trio.current_time() - began < leases.LEASE_SECONDS  # it said that it had stopped


async def test_a_launcher_has_no_secret_and_not_the_job_that_we_are_in(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_CONF", "OPENAI_API_KEY", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, f"the-{name}")
    async with site.launch("sh -c {cmd}") as executor:
        seen = argv_and_environment(executor.pid)
    assert SECRET.encode() not in seen
    assert executor.token.encode() not in seen
    assert [name in seen for name in (b"SLURM_JOB_ID", b"the-OPENAI", b"the-SLURM_CONF")] == [False, False, True]


async def test_a_launcher_that_is_not_there_says_so(site: Site) -> None:
    with pytest.raises(NotStarted, match="srum could not be started: there is no such program"):
        async with site.launch("srum -N1 {argv}"):
            pytest.fail("it was launched")


async def test_a_name_in_the_template_that_nobody_knows_is_told(site: Site) -> None:
    with pytest.raises(NotStarted, match=r"wants \{callback\}, and nobody has said"):
        async with site.launch("sh -c '{cmd} --callback {callback}'"):
            pytest.fail("it was launched")


# --- Late starts --------------------------------------------------------------------------------------------------


async def test_while_it_queues_stderr_says_so_and_the_executor_comes_late(site: Site) -> None:
    os.mkfifo(gate := site.root / "gate")
    output = Output("s")
    template = f"sh -c 'echo job 7 is queued >&2; read word < {gate}; exec {{cmd}}'"
    launched = trio.Event()

    async def hold(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with site.launch(template, output=output):
            launched.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold)
        await until(lambda: "job 7 is queued" in output.words)
        assert not launched.is_set()
        await trio.to_thread.run_sync(gate.write_text, "go\n")
        with trio.fail_after(60):
            await launched.wait()


QUEUED = """sh -c 'echo queued >&2; read hello; {then}' x {{argv}}"""


async def fail_to_launch(template: str, site: Site, ready_seconds: float) -> str:
    with pytest.raises(ExecutorFailed) as caught:
        async with site.launch(template, ready_seconds=ready_seconds):
            pytest.fail("it was launched")
    return str(caught.value)


async def test_the_time_to_be_ready_begins_when_it_has_started(site: Site) -> None:
    begin = QUEUED.format(then='sleep 0.5; echo "{\\"started\\": true}"; echo "{\\"stopped\\": true}"; exit 3')
    text = await fail_to_launch(begin, site, ready_seconds=0.2)
    assert text == "the executor did not start: exit code 3\n  queued"


async def test_one_that_has_started_and_is_never_ready_is_given_up(site: Site, short_lease: None) -> None:
    text = await fail_to_launch(QUEUED.format(then='echo "{\\"started\\": true}"; cat'), site, ready_seconds=0.2)
    assert text == "the executor was not ready within 0.2 s\n  queued"


async def test_a_queue_that_never_ends_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_module, "QUEUE_SECONDS", 0.3)
    text = await fail_to_launch(QUEUED.format(then="cat"), site, ready_seconds=0.1)
    assert text == "the executor was not started within 0.3 s\n  queued"


async def test_an_address_that_leads_nowhere_is_told(site: Site) -> None:
    text = await fail_to_launch(f"sh -c '{{cmd}} --advertise unix:{site.root}/nowhere'", site, ready_seconds=60)
    assert f"ready, but cannot be reached at unix:{site.root}/nowhere: " in text


async def test_with_a_callback_it_listens_on_tcp_at_the_address_that_leads_there(site: Site) -> None:
    async with site.launch("sh -c '{cmd} --callback {callback}'", values={"callback": "127.0.0.1"}) as executor:
        assert executor.address.startswith("http://127.0.0.1:")
        assert (await ask(executor, "/v1/executor"))["protocolVersion"] == PROTOCOL
        async with Client(Address.parse(executor.address)) as client:
            assert (await client.request("GET", "/_/health")).status == 401
            assert (await client.request("GET", "/v1/sessions")).status == 401


# --- The lease ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Alone:
    """An executor that nobody's leash or launch() holds."""

    process: subprocess.Popen[str]
    address: Address

    async def ask(self, path: str, token: str) -> int:
        async with Client(self.address) as client:
            headers = [("Authorization", f"Bearer {token}")] if token else []
            return (await client.request("GET", path, headers=headers)).status


@pytest.fixture
def alone(site: Site) -> Iterator[Alone]:
    """With a lease of one second, and t as its token."""
    session = site.session()
    hello = Hello(session.id, str(session.path), "t", lease=1.0, nonce_file=str(site.root / "nonce"))
    pipe = subprocess.PIPE
    with subprocess.Popen(site.argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(attrs.asdict(hello)) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"started": True}
        ready = json.loads(process.stdout.readline())["ready"]
        yield Alone(process, Address.parse(ready["address"]))
        process.kill()


async def test_without_a_request_the_lease_ends_it(alone: Alone) -> None:
    assert alone.process.stderr is not None
    assert await trio.to_thread.run_sync(alone.process.wait) == 1
    assert (
        alone.process.stderr.read()
        == "agentd executor: no request came for 1 s: its daemon is gone, or cannot reach it\n"
    )


@pytest.mark.parametrize("path", ["/_/health", "/v1/sessions"])
async def test_requests_to_either_table_renew_the_lease(alone: Alone, path: str) -> None:
    for _ in range(10):
        assert await alone.ask(path, "t") == 200
        await trio.sleep(0.2)
    assert alone.process.poll() is None


@pytest.mark.parametrize(("path", "status"), [("/_/health", 401), ("/v1/sessions", 401), ("/health/live", 200)])
async def test_requests_without_the_token_do_not(alone: Alone, path: str, status: int) -> None:
    with trio.fail_after(30):
        while alone.process.poll() is None:  # of a process there is no event
            with suppress(HttpFailed):  # it has ended meanwhile
                assert await alone.ask(path, "") == status
            await trio.sleep(0.1)
    assert alone.process.returncode == 1


async def test_a_launched_one_is_kept_without_anybody_asking(site: Site, short_lease: None) -> None:
    async with site.launch("sh -c {cmd}") as executor:
        await trio.sleep(3)
        assert not executor.is_dead


async def test_one_that_does_not_answer_is_dead_when_its_lease_is_over(site: Site, short_lease: None) -> None:
    async with site.launch("sh -c {cmd}") as executor:
        os.kill(executor.pid, signal.SIGSTOP)
        stopped = trio.current_time()
        assert await death(executor) == "it did not answer for 1.5 s, and its lease is over"
        assert trio.current_time() - stopped > 1.0
    assert not is_alive(executor.pid)


FAITHLESS = """
import os, subprocess, sys
reader, writer = os.pipe()
subprocess.Popen(["sleep", "60"], pass_fds=[writer], start_new_session=True, stdout=subprocess.DEVNULL)
executor = subprocess.Popen(sys.argv[1:], stdin=reader, stdout=subprocess.PIPE, start_new_session=True)
os.write(writer, sys.stdin.buffer.readline())
for line in executor.stdout:
    sys.stdout.buffer.write(line)
    sys.stdout.flush()
"""


async def test_one_that_its_dead_launcher_left_behind_is_ended_before_another_may_start(site: Site) -> None:
    program = site.root / "faithless.py"
    program.write_text(FAITHLESS)
    async with site.launch(f"{sys.executable} {program} {{argv}}") as executor:
        launcher = parent_of(executor.pid)
        os.kill(launcher, signal.SIGKILL)
        assert await death(executor) == "killed by SIGKILL"
        assert is_alive(executor.pid)
    assert not is_alive(executor.pid)


SHEPHERD = """
import os, subprocess, sys, time
reader, writer = os.pipe()
if os.fork() == 0:
    os.close(writer)
    os.read(reader, 1)  # until the launcher is dead
    time.sleep(0.3)
    open(sys.argv[1], "w").close()
    sys.exit()
subprocess.run(sys.argv[2:])
"""


async def test_a_launchers_helper_has_time_to_tell_the_far_side_that_it_was_killed(site: Site) -> None:
    program, told = site.root / "shepherd.py", site.root / "told"
    program.write_text(SHEPHERD)
    async with site.launch(f"{sys.executable} {program} {told} {{argv}}") as executor:
        os.kill(parent_of(executor.pid), signal.SIGKILL)
        await death(executor)
    assert told.exists()


# --- The end of the daemon ----------------------------------------------------------------------------------------

DAEMON = """
import sys, trio
from agentd.daemon.launch import launch
from agentd.daemon.launchers import Launcher
from agentd.domain import Hello
async def main():
    async with launch(["x"], Hello("s", sys.argv[2]), ready_seconds=30, launcher=Launcher(sys.argv[1])):
        pass
trio.run(main)
"""


async def test_a_launcher_that_queues_hears_sigterm_when_the_daemon_is_killed(site: Site) -> None:
    waiting, told = site.root / "waiting", site.root / "told"
    script = f'trap "echo term > {told}; exit" TERM; echo $$ > {waiting}; while :; do sleep 0.05; done'
    argv = [sys.executable, "-c", DAEMON, f"sh -c '{script}' {{argv}}", str(site.root)]
    with subprocess.Popen(argv) as daemon:  # noqa: ASYNC220
        await until(waiting.exists)
        daemon.kill()
    await until(told.exists)


def test_a_launch_template_may_name_the_sessions_directory() -> None:
    launcher = Launcher("ssh -L {session_dir}/t:{session_dir}/executor.sock host {cmd}")
    assert launcher.command(["x"], {"session_dir": "/d"})[2] == "/d/t:/d/executor.sock"
