"""sd_notify: what a service manager hears."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from agentd.daemon.notify import ServiceManager


def listen(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(address)
    sock.settimeout(5)
    return sock


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    with listen(str(tmp_path / "notify")) as sock:
        yield sock


def test_it_is_told_on_the_socket_of_the_environment(heard: socket.socket) -> None:
    ServiceManager.from_env({"NOTIFY_SOCKET": heard.getsockname()}).tell("READY=1", "STATUS=here")
    assert heard.recv(100) == b"READY=1\nSTATUS=here"


def test_an_at_sign_is_the_abstract_namespace() -> None:
    name = f"agentd-test-{os.getpid()}"
    with listen(f"\0{name}") as heard:
        ServiceManager.from_env({"NOTIFY_SOCKET": f"@{name}"}).tell("STOPPING=1")
        assert heard.recv(100) == b"STOPPING=1"


def test_without_one_nothing_is_told() -> None:
    ServiceManager.from_env({}).tell("READY=1")


def test_one_that_has_gone_is_no_reason_to_fail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ServiceManager(str(tmp_path / "gone")).tell("READY=1")
    assert "cannot be told READY=1: No such file or directory" in caplog.text


@pytest.mark.parametrize(
    ("env", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_ours_if_it_names_us(env: dict[str, str], seconds: float | None) -> None:
    assert ServiceManager.from_env(env).watchdog_seconds == seconds


async def test_the_watchdog_is_fed_twice_in_its_time(heard: socket.socket, autojump_clock: MockClock) -> None:
    manager = ServiceManager(heard.getsockname(), 30.0)
    with trio.move_on_after(31):
        await manager.feed_watchdog()
    heard.setblocking(False)
    assert [heard.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    with pytest.raises(BlockingIOError):
        heard.recv(100)


async def test_without_a_watchdog_nobody_is_fed() -> None:
    await ServiceManager("/nowhere").feed_watchdog()
