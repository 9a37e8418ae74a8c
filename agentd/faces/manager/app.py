"""What the handlers of the session manager share: the pool, who asks, and the table that they put themselves into."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote

import attrs

from agentd.daemon.eviction import Idleness
from agentd.daemon.opening import Daemon, open_pool
from agentd.daemon.pool import Managed, Pool
from agentd.daemon.recovery import Report
from agentd.daemon.tokens import TTL_SECONDS, SessionTokens
from agentd.errors import Forbidden
from agentd.faces.manager.answers import answer_error, method_not_allowed, not_found, unauthorized
from agentd.wire.messages import Request, Response
from agentd.wire.routing import Mount, Routes

SCHEME = "Bearer "
READY = "/health/ready"

routes = Routes()


@attrs.frozen
class ManagerSettings:
    """Those of one session manager. The contract, §1. No value is checked here but the master token's."""

    master_token: str = attrs.field(repr=False)
    pool_size: int
    worktree_base: Path
    manager_id: str = attrs.field(factory=lambda: str(uuid.uuid4()))
    idleness: Idleness = attrs.field(factory=Idleness)
    token_ttl_seconds: float = TTL_SECONDS


@attrs.frozen
class Principal:
    """Who asks: the holder of the master token, or of a session's."""

    session: str | None  # id; None: the master


@attrs.frozen
class ManagerApp:
    """What handlers get."""

    pool: Pool
    tokens: SessionTokens
    manager_id: str
    report: Report  # what was found at the start
    _master: str = attrs.field(repr=False)

    def mount(self, prefix: str = "") -> Mount:
        return Mount(
            routes,
            self,
            prefix,
            guard=self.guard,
            answer_error=answer_error,
            not_found=not_found,
            method_not_allowed=method_not_allowed,
        )

    def guard(self, request: Request) -> Response | None:
        """None for who may go on, with `request.principal` set. It looks at method, path and token. The contract, §3"""
        path = unquote(request.inner_target.partition("?")[0])
        if not path.startswith("/v1/") and not (path.rstrip("/") == READY and request.method in ("GET", "HEAD")):
            return None
        request.principal = self._principal(request.headers.get("authorization"))
        return None if request.principal else unauthorized()

    def _principal(self, authorization: str) -> Principal | None:
        if not authorization.startswith(SCHEME):
            return None
        token = authorization.removeprefix(SCHEME).strip()
        if hmac.compare_digest(token.encode("latin-1"), self._master.encode()):
            return Principal(None)
        session = self.tokens.session_of(token)
        return Principal(session) if session is not None else None

    def require_master(self, request: Request) -> None:
        """Raises Forbidden."""
        if request.principal.session is not None:
            raise Forbidden("this takes the master token; a session's token is for its jobs")

    def own_session(self, request: Request) -> Managed:
        """The session whose token the request has. Raises Forbidden, SessionNotFound."""
        if request.principal.session is None:
            raise Forbidden("this takes the session's token; the master token is for sessions themselves")
        return self.pool.get(request.principal.session)


@asynccontextmanager
async def open_manager(settings: ManagerSettings, daemon: Daemon) -> AsyncIterator[ManagerApp]:
    """A session manager over what *daemon* has, with its sessions back. Serve its mount inside the block, and end
    serving before the block ends.

    Raises InvalidSetting for a blank master token; Locked, StoreFailed."""
    tokens = SessionTokens(settings.master_token, ttl_seconds=settings.token_ttl_seconds)
    opened = open_pool(daemon, settings.pool_size, settings.worktree_base, settings.idleness)
    async with opened as (pool, report):
        yield ManagerApp(pool, tokens, settings.manager_id, report, settings.master_token)
