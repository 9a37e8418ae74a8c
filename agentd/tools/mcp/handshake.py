"""How a session begins: which revision of the protocol both sides speak, and what the server can do.

A server that may be modern is asked by `server/discover` first. What it answers decides, as the specification has it
(versioning; transports, backward compatibility): a DiscoverResult or one of the errors that only modern servers know,
and it is modern; anything else, silence too, and it is legacy: it gets `initialize`. No single error code is looked
for, since legacy servers answer what they do not know with many.
"""

from __future__ import annotations

from typing import Any

from agentd.tools.mcp import protocol
from agentd.tools.mcp.pending import RequestTimedOut
from agentd.tools.mcp.session import Session
from agentd.tools.mcp.transport import SendFailed, TransportFailed
from agentd.wire.jsonrpc import HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION, RpcError

PROBE_SHARE, PROBE_SECONDS = 0.4, 2.0  # of the time that there is for all, and at most: then the server is a legacy one
LONGEST_INSTRUCTIONS = 4096  # characters
LOG_SECONDS = 5.0


async def agree(session: Session, *, seconds: float, legacy: bool = False) -> None:
    """Fill in what the session speaks. *legacy*: that is known of the server. Raises TransportFailed, RpcError."""
    if session.transport.modern and not legacy and await _discover(session, min(PROBE_SECONDS, PROBE_SHARE * seconds)):
        return
    try:
        await _initialize(session, seconds)
    except RpcError as exc:
        # Only a modern server says that: it was slow to start, and its answer came when nobody waited any more.
        if exc.code != UNSUPPORTED_VERSION or not session.transport.modern or not await _discover(session, seconds):
            raise


async def _discover(session: Session, seconds: float) -> bool:
    """Whether it is a modern server, and so agreed."""
    try:
        result = await session.request("server/discover", seconds=seconds, version=protocol.MODERN)
    except RpcError as exc:
        return _read_refusal(exc)
    except SendFailed as exc:
        if exc.error is not None:
            return _read_refusal(exc.error)
        if exc.status is None or exc.status in (401, 403) or exc.status >= 500:
            raise
        return False
    except RequestTimedOut:
        return False
    versions = result.get("supportedVersions")
    if not isinstance(versions, list) or protocol.MODERN not in versions:
        return False
    _adopt(session, protocol.MODERN, result)
    return True


def _read_refusal(error: RpcError) -> bool:
    """No: it is a legacy server. Raises the error of a modern one with which we have no version in common."""
    if error.code in (HEADER_MISMATCH, MISSING_CAPABILITY):
        raise error
    if error.code != UNSUPPORTED_VERSION:
        return False
    supported = protocol.object_of(error.data).get("supported")
    if isinstance(supported, list) and not any(version in supported for version in protocol.LEGACY):
        raise TransportFailed(f"it speaks none of the versions {protocol.MODERN}, {', '.join(protocol.LEGACY)}")
    return False


async def _initialize(session: Session, seconds: float) -> None:
    asked = {
        "protocolVersion": protocol.LEGACY[0],
        "capabilities": session.offered,
        "clientInfo": protocol.CLIENT,
    }
    result = await session.request("initialize", asked, seconds=seconds, version=protocol.LEGACY[0])
    version = result.get("protocolVersion")
    if version not in protocol.LEGACY:
        raise TransportFailed(f"it speaks version {protocol.one_line(version, 40) or 'unknown'} of the protocol")
    _adopt(session, version, result)
    await session.notify("notifications/initialized")


def _adopt(session: Session, version: str, result: dict[str, Any]) -> None:
    session.version = version
    session.capabilities = protocol.object_of(result.get("capabilities"))
    session.info = protocol.server_info(result)
    session.instructions = protocol.text_of(result.get("instructions"), LONGEST_INSTRUCTIONS)
    session.transport.negotiated(version)


async def ask_for_logs(session: Session) -> None:
    """Modern servers are told with each request. One that cannot do what it says it can is left alone."""
    if not session.is_modern and session.can("logging"):
        try:
            await session.request("logging/setLevel", {"level": protocol.LOG_LEVEL}, seconds=LOG_SECONDS)
        except (RpcError, TransportFailed):
            return
