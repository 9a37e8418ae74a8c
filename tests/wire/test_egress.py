"""--offline: what is contacted, what is refused, and that no library finds a way around."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from agentd.wire.egress import MOST_ADDRESSES, MOST_TARGETS, OTHERS, EgressRefused, Guard, parse_endpoint

ELSEWHERE = "192.0.2.7"  # RFC 5737: an address for documentation


def contacts(guard: Guard, address: Any, family: int = socket.AF_INET, event: str = "socket.connect") -> bool:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        return _passes(guard, event, (sock, address))


def looks_up(guard: Guard, host: Any) -> bool:
    return _passes(guard, "socket.getaddrinfo", (host, 443, 0, 0, 0))


def _passes(guard: Guard, event: str, args: tuple[Any, ...]) -> bool:
    try:
        guard.audit(event, args)
    except EgressRefused:
        return False
    return True


# --- What is decided ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "0.0.0.0", ""])
@pytest.mark.parametrize("event", ["socket.connect", "socket.sendto", "socket.sendmsg"])
def test_loopback_is_contacted(host: str, event: str) -> None:
    assert contacts(Guard(), (host, 80), event=event)


@pytest.mark.parametrize("host", ["::1", "::ffff:127.0.0.1", "0:0:0:0:0:0:0:1"])
def test_loopback_is_contacted_by_ipv6(host: str) -> None:
    assert contacts(Guard(), (host, 80, 0, 0), socket.AF_INET6)


def test_unix_sockets_and_connected_ones_are_contacted() -> None:
    assert contacts(Guard(), "/run/x.sock", socket.AF_UNIX)
    assert contacts(Guard(), None, event="socket.sendmsg")


@pytest.mark.parametrize(
    "host", [ELSEWHERE, "10.0.0.1", "169.254.169.254", "255.255.255.255", "<broadcast>", "224.0.0.1"]
)
@pytest.mark.parametrize("event", ["socket.connect", "socket.sendto", "socket.sendmsg"])
def test_other_addresses_are_refused(host: str, event: str) -> None:
    assert not contacts(Guard(["127.0.0.1:80"]), (host, 80), event=event)


@pytest.mark.parametrize("host", ["2001:db8::1", "::ffff:192.0.2.7", "fe80::1%lo", "64:ff9b::7f00:1", "2002:7f00:1::"])
def test_other_addresses_are_refused_by_ipv6(host: str) -> None:
    assert not contacts(Guard(), (host, 80, 0, 0), socket.AF_INET6)


def test_families_that_nobody_needs_are_refused() -> None:
    class Strange:
        family = 40  # AF_VSOCK: whoever runs this virtual machine

    assert not _passes(Guard(), "socket.connect", (Strange(), (2, 80)))


def test_what_is_configured_is_contacted_at_its_port_alone() -> None:
    guard = Guard([f"{ELSEWHERE}:443", "[2001:DB8:0::1]:443"])
    assert contacts(guard, (ELSEWHERE, 443))
    assert not contacts(guard, (ELSEWHERE, 80))
    assert contacts(guard, ("2001:db8::1", 443, 0, 0), socket.AF_INET6)


def test_a_name_is_contacted_at_the_addresses_that_it_was_looked_up_to_have() -> None:
    guard = Guard(["Models.Example.:443"])
    assert not contacts(guard, (ELSEWHERE, 443))
    guard.learn("models.example", 443, [ELSEWHERE])
    assert contacts(guard, (ELSEWHERE, 443))
    assert not contacts(guard, (ELSEWHERE, 444))


def test_what_another_name_has_for_an_address_is_not_learned() -> None:
    guard = Guard(["models.example:443"])
    guard.learn("evil.example", 443, [ELSEWHERE])
    guard.learn("models.example", 80, [ELSEWHERE])
    assert not contacts(guard, (ELSEWHERE, 443))


@pytest.mark.parametrize(
    "host", [None, "localhost", b"localhost", "x.localhost", ELSEWHERE, "::1", "models.example", ""]
)
def test_names_that_are_configured_and_no_names_are_looked_up(host: Any) -> None:
    assert looks_up(Guard(["models.example:443"]), host)


@pytest.mark.parametrize("host", ["example.org", b"example.org", "x.models.example", "localhost.example.org"])
def test_other_names_are_not_looked_up(host: Any) -> None:
    assert not looks_up(Guard(["models.example:443"]), host)


@pytest.mark.parametrize("args", [(("192.0.2.7", 80),), ("192.0.2.7",), ("example.org",)])
@pytest.mark.parametrize("event", ["socket.getnameinfo", "socket.gethostbyaddr"])
def test_nobody_is_asked_for_the_name_of_an_address(event: str, args: tuple[Any, ...]) -> None:
    assert not _passes(Guard(), event, args)
    assert _passes(Guard([f"{ELSEWHERE}:80", "example.org:1"]), event, args)


def test_an_address_of_a_wrong_shape_is_pythons_to_refuse() -> None:
    assert contacts(Guard(), "not a tuple")


# --- What is told -------------------------------------------------------------------------------------------------


def test_the_error_is_one_of_the_system_and_says_what_was_wanted() -> None:
    with pytest.raises(OSError, match=r"refused: offline; 192\.0\.2\.7:80 is neither loopback nor configured"):
        Guard().check(ELSEWHERE, 80)


def test_a_target_is_logged_once_and_counted_each_time(caplog: pytest.LogCaptureFixture) -> None:
    guard = Guard()
    for _ in range(3):
        contacts(guard, (ELSEWHERE, 80))
    assert guard.refused == {f"{ELSEWHERE}:80": 3}
    assert len(caplog.records) == 1


def test_however_many_targets_there_are_the_list_of_them_is_short(caplog: pytest.LogCaptureFixture) -> None:
    guard = Guard()
    for port in range(1, 1000):
        contacts(guard, (ELSEWHERE, port))
    assert len(guard.refused) == MOST_TARGETS + 1
    assert guard.refused[OTHERS] == 999 - MOST_TARGETS
    assert len(caplog.records) == MOST_TARGETS + 1


def test_however_often_a_name_is_looked_up_few_addresses_are_kept() -> None:
    guard = Guard(["models.example:443"])
    for number in range(2 * MOST_ADDRESSES):
        guard.learn("models.example", 443, [f"192.0.{number >> 8}.{number & 255}"])
    assert not contacts(guard, ("192.0.0.0", 443))
    assert contacts(guard, ("192.0.1.255", 443))


@pytest.mark.parametrize("text", ["", "host", ":80", "host:", "host:0", "host:65536", "host:x", "::1:80", "host:²"])
def test_what_is_no_endpoint_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"host:port|no port"):
        parse_endpoint(text)


# --- A whole process ----------------------------------------------------------------------------------------------


def run(program: str) -> list[str]:
    """What a process prints that is offline but for models.example."""
    head = "import sys, socket, trio\nfrom agentd.wire import egress\negress.install(['models.example:443'])\n"
    argv = [sys.executable, "-c", head + textwrap.dedent(program)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


WAYS = {
    "a stream": "socket.create_connection(('192.0.2.7', 80))",
    "without an exception": "socket.socket().connect_ex(('192.0.2.7', 80))",
    "a datagram": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.7', 53))",
    "a message": "socket.socket(type=socket.SOCK_DGRAM).sendmsg([b'x'], [], 0, ('192.0.2.7', 53))",
    "a name": "socket.getaddrinfo('example.org', 443)",
    "an old look-up": "socket.gethostbyname_ex('example.org')",
    "a URL": "__import__('urllib.request').request.urlopen('http://192.0.2.7/')",
    "mail": "__import__('smtplib').SMTP('192.0.2.7')",
    "trio": "trio.run(trio.open_tcp_stream, '192.0.2.7', 80)",
    "asyncio": "__import__('asyncio').run(__import__('asyncio').open_connection('192.0.2.7', 80))",
    "the C module": "__import__('_socket').socket(2, 1).connect(('192.0.2.7', 80))",
}


@pytest.mark.parametrize("way", WAYS)
def test_no_library_gets_out(way: str) -> None:
    told = run(f"""
        try:
            {WAYS[way]}
        except BaseException as exc:
            print(type(exc).__name__)
        print(*egress.refused())
    """)
    assert told[-1] in ("192.0.2.7:80", "192.0.2.7:53", "192.0.2.7:25", "example.org")


def test_a_process_that_is_offline_serves_and_calls_itself() -> None:
    told = run("""
        async def greet(stream):
            await stream.send_all(b"hi")
        async def main():
            async with trio.open_nursery() as nursery:
                listener, *_ = await nursery.start(trio.serve_tcp, greet, 0)
                port = listener.socket.getsockname()[1]
                stream = await trio.open_tcp_stream("localhost", port)
                print((await stream.receive_some()).decode())
                nursery.cancel_scope.cancel()
        trio.run(main)
        print(len(egress.refused()))
    """)
    assert told == ["hi", "0"]


def test_our_own_client_says_it_in_its_error_and_does_not_try_again() -> None:
    told = run("""
        from agentd.wire.http import HttpClient, HttpSettings
        from agentd.wire.failure import HttpFailed
        from agentd.providers.failures import network_failure
        async def main():
            for proxied in ({}, {"https_proxy": "http://127.0.0.1:9"}):
                async with HttpClient(HttpSettings.from_env(proxied)) as client:
                    try:
                        await client.request("GET", "https://example.org/path?key=secret")
                    except HttpFailed as exc:
                        print(exc.kind, network_failure(exc.kind, "").retryable, exc)
        trio.run(main)
    """)
    assert len(told) == 2
    for line in told:
        assert line.startswith("refused False ")
        assert line.endswith("refused: offline; example.org:443 is neither loopback nor configured")


def test_a_second_time_it_only_lets_more_be_reached() -> None:
    told = run("""
        egress.install(["192.0.2.7:80"])
        egress.permit("[2001:db8::1]:1")
        for host, port in (("192.0.2.7", 80), ("2001:db8::1", 1), ("models.example", 443)):
            egress.check(host, port)
        print("ok")
    """)
    assert told == ["ok"]


def test_without_it_nothing_is_refused() -> None:
    program = (
        "from agentd.wire import egress as e; e.check('example.org', 1); e.learn('a', 1, ['b']); print(e.refused())"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "{}\n"
