"""Who may do what, on every face: the admin token, and the tokens that were issued to others. DESIGN, Security floor.

An issued token is shown once and stored as a SHA-256 in root.ndjson. It has 256 random bits, so a plain hash is enough.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote

import attrs
import trio

from agentd.domain import Entry
from agentd.errors import AgentdError, Forbidden
from agentd.store.create import Clock, epoch_ms
from agentd.store.rootlog import RootLog, RootPage, RootRecord
from agentd.wire.messages import Headers, Request

ISSUED, REVOKED = "token.issued", "token.revoked"
FACES = ("runs", "chat", "manager", "agent", "executor", "mcp")
ROLES = ("viewer", "approver", "admin")
Need = Literal["read", "asks", "settle", "act", "see", "admin"]
ADMIN_ID = "admin"
SCHEME = "Bearer "

# Which roles each need is open to; those of _OWN also to a face's credential, for what that made.
_ROLES_OF: dict[str, frozenset[str]] = {
    "read": frozenset({"viewer"}),  # of what is nobody's own: executors, storage, recovery
    "see": frozenset({"viewer"}),
    "asks": frozenset({"viewer", "approver"}),
    "settle": frozenset({"approver"}),
    "act": frozenset(),
    "admin": frozenset(),
}
_OWN = frozenset({"see", "asks", "settle", "act"})


# --- What a request says of who asks ------------------------------------------------------------------------------


def authorization(request: Request) -> str:
    """The Authorization header; of a browser without one, the token of its cookie in the same form; "" for neither.

    A cookie comes with whatever a browser is made to send, from pages of other ports too: those are same-site. So it
    counts only for what a page of ours sent, or a person asked for; and to change something, that has to be said."""
    header = request.headers.get("authorization")
    if header or not _is_ours(request):
        return header
    name = cookie_name(request.headers)
    for each in request.headers.get("cookie").split(";"):
        key, _, value = each.strip().partition("=")
        if key == name and value:
            return f"{SCHEME}{unquote(value, 'latin-1')}"
    return ""


def _is_ours(request: Request) -> bool:
    """WHATWG Fetch Metadata; for browsers that do not have it, Origin."""
    site, safe = request.headers.get("sec-fetch-site"), request.method in ("GET", "HEAD")
    if site:
        return site == "same-origin" or (safe and site == "none")
    origin = request.headers.get("origin")
    return safe if not origin else origin.lower().partition("://")[2] == request.headers.get("host").lower()


def cookie_name(headers: Headers) -> str:
    """Cookies are shared by all ports of a host, where there may be several daemons: each has its own."""
    port = headers.get("host").rpartition(":")[2]
    return f"agentd_{port}" if port.isascii() and port.isdigit() else "agentd"


def cookie(headers: Headers, token: str) -> str:
    """A Set-Cookie value that makes a browser send *token* until it is closed; "" takes it back."""
    end = "" if token else "; Max-Age=0"
    return f"{cookie_name(headers)}={quote(token, safe='', encoding='latin-1')}; Path=/; HttpOnly; SameSite=Strict{end}"


class TokenNotFound(AgentdError):
    code = "TOKEN_NOT_FOUND"

    def __init__(self, token_id: str) -> None:
        super().__init__(f"no token {token_id}")


@attrs.frozen
class Principal:
    """Who asks."""

    id: str  # what it makes is noted as its own by this
    scope: frozenset[str]
    roots: tuple[Path, ...] = ()  # it may only have work done below these; empty: anywhere

    @property
    def is_admin(self) -> bool:
        return "admin" in self.scope

    def may(self, need: Need) -> bool:
        """Whether there is anything that it may do of this kind, be it only with what it made."""
        own = need in _OWN and bool(self.scope & set(FACES))
        return self.is_admin or own or bool(self.scope & _ROLES_OF[need])

    def owner(self, need: Need) -> str | None:
        """None: it may do that with everything; else only with what this owner made."""
        return None if self.is_admin or self.scope & _ROLES_OF[need] else self.id

    def check_root(self, workspace: str) -> None:
        """Raises Forbidden for a workspace outside of those that it was issued for."""
        if self.roots and not any(Path(workspace).resolve().is_relative_to(root.resolve()) for root in self.roots):
            raise Forbidden(f"this token is not for work in {workspace}")


@attrs.frozen
class Issued:
    """A token as it is stored. Times are epoch milliseconds."""

    id: str
    sha256: str = attrs.field(repr=False)
    scope: tuple[str, ...]
    name: str
    created: int
    expires: int | None
    budget_usd: float | None
    roots: tuple[str, ...]

    @classmethod
    def read(cls, record: RootRecord) -> Issued | None:
        try:
            data: dict[str, Any] = record.data
            texts = str(data["id"]), str(data["sha256"]), tuple(map(str, data["scope"])), str(data["name"])
            return cls(*texts, record.ts, data["expires"], data["budget_usd"], tuple(map(str, data["roots"])))
        except (LookupError, TypeError):
            return None

    def principal(self) -> Principal:
        return Principal(self.id, frozenset(self.scope), tuple(map(Path, self.roots)))


class Access:
    """Call load() first."""

    def __init__(
        self,
        log: RootLog,
        admin_token: str,
        *,
        given: Mapping[str, Principal] | None = None,
        clock: Clock = epoch_ms,
    ) -> None:
        """*given*: tokens that are set of faces, and who has them."""
        self._log = log
        self._admin = admin_token.encode()
        self._given = {hashlib.sha256(token.encode()).digest(): each for token, each in (given or {}).items() if token}
        self._clock = clock
        self._end = 0
        self._issued: dict[str, Issued] = {}  # by the hash
        self._lock = trio.Lock()

    def load(self) -> None:
        """What was issued and revoked since the last time. Blocks. Raises StoreFailed."""
        self._fold(self._log.read(self._end))

    def _fold(self, page: RootPage) -> None:
        self._end = page.end
        for record in page.records:
            if record.type == ISSUED and (issued := Issued.read(record)) is not None:
                self._issued[issued.sha256] = issued
            elif record.type == REVOKED:
                self._issued = {key: each for key, each in self._issued.items() if each.id != record.data.get("id")}

    def principal(self, authorization: str) -> Principal | None:
        """Of an Authorization header's value; None: it is nobody's, or no longer."""
        if not authorization.startswith(SCHEME):
            return None
        token = authorization.removeprefix(SCHEME).strip().encode("latin-1", "replace")
        if self._admin and hmac.compare_digest(token, self._admin):
            return Principal(ADMIN_ID, frozenset({"admin"}))
        return self._given.get(hashlib.sha256(token).digest()) or self.issued_to(token)

    def issued_to(self, token: bytes) -> Principal | None:
        """Who was issued *token*; None: nobody was, or it is good no longer."""
        issued = self._issued.get(hashlib.sha256(token).hexdigest())
        if issued is None or (issued.expires is not None and issued.expires <= self._clock()):
            return None
        return issued.principal()

    def tokens(self) -> list[Issued]:
        """The first that was issued first, also those that have expired."""
        return sorted(self._issued.values(), key=lambda each: (each.created, each.id))

    def budget(self, owner: str) -> float | None:
        """USD that what *owner* makes may cost in all; None: there is no limit."""
        return next((each.budget_usd for each in self._issued.values() if each.id == owner), None)

    async def issue(
        self,
        scope: Sequence[str],
        *,
        name: str = "",
        expires: int | None = None,
        budget_usd: float | None = None,
        roots: Sequence[str] = (),
    ) -> tuple[str, Issued]:
        """A new token, which is nowhere but in this answer, and what is stored of it. Raises Locked, StoreFailed."""
        token = f"agentd_{secrets.token_urlsafe(32)}"
        sha256 = hashlib.sha256(token.encode()).hexdigest()
        limits = {"expires": expires, "budget_usd": budget_usd, "roots": list(roots)}
        data = {"id": secrets.token_hex(6), "sha256": sha256, "scope": list(scope), "name": name}
        await self._append(Entry(ISSUED, data | limits))
        return token, self._issued[sha256]

    async def revoke(self, token_id: str) -> None:
        """It opens nothing any more. Raises TokenNotFound, Locked, StoreFailed."""
        if all(each.id != token_id for each in self._issued.values()):
            raise TokenNotFound(token_id)
        await self._append(Entry(REVOKED, {"id": token_id}))

    async def _append(self, entry: Entry) -> None:
        async with self._lock:
            self._fold(await trio.to_thread.run_sync(self._write, entry))

    def _write(self, entry: Entry) -> RootPage:
        self._log.append([entry])
        return self._log.read(self._end)
