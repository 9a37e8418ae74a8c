"""Queries and bodies of the admin API, typed. Each raises InvalidRequest with all that does not fit."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import attrs

from agentd.daemon.access import FACES, ROLES
from agentd.daemon.asks import Answer
from agentd.daemon.followup import FollowUp
from agentd.daemon.tail import Cursor
from agentd.domain import JobState, Mode, PermissionMode
from agentd.errors import InvalidRequest
from agentd.store.tables import MOST_ITEMS, Query
from agentd.wire.messages import Request
from agentd.wire.typed import decode

STATUSES = ("idle", "waiting", "running", "queued")
JOB_STATES = tuple(state.value for state in JobState)
ASK_STATES = ("open", "settled")
LIMIT = 100
MOST_WAIT = 60.0  # seconds of a long poll
NAME_CHARS = 200


# --- Queries ------------------------------------------------------------------------------------------------------


def page(request: Request, name: str, states: Sequence[str], owner: str | None) -> Query:
    """Of a list. *name*: the parameter that picks *states*, one or more with commas between them."""
    query = request.query
    wanted = words(query.get(name, ""))
    if unknown := [word for word in wanted if word not in states]:
        raise InvalidRequest([f"{unknown[0][:40]!r} is none of {', '.join(states)} @ $.{name}"])
    return Query(
        face=query.get("face") or None,
        states=wanted,
        words=query.get("q") or None,
        session=query.get("session") or None,
        owner=owner,
        limit=limit(request),
        cursor=query.get("cursor") or None,
    )


def limit(request: Request) -> int:
    text = request.query.get("limit", "")
    if not text:
        return LIMIT
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= MOST_ITEMS:
        raise InvalidRequest([f"expected a number from 1 to {MOST_ITEMS} @ $.limit"])
    return int(text)


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def cursor(request: Request) -> Cursor:
    """Last-Event-ID goes before ?after=, which need not say its generation: there ?generation= may."""
    if known := request.headers.get("last-event-id"):
        return Cursor.parse(known, generation=1)
    generation = request.query.get("generation", "")
    if generation and not re.fullmatch(r"[0-9]{1,9}", generation):
        raise InvalidRequest(["expected a number @ $.generation"])
    return Cursor.parse(request.query.get("after") or "0", generation=int(generation) if generation else None)


def wait(request: Request) -> float:
    """Seconds; more than MOST_WAIT is taken for that."""
    text = request.query.get("wait") or "0"
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise InvalidRequest(["expected a number of seconds @ $.wait"])
    return min(seconds, MOST_WAIT)


def wants_events(request: Request) -> bool:
    return "text/event-stream" in request.headers.get("accept").lower()


def transcript_format(request: Request) -> str:
    form = request.query.get("format") or "json"
    if form not in ("json", "md"):
        raise InvalidRequest(["expected json or md @ $.format"])
    return form


# --- Bodies -------------------------------------------------------------------------------------------------------


@attrs.frozen
class Settle:
    decision: Literal["allow", "deny", "always", "answer"]
    text: str = ""
    updated_input: dict[str, Any] | None = None


@attrs.frozen
class Message:
    text: str
    mode: Mode | None = None
    model: str | None = None
    permission_mode: PermissionMode | None = None


@attrs.frozen
class Rewind:
    checkpoint: str
    dry_run: bool = False


@attrs.frozen
class Collect:
    dry_run: bool = False


@attrs.frozen
class NewToken:
    scope: list[str] | str
    name: str = ""
    expires: int | None = None  # epoch milliseconds
    budget_usd: float | None = None
    roots: list[str] = attrs.field(factory=list)


def answer(body: bytes) -> Answer:
    """What is said of a decision is its reason; what answers a question is the answer."""
    asked = decode(body, Settle)
    if asked.decision != "answer":
        return Answer(asked.decision, asked.text, updated_input=asked.updated_input)
    if not asked.text.strip():
        raise InvalidRequest(["must not be blank @ $.text"])
    return Answer("answer", answer=asked.text)


def rewind(body: bytes) -> Rewind:
    return decode(body, Rewind)


def follow_up(body: bytes) -> FollowUp:
    asked = decode(body, Message)
    if not asked.text.strip():
        raise InvalidRequest(["must not be blank @ $.text"])
    return FollowUp(asked.text, asked.mode, asked.model, asked.permission_mode)


def collect(body: bytes) -> Collect:
    return decode(body, Collect) if body.strip() else Collect()


def new_token(body: bytes, now: int) -> NewToken:
    """*now*: epoch milliseconds."""
    asked = decode(body, NewToken)
    scope = [asked.scope] if isinstance(asked.scope, str) else asked.scope
    problems = [f"{word[:40]!r} is none of {', '.join((*ROLES, *FACES))} @ $.scope" for word in _unknown(scope)]
    if not scope:
        problems.append("must not be empty @ $.scope")
    if len(asked.name) > NAME_CHARS:
        problems.append(f"must not be longer than {NAME_CHARS} characters @ $.name")
    if asked.expires is not None and asked.expires <= now:
        problems.append("is past, in milliseconds since 1970 @ $.expires")
    if asked.budget_usd is not None and not asked.budget_usd > 0:
        problems.append("must be above 0 @ $.budget_usd")
    problems += [f"{root[:80]!r} is not absolute @ $.roots" for root in asked.roots if not Path(root).is_absolute()]
    if problems:
        raise InvalidRequest(problems)
    return attrs.evolve(asked, scope=sorted(set(scope)))


def _unknown(scope: Sequence[str]) -> list[str]:
    return [word for word in scope if word not in ROLES and word not in FACES]
