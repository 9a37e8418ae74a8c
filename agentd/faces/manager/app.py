"""What the handlers of the session manager share: the pool, who asks, and the table that they put themselves into."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote

import attrs

from agentd.daemon.eviction import Idleness
from agentd.daemon.opening import Control, open_pool
from agentd.daemon.pool import Managed, Pool
from agentd.daemon.recovery import Report
from agentd.daemon.settings import ManagerSettings
from agentd.daemon.tokens import SessionTokens
from agentd.errors import Forbidden
from agentd.faces.manager.answers import answer_error, method_not_allowed, not_found, unauthorized
from agentd.wire.messages import Request, Response
from agentd.wire.routing import Mount, Routes

SCHEME = "Bearer "
READY = "/health/ready"

routes = Routes()


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
            "manager",
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
async def open_manager(settings: ManagerSettings, master_token: str, control: Control) -> AsyncIterator[ManagerApp]:
    """A session manager over the sessions of *control*, with its own back as they were. Serve its mount inside the
    block, and end serving before the block ends.

    Raises InvalidSetting for a blank master token; Locked, StoreFailed."""
    tokens = SessionTokens(master_token, ttl_seconds=settings.token_seconds)
    idleness = Idleness(settings.idle_seconds, settings.eviction_seconds)
    async with open_pool(control, settings.pool_size, settings.worktree_base, idleness) as (pool, report):
        yield ManagerApp(pool, tokens, settings.id, report, master_token)
