"""What goes wrong with a request that we send, in a few kinds. No sockets and no trio here."""

from __future__ import annotations

from typing import Literal

from agentd.errors import AgentdError

Kind = Literal["connect", "tls", "proxy", "refused", "timeout", "network", "protocol"]


class HttpFailed(AgentdError):
    """No answer, or not a whole one. *kind* says what to do about it:

    connect   the name does not resolve, or nobody listens there; also when a proxy says so of its target (5xx)
    tls       the certificate is not trusted or for another host, or no TLS is spoken there: trying again does not help
    proxy     the proxy refuses (4xx), or is none that can be used: trying again does not help
    refused   this process is offline, and that is neither loopback nor configured: trying again does not help
    timeout   a deadline passed
    network   the connection broke before the answer was whole
    protocol  what came is no HTTP or larger than it may be, or what was to be sent is no HTTP

    The text names hosts and ports, never a key, a path, a query or credentials.
    """

    code = "REQUEST_FAILED"

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.kind: Kind = kind
