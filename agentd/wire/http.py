"""The HTTP client for servers of others: language models, web pages, hooks. HTTP/1.1 over TCP, TLS and unix sockets.

    client = HttpClient(HttpSettings.from_env(os.environ))
    async with client.stream("POST", url, headers=[…], body=b"…", deadlines=Deadlines(between_bytes=120)) as answer:
        async for event in answer.events(): …

Everything has a bound and every wait a deadline; nothing is repeated that may have been done; what goes wrong is an
HttpFailed whose text may be shown to anybody. No cookies, no cache, no HTTP/2. Loading this module takes TLS and much
else along: import it where a service is really called.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs

from agentd import __version__
from agentd.wire.decoding import ACCEPTED
from agentd.wire.dial import Dialer, authorization, refusal
from agentd.wire.exchange import Deadlines, Outgoing, Watch, Wire
from agentd.wire.failure import HttpFailed
from agentd.wire.incoming import MAX_BODY, Answer, WholeAnswer
from agentd.wire.messages import Fields
from agentd.wire.pool import Pool, PoolLimits
from agentd.wire.proxy import Proxies, Proxy
from agentd.wire.redirects import Hop, location, next_hop
from agentd.wire.resolve import Resolve, resolve
from agentd.wire.tls import Trust
from agentd.wire.urlpolicy import UrlPolicy, check, checked
from agentd.wire.urls import Url, parse_url

__all__ = ["Answer", "Deadlines", "HttpClient", "HttpFailed", "HttpSettings", "WholeAnswer"]

STREAM = Deadlines()
WHOLE = Deadlines(total=60.0)

Body = bytes | AsyncIterable[bytes]


@attrs.frozen
class HttpSettings:
    proxies: Proxies = attrs.field(factory=Proxies)
    trust: Trust = attrs.field(factory=Trust)
    resolve: Resolve = resolve  # which addresses a host has that is connected to; urlpolicy.checked() restricts it
    resolve_proxy: Resolve = resolve  # the same for proxies: those are the operator's choice, whatever is fetched
    pool: PoolLimits = attrs.field(factory=PoolLimits)
    user_agent: str = f"agentd/{__version__}"
    policy: UrlPolicy | None = None  # that every URL is held to, also those of redirects; see under()

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> HttpSettings:
        """What the environment says of proxies and certificates. Never raises: what is wrong is told at its use."""
        return cls(Proxies.from_env(env), Trust.from_env(env))

    def under(self, policy: UrlPolicy) -> HttpSettings:
        """For URLs on somebody else's word. What *policy* does not let pass raises UrlRefused: by what is written, and
        by the addresses that a name has, which are then the ones that are connected to."""
        return attrs.evolve(self, policy=policy, resolve=checked(self.resolve, policy))


class HttpClient:
    """One for all requests of a process: connections are kept and used again. Requests may overlap. To be used within
    one trio.run(), and closed in it."""

    def __init__(self, settings: HttpSettings = HttpSettings()) -> None:
        self._settings = settings
        self._dialer = Dialer(settings.resolve, settings.resolve_proxy, settings.trust)
        self._pool = Pool(settings.pool)

    async def __aenter__(self) -> HttpClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Of the kept connections; what is under way goes on."""
        self._pool.close()

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Fields = (),
        body: Body = b"",
        deadlines: Deadlines = STREAM,
        redirects: int = 0,
        decode: bool = False,
    ) -> AsyncIterator[Answer]:
        """An answer, whatever its status, that is read as it comes.

        *url* may have a user and password in it; http+unix://%2Fpath%2Fto%2Fsocket/… goes to a socket file. *body*, if
        it is no bytes, is sent as it is made, in chunks unless *headers* has its Content-Length. *redirects* are
        followed at most, with what is safe to send on; the 3xx itself is the answer if that is 0. *decode*: ask for
        compression, and take it off. Raises HttpFailed, InvalidUrl, UrlRefused, and what the resolver raises.
        """
        hop = Hop(method, parse_url(url), headers, body)
        watch = Watch(f"{method} {hop.url.site}", deadlines)
        for left in range(redirects, -1, -1):
            async with self._exchange(hop, watch, decode) as answer:
                target = location(hop.url, answer.status, answer.headers) if redirects else None
                if target is None:
                    yield answer
                    return
                if not left:
                    raise watch.failed("protocol", f"it redirects more than {redirects} times")
            hop = next_hop(hop, target, answer.status)
            watch.what = f"{hop.method} {hop.url.site}"

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Fields = (),
        body: Body = b"",
        deadlines: Deadlines = WHOLE,
        redirects: int = 0,
        decode: bool = False,
        limit: int = MAX_BODY,
    ) -> WholeAnswer:
        """As stream(), and the whole of the answer's body, of at most *limit* bytes."""
        async with self.stream(
            method, url, headers=headers, body=body, deadlines=deadlines, redirects=redirects, decode=decode
        ) as answer:
            return await answer.whole(limit)

    @asynccontextmanager
    async def _exchange(self, hop: Hop, watch: Watch, decode: bool) -> AsyncIterator[Answer]:
        if self._settings.policy is not None:
            check(hop.url, self._settings.policy)  # a proxy would resolve the name: what is written is all we see
        proxy = self._settings.proxies.choose(hop.url)
        request = Outgoing(hop.method, _target(hop.url, proxy), self._fields(hop, proxy, decode), hop.body)

        async def open_wire(watch: Watch) -> Wire:
            return await self._dialer.open(hop.url, proxy, watch)

        async with self._pool.exchange((hop.url.origin, proxy), open_wire, request, watch) as (wire, head):
            if head.status_code == 407 and proxy is not None and hop.url.scheme == "http":
                raise refusal(proxy, hop.url, 407)
            answer = Answer(head, wire, watch, str(hop.url))
            if decode:
                answer.decode()
            yield answer

    def _fields(self, hop: Hop, proxy: Proxy | None, decode: bool) -> Fields:
        """Those of the caller, and before them ours that it does not give itself."""
        ours = [
            ("Host", hop.url.authority),
            ("User-Agent", self._settings.user_agent),
            ("Accept-Encoding", ACCEPTED if decode else "identity"),
        ]
        if hop.url.userinfo:
            ours.append(("Authorization", hop.url.authorization))
        if proxy is not None and hop.url.scheme == "http":
            ours += authorization(proxy)
        given = {name.lower() for name, _ in hop.fields}
        return [*(field for field in ours if field[0].lower() not in given), *hop.fields]


def _target(url: Url, proxy: Proxy | None) -> str:
    """A proxy is told the whole URL, unless TLS goes through it (RFC 9112, 3.2.2)."""
    return str(url) if proxy is not None and url.scheme == "http" else url.target
