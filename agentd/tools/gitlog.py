"""GitLog: what was changed, when, by whom and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from agentd.domain import ToolClass
from agentd.errors import GitFailed, NotARepository, ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import arg, as_bytes, input_schema, parse, subject
from agentd.tools.symbols import counted, outcome
from agentd.workspace.history import Asked, Commit, commits

DEFAULT_COMMITS = 20
MAX_COMMITS = 200
MAX_FILES = 20  # of a commit that are told
MAX_BODY_LINES = 20
MAX_WORDS = 1000  # characters of each thing that is looked for


@attrs.frozen
class GitLogInput:
    path: str | None = arg("Only commits that changed this file or directory; renames are followed", default=None)
    query: str | None = arg("Only commits with this text in their message", default=None)
    changed: str | None = arg("Only commits that added or removed this text in some file", default=None)
    author: str | None = arg("Only commits by an author with this in the name or address", default=None)
    since: str | None = arg("Only commits after this date, like 2025-12-31 or '2 weeks ago'", default=None)
    until: str | None = arg("Only commits before this date", default=None)
    limit: int = arg(f"At most so many, up to {MAX_COMMITS}", default=DEFAULT_COMMITS)
    offset: int = arg("Leave out so many first", default=0)


class GitLog:
    name = "GitLog"
    description = (
        "Search the git history: by message, path, author, date, or by text that was added or removed. Prints commits, "
        "the newest first, each as hash, date, author and subject, then its message and the files it changed."
    )
    input_schema: Mapping[str, Any] = input_schema(GitLogInput)
    tool_class = ToolClass.READ

    def subject(self, call_input: Mapping[str, Any]) -> str:
        told = (subject(call_input, key) for key in ("query", "changed", "author", "since", "path"))
        return " ".join(filter(None, told))

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(GitLogInput, call_input)
        if asked.limit < 1 or asked.offset < 0:
            raise ToolFailed("limit has to be at least 1, and offset 0 or more")
        limit = min(asked.limit, MAX_COMMITS)
        try:
            found = await commits(context.workspace, _wanted(asked, context), limit + 1, asked.offset)
        except NotARepository as exc:
            raise ToolFailed(f"{context.workspace} is not in a git repository, so it has no history") from exc
        except GitFailed as exc:
            raise ToolFailed(f"The history cannot be read: {exc}") from exc
        lines = [line for commit in found[:limit] for line in _told(commit)]
        if len(found) > limit:
            lines.append(f"[more commits; offset={asked.offset + limit} shows them]")
        return outcome("\n".join(lines) or "No commits found", counted(len(found[:limit]), "commit"))


def _wanted(asked: GitLogInput, context: ToolContext) -> Asked:
    given = {"query": asked.query, "changed": asked.changed, "author": asked.author, "since": asked.since}
    texts = {key: _text(value, key) for key, value in (given | {"until": asked.until}).items()}
    path = None if asked.path is None else context.resolve(asked.path)
    return Asked(path, texts["query"], texts["changed"], texts["author"], texts["since"], texts["until"])


def _text(value: str | None, key: str) -> str:
    """*value* as it can be given to a program. Raises ToolFailed."""
    text = value or ""
    if b"\0" in as_bytes(text, key) or len(text) > MAX_WORDS:
        raise ToolFailed(f"{key} holds a NUL character, or more than {MAX_WORDS} characters")
    return text


def _told(commit: Commit) -> Iterator[str]:
    yield f"{commit.sha} {commit.date} {commit.author}: {commit.subject}"
    body = commit.body.splitlines() if commit.body else []
    yield from (f"    {line}" for line in body[:MAX_BODY_LINES])
    if len(body) > MAX_BODY_LINES:
        yield f"    [{len(body) - MAX_BODY_LINES} more lines of this message]"
    yield from (f"  {change.status} {change.path}" for change in commit.files[:MAX_FILES])
    if len(commit.files) > MAX_FILES:
        yield f"  [{len(commit.files) - MAX_FILES} more files in this commit]"
