"""Executors through ssh, to an sshd on loopback: requests go through the tunnel of the same connection."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest
import trio

from agentd.daemon import launch as launch_module
from agentd.daemon import leases
from agentd.errors import ExecutorFailed
from tests.launchers.processes import argv_and_environment, command_line, is_alive, parent_of, processes
from tests.launchers.recipes import recipe
from tests.launchers.site import SECRET, Site, ask, death, until
from tests.launchers.sshd import Sshd, open_sshd


@pytest.fixture
def sshd(require: Callable[[str], str], site: Site) -> Iterator[Sshd]:
    require("ssh")
    with open_sshd(require("sshd"), site.root / "sshd") as one:
        yield one


def template(sshd: Sshd) -> str:
    """The one of the manual, with the ways to this sshd."""
    return recipe("ssh").replace("ssh -T", f"ssh -T {sshd.host}").replace("WORKER", "127.0.0.1")


def clients_of(sshd: Sshd) -> list[int]:
    """Processes of ssh on our side."""
    return [pid for pid in processes("ssh\0") if f"{sshd.root}/user".encode() in command_line(pid)]


async def test_an_executor_at_the_other_end_works_and_ends_with_its_block(site: Site, sshd: Sshd) -> None:
    began = trio.current_time()
    async with site.launch(template(sshd)) as executor:
        assert executor.address.endswith("/tunnel.sock")
        assert (await ask(executor))["job"] is None
        assert SECRET.encode() not in argv_and_environment(executor.pid)
        assert executor.token.encode() not in argv_and_environment(executor.pid)
    assert not is_alive(executor.pid)
    assert not clients_of(sshd)
    assert trio.current_time() - began < leases.LEASE_SECONDS


async def test_words_with_blanks_and_quotes_reach_the_other_side(site: Site, sshd: Sshd) -> None:
    async with site.launch(template(sshd), words=["--model-alias", 'it\'s (a) "name"=builtin']) as executor:
        assert b'it\'s (a) "name"=builtin' in argv_and_environment(executor.pid)


async def test_when_ssh_is_killed_the_leash_ends_the_executor(site: Site, sshd: Sshd) -> None:
    async with site.launch(template(sshd)) as executor:
        [client] = clients_of(sshd)
        os.kill(client, signal.SIGKILL)
        await until(lambda: not is_alive(executor.pid), leases.LEASE_SECONDS / 2)
        assert await death(executor) == "killed by SIGKILL"


async def test_when_the_executor_is_killed_its_death_comes_back(site: Site, sshd: Sshd) -> None:
    async with site.launch(template(sshd)) as executor:
        os.kill(executor.pid, signal.SIGKILL)
        assert await death(executor)


async def test_when_the_way_between_is_cut_both_ends_notice(
    site: Site, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ssh processes stand still: no byte and no end of file goes either way."""
    monkeypatch.setattr(launch_module, "LEASE_SECONDS", 1.5)
    monkeypatch.setattr(leases, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(launch_module, "TERM_SECONDS", 0.1)
    async with site.launch(template(sshd)) as executor:
        between = [*clients_of(sshd), *sessions_above(executor.pid)]
        for pid in between:
            os.kill(pid, signal.SIGSTOP)
        try:
            assert await death(executor) == "it did not answer for 2 s, and its lease is over"
            await until(lambda: not is_alive(executor.pid))
        finally:
            for pid in between:
                os.kill(pid, signal.SIGCONT)


def sessions_above(pid: int) -> list[int]:
    """The processes of sshd between us and *pid*, without the listener."""
    found, one = [], parent_of(pid)
    while b"sshd: " in (line := command_line(one)) and b"[listener]" not in line:
        found.append(one)
        one = parent_of(one)
    return found


async def test_a_host_that_does_not_let_us_in_says_why(site: Site, sshd: Sshd) -> None:
    (sshd.root / "user.pub").write_text("")
    with pytest.raises(ExecutorFailed, match="Permission denied"):
        async with site.launch(template(sshd)):
            pytest.fail("it was launched")
