"""Which Host and Origin a TCP listener answers."""

from __future__ import annotations

import pytest

from agentd.wire.hosts import ForeignRequest, HostCheck
from agentd.wire.messages import Headers


def passes(check: HostCheck, **fields: str) -> bool:
    try:
        check.check(Headers(fields))
    except ForeignRequest:
        return False
    return True


@pytest.fixture
def check() -> HostCheck:
    return HostCheck(["Agents.example"])


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8787",
        "LOCALHOST.",
        "app.localhost:1",
        "127.0.0.1:8787",
        "127.1.2.3",
        "[::1]:8787",
        "[::1]",
        "192.168.1.5:8787",
        "agents.example",
        "AGENTS.example.:443",
    ],
)
def test_our_own_names_and_addresses_are_answered(check: HostCheck, host: str) -> None:
    assert passes(check, host=host)
    assert passes(check, host=host)  # the second time it is remembered


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil-localhost",
        "a@127.0.0.1",
        "[evil]",
        ":80",
    ],
)
def test_a_name_that_is_not_ours_is_refused(check: HostCheck, host: str) -> None:
    assert not passes(check, host=host)
    assert not passes(check, host=host)


def test_a_client_of_old_may_name_no_host(check: HostCheck) -> None:
    assert passes(check)


@pytest.mark.parametrize(
    ("host", "origin", "ok"),
    [
        ("localhost:8787", "http://localhost:8787", True),
        ("127.0.0.1:8787", "http://127.0.0.1:8787", True),
        ("Agents.example", "https://agents.EXAMPLE", True),
        ("127.0.0.1:8787", "https://agents.example", True),  # a proxy in front
        ("127.0.0.1:8787", "https://agents.example:8443", True),
        ("localhost:8787", "http://localhost:3000", False),
        ("localhost:8787", "http://127.0.0.1:8787", False),
        ("localhost:8787", "https://evil.example", False),
        ("localhost:8787", "http://localhost:8787.evil.example", False),
        ("localhost:8787", "null", False),
        ("localhost:8787", "file://", False),
        ("localhost:8787", "", False),
        ("localhost:8787", "chrome-extension://localhost:8787", False),
    ],
)
def test_pages_of_other_origins_are_refused(check: HostCheck, host: str, origin: str, ok: bool) -> None:
    assert passes(check, host=host, origin=origin) == ok


def test_what_is_remembered_is_bounded(check: HostCheck) -> None:
    for n in range(10_000):
        assert passes(check, host=f"127.0.0.1:{n}")
    assert len(check._good) <= 256


def test_pages_that_are_let_in_by_their_origin_may_send_requests() -> None:
    some, every = HostCheck(origins=["https://a.example/"]), HostCheck(origins=["*"])
    assert passes(some, host="127.0.0.1", origin="https://A.example")
    assert not any(passes(some, host="127.0.0.1", origin=each) for each in ("http://a.example", "https://b.c", "null"))
    assert passes(every, host="127.0.0.1", origin="null")
    assert not passes(every, host="b.example", origin="https://b.example")
