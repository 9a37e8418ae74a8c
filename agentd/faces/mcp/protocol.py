"""What a Model Context Protocol server says of itself, and how its clients are understood. No sockets, no trio here.

There are two eras of the protocol, told apart by how a client opens. Until 2025-11-25 a connection begins with
`initialize`, and what that said holds for what follows; since 2026-07-28 each request says everything itself, in
`params._meta`, and may come on any connection. The rules: modelcontextprotocol.io/specification.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import attrs

from agentd import __version__
from agentd.tools.mcp.fields import encoded
from agentd.wire.jsonrpc import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_CAPABILITY,
    PARSE_ERROR,
    UNSUPPORTED_VERSION,
    Request,
    RpcError,
)

HANDSHAKE = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
BATCHES = "2025-03-26"  # the one version in which several messages may come as an array
STATELESS = ("2026-07-28",)
VERSIONS = (*STATELESS, *HANDSHAKE)

PREFIX = "io.modelcontextprotocol/"
VERSION_KEY, CAPABILITIES_KEY = f"{PREFIX}protocolVersion", f"{PREFIX}clientCapabilities"
SERVER_KEY, SUBSCRIPTION_KEY = f"{PREFIX}serverInfo", f"{PREFIX}subscriptionId"
VERSION_HEADER, METHOD_HEADER, NAME_HEADER = "mcp-protocol-version", "mcp-method", "mcp-name"
SESSION_HEADER, DIRECTORY_HEADER = "mcp-session-id", "agentd-directory"  # the second is ours
PREFIX = "/mcp"
JSON, EVENTS = "application/json", "text/event-stream"
NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}  # what Mcp-Name repeats
CANCELLED = "notifications/cancelled"
FRESH_MS = {"server/discover": 3_600_000, "tools/list": 300_000}  # for which a client may keep an answer
CACHED = frozenset({*FRESH_MS, "resources/list", "resources/templates/list", "resources/read"})
STATUS = {METHOD_NOT_FOUND: 404} | dict.fromkeys(
    (PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS, HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION), 400
)  # of HTTP, for errors of stateless requests

SERVER = {"name": "agentd", "title": "agentd", "version": __version__}
INSTRUCTIONS = (
    "agentd runs coding agents in directories of this machine. Start work with start_job; it returns at once, or "
    "follows the job for wait_seconds. follow_job waits for what is new: pass the position that the last answer gave. "
    "A job may stop to ask for permission or with a question: its state is waiting, and its asks are in the answer; "
    "settle them with answer_ask, then follow on. search and symbols look things up in a directory without a job. "
    "Another start_job with the same session goes on where the last one ended, knowing what was said."
)
_ENCODED = re.compile(r"=\?base64\?(.*)\?=", re.DOTALL)


@attrs.frozen
class Client:
    """What is known of who asks."""

    version: str
    capabilities: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def is_stateless(self) -> bool:
        return self.version in STATELESS

    @property
    def takes_forms(self) -> bool:
        """It shows its user a form where it is asked to. One that says no mode means forms."""
        elicitation = self.capabilities.get("elicitation")
        return isinstance(elicitation, Mapping) and (not elicitation or "form" in elicitation)


# --- Who asks -----------------------------------------------------------------------------------------------------


def initialized(params: Mapping[str, Any] | None) -> Client:
    """Of an `initialize` request. A version that is not known is answered with the latest that may be begun so, and the
    client decides. Raises RpcError."""
    given = params or {}
    version, capabilities = given.get("protocolVersion"), given.get("capabilities", {})
    if not isinstance(version, str) or not isinstance(capabilities, Mapping):
        raise RpcError(INVALID_PARAMS, "initialize needs protocolVersion, a string, and capabilities, an object")
    return Client(version if version in HANDSHAKE else HANDSHAKE[0], capabilities)


def is_stateless(request: Request) -> bool:
    """Whether it says for itself what `initialize` says for others."""
    return request.method != "initialize" and VERSION_KEY in _meta(request.params)


def stateless(request: Request, headers: Mapping[str, str] | None = None) -> Client:
    """Of a request that says it itself. *headers*: of the HTTP request that it came in, by names in lower case. Raises
    RpcError for one that does not say it, says two things, or wants another version."""
    meta = _meta(request.params)
    version, capabilities = meta.get(VERSION_KEY), meta.get(CAPABILITIES_KEY)
    if not isinstance(version, str) or not isinstance(capabilities, Mapping):
        raise RpcError(INVALID_PARAMS, f"params._meta needs {VERSION_KEY}, a string, and {CAPABILITIES_KEY}, an object")
    if headers is not None:
        _check_headers(request, version, headers)
    if version not in STATELESS:
        raise unsupported(version)
    return Client(version, capabilities)


def unsupported(version: str) -> RpcError:
    data = {"supported": list(VERSIONS), "requested": version[:100]}
    return RpcError(UNSUPPORTED_VERSION, "Unsupported protocol version", data)


def _check_headers(request: Request, version: str, headers: Mapping[str, str]) -> None:
    """What header fields repeat of a request has to be the same there, or something between client and server could be
    led to believe otherwise. Raises RpcError."""
    found = {name: _decoded(headers.get(name, "")) for name in (VERSION_HEADER, METHOD_HEADER, NAME_HEADER)}
    there = {VERSION_HEADER: version, METHOD_HEADER: request.method}
    key = NAMED_BY.get(request.method)
    if key is not None and isinstance(named := (request.params or {}).get(key), str):
        there[NAME_HEADER] = named
    for field, value in there.items():
        if found[field] != value:
            raise RpcError(HEADER_MISMATCH, f"Header mismatch: {field} is missing, or is not what the body says")


def headers(request: Request) -> list[tuple[str, str]]:
    """The header fields that a stateless request has in HTTP."""
    params = request.params or {}
    fields = [(VERSION_HEADER, str(_meta(params).get(VERSION_KEY))), (METHOD_HEADER, request.method)]
    if (key := NAMED_BY.get(request.method)) is not None and isinstance(params.get(key), str):
        fields.append((NAME_HEADER, params[key]))
    return [(name, encoded(value)) for name, value in fields]


def _decoded(text: str) -> str:
    """What does not fit into a header field comes as =?base64?…?=."""
    if (found := _ENCODED.fullmatch(text)) is None:
        return text
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _meta(params: Mapping[str, Any] | None) -> Mapping[str, Any]:
    meta = (params or {}).get("_meta")
    return meta if isinstance(meta, Mapping) else {}


def progress_token(params: Mapping[str, Any]) -> str | int | None:
    """By which the client wants to hear how far its request has come; None: it does not want to."""
    token = _meta(params).get("progressToken")
    return token if type(token) in (str, int) else None


# --- What it is told ----------------------------------------------------------------------------------------------


def about(client: Client) -> dict[str, Any]:
    """The result of `initialize`."""
    return {
        "protocolVersion": client.version,
        "capabilities": capabilities(),
        "serverInfo": SERVER,
        "instructions": INSTRUCTIONS,
    }


def discovered() -> dict[str, Any]:
    """The result of `server/discover`."""
    return {"supportedVersions": list(VERSIONS), "capabilities": capabilities(), "instructions": INSTRUCTIONS}


def capabilities() -> dict[str, Any]:
    return {"tools": {}, "resources": {}}


def shaped(method: str, result: Mapping[str, Any], client: Client) -> dict[str, Any]:
    """*result* with what results of the client's era have beside."""
    if not client.is_stateless:
        return dict(result)
    more: dict[str, Any] = {"resultType": "complete"}
    if method in CACHED and result.get("resultType") is None:
        more |= {"ttlMs": FRESH_MS.get(method, 0), "cacheScope": "private"}  # lists differ by token
    meta = {**result.get("_meta", {}), SERVER_KEY: {name: SERVER[name] for name in ("name", "version")}}
    return {**more, **result, "_meta": meta}
