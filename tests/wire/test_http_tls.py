"""TLS to strangers: whom the client trusts, what it shows, and what a handshake that fails is called."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd.wire.http import HttpClient, HttpFailed, HttpSettings
from agentd.wire.tls import Trust, authorities, context_for
from tests.wire.stranger import OK, QUICK, Authority, Link, answering, names, once, stranger

HOST = "api.example.test"


@pytest.fixture
def trusting(authority: Authority) -> HttpSettings:
    """Settings that trust that authority only, and know the host's address."""
    return attrs.evolve(names(api_example_test="127.0.0.1"), trust=authority.trust)


async def test_what_an_authority_of_ours_signed_is_trusted(authority: Authority, trusting: HttpSettings) -> None:
    async with HttpClient(trusting) as client, stranger(answering(OK), tls=authority.server(HOST)) as server:
        for _ in range(2):
            body = bytes(1_000_000)
            assert (await client.request("POST", f"https://{HOST}:{server.port}/x", body=body)).body == b"ok"
            assert server.seen[-1].body == body
    assert server.connections == 1


async def test_an_address_can_be_certified_too(authority: Authority, trusting: HttpSettings) -> None:
    settings = attrs.evolve(trusting, resolve=HttpSettings().resolve)
    async with HttpClient(settings) as client, stranger(answering(OK), tls=authority.server("127.0.0.1")) as server:
        assert (await client.request("GET", f"https://127.0.0.1:{server.port}/x")).body == b"ok"


async def test_the_name_is_told_and_http_1_1_is_agreed_on(authority: Authority, trusting: HttpSettings) -> None:
    told: list[str | None] = []
    context = authority.server(HOST)
    context.sni_callback = lambda _, name, __: told.append(name)
    context.set_alpn_protocols(["h2", "http/1.1"])

    async def script(link: Link) -> None:
        await link.request()
        assert isinstance(link.stream, trio.SSLStream)
        told.append(link.stream.selected_alpn_protocol())
        await link.send(OK)

    async with HttpClient(trusting) as client, stranger(script, tls=context) as server:
        await client.request("GET", f"https://{HOST}:{server.port}/")
    assert told == [HOST, "http/1.1"]


@pytest.mark.parametrize(
    ("name", "expired", "said"),
    [
        ("other.test", False, "Hostname mismatch, certificate is not valid for 'api.example.test'"),
        (HOST, True, "certificate has expired"),
    ],
)
async def test_a_certificate_has_to_be_for_the_host_and_for_now(
    authority: Authority, trusting: HttpSettings, name: str, expired: bool, said: str
) -> None:
    context = authority.server(name, expired=expired)
    async with HttpClient(trusting) as client, stranger(answering(OK), tls=context) as server:
        with pytest.raises(HttpFailed, match=f"the certificate of {HOST} is refused: {said}") as failed:
            await client.request("GET", f"https://{HOST}:{server.port}/")
        assert (failed.value.kind, server.seen) == ("tls", [])
        await wait_all_tasks_blocked()
        assert server.open == 0


async def test_an_unknown_authority_is_not_trusted_and_the_way_out_is_told(trusting: HttpSettings) -> None:
    foreign = Authority(trustme.CA(), Path())
    async with HttpClient(trusting) as client, stranger(answering(OK), tls=foreign.server(HOST)) as server:
        with pytest.raises(HttpFailed, match=r"unable to get local issuer .*SSL_CERT_FILE names") as failed:
            await client.request("GET", f"https://{HOST}:{server.port}/")
    assert failed.value.kind == "tls"


async def test_a_server_without_tls_is_told_to_be_one(trusting: HttpSettings) -> None:
    async def script(link: Link) -> None:
        await link.stream.receive_some(1000)
        await link.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with HttpClient(trusting) as client, stranger(script) as server:
        with pytest.raises(HttpFailed, match=f"{HOST} does not speak TLS") as failed:
            await client.request("GET", f"https://{HOST}:{server.port}/")
    assert failed.value.kind == "tls"


async def test_a_handshake_that_is_hung_up_on_is_a_broken_connection(trusting: HttpSettings) -> None:
    async def script(link: Link) -> None:
        await link.stream.receive_some(1000)

    async with HttpClient(trusting) as client, stranger(script) as server:
        with pytest.raises(HttpFailed, match="hung up during the TLS handshake") as failed:
            await client.request("GET", f"https://{HOST}:{server.port}/")
    assert failed.value.kind == "network"


async def test_a_handshake_that_hangs_is_given_up_on(trusting: HttpSettings, autojump_clock: MockClock) -> None:
    await context_for(trusting.trust)  # in a thread, which virtual time would not wait for

    async def script(link: Link) -> None:
        await link.is_hung_up_on()

    async with HttpClient(trusting) as client, stranger(script) as server:
        with pytest.raises(HttpFailed, match=f"GET https://{HOST}:{server.port}: no connection within 5 s") as failed:
            await client.request("GET", f"https://{HOST}:{server.port}/", deadlines=QUICK)
        assert (failed.value.kind, trio.current_time()) == ("timeout", 5)
        await wait_all_tasks_blocked()
        assert server.open == 0


@pytest.mark.parametrize(
    ("head", "polite", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", False, True),
        (b"HTTP/1.1 200 OK\r\n\r\n", True, True),
        (b"HTTP/1.1 200 OK\r\n\r\n", False, False),  # anybody on the way may have cut it short: RFC 9112, 9.8
    ],
)
async def test_an_answer_that_ends_with_its_connection_needs_a_proper_end(
    authority: Authority, trusting: HttpSettings, head: bytes, polite: bool, whole: bool
) -> None:
    async def script(link: Link) -> None:
        await link.request()
        await link.send(head + b"all")
        if polite:
            await link.stream.aclose()

    async with HttpClient(trusting) as client, stranger(script, tls=authority.server(HOST)) as server:
        url = f"https://{HOST}:{server.port}/"
        if whole:
            assert (await client.request("GET", url)).body == b"all"
        else:
            with pytest.raises(HttpFailed) as failed:
                await client.request("GET", url)
            assert failed.value.kind == "network"


# --- Our own certificate ------------------------------------------------------------------------------------------


@pytest.fixture
def demanding(authority: Authority) -> ssl.SSLContext:
    """A server's side that wants to see a certificate of its authority."""
    context = authority.server(HOST)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.ca.configure_trust(context)
    return context


async def test_a_client_certificate_is_shown(
    authority: Authority, trusting: HttpSettings, demanding: ssl.SSLContext, tmp_path: Path
) -> None:
    ours = authority.ca.issue_cert("client@example.test")
    ours.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    ours.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / "certificate.pem"))
    async with stranger(answering(OK), tls=demanding) as server:
        for certificate, key in (("both.pem", ""), ("certificate.pem", "key.pem")):
            trust = attrs.evolve(
                trusting.trust, certificate=str(tmp_path / certificate), key=str(tmp_path / key) if key else ""
            )
            async with HttpClient(attrs.evolve(trusting, trust=trust)) as client:
                assert (await client.request("GET", f"https://{HOST}:{server.port}/")).body == b"ok"


async def test_a_server_that_wants_a_certificate_and_gets_none_says_so(
    trusting: HttpSettings, demanding: ssl.SSLContext
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:  # not trio's: it keeps the reason of its refusal to itself
            sock, _ = listener.accept()
            with demanding.wrap_socket(sock, server_side=True, do_handshake_on_connect=False) as wrapped:
                with pytest.raises(ssl.SSLError):
                    wrapped.do_handshake()
                while socket.socket.recv(wrapped, 1000):  # until the client has read why
                    pass

        async with HttpClient(trusting) as client, trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, accept)
            with pytest.raises(HttpFailed, match=r"https://\S+ tlsv13 alert certificate required$") as failed:
                await client.request("GET", f"https://{HOST}:{listener.getsockname()[1]}/")
    assert failed.value.kind == "tls"  # although the handshake was over for us when we were told


# --- Files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["missing", "garbage", "directory"])
async def test_a_file_of_authorities_that_is_none_is_named(form: str, tmp_path: Path) -> None:
    path = tmp_path / form
    if form == "garbage":
        path.write_text("no certificate")
    elif form == "directory":
        path.mkdir()
    async with HttpClient(HttpSettings.from_env({"SSL_CERT_FILE": str(path)})) as client, stranger(once(OK)) as server:
        with pytest.raises(HttpFailed, match=f"{path}.*SSL_CERT_FILE") as failed:
            await client.request("GET", f"https://127.0.0.1:{server.port}/")
    assert failed.value.kind == "tls"


async def test_a_client_certificate_with_a_locked_key_is_told_and_nobody_is_asked(
    authority: Authority, trusting: HttpSettings, tmp_path: Path, locked_key: Callable[[bytes], bytes]
) -> None:
    ours = authority.ca.issue_cert("client@example.test")
    (tmp_path / "key.pem").write_bytes(locked_key(ours.private_key_pem.bytes()))
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / "certificate.pem"))
    trust = attrs.evolve(trusting.trust, certificate=str(tmp_path / "certificate.pem"), key=str(tmp_path / "key.pem"))
    with pytest.raises(HttpFailed, match=r"key\.pem: no client certificate with its unencrypted key") as failed:
        await context_for(trust)
    assert failed.value.kind == "tls"


@pytest.fixture
def locked_key() -> Callable[[bytes], bytes]:
    """A key in PEM -> the same with a password."""
    from cryptography.hazmat.primitives import serialization as forms

    def lock(key: bytes) -> bytes:
        return forms.load_pem_private_key(key, None).private_bytes(
            forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.BestAvailableEncryption(b"password")
        )

    return lock


def test_the_environment_stands_in_for_what_the_system_has() -> None:
    assert Trust.from_env({"SSL_CERT_FILE": "/a", "SSL_CERT_DIR": "/b:/c"}) == Trust("/a", "/b:/c")
    assert authorities(Trust("/a", "/b")) == ("/a", "/b")
    assert authorities(Trust("/a"))[0] == "/a"


def test_a_python_from_elsewhere_finds_the_systems_authorities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nowhere = ssl.DefaultVerifyPaths("", "", "SSL_CERT_FILE", "/no/file", "SSL_CERT_DIR", "/no/directory")
    bundle = tmp_path / "bundle.pem"
    bundle.touch()
    monkeypatch.setattr("ssl.get_default_verify_paths", lambda: nowhere)
    monkeypatch.setattr("agentd.wire.tls.BUNDLES", ("/no/bundle", str(bundle)))
    assert authorities(Trust()) == (str(bundle), "")
