"""What runs, chats, specs and models share: who asks, sessions by their ids, and how a part of the API is mounted.

Each part has routes and an app of its own below a path of its own (`/v1/runs`), and all of them one Base.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Any, Protocol

import attrs
import trio

from agentd.daemon.access import Access, Principal, authorization
from agentd.daemon.asks import Asks
from agentd.daemon.opening import Work
from agentd.daemon.sessions import Sessions
from agentd.domain import Limits, Models
from agentd.faces.runs.answers import NotFound, answer_error, method_not_allowed, not_found, unauthorized
from agentd.faces.runs.events import SharedFrames
from agentd.store import naming
from agentd.store.index import SessionIndex
from agentd.store.summary import SessionRow
from agentd.store.tables import Found, Page, Query
from agentd.wire.messages import Fields, Request, Response
from agentd.wire.routing import Mount, Routes

OWNER = "runs"  # to whom belongs what this API makes
SCOPES = frozenset({"admin", "runs", "chat"})  # of issued tokens that it takes
BODY_BYTES = 8 * 1024 * 1024
METHODS, HEADERS = "GET, POST, OPTIONS", "Authorization, Content-Type, Last-Event-ID"
RUNS, CHAT = "runs", "chat"  # faces of sessions
EVERYBODY = Principal(OWNER, frozenset({"runs", "chat"}))  # who has the API's own token, or needs none
PREFIXES = {RUNS: ("run_", "run"), CHAT: ("sess_", "session")}  # of their ids, and what they are called


@attrs.frozen
class FaceSettings:
    """*token*: what every request needs, "" for none; *origins*: of pages that may use the API, "*" for any;
    *verify_commands*: that check what was changed."""

    token: str = attrs.field(default="", repr=False)
    origins: tuple[str, ...] = ()
    verify_commands: tuple[str, ...] = ()


@attrs.frozen
class Choice:
    """The models that a run or a turn is made with, and the budget that is left for it."""

    models: Models = attrs.field(factory=Models)
    limits: Limits = attrs.field(factory=Limits)


class Choose(Protocol):
    """*spent*: USD that the run or session has cost before. Raises ProviderFailed where no model fits."""

    def __call__(self, spent: float = 0.0, /) -> Awaitable[Choice]: ...


async def choose_default(spent: float = 0.0) -> Choice:
    """Whatever is configured."""
    await trio.lowlevel.checkpoint()
    return Choice()


@attrs.define(eq=False)
class Base:
    """*nursery* owns what goes on behind requests. *choose*: asked for each run and turn."""

    work: Work
    access: Access
    settings: FaceSettings
    nursery: trio.Nursery
    choose: Choose = choose_default
    frames: SharedFrames = attrs.field(factory=SharedFrames)

    @property
    def sessions(self) -> Sessions:
        return self.work.sessions

    @property
    def asks(self) -> Asks:
        return self.work.asks

    def mount(self, prefix: str, routes: Routes, app: Any, *, name: str = RUNS) -> Mount:
        """Behind this API's guard and with its errors. *app*: what the handlers get first."""
        return Mount(
            routes,
            app,
            prefix,
            name,
            guard=self.guard,
            answer_error=answer_error,
            not_found=not_found,
            method_not_allowed=method_not_allowed,
            sign=self.cors if self.settings.origins else None,
            body_limit=BODY_BYTES,
        )

    # --- Who asks -------------------------------------------------------------------------------------------------

    def guard(self, request: Request) -> Response | None:
        """None for who may go on. Preflights may: no browser can send a token with them."""
        if request.method == "OPTIONS":
            return Response(204, content_type=None) if "access-control-request-method" in request.headers else None
        request.principal = self.principal(request)
        return None if request.principal is not None else unauthorized()

    def principal(self, request: Request) -> Principal | None:
        """Who may use the API: by its own token, the admin's or one that was issued for it, or by the dashboard's
        cookie; everybody where it has no token."""
        scheme, _, given = request.headers.get("authorization").partition(" ")
        token = self.settings.token.strip().encode()
        if token and scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), token):
            return EVERYBODY
        principal = self.access.principal(authorization(request))
        if principal is not None and principal.scope & SCOPES:
            return principal
        return None if token else EVERYBODY

    def cors(self, request: Request) -> Fields:
        """For pages of origins that were let in."""
        origin = request.headers.get("origin").lower()
        if not origin or not self.is_let_in(origin):
            return ()
        fields = [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
        if request.method == "OPTIONS":
            fields += [("Access-Control-Allow-Methods", METHODS), ("Access-Control-Allow-Headers", HEADERS)]
        return fields

    def is_let_in(self, origin: str) -> bool:
        return "*" in self.settings.origins or origin in self.settings.origins

    # --- Sessions by their ids ------------------------------------------------------------------------------------

    async def find(self, request: Request, face: str, ident: str) -> Found[SessionRow]:
        """The session that clients know by this id. Raises NotFound, also for one that is not the client's to see;
        StoreFailed."""
        prefix, what = PREFIXES[face]
        start = naming.uuid_start(prefix, ident)
        if start is not None:
            page = await self.sessions.listing.ask(lambda index: index.sessions(Query(face=face, start=start)))
            for found in page.items:
                if id_of(found.row) == ident and may_see(request, found):
                    return found
        raise NotFound(what, ident)

    async def all(self, face: str, states: Sequence[str] = ()) -> list[Found[SessionRow]]:
        """Every session of a face, whoever made it, the newest first. Raises StoreFailed."""
        found: list[Found[SessionRow]] = []
        cursor: str | None = None
        while True:
            query = Query(face=face, states=states, cursor=cursor, limit=500)
            page = await self.sessions.listing.ask(partial(_sessions, query))
            found += page.items
            if (cursor := page.next) is None:
                return sorted(found, key=lambda each: (each.row.opened, id_of(each.row)), reverse=True)


def may_see(request: Request, found: Found[SessionRow]) -> bool:
    """Tokens that were issued are for what was made with them."""
    principal: Principal = request.principal
    return principal.id == OWNER or principal.is_admin or found.owner == principal.id


def _sessions(query: Query, index: SessionIndex) -> Page[SessionRow]:
    return index.sessions(query)


def id_of(row: SessionRow) -> str:
    """As clients know the session."""
    return naming.of_uuid(PREFIXES[row.face][0], row.opened, row.id)
