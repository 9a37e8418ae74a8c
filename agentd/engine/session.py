"""Sessions of an engine: each a log and the state folded from it. One writer: whoever has a session open."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import attrs
import trio

from agentd.domain import Entry
from agentd.errors import InvalidRequest, SessionNotFound, StoreFailed
from agentd.store.fold import SessionState, state_from_json, state_to_json
from agentd.store.home import Fold, Home, SessionDir, read_fold, write_fold
from agentd.store.log import SessionLog, open_log
from agentd.store.view import LogReader, LogView

RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1.0, 30.0  # between two looks whether the disk takes something again
WORTH_A_CACHE = 256 * 1024  # bytes of log; a smaller one is folded as fast as its cache is read
Fill = Callable[[SessionDir], Sequence[Entry]]
logger = logging.getLogger(__name__)


@attrs.define(eq=False)
class Session:
    """Reading needs nothing; writing needs Sessions.open."""

    dir: SessionDir
    state: SessionState
    held: Counter[str] = attrs.field(factory=Counter)  # transient blobs that are about to be named by a record
    _log: SessionLog | None = None
    _reader: LogReader | None = None
    _idle: trio.CancelScope = attrs.field(factory=trio.CancelScope)  # cancelled: the log is being closed
    _closed: trio.Event = attrs.field(factory=trio.Event)
    _owed: list[Entry] = attrs.field(factory=list)  # what the disk did not take, and must
    _refused: trio.Event = attrs.field(factory=trio.Event)

    @property
    def id(self) -> str:
        return self.state.id

    @property
    def log(self) -> SessionLog:
        if self._log is None:
            raise RuntimeError(f"session {self.id} is not open")
        return self._log

    @property
    def view(self) -> LogView:
        """Its records, whether it is open or not."""
        if self._log is not None:
            return self._log
        if self._reader is None:
            self._reader = LogReader(self.dir.log_path)
        return self._reader

    def append(self, *entries: Entry) -> int:
        """Write records and fold them in; the position of the last. Raises StoreFailed, and then nothing happened."""
        try:
            records = self.log.append([*self._owed, *entries])
        except StoreFailed:
            self._refused.set()
            raise
        self._owed.clear()
        self.state.apply_all(records)
        return records[-1].pos

    def owe(self, *entries: Entry) -> None:
        """Have them written as soon as the disk takes something again, before anything else. *state* hears of them
        then."""
        self._owed += entries
        self._refused.set()

    async def commit(self, *entries: Entry) -> None:
        """Append, and return when the records would survive a power cut. Raises StoreFailed."""
        await self.log.synced(self.append(*entries))

    def subscribe(self, callback: Callable[[], object]) -> Callable[[], None]:
        """*callback* is called after each append. A session that nobody has open does not change."""
        if self._log is None:
            return lambda: None

        def tell(_: int) -> None:
            callback()

        return self._log.subscribe(tell)

    async def _keep_log(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The log's task, from open to close. Raises StoreFailed and Locked if it cannot be opened."""
        is_open = False
        try:
            with open_log(self.dir.log_path) as log:
                for repair in log.repairs:
                    logger.warning("session %s: %s", self.id, repair)
                self.state.apply_all(log.records(self.state.pos))
                self._log, self._reader, self._idle, is_open = log, None, trio.CancelScope(), True
                self._closed = trio.Event()
                task_status.started()
                await self._look_after(log)
        except StoreFailed as exc:
            if not is_open:
                raise
            logger.error("session %s: %s", self.id, exc)  # of its last records some may not survive a power cut
        finally:
            self._closed.set()

    async def _look_after(self, log: SessionLog) -> None:
        try:
            with self._idle:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._sync_forever, log)
                    nursery.start_soon(self._retry_forever, log)
        finally:
            self._log = None

    async def _sync_forever(self, log: SessionLog) -> None:
        while True:
            try:
                await log.run_committer()
            except StoreFailed as exc:  # everybody who waits for a sync is told by the log
                logger.error("session %s: %s", self.id, exc)
                self._refused.set()
                await log.renewed()

    async def _retry_forever(self, log: SessionLog) -> None:
        """When the disk has refused, look again and again whether it takes what is owed."""
        if self._owed:
            self._refused.set()
        while True:
            await self._refused.wait()
            self._refused = trio.Event()
            seconds = RETRY_SECONDS
            while log.failed or self._owed:
                try:
                    await log.renew()
                    if self._owed:
                        self.append()
                except StoreFailed:
                    await trio.sleep(seconds)
                    seconds = min(2 * seconds, LONGEST_RETRY_SECONDS)


@attrs.define
class Sessions:
    """The sessions of one data directory; or, for a supervised executor, the one session of its hello."""

    home: Home | None
    _nursery: trio.Nursery
    _all: dict[str, Session] = attrs.field(factory=dict)
    active: Session | None = None  # what jobs that name no session go to

    def load(self, directories: list[SessionDir]) -> None:
        """Fold them all. The active one is the one that was active last."""
        for directory in directories:
            self._all[directory.id] = Session(directory, load_state(directory))
        if self.home is None:
            self.active = next(iter(self), None)
            return
        for record in self.home.root_log.read().records:
            if record.type == "session.active":
                self.active = self._all.get(record.data["id"], self.active)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._all.values()))

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._all

    def get(self, session_id: str) -> Session:
        """Raises SessionNotFound."""
        if session_id not in self._all:
            raise SessionNotFound(session_id)
        return self._all[session_id]

    async def create(self, face: str, workspace: Path, name: str) -> Session:
        """A new session, open and active. Raises StoreFailed."""
        session = await self.make(face, workspace, name)
        await self.activate(session)
        return session

    async def make(
        self, face: str, workspace: Path, name: str, *, session_id: str | None = None, fill: Fill | None = None
    ) -> Session:
        """The same, but not the active one. *session_id*, *fill*: see Home.create_session. Raises InvalidRequest where
        there is one session for good; StoreFailed."""
        if self.home is None:
            raise InvalidRequest(["this executor serves one session, which its daemon made, and takes no other"])
        make = partial(self.home.create_session, face, workspace, name, session_id=session_id, fill=fill)
        directory = await trio.to_thread.run_sync(make)
        self._all[directory.id] = Session(directory, await trio.to_thread.run_sync(load_state, directory))
        return self._all[directory.id]

    async def activate(self, session: Session) -> None:
        """Open *session*, and remember across restarts that it is the active one. Raises StoreFailed, Locked."""
        await self.open(session)
        before, self.active = self.active, session
        if before is session or self.home is None:
            return
        await trio.to_thread.run_sync(self.home.root_log.append, [Entry("session.active", {"id": session.id})])
        if before is not None:
            before._idle.cancel()

    async def open(self, session: Session) -> None:
        """Take the session's lock and make it writable; nothing happens if it is. Raises Locked, StoreFailed."""
        if session._log is not None and session._idle.cancel_called:
            await session._closed.wait()
        if session._log is None:
            await self._nursery.start(session._keep_log)
        else:
            await session._log.renew()

    def save(self, session: Session) -> None:
        """Keep the folded state, so that the next start need not fold a long log anew. Raises StoreFailed."""
        log = session._log  # None: another session became the active one meanwhile
        if log is not None and log.size >= WORTH_A_CACHE:
            state = json.dumps(state_to_json(session.state))
            write_fold(session.dir, log, Fold(session.state.pos, state))


def load_state(directory: SessionDir) -> SessionState:
    """What the session's log says, from the cached fold where that is sound. Raises StoreFailed."""
    with LogReader(directory.log_path) as reader:
        state = _cached_state(directory, reader) or SessionState()
        state.apply_all(reader.records(state.pos))
    return state


def _cached_state(directory: SessionDir, reader: LogReader) -> SessionState | None:
    fold = read_fold(directory, reader)
    try:
        return state_from_json(json.loads(fold.state_json)) if fold else None
    except (KeyError, TypeError, ValueError):  # another version's: the log says it all
        return None
