"""URLs as values: http and https, and http+unix for a socket file. Nothing is opened or resolved here.

The rules: RFC 3986, and WHATWG's for what looks like an IPv4 address, so that a check sees the address that a
connection would go to: 127.1, 0x7f000001 and 2130706433 are all 127.0.0.1.
"""

from __future__ import annotations

import re
import socket
from base64 import b64encode
from urllib.parse import quote, unquote, urljoin

import attrs

from agentd.errors import AgentdError

PORTS = {"http": 80, "https": 443, "http+unix": 0}

_FORM = re.compile(r"(?i:(https?|http\+unix)://)([^/?#\\]*)(/[^?#]*)?(\?[^#]*)?(?:#.*)?", re.DOTALL)
_AUTHORITY = re.compile(r"(?:(?P<userinfo>.*)@)?(?:\[(?P<v6>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[0-9]*))?")
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_UNSENDABLE = re.compile(r"[\x00-\x20\x7f]")
_KEPT = "%/:@!$&'()*+,;=-._~[]"  # beside letters and digits: sent as they are


class InvalidUrl(AgentdError):
    """The text says what is wrong, and does not repeat the URL: it may hold a password."""

    code = "INVALID_URL"


@attrs.frozen
class Url:
    scheme: str  # http, https or http+unix
    host: str  # in lower case and ASCII, without brackets; of http+unix, the path of the socket file
    port: int  # 0 for http+unix
    target: str  # path and query, as they are sent
    userinfo: str = attrs.field(default="", repr=False)  # as it was written: percent-encoded

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def endpoint(self) -> str:
        """host:port, as CONNECT has it."""
        return f"{self._bracketed}:{self.port}"

    @property
    def authority(self) -> str:
        """What the Host field says."""
        if self.scheme == "http+unix":
            return "localhost"
        return self._bracketed if self.port == PORTS[self.scheme] else self.endpoint

    @property
    def site(self) -> str:
        """Where it leads, without path, query and credentials: what may be in an error or a log."""
        return f"unix:{self.host}" if self.scheme == "http+unix" else f"{self.scheme}://{self.authority}"

    @property
    def authorization(self) -> str:
        """The Authorization that its user and password make; "" if it has none."""
        return basic(self.userinfo) if self.userinfo else ""

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:  # never with credentials
        where = quote(self.host, safe="") if self.scheme == "http+unix" else self.authority
        return f"{self.scheme}://{where}{self.target}"

    def join(self, reference: str) -> Url:
        """Where *reference*, the Location of an answer, leads from here. Credentials stay within the origin, and none
        are taken from the reference. Raises InvalidUrl."""
        base = str(attrs.evolve(self, scheme="http", host="unix", port=80)) if self.scheme == "http+unix" else str(self)
        try:
            found = parse_url(urljoin(base, reference))
        except ValueError as exc:  # urljoin's, of brackets that do not match
            raise InvalidUrl("it has brackets that are no IPv6 address") from exc
        if self.scheme == "http+unix" and found.host == "unix":
            found = attrs.evolve(found, scheme=self.scheme, host=self.host, port=0)
        return attrs.evolve(found, userinfo=self.userinfo if found.origin == self.origin else "")


def parse_url(text: str) -> Url:
    """Raises InvalidUrl."""
    if _UNSENDABLE.search(text):
        raise InvalidUrl("it has a space or a control character in it")
    form = _FORM.fullmatch(text)
    if form is None:
        raise InvalidUrl("it is not of the form http://host/path or https://host/path")
    scheme, authority, path, query = form[1].lower(), form[2], form[3] or "/", form[4] or ""
    target = quote(path, safe=_KEPT) + quote(query, safe=_KEPT + "?")
    if scheme == "http+unix":
        return Url(scheme, _socket_path(authority), 0, target)
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise InvalidUrl("its host or port is not valid")
    host = _ipv6(parts["v6"]) if parts["v6"] is not None else _name(parts["name"])
    return Url(scheme, host, _port(parts["port"], PORTS[scheme]), target, parts["userinfo"] or "")


def basic(userinfo: str) -> str:
    """The value of an Authorization field for `user:password`, percent-encoded as in a URL (RFC 7617)."""
    user, _, password = userinfo.partition(":")
    return "Basic " + b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()


def _port(text: str | None, default: int) -> int:
    if not text:
        return default
    if len(text) > 5 or not 0 < int(text) < 65536:
        raise InvalidUrl("its port is not a number from 1 to 65535")
    return int(text)


def _socket_path(authority: str) -> str:
    path = unquote(authority)
    if not path.startswith("/") or "\0" in path:
        raise InvalidUrl("its host has to be the absolute path of a socket file, with %2F for each slash")
    return path


def _ipv6(text: str) -> str:
    from ipaddress import IPv6Address

    try:
        address = IPv6Address(text)
    except ValueError as exc:
        raise InvalidUrl("what is in brackets is no IPv6 address") from exc
    if address.scope_id is not None:
        raise InvalidUrl("an address with a zone is of use on one machine only")
    return str(address)


def _name(text: str) -> str:
    name = text.lower()
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError as exc:
            raise InvalidUrl("its host is no name that can be looked up") from exc
    name = name.removesuffix(".")
    if not name:
        raise InvalidUrl("it has no host")
    if not _NAME.fullmatch(name):
        raise InvalidUrl("its host is no name that can be looked up")
    return _ipv4(name) if _NUMBER.fullmatch(name.rpartition(".")[2]) else name


def _ipv4(text: str) -> str:
    try:
        return socket.inet_ntoa(socket.inet_aton(text))
    except OSError as exc:
        raise InvalidUrl("its host looks like an IPv4 address and is none") from exc
