"""Which URLs may be fetched on somebody else's word: the agent API contract, 12.5."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from agentd.wire.urlpolicy import UrlPolicy, UrlRefused, check_address, check_url, checked
from agentd.wire.urls import InvalidUrl

LOCAL, STRICT = UrlPolicy.LOCAL, UrlPolicy.STRICT

NEVER = [
    "http://169.254.169.254/latest/meta-data",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://0.0.0.0/",
    "http://0/",
    "http://0.1.2.3/",
    "http://[::]/",
    "http://224.0.0.1/",
    "http://[ff02::1]/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[4000::1]/",
    "http://2852039166/",  # 169.254.169.254 as one number
    "http://0xa9.0xfe.0xa9.0xfe/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::169.254.169.254]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::1]/",
    "http://[2001:0:1:1:0:0:5601:5601]/",  # Teredo: the client's address is in it, inverted
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://metadata.google.internal/",
    "http://METADATA.google.internal./",
    "http://metadata.aws.internal/",
    "http://metadata.aws.com/",
    "http://instance-data/",
    "http://instance-data.ec2.internal/",
    "http+unix://%2Frun%2Fdocker.sock/",
]
INTERNAL = [
    "http://localhost/",
    "http://LOCALHOST:8080/",
    "http://app.localhost/",
    "http://localhost.localdomain/",
    "http://127.0.0.1/",
    "http://127.1/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://[fd12::1]/",
    "http://192.0.2.1/",
    "http://[2001:db8::1]/",
    "http://[64:ff9b::a00:1]/",
]
PUBLIC = ["http://example.com/", "https://8.8.8.8/", "http://172.32.0.1/", "http://[2606:4700::1]/", "http://11.0.0.1/"]


@pytest.mark.parametrize("policy", UrlPolicy)
@pytest.mark.parametrize("url", NEVER)
def test_refused_on_either_level(url: str, policy: UrlPolicy) -> None:
    with pytest.raises(UrlRefused, match=r"^URLs targeting internal resources are not allowed$"):
        check_url(url, policy)


@pytest.mark.parametrize("url", INTERNAL)
def test_refused_on_the_strict_level(url: str) -> None:
    check_url(url, LOCAL)
    with pytest.raises(UrlRefused):
        check_url(url, STRICT)


@pytest.mark.parametrize("policy", UrlPolicy)
@pytest.mark.parametrize("url", PUBLIC)
def test_fine_on_either_level(url: str, policy: UrlPolicy) -> None:
    assert str(check_url(url, policy)) == url


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.com/", "gopher://x/", "http:///", ""])
def test_what_is_no_http_url_is_not_valid(url: str) -> None:
    with pytest.raises(InvalidUrl):
        check_url(url, LOCAL)


@pytest.mark.parametrize(
    ("addresses", "passes"),
    [
        (["93.184.216.34"], {LOCAL, STRICT}),
        (["10.0.0.1"], {LOCAL}),
        (["93.184.216.34", "10.0.0.1"], {LOCAL}),
        (["93.184.216.34", "169.254.169.254"], set()),
        (["::ffff:169.254.169.254"], set()),
        ([], {LOCAL, STRICT}),
    ],
)
def test_all_addresses_of_a_name_have_to_pass(addresses: list[str], passes: set[UrlPolicy]) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        return addresses

    for policy in UrlPolicy:
        if policy in passes:
            assert trio.run(checked(resolve, policy), "example.com", 80) == addresses
        else:
            with pytest.raises(UrlRefused):
                trio.run(checked(resolve, policy), "example.com", 80)


async def test_a_name_that_is_refused_is_not_looked_up() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise AssertionError

    with pytest.raises(UrlRefused):
        await checked(resolve, LOCAL)("metadata.google.internal", 80)


@given(st.ip_addresses())
def test_strict_refuses_all_that_local_does_and_every_address_is_decided(address: IPv4Address | IPv6Address) -> None:
    def passes(policy: UrlPolicy) -> bool:
        try:
            check_address(str(address), policy)
        except UrlRefused:
            return False
        return True

    assert passes(LOCAL) or not passes(STRICT)
    if address.is_loopback:
        assert passes(LOCAL)
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        assert not passes(LOCAL)
    if address.is_private or address.is_loopback:
        assert not passes(STRICT)
