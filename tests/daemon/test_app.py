"""What is around the faces of a daemon."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from agentd.config import read_settings
from agentd.daemon.access import Access
from agentd.daemon.app import Daemon, listen, main_mounts, open_daemon, reader_guard
from agentd.daemon.settings import SERVE_OPTIONS, Address
from agentd.errors import Locked
from agentd.store.home import Home, make_home
from agentd.wire.client import connect
from agentd.wire.listeners import ListenFailed
from agentd.wire.messages import Request, Response
from agentd.wire.routing import respond


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "data")


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(5)
        yield heard


def door_of(daemon: Daemon, path: Path) -> None:
    settings = read_settings(SERVE_OPTIONS, ["--listen", f"unix:{path}"], {})
    daemon.open_door(settings, "main", "listen", "token").mounts += main_mounts(
        daemon, Access(daemon.home.root_log, "token")
    )


async def test_a_data_directory_has_one_owner(home: Home) -> None:
    async with open_daemon(home, {}):
        with pytest.raises(
            Locked, match=rf"in use by process {os.getpid()} since .*; end that one first, or name anot"
        ):
            async with open_daemon(home, {}):
                pass
    async with open_daemon(home, {}):
        pass


async def test_a_signal_ends_serving_and_the_service_manager_hears_of_it(
    home: Home, tmp_path: Path, notified: socket.socket
) -> None:
    said: list[str] = []

    def say() -> None:
        said.append("ready")
        os.kill(os.getpid(), signal.SIGTERM)

    async with open_daemon(home, {"NOTIFY_SOCKET": notified.getsockname()}) as daemon:
        door_of(daemon, tmp_path / "socket")
        with trio.fail_after(5):
            await daemon.serve((), say)
        assert daemon.stop.is_set()
    assert said == ["ready"]
    assert notified.recv(100).startswith(b"READY=1\n")
    assert notified.recv(100) == b"STOPPING=1"
    assert not (tmp_path / "socket").exists()


async def test_requests_are_taken_until_what_is_under_way_has_ended(home: Home, tmp_path: Path) -> None:
    told: list[bytes] = []

    async def prepare() -> None:
        async with await connect(f"unix:{tmp_path / 'socket'}") as client:
            told.append((await client.request("GET", "/health/ready")).body)

    async with open_daemon(home, {}) as daemon:
        door_of(daemon, tmp_path / "socket")
        daemon.before_stop.append(prepare)
        with trio.fail_after(5):
            await daemon.serve((), lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert told == [b'{"status":"stopping"}']


async def test_it_serves_although_nobody_reads_what_it_prints(home: Home, tmp_path: Path) -> None:
    def say() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise BrokenPipeError

    async with open_daemon(home, {}) as daemon:
        door_of(daemon, tmp_path / "socket")
        with trio.fail_after(5):
            await daemon.serve((), say)
    assert daemon.stop.is_set()


async def test_doors_are_closed_when_it_does_not_come_to_serving(home: Home, tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup):  # noqa: PT012  # what is raised inside
        async with open_daemon(home, {}) as daemon:
            door_of(daemon, tmp_path / "socket")
            raise RuntimeError
    assert not (tmp_path / "socket").exists()


async def test_it_is_ready_until_it_stops(home: Home, tmp_path: Path) -> None:
    async with open_daemon(home, {}) as daemon:
        door_of(daemon, tmp_path / "socket")
        mounts = daemon.doors["main"].mounts
        first = await respond(mounts, Request("GET", "/health/ready"))
        daemon.stop.set()
        second = await respond(mounts, Request("GET", "/health/ready"))
        live = await respond(mounts, Request("GET", "/health/live"))
    assert isinstance(first, Response)
    assert json.loads(first.body) == {"status": "ready", "faces": ["main"]}
    assert (first.status, second.status, live.status) == (200, 503, 200)


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer tokem", "bearer token", "Basic token", "Bearer token2"])
def test_nobody_reads_figures_without_the_very_token(home: Home, given: str) -> None:
    guard = reader_guard(Access(home.root_log, "token"))
    refusal = guard(Request("GET", "/", {"Authorization": given}))
    assert isinstance(refusal, Response)
    assert refusal.status == 401
    assert guard(Request("GET", "/", {"Authorization": "Bearer token"})) is None


@pytest.mark.parametrize(("scope", "status"), [("viewer", None), ("admin", None), ("approver", 403), ("manager", 403)])
async def test_of_tokens_that_were_issued_a_viewers_reads_figures(home: Home, scope: str, status: int | None) -> None:
    access = Access(make_home(home.root).root_log, "token")
    token, _ = await access.issue([scope])
    refusal = reader_guard(access)(Request("GET", "/", {"Authorization": f"Bearer {token}"}))
    assert (refusal.status if isinstance(refusal, Response) else None) == status


def test_an_address_that_is_not_ours_is_named_with_what_to_do() -> None:
    with pytest.raises(ListenFailed, match=r"203\.0\.113\.1:80: .*; .* choose another address with --manager$"):
        listen(Address("203.0.113.1", 80), "manager")
