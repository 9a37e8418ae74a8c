"""The tables of `index.db`, and what is asked of them: pages, filters, words. A row is the attrs class of its table."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from agentd.domain import JobState
from agentd.errors import InvalidRequest
from agentd.store.summary import AskRow, JobRow, SessionRow, Summary

if TYPE_CHECKING:
    import sqlite3

VERSION = 3  # of the tables, and of what the folds make of records: an index of another one is made anew
MOST_ITEMS = 500  # of a page
MANAGED = "manager"  # the face whose sessions exist only while root.ndjson says so
ENDED = tuple(state.value for state in JobState if state.terminal)

R = TypeVar("R")


@attrs.frozen
class FileRow:
    """How far a session's log is folded: *pos* is its last record so far, which ends at *size*."""

    id: str
    inode: int
    length: int  # of the file, when it was looked at
    mtime: int
    generation: int
    pos: int
    size: int
    ts: int


@attrs.define
class OpenedRow:
    """What root.ndjson says of a session."""

    id: str
    face: str
    owner: str | None
    branch: str | None
    repo: str | None
    base: str | None  # commit that its worktree began at
    closed: int = 0  # when, in epoch ms; 0: not


@attrs.frozen
class Found(Generic[R]):
    row: R
    session: SessionRow
    opened: OpenedRow | None

    @property
    def owner(self) -> str | None:
        return self.opened.owner if self.opened else None


@attrs.frozen
class Query:
    """What of a list is wanted. None: whatever there is."""

    face: str | None = None
    states: Sequence[str] = ()  # statuses of sessions, states of jobs, "open" or "settled" of asks
    words: str | None = None  # all that is listed has them in it, somewhere
    session: str | None = None
    owner: str | None = None  # whose sessions; "": nobody's are left out
    last_states: Sequence[str] = ()  # of sessions: how their last job ended
    title: str | None = None  # of sessions: what they are called has it in it
    workspace: str | None = None
    start: str | None = None  # what the ids of sessions begin with
    unfinished: bool = False  # of sessions: those that are at work or have turns that are to begin
    limit: int = 100
    offset: int = 0  # of sessions: so many are passed over
    cursor: str | None = None


@attrs.frozen
class Page(Generic[R]):
    items: list[Found[R]]
    next: str | None  # the cursor of what follows, if anything does


TABLES: dict[str, type[Any]] = {
    "files": FileRow,
    "opened": OpenedRow,
    "sessions": SessionRow,
    "jobs": JobRow,
    "asks": AskRow,
}
INDEXES = (
    "CREATE INDEX jobs_session ON jobs (session, state)",
    "CREATE INDEX jobs_created ON jobs (created, id)",
    "CREATE INDEX asks_session ON asks (session, settled)",
    "CREATE INDEX asks_opened ON asks (opened, id)",
    "CREATE INDEX sessions_opened ON sessions (opened, id)",
)
EXISTS = f"(o.closed IS NULL OR o.closed = 0) AND (s.face <> '{MANAGED}' OR o.id IS NOT NULL)"


def create(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE meta (name PRIMARY KEY, value)")
    db.execute("INSERT INTO meta VALUES ('root_end', 0)")
    for name, kind in TABLES.items():
        columns = ", ".join(f'"{column}"' for column in _names(kind))
        db.execute(f"CREATE TABLE {name} ({columns}, PRIMARY KEY (id)) WITHOUT ROWID")
    for text in INDEXES:
        db.execute(text)
    db.execute(f"PRAGMA user_version = {VERSION}")
    db.commit()


def _names(kind: type[Any]) -> list[str]:
    return [field.name for field in attrs.fields(kind)]


def put(db: sqlite3.Connection, table: str, row: Any) -> None:
    values = attrs.astuple(row, recurse=False)
    db.execute(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(values))})", values)


def every(db: sqlite3.Connection, kind: type[R], text: str, values: Sequence[Any] = ()) -> list[R]:
    return [kind(*row) for row in db.execute(text, values)]


def one(db: sqlite3.Connection, kind: type[R], text: str, values: Sequence[Any] = ()) -> R | None:
    return next(iter(every(db, kind, text, values)), None)


def delete(db: sqlite3.Connection, session_id: str) -> None:
    for table, column in (("sessions", "id"), ("jobs", "session"), ("asks", "session")):
        db.execute(f"DELETE FROM {table} WHERE {column} = ?", (session_id,))


def joined(kind: type[Any]) -> str:
    """A table with the sessions that its rows are of, and what root.ndjson says of those."""
    opened = "LEFT JOIN opened o ON o.id = s.id"
    if kind is SessionRow:
        return f"sessions s {opened}"
    table = next(name for name, each in TABLES.items() if each is kind)
    return f"{table} t JOIN sessions s ON s.id = t.session {opened}"


def columns(kind: type[Any]) -> str:
    """The row's own, its session's, and what root.ndjson says of that."""
    own = () if kind is SessionRow else [f't."{name}"' for name in _names(kind)]
    session = [f's."{name}"' for name in _names(SessionRow)]
    return ", ".join([*own, *session, *(f'o."{name}"' for name in _names(OpenedRow))])


def found(kind: type[Any], values: Sequence[Any]) -> Found[Any]:
    own = 0 if kind is SessionRow else len(_names(kind))
    end = own + len(_names(SessionRow))
    session = SessionRow(*values[own:end])
    opened = OpenedRow(*values[end:]) if values[end] is not None else None
    return Found(kind(*values[:own]) if own else session, session, opened)


@attrs.define
class Where:
    """Conditions, and the values in them."""

    parts: list[str] = attrs.field(factory=lambda: [EXISTS])
    values: list[Any] = attrs.field(factory=list)

    def add(self, part: str, *values: Any) -> Where:
        self.parts.append(part)
        self.values += values
        return self

    def within(self, query: Query) -> Where:
        wanted = {"s.face": query.face, "s.id": query.session, "o.owner": query.owner, "s.workspace": query.workspace}
        for column, value in wanted.items():
            if value is not None:
                self.add(f"{column} = ?", value)
        if query.unfinished:
            self.add("(s.status <> 'idle' OR s.pending <> '')")
        if query.start is not None:
            self.add("s.id >= ? AND s.id < ?", query.start, f"{query.start}~")
        return self

    def one_of(self, column: str, values: Sequence[str]) -> Where:
        return self.add(f"{column} IN ({', '.join('?' * len(values))})", *values) if values else self

    def title(self, part: str | None) -> Where:
        if part:
            self.add("CASE s.name WHEN '' THEN s.title ELSE s.name END LIKE ? ESCAPE '\\'", f"%{_escaped(part)}%")
        return self

    def words(self, words: str | None, *columns: str) -> None:
        for word in (words or "").split():
            either = " OR ".join(f"{column} LIKE ? ESCAPE '\\'" for column in columns)
            self.add(f"({either})", *[f"%{_escaped(word)}%"] * len(columns))

    def after(self, time: str, name: str, cursor: str | None) -> Where:
        """What comes behind the row of *cursor*, which need not be there any more. Raises InvalidRequest."""
        if cursor is None:
            return self
        found = re.fullmatch(r"([0-9]{1,18})\.([ -~]{1,100})", cursor)
        if found is None:
            raise InvalidRequest(["not a cursor: use what `next` said @ $.cursor"])
        return self.add(f"({time}, {name}) < (?, ?)", int(found[1]), found[2])

    def text(self) -> str:
        return " AND ".join(self.parts)


def _escaped(text: str) -> str:
    """For LIKE."""
    return re.sub(r"([%_\\])", r"\\\1", text)


def load(db: sqlite3.Connection, session_id: str) -> Summary:
    session = one(db, SessionRow, "SELECT * FROM sessions WHERE id = ?", (session_id,)) or SessionRow(session_id)
    ended = ", ".join("?" * len(ENDED))
    unfinished = f"SELECT * FROM jobs WHERE session = ? AND state NOT IN ({ended})"
    return Summary(
        session,
        {job.id: job for job in every(db, JobRow, unfinished, (session_id, *ENDED))},
        {
            ask.id: ask
            for ask in every(db, AskRow, "SELECT * FROM asks WHERE session = ? AND settled = 0", (session_id,))
        },
        lambda job_id: one(db, JobRow, "SELECT * FROM jobs WHERE session = ? AND id = ?", (session_id, job_id)),
    )


def options_of(ask: AskRow) -> list[str]:
    """The decisions that it takes."""
    return [str(option) for option in json.loads(ask.options)]
