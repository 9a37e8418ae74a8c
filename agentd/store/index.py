"""`index.db`: rows of sessions, jobs and asks for lists, filters and searches. SQLite, a cache. Blocking; no trio here.

What it says is folded from the session logs and root.ndjson. catch_up() reads what was appended to them since the last
time; an index that is absent, damaged or of another version is made anew, so deleting it changes nothing.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from agentd.errors import StoreFailed
from agentd.store.create import LOG_NAME
from agentd.store.files import PRIVATE_FILE, REMEDIES
from agentd.store.generations import Generations
from agentd.store.home import Home
from agentd.store.lines import Index as Lines
from agentd.store.rootlog import RootRecord
from agentd.store.summary import AskRow, JobRow, SessionRow, Summary
from agentd.store.tables import (
    EXISTS,
    MOST_ITEMS,
    VERSION,
    FileRow,
    Found,
    OpenedRow,
    Page,
    Query,
    Where,
    columns,
    create,
    delete,
    every,
    found,
    joined,
    load,
    one,
    put,
)
from agentd.store.view import LogView, scan

if TYPE_CHECKING:
    import sqlite3

BUSY_SECONDS = 5.0

Kind = Literal["session", "job", "ask"]
R = TypeVar("R")
T = TypeVar("T")
logger = logging.getLogger(__name__)


@attrs.frozen
class Change:
    """A row that is new, or says something else; *gone*: it is no more."""

    kind: Kind
    id: str
    session: str
    gone: bool = False


class SessionIndex:
    """Of one data directory, which the process owns. Every method may be called from any thread, and blocks."""

    def __init__(self, home: Home) -> None:
        """Raises StoreFailed."""
        self._home = home
        self._path = home.root / "index.db"
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._files: dict[str, FileRow] = {}
        self._root_end = 0

    def close(self) -> None:
        with self._lock:
            self._close()

    # --- Keeping up -----------------------------------------------------------------------------------------------

    def catch_up(self) -> list[Change]:
        """Fold what was appended to any log since the last time; what that changed. Raises StoreFailed."""
        return self._use(lambda db: list(self._catch_up(db)))

    def _catch_up(self, db: sqlite3.Connection) -> Iterator[Change]:
        yield from self._fold_root(db)
        there = set()
        for session_id, status in _logs(self._home):
            there.add(session_id)
            seen = self._files.get(session_id)
            if seen is None or (seen.inode, seen.length, seen.mtime) != _print_of(status):
                yield from self._fold_session(db, session_id, seen)
        for session_id in self._files.keys() - there:
            yield self._forget(db, session_id)

    def _fold_root(self, db: sqlite3.Connection) -> Iterator[Change]:
        page = self._home.root_log.read(self._root_end)
        if page.end == self._root_end:
            return
        for record in page.records:
            if (row := self._root_row(db, record)) is not None:
                put(db, "opened", row)
                yield Change("session", row.id, row.id, gone=bool(row.closed))
        db.execute("INSERT OR REPLACE INTO meta VALUES ('root_end', ?)", (page.end,))
        db.commit()
        self._root_end = page.end

    def _root_row(self, db: sqlite3.Connection, record: RootRecord) -> OpenedRow | None:
        data = record.data
        if record.type == "session.opened" and type(data.get("id")) is str:
            tree = data["worktree"] if type(data.get("worktree")) is dict else {}
            branch, repo, base = (_text(tree.get(name)) for name in ("branch", "repo", "commit"))
            return OpenedRow(data["id"], _text(data.get("face")) or "", _text(data.get("owner")), branch, repo, base)
        if record.type == "session.closed":
            row = one(db, OpenedRow, "SELECT * FROM opened WHERE id = ?", (_text(data.get("id")),))
            return attrs.evolve(row, closed=record.ts) if row else None
        return None

    def _fold_session(self, db: sqlite3.Connection, session_id: str, seen: FileRow | None) -> list[Change]:
        """What cannot be read is left out until it changes, and logged: there are other sessions."""
        log = self._home.sessions_path / session_id / LOG_NAME
        try:
            with log.open("rb") as file:
                status = os.fstat(file.fileno())
                generation = (Generations.load(log) or Generations("", (0,))).current
                if (
                    seen
                    and (seen.inode, seen.generation) == (status.st_ino, generation)
                    and seen.size <= status.st_size
                ):
                    lines = Lines(seen.pos, seen.size, seen.ts)
                else:
                    lines, seen = Lines(), None
                scan(file.fileno(), lines, status.st_size)
                view = LogView(log, file.fileno(), lines)
                changes = self._fold_records(db, session_id, view, seen)
        except FileNotFoundError:  # it has just been removed
            return []
        except (OSError, StoreFailed) as exc:
            logger.warning("lists leave out what is new of session %s: %s", session_id, exc)
            return []
        row = FileRow(session_id, *_print_of(status), generation, lines.last_pos, lines.size, lines.last_ts)
        put(db, "files", row)
        db.commit()
        self._files[session_id] = row
        return changes

    def _fold_records(
        self, db: sqlite3.Connection, session_id: str, view: LogView, seen: FileRow | None
    ) -> list[Change]:
        if seen is None:
            delete(db, session_id)
        summary = load(db, session_id)
        rows: dict[tuple[str, Kind], Any] = {}
        before = {key: attrs.evolve(row) for key, row in _rows(summary)}
        summary.apply_all(view.records(seen.pos if seen else 0))
        rows = dict(_rows(summary))
        changed = [(key, row) for key, row in rows.items() if before.get(key) != row]
        for (_, kind), row in changed:
            put(db, f"{kind}s", row)
        return [Change(kind, row.id, session_id) for (_, kind), row in changed if not _is_only_time(before, row, kind)]

    def _forget(self, db: sqlite3.Connection, session_id: str) -> Change:
        delete(db, session_id)
        db.execute("DELETE FROM files WHERE id = ?", (session_id,))
        db.commit()
        del self._files[session_id]
        return Change("session", session_id, session_id, gone=True)

    # --- Asking ---------------------------------------------------------------------------------------------------

    def sessions(self, query: Query) -> Page[SessionRow]:
        """The latest first. Raises InvalidRequest for a cursor that is none, StoreFailed."""
        where = _sessions(query).after("s.opened", "s.id", query.cursor)
        return self._page(SessionRow, "s", "s.opened", where, query, lambda row: row.opened)

    def count_sessions(self, query: Query) -> int:
        """All that the query asks for, on whatever page. Raises StoreFailed."""
        where = _sessions(query)
        text = f"SELECT count(*) FROM {joined(SessionRow)} WHERE {where.text()}"
        return int(self._use(lambda db: db.execute(text, where.values).fetchone())[0])

    def cost(self, query: Query) -> float:
        """USD that all of these sessions have cost until now. Raises StoreFailed."""
        where = _sessions(query)
        text = f"SELECT total(s.cost) FROM {joined(SessionRow)} WHERE {where.text()}"
        return float(self._use(lambda db: db.execute(text, where.values).fetchone())[0])

    def jobs(self, query: Query) -> Page[JobRow]:
        """The same for jobs."""
        where = Where().within(query).one_of("t.state", query.states).after("t.created", "t.id", query.cursor)
        where.words(query.words, "t.id", "t.title", "t.model")
        return self._page(JobRow, "t", "t.created", where, query, lambda row: row.created)

    def asks(self, query: Query) -> Page[AskRow]:
        """The same for asks."""
        where = Where().within(query).after("t.opened", "t.id", query.cursor)
        states = set(query.states)
        if states and states != {"open", "settled"}:
            where.add("t.settled = 0" if states == {"open"} else "t.settled > 0")
        return self._page(AskRow, "t", "t.opened", where, query, lambda row: row.opened)

    def session(self, session_id: str) -> Found[SessionRow] | None:
        return self._find(SessionRow, session_id)

    def job(self, job_id: str) -> Found[JobRow] | None:
        return self._find(JobRow, job_id)

    def ask(self, ask_id: str) -> Found[AskRow] | None:
        return self._find(AskRow, ask_id)

    def ping(self) -> None:
        """Raises StoreFailed: it does not answer."""
        self._use(lambda db: db.execute("SELECT 1").fetchone())

    def counts(self) -> dict[str, dict[str, int]]:
        """How many sessions there are by face, jobs by state, and asks by open or settled, for figures."""
        groups = {
            "sessions": f"SELECT s.face, count(*) FROM {joined(SessionRow)} WHERE {EXISTS} GROUP BY 1",
            "jobs": f"SELECT t.state, count(*) FROM {joined(JobRow)} WHERE {EXISTS} GROUP BY 1",
            "asks": f"SELECT CASE t.settled WHEN 0 THEN 'open' ELSE 'settled' END, count(*) FROM {joined(AskRow)} "
            f"WHERE {EXISTS} GROUP BY 1",
        }
        return self._use(lambda db: {name: dict(db.execute(text).fetchall()) for name, text in groups.items()})

    def _find(self, kind: type[R], row_id: str) -> Found[R] | None:
        name = "s.id" if kind is SessionRow else "t.id"
        text = f"SELECT {columns(kind)} FROM {joined(kind)} WHERE {EXISTS} AND {name} = ?"
        rows = self._use(lambda db: db.execute(text, (row_id,)).fetchall())
        return found(kind, rows[0]) if rows else None

    def _page(
        self, kind: type[R], table: str, order: str, where: Where, query: Query, key: Callable[[R], int]
    ) -> Page[R]:
        limit = max(1, min(query.limit, MOST_ITEMS))
        text = f"SELECT {columns(kind)} FROM {joined(kind)} WHERE {where.text()} ORDER BY {order} DESC, {table}.id DESC"
        text = f"{text} LIMIT {limit + 1} OFFSET {query.offset}"
        rows = self._use(lambda db: db.execute(text, where.values).fetchall())
        items = [found(kind, row) for row in rows[:limit]]
        last: Any = items[-1].row if len(rows) > limit else None
        return Page(items, f"{key(last)}.{last.id}" if last is not None else None)

    # --- The file -------------------------------------------------------------------------------------------------

    def _use(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """*work*, once more with an index that is made anew if this one is damaged. Raises StoreFailed."""
        import sqlite3

        with self._lock:
            try:
                return self._undoing(work, self._db or self._open())
            except sqlite3.DatabaseError as exc:
                logger.warning("the index of sessions is made anew: %s", exc)
            try:
                self._remove()
                db = self._open()
                list(self._catch_up(db))
                return self._undoing(work, db)
            except (sqlite3.Error, OSError) as exc:
                raise StoreFailed(f"cannot use the index: {exc}; {REMEDIES[errno.ENOSPC]}") from exc

    def _undoing(self, work: Callable[[sqlite3.Connection], T], db: sqlite3.Connection) -> T:
        try:
            return work(db)
        except BaseException:  # half of a session must not be committed with the next one
            db.rollback()
            raise

    def _open(self) -> sqlite3.Connection:
        """Raises sqlite3.DatabaseError for what is none."""
        import sqlite3

        self._path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE))
        self._db = db = sqlite3.connect(self._path, timeout=BUSY_SECONDS, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            create(db)
        elif version != VERSION:
            raise sqlite3.DatabaseError(f"it is of version {version}")
        if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("it is damaged")
        self._files = {row.id: row for row in every(db, FileRow, "SELECT * FROM files")}
        (self._root_end,) = db.execute("SELECT value FROM meta WHERE name = 'root_end'").fetchone()
        if self._root_end > _size(self._home.root_log.path):
            raise sqlite3.DatabaseError("it is of another root.ndjson")
        return db

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _remove(self) -> None:
        self._close()
        self._files, self._root_end = {}, 0
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


def _sessions(query: Query) -> Where:
    where = Where().within(query).one_of("s.status", query.states).one_of("s.last_state", query.last_states)
    where.words(query.words, "s.id", "s.name", "s.title", "s.workspace", "o.branch")
    return where.title(query.title)


# --- The logs -----------------------------------------------------------------------------------------------------

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _logs(home: Home) -> Iterator[tuple[str, os.stat_result]]:
    """The status of every session's log, by the session's id. Raises StoreFailed."""
    root = str(home.sessions_path)
    try:
        names = os.listdir(root)  # noqa: PTH208  # a thousand Paths would cost more than their stats
    except FileNotFoundError:
        return
    except OSError as exc:
        raise StoreFailed(f"cannot read {root}: {exc.strerror}") from exc
    for name in names:
        if _UUID.fullmatch(name):
            try:
                yield name, os.stat(f"{root}/{name}/{LOG_NAME}")  # noqa: PTH116
            except OSError:  # it is being made, or removed
                continue


def _print_of(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _text(value: Any) -> str | None:
    return value if type(value) is str else None


def _rows(summary: Summary) -> Iterator[tuple[tuple[str, Kind], Any]]:
    yield (summary.session.id, "session"), summary.session
    for job in summary.jobs.values():
        yield (job.id, "job"), job
    for ask in summary.asks.values():
        yield (ask.id, "ask"), ask


def _is_only_time(before: dict[tuple[str, Kind], Any], row: Any, kind: Kind) -> bool:
    """Whether nothing but the time of a session's last record is new: text streams."""
    old = before.get((row.id, kind))
    return kind == "session" and old is not None and attrs.evolve(old, modified=row.modified) == row
