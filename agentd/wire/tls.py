"""TLS to servers: whom we trust, who we are to them, and what a handshake that fails means.

Trusted are the authorities of the system. As with OpenSSL's own tools, SSL_CERT_FILE and SSL_CERT_DIR stand in for the
file and the directory that it has. A Python that was built elsewhere looks for both where they are not; the usual
places are tried then.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

import attrs
import trio

from agentd.wire.exchange import reason
from agentd.wire.failure import HttpFailed

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)

_UNTRUSTED = frozenset({18, 19, 20, 21})  # X509_V_ERR_…: self-signed, or its issuer is not known


@attrs.frozen
class Trust:
    """Paths of PEM files; "" for what the system has, and for no certificate of our own."""

    ca_file: str = ""
    ca_dir: str = ""  # of files named by hash; several with colons between them
    certificate: str = ""  # what we show to servers that ask for it, with its chain, and its key if there is no *key*
    key: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Trust:
        return cls(env.get("SSL_CERT_FILE", ""), env.get("SSL_CERT_DIR", ""))


_contexts: dict[Trust, ssl.SSLContext] = {}  # reading the system's authorities takes up to 0.1 s


async def context_for(trust: Trust) -> ssl.SSLContext:
    """Made once in a process. Raises HttpFailed."""
    if trust not in _contexts:
        _contexts[trust] = await trio.to_thread.run_sync(make_context, trust, abandon_on_cancel=True)
    return _contexts[trust]


def make_context(trust: Trust) -> ssl.SSLContext:
    """Raises HttpFailed, naming the file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    file, directory = authorities(trust)
    try:
        context.load_verify_locations(file or None, directory or None)
    except (OSError, TypeError) as exc:  # TypeError: there is neither
        where = " and ".join(filter(None, (file, directory))) or "the places where systems have them"
        raise HttpFailed("tls", f"no certificates of authorities can be read from {where} (SSL_CERT_FILE)") from exc
    if trust.certificate:
        try:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(trust.certificate, trust.key or None, password="")
        except (OSError, ValueError) as exc:
            names = " and ".join(filter(None, (trust.certificate, trust.key)))
            raise HttpFailed("tls", f"{names}: no client certificate with its unencrypted key: {reason(exc)}") from exc
    return context


def authorities(trust: Trust) -> tuple[str, str]:
    """The file and the directory of the authorities to trust; "" for none."""
    system = ssl.get_default_verify_paths()
    file = trust.ca_file or _there(system.openssl_cafile)
    directory = trust.ca_dir or _there(system.openssl_capath)
    if not file and not directory:
        file = next(filter(None, map(_there, BUNDLES)), "")
    return file, directory


def _there(path: str) -> str:
    return path if Path(path).exists() else ""


async def start_tls(stream: trio.abc.Stream, host: str, trust: Trust) -> trio.SSLStream[trio.abc.Stream]:
    """Shake hands with *host* over *stream*. Raises HttpFailed."""
    tls = trio.SSLStream(stream, await context_for(trust), server_hostname=host)
    try:
        await tls.do_handshake()
    except trio.BrokenResourceError as exc:
        raise _failure(host, exc) from exc
    return tls


def _failure(host: str, exc: trio.BrokenResourceError) -> HttpFailed:
    cause = exc.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        advice = ". SSL_CERT_FILE names a file of authorities to trust" if cause.verify_code in _UNTRUSTED else ""
        return HttpFailed("tls", f"the certificate of {host} is refused: {cause.verify_message}{advice}")
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        said = (cause.reason or "").lower().replace("_", " ")
        not_tls = cause.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
        return HttpFailed("tls", f"{host} does not speak TLS" if not_tls else f"the TLS handshake with {host}: {said}")
    return HttpFailed("network", f"{host} hung up during the TLS handshake")
