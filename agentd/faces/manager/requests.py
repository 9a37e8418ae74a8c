"""Bodies and paths of the session manager, typed. The contract, §4."""

from __future__ import annotations

from uuid import UUID

import attrs

from agentd.errors import InvalidRequest
from agentd.wire.typed import decode

NAME_CHARS = 200


@attrs.frozen
class CreateSession:
    name: str
    repoPath: str  # noqa: N815 - the wire's names
    ref: str | None = None


def new_session(body: bytes) -> CreateSession:
    """With blanks around the name and the ref removed. Whether the repository can be used is seen later.

    Raises InvalidRequest."""
    asked = decode(body, CreateSession)
    name = asked.name.strip()
    problems = []
    if not name:
        problems.append("name must not be blank @ $.name")
    if len(name) > NAME_CHARS:
        problems.append(f"name must not be longer than {NAME_CHARS} characters @ $.name")
    if not asked.repoPath.strip():
        problems.append("repoPath must not be blank @ $.repoPath")
    if problems:
        raise InvalidRequest(problems)
    return CreateSession(name, asked.repoPath, (asked.ref or "").strip() or None)


def session_id(text: str) -> str:
    """Of a path. Raises InvalidRequest."""
    try:
        return str(UUID(text))
    except ValueError:
        raise InvalidRequest(["the id of a session is a UUID"]) from None
