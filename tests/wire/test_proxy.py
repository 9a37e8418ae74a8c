"""Which proxy a request goes through: variables and exemptions, without a socket."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.wire.failure import HttpFailed
from agentd.wire.proxy import Proxies, Proxy
from agentd.wire.urls import parse_url

PROXY = {"http_proxy": "http://proxy:3128", "https_proxy": "http://proxy:3128"}

labels = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
hosts = st.lists(labels, min_size=1, max_size=4).map(".".join).filter(lambda name: not name.endswith("localhost"))
ports = st.integers(1, 65535)


def is_direct(no_proxy: str, url: str) -> bool:
    return Proxies.from_env(PROXY | {"no_proxy": no_proxy}).choose(parse_url(url)) is None


def chosen(env: dict[str, str], url: str) -> str | None:
    proxy = Proxies.from_env(env).choose(parse_url(url))
    return None if proxy is None else str(proxy).removeprefix("the proxy ")


@pytest.mark.parametrize(
    ("env", "http", "https"),
    [
        ({}, None, None),
        ({"http_proxy": "http://a:1"}, "a:1", None),
        ({"HTTPS_PROXY": "http://a:1"}, None, "a:1"),
        ({"all_proxy": "http://a:1"}, "a:1", "a:1"),
        ({"ALL_PROXY": "http://a:1", "https_proxy": "http://b:2"}, "a:1", "b:2"),
        ({"http_proxy": "http://a:1", "HTTP_PROXY": "http://b:2"}, "a:1", None),
        ({"http_proxy": " ", "HTTP_PROXY": "http://b:2"}, "b:2", None),
        ({"HTTP_PROXY": "http://a:1", "REQUEST_METHOD": "GET"}, None, None),
        ({"all_proxy": "a"}, "a:80", "a:80"),
        ({"all_proxy": "a:8080"}, "a:8080", "a:8080"),
        ({"all_proxy": "https://a"}, "a:443", "a:443"),
        ({"all_proxy": "http://[fd00::1]:8080/"}, "[fd00::1]:8080", "[fd00::1]:8080"),
    ],
)
def test_the_variables_name_a_proxy_for_each_scheme(env: dict[str, str], http: str | None, https: str | None) -> None:
    assert (chosen(env, "http://example.com/"), chosen(env, "https://example.com/")) == (http, https)


def test_a_socket_file_needs_no_proxy() -> None:
    assert chosen({"all_proxy": "http://a:1"}, "http+unix://%2Ftmp%2Fs/") is None


def test_credentials_are_decoded_and_not_shown() -> None:
    proxies = Proxies.from_env({"all_proxy": "http://us%40er:pa%3Ass@proxy:1"})
    proxy = proxies.choose(parse_url("https://example.com/"))
    assert proxy == Proxy(False, "proxy", 1, "Basic dXNAZXI6cGE6c3M=")
    for shown in (repr(proxies), repr(proxy), str(proxy)):
        assert "pa%3Ass" not in shown
        assert "dXNA" not in shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("socks5://user:pass@proxy:1080", "ALL_PROXY names a socks5 proxy"),
        ("http://user:pass@", "ALL_PROXY is no URL of a proxy: it has no host"),
        ("http://user:pass@proxy:port", "ALL_PROXY is no URL of a proxy: its host or port is not valid"),
    ],
)
def test_a_setting_that_names_no_proxy_is_told_when_it_is_used(text: str, said: str) -> None:
    proxies = Proxies.from_env({"ALL_PROXY": text, "NO_PROXY": "internal"})
    assert proxies.choose(parse_url("http://internal/")) is None
    with pytest.raises(HttpFailed, match=said) as failed:
        proxies.choose(parse_url("http://example.com/"))
    assert failed.value.kind == "proxy"
    assert "pass" not in str(failed.value)


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("", "http://example.com/", False),
        ("*", "http://example.com/", True),
        ("example.com", "http://example.com/", True),
        ("EXAMPLE.com", "http://Example.COM./", True),
        ("example.com", "http://www.example.com/", True),
        ("example.com", "http://notexample.com/", False),
        ("example.com", "http://example.com.evil.test/", False),
        (".example.com", "http://example.com/", True),
        (".example.com", "http://a.b.example.com/", True),
        ("*.example.com", "http://a.example.com/", True),
        ("example.com.", "http://example.com/", True),
        ("a, b\texample.com ,", "http://example.com/", True),
        ("example.com:8080", "http://example.com:8080/", True),
        ("example.com:8080", "http://example.com/", False),
        ("example.com:443", "https://example.com/", True),
        ("example.com:http", "http://example.com/", False),
        ("*:8080", "http://example.com:8080/", True),
        ("*:8080", "http://example.com/", False),
        ("10.1.2.3", "http://10.1.2.3/", True),
        ("10.1.2.3:80", "http://10.1.2.3/", True),
        ("10.1.2.3:80", "https://10.1.2.3/", False),
        ("10.0.0.0/8", "http://10.200.1.1/", True),
        ("10.1.2.3/8", "http://10.200.1.1/", True),
        ("10.0.0.0/8", "http://11.0.0.1/", False),
        ("10.0.0.0/8", "http://[::ffff:10.1.1.1]/", True),
        ("10.0.0.0/8:8080", "http://10.1.1.1:8080/", True),
        ("10.0.0.0/99", "http://10.1.1.1/", False),
        ("fd00::/8", "http://[fd12::1]/", True),
        ("fd00::1", "http://[fd00::1]:8080/", True),
        ("[fd00::1]", "http://[fd00:0::1]/", True),
        ("[fd00::1]:8080", "http://[fd00::1]:8080/", True),
        ("[fd00::1]:8080", "http://[fd00::1]/", False),
        ("::ffff:10.1.1.1", "http://10.1.1.1/", True),
        (".", "http://example.com/", False),
        ("", "http://localhost:8080/", True),
        ("", "http://app.localhost/", True),
        ("", "http://127.0.0.2/", True),
        ("", "http://127.1/", True),
        ("", "http://[::1]/", True),
        ("", "http://[::ffff:127.0.0.1]/", True),
    ],
)
def test_exemptions(no_proxy: str, url: str, direct: bool) -> None:
    assert is_direct(no_proxy, url) == direct


@given(hosts, st.text(alphabet="abc.:*/[]0123456789, \t", max_size=40))
def test_exemptions_may_hold_anything(host: str, no_proxy: str) -> None:
    assert isinstance(is_direct(no_proxy, f"http://{host}/"), bool)


@given(hosts, hosts, st.sampled_from(["", ".", "*."]))
def test_a_name_exempts_itself_and_what_is_below_it_and_nothing_else(host: str, name: str, mark: str) -> None:
    below = host == name or host.endswith(f".{name}")
    assert is_direct(mark + name, f"http://{host}/") == below
    assert is_direct(f"other.test,{mark}{name}", f"http://{host}.{name}/")
    assert not is_direct(mark + name, f"http://x{name}/") or f"x{name}".endswith(f".{name}")


@given(hosts, ports, ports)
def test_a_port_exempts_that_port_only(host: str, listed: int, used: int) -> None:
    assert is_direct(f"{host}:{listed}", f"http://{host}:{used}/") == (listed == used)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_a_network_exempts_its_addresses_and_no_others(base: int, address: int, length: int) -> None:
    network = IPv4Network((base, length), strict=False)
    target = IPv4Address(address)
    expected = target in network or target.is_loopback
    assert is_direct(str(network), f"http://{target}/") == expected
    assert is_direct(f"::ffff:{network.network_address}", f"http://{network.network_address}/")


@given(st.lists(hosts, max_size=5), hosts, st.sampled_from([",", " ", ", ", "\t"]))
def test_exemptions_add_up(listed: list[str], host: str, separator: str) -> None:
    url = f"http://{host}/"
    assert is_direct(separator.join(listed), url) == any(is_direct(name, url) for name in listed)


def test_networks_of_the_other_family_do_not_matter() -> None:
    assert not is_direct(str(ip_network("::/0")), "http://10.0.0.1/")
    assert not is_direct("0.0.0.0/0", "http://[2001:db8::1]/")
