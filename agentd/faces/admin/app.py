"""What the handlers of the admin API share: what they ask, who may ask it, and their table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

import attrs

from agentd.daemon.access import Access, Need, Principal, authorization
from agentd.daemon.asks import Asks
from agentd.daemon.differences import Differences
from agentd.daemon.events import Events
from agentd.daemon.executors import Seat
from agentd.daemon.inventory import described
from agentd.daemon.listing import Listing, News
from agentd.daemon.opening import Control, Work
from agentd.daemon.pool import Pool
from agentd.daemon.recovery import Report
from agentd.daemon.sessions import Sessions
from agentd.errors import Forbidden, SessionNotFound
from agentd.faces.admin import views
from agentd.faces.admin.answers import answer_error, method_not_allowed, not_found, unauthorized
from agentd.store.create import epoch_ms
from agentd.store.summary import SessionRow
from agentd.store.tables import Found
from agentd.wire.messages import Request, Response
from agentd.wire.routing import Handler, Mount, Routes

PREFIX = "/agentd/v1"

routes = Routes()
NEEDS: dict[tuple[str, str], Need] = {}  # of every route, by method and pattern


def route(method: str, pattern: str, need: Need) -> Callable[[Handler], Handler]:
    """Register a handler for principals that may do what *need* says; the others get 403."""

    def register(handler: Handler) -> Handler:
        @wraps(handler)
        async def checked(app: App, request: Request, **params: Any) -> Any:
            if not request.principal.may(need):
                raise Forbidden("this token is not for that")
            return await handler(app, request, **params)

        NEEDS[method, pattern] = need
        routes.add(method, pattern)(checked)
        return handler

    return register


@attrs.frozen
class App:
    """What handlers get."""

    control: Control
    access: Access
    sessions: Sessions
    asks: Asks
    listing: Listing
    events: Events
    pool: Pool | None  # None: the session manager is off
    report: Report | None  # of the pool's start
    differences: Differences = attrs.field(factory=Differences)
    since: int = attrs.field(factory=epoch_ms)
    _owners: dict[str, str] = attrs.field(factory=dict)  # of sessions that others heard of: they hear of their end

    def mount(self, prefix: str = PREFIX) -> Mount:
        return Mount(
            routes,
            self,
            prefix,
            "admin",
            guard=self.guard,
            answer_error=answer_error,
            not_found=not_found,
            method_not_allowed=method_not_allowed,
        )

    def guard(self, request: Request) -> Response | None:
        """None for who may go on, with `request.principal` set."""
        request.principal = self.access.principal(authorization(request))
        return None if request.principal else unauthorized()

    def close_feeds(self) -> None:
        """End the streams: the server is stopping."""
        self.events.close()
        self.sessions.tails.close()

    async def session(self, request: Request, session_id: str, need: Need = "see") -> Found[SessionRow]:
        """Raises SessionNotFound, also for one that is not the principal's to see; StoreFailed."""
        found = await self.sessions.find(session_id)
        check_owner(request.principal, need, found)
        return found

    # --- What lists that are live hear of -------------------------------------------------------------------------

    def tell(self, news: Sequence[News]) -> None:
        for each in news:
            change, found = each.change, each.found
            if found is None:
                gone = {"id": change.id, "session_id": change.session, "gone": True}
                self.events.publish(change.kind, gone, self._owners.pop(change.session, None))
            else:
                if found.owner is not None:
                    self._owners[change.session] = found.owner
                self.events.publish(change.kind, views.of(change.kind, found, self.executor_state), found.owner)

    def tell_seat(self, seat: Seat) -> None:
        opened = self.control.registry.open.get(seat.session.id)
        executor = described(seat, self.control.seats.plan.launcher, {}, epoch_ms())
        self.events.publish("executor", executor, opened.owner if opened else None)

    def executor_state(self, session_id: str) -> str:
        seat = self.sessions.seat(session_id)
        return seat.state if seat is not None else "absent"


def check_owner(principal: Principal, need: Need, found: Found[Any]) -> None:
    """Raises SessionNotFound: what somebody else made is not there for who may only see what it made."""
    owner = principal.owner(need)
    if owner is not None and found.owner != owner:
        raise SessionNotFound(found.session.id)


@asynccontextmanager
async def open_admin(
    control: Control,
    listing: Listing,
    work: Work,
    access: Access,
    *,
    report: Report | None = None,
) -> AsyncIterator[App]:
    """The admin API over everything that *control* has. Serve its mount inside the block.

    Call close_feeds() when serving is to end, and end serving before the block ends."""
    sessions = work.sessions
    events = Events(listing.watch)
    app = App(control, access, sessions, work.asks, listing, events, sessions.pool, report)
    listing.subscribe(app.tell)
    unsubscribe = control.seats.subscribe(app.tell_seat)
    try:
        yield app
    finally:
        unsubscribe()
        app.close_feeds()
