"""From a host to a connected socket, on a network of our own making, in virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from agentd.wire.resolve import ATTEMPTS, dial, dial_first, in_turns, is_address, resolve

Behaviour = tuple[float, str]  # seconds, and then what: "" for a connection


class Network:
    """Addresses that answer or do not; it keeps the sockets that it gave away."""

    def __init__(self, **behaviours: Behaviour) -> None:
        self.sockets: dict[str, trio.socket.SocketType] = {}
        self.tried: list[tuple[str, float]] = []
        self._behaviours = {name.replace("_", "."): behaviour for name, behaviour in behaviours.items()}

    async def dial(self, address: str, port: int) -> trio.socket.SocketType:
        self.tried.append((address, trio.current_time()))
        seconds, trouble = self._behaviours[address]
        await trio.sleep(seconds)
        if trouble:
            raise OSError(trouble)
        sock = self.sockets[address] = trio.socket.socket()
        return sock

    @property
    def open(self) -> list[str]:
        return [address for address, sock in self.sockets.items() if sock.fileno() >= 0]


async def test_the_first_that_answers_wins(autojump_clock: MockClock) -> None:
    network = Network(a=(0.1, ""), b=(0, ""))
    sock = await dial_first(["a", "b"], 80, network.dial)
    assert (network.open, network.tried) == (["a"], [("a", 0)])
    sock.close()


async def test_one_that_leads_nowhere_costs_a_head_start(autojump_clock: MockClock) -> None:
    network = Network(a=(1000, ""), b=(1000, ""), c=(0.1, ""))
    sock = await dial_first(["a", "b", "c"], 80, network.dial)
    assert network.open == ["c"]
    assert trio.current_time() == pytest.approx(0.6)
    sock.close()


async def test_one_that_refuses_costs_nothing(autojump_clock: MockClock) -> None:
    network = Network(a=(0, "refused"), b=(0.1, ""))
    sock = await dial_first(["a", "b"], 80, network.dial)
    assert trio.current_time() == pytest.approx(0.1)
    sock.close()


async def test_a_slow_one_may_still_win(autojump_clock: MockClock) -> None:
    network = Network(a=(0.4, ""), b=(5, ""))
    sock = await dial_first(["a", "b"], 80, network.dial)
    assert network.open == ["a"]
    assert trio.current_time() == pytest.approx(0.4)
    sock.close()


async def test_of_two_in_the_same_moment_one_is_closed(autojump_clock: MockClock) -> None:
    network = Network(a=(0.5, ""), b=(0.25, ""))
    sock = await dial_first(["a", "b"], 80, network.dial)
    assert len(network.open) == 1
    sock.close()


async def test_all_reasons_are_told(autojump_clock: MockClock) -> None:
    network = Network(a=(1, "late"), b=(0, "refused"))
    with pytest.raises(OSError, match=r"^b: refused; a: late$"):
        await dial_first(["a", "b"], 80, network.dial)
    with pytest.raises(OSError, match="no address"):
        await dial_first([], 80, network.dial)


async def test_only_so_many_are_tried(autojump_clock: MockClock) -> None:
    network = Network(**dict.fromkeys("abcdefghijklmnop", (0.0, "no")))
    with pytest.raises(OSError):
        await dial_first("abcdefghijklmnop", 80, network.dial)
    assert len(network.tried) == ATTEMPTS


async def test_who_is_cancelled_leaves_no_socket(autojump_clock: MockClock) -> None:
    for seconds in (0.1, 0.3, 0.6):
        network = Network(a=(10, ""), b=(10, ""))
        with trio.move_on_after(seconds):
            await dial_first(["a", "b"], 80, network.dial)
        assert network.open == []
    network = Network(a=(1, ""))
    with trio.move_on_after(1):  # in the very moment in which it is there
        await dial_first(["a"], 80, network.dial)
    assert network.open == []


def test_families_take_turns() -> None:
    assert in_turns(["::1", "::2", "::3", "1.1.1.1", "2.2.2.2"]) == ["::1", "1.1.1.1", "::2", "2.2.2.2", "::3"]
    assert in_turns(["1.1.1.1", "::1"]) == ["1.1.1.1", "::1"]
    assert in_turns([]) == []


async def test_an_address_is_its_own() -> None:
    assert await resolve("127.0.0.1", 80) == ["127.0.0.1"]
    assert await resolve("::1", 80) == ["::1"]
    assert not is_address("127.0.0.1.test")


async def test_a_name_is_looked_up() -> None:
    assert set(await resolve("localhost", 80)) <= {"127.0.0.1", "::1"}


async def test_a_real_connection() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    sock = await dial("127.0.0.1", port)
    assert sock.getpeername() == ("127.0.0.1", port)
    sock.close()
    await listeners[0].aclose()
    with pytest.raises(OSError):
        await dial("127.0.0.1", port)
