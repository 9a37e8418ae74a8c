"""What the parts of the MCP server share: who asks, what may be seen, directories, and what one call is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import attrs
import trio

from agentd.daemon.access import Access, Need, Principal
from agentd.daemon.asks import Asks
from agentd.daemon.differences import Differences
from agentd.daemon.listing import Listing
from agentd.daemon.opening import Work
from agentd.daemon.sessions import Sessions
from agentd.errors import AskNotFound, JobNotFound, SessionNotFound, ToolFailed
from agentd.faces.mcp import views
from agentd.faces.mcp.protocol import Client
from agentd.store.summary import AskRow, JobRow, SessionRow
from agentd.store.tables import Found
from agentd.wire.jsonrpc import Id

FACE = "mcp"  # of sessions, and the scope of tokens
MOST_LOOKS = 2  # searches and questions about symbols that are answered at a time


class Peer(Protocol):
    """The client, while it waits for an answer."""

    @property
    def takes_messages(self) -> bool:
        """Before the response."""

    @property
    def takes_requests(self) -> bool: ...
    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Without waiting: to a client that takes nothing now, it is not said."""

    async def ask(self, method: str, params: Mapping[str, Any]) -> Any:
        """The result of a request to it. Raises RpcError. Cancelled, the client is told so."""


@attrs.define(eq=False)
class Call:
    """One request. *directory*: where work is done that does not say where; None: it has to."""

    id: Id
    principal: Principal
    client: Client
    method: str
    params: Mapping[str, Any]
    peer: Peer
    directory: Path | None = None
    token: str | int | None = None  # by which it wants to hear of progress
    need: Need = "see"  # what the caller has to be allowed for what is asked
    _steps: int = 0

    def progress(self, message: str) -> None:
        if self.token is not None:
            self._steps += 1
            told = {"progressToken": self.token, "progress": self._steps, "message": message[:500]}
            self.peer.notify("notifications/progress", told)


@attrs.frozen
class Outcome:
    """What a tool says: a value that fits its schema, and as *text* what is easier to read, where there is such."""

    value: dict[str, Any]
    text: str | None = None


class InputRequired(Exception):
    """A stateless request can be answered only once its client has asked its user; *requests*: what, by our names."""

    def __init__(self, requests: Mapping[str, Any]) -> None:
        super().__init__(", ".join(requests))
        self.requests = requests


@attrs.define(eq=False)
class App:
    """*off_limits*: what no search shows. *nursery* owns what is done for clients."""

    work: Work
    access: Access
    off_limits: tuple[Path, ...]
    nursery: trio.Nursery
    differences: Differences = attrs.field(factory=Differences)
    stopping: trio.Event = attrs.field(factory=trio.Event)  # set: the server is stopping
    looks: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(MOST_LOOKS))

    @property
    def sessions(self) -> Sessions:
        return self.work.sessions

    @property
    def asks(self) -> Asks:
        return self.work.asks

    @property
    def listing(self) -> Listing:
        return self.work.sessions.listing

    # --- What is there for who asks -------------------------------------------------------------------------------

    async def session(self, call: Call, session_id: str, need: Need = "see") -> Found[SessionRow]:
        """Raises SessionNotFound, also for one that is not for the caller; StoreFailed."""
        found = await self.sessions.find(session_id)
        if not is_for(call, found, need):
            raise SessionNotFound(session_id)
        return found

    async def job(self, call: Call, job_id: str, need: Need = "see") -> Found[JobRow]:
        """Raises JobNotFound, also for one that is not for the caller; StoreFailed."""
        found = await self.listing.ask(lambda index: index.job(job_id))
        if found is None or not is_for(call, found, need):
            raise JobNotFound(job_id)
        return found

    async def ask(self, call: Call, ask_id: str, need: Need = "asks") -> Found[AskRow]:
        """Raises AskNotFound, also for one that is not for the caller; StoreFailed."""
        found = await self.asks.find(ask_id)
        if not is_for(call, found, need):
            raise AskNotFound(ask_id)
        return found

    async def ask_view(self, found: Found[AskRow]) -> dict[str, Any]:
        tail = await self.sessions.tail(found.session.id)
        [record] = tail.reader.read(found.row.pos - 1, 1)
        return views.ask(found, record.data)

    # --- Directories ----------------------------------------------------------------------------------------------

    async def directory(self, call: Call, named: str | None) -> Path:
        """The real path of a directory to work in. Raises ToolFailed, Forbidden."""
        if named is None and call.directory is None:
            raise ToolFailed("say in which directory, by its absolute path")
        path = (call.directory or Path("/")) / (named or "")
        if call.directory is None and not Path(named or "").is_absolute():
            raise ToolFailed(f"{named!r} is no absolute path; directory has to be one")
        try:
            real = await trio.to_thread.run_sync(_real_directory, path)
        except (OSError, ValueError):  # a NUL, or a lone surrogate
            real = None
        if real is None:
            raise ToolFailed(f"{str(path)[:500]!r} is not a directory on this machine")
        home = self.sessions.home.root.resolve()
        if real.is_relative_to(home):
            raise ToolFailed(f"{real} belongs to agentd itself; name a directory of a project")
        call.principal.check_root(str(real))
        return real


def is_for(call: Call, found: Found[Any], need: Need) -> bool:
    owner = call.principal.owner(need)
    return call.principal.may(need) and (owner is None or found.owner == owner)


def may_come_in(principal: Principal) -> bool:
    """Tokens of other APIs are for those; a viewer may look, an approver may answer."""
    return principal.is_admin or bool(principal.scope & {FACE, "viewer", "approver"})


def _real_directory(path: Path) -> Path | None:
    real = path.resolve()
    return real if real.is_dir() else None


Run = Callable[[App, Call, Any], Awaitable[Outcome]]
