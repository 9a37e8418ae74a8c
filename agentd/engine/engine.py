"""The data plane: one workspace, its sessions, one job at a time. Everything it promises is in the sessions' logs."""

from __future__ import annotations

import logging
import uuid
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.domain import DIALECT, Entry, Image, JobSpec, JobState, Mode, PermissionMode, Text, block_to_json
from agentd.engine import context, transfer
from agentd.engine.asks import Asks, Settlement
from agentd.engine.branch import Branch
from agentd.engine.changes import Changes
from agentd.engine.checkpoints import Checkpoints
from agentd.engine.job import Bench, JobRun, read_spec
from agentd.engine.rewind import Rewound, rewind
from agentd.engine.session import Session, Sessions
from agentd.errors import (
    AskNotFound,
    IdempotencyKeyReused,
    InvalidRequest,
    JobInProgress,
    JobNotFound,
    Locked,
    StoreFailed,
)
from agentd.store import secrets
from agentd.store.fold import REFUSED, JobView, Task

STOP_SECONDS = 25.0  # for a cancelled job to write its end when the engine closes
logger = logging.getLogger(__name__)


@attrs.frozen
class Accepted:
    job: JobView
    session: Session
    new: bool
    fragments: tuple[str, ...] = ()  # ids of the texts that came with a new job


@attrs.frozen
class _Key:
    """An Idempotency-Key that is taken. *written*: its job is on disk, or was refused after all."""

    payload: str | None
    job: str
    written: trio.Event


@attrs.define
class Engine:
    bench: Bench
    sessions: Sessions
    _nursery: trio.Nursery
    _asks: dict[str, Asks] = attrs.field(factory=dict)  # by session
    _run: JobRun | None = None
    _slot_taken: bool = False  # from before a job is accepted until its last record is written
    _choosing: trio.Lock = attrs.field(factory=trio.Lock)  # whoever holds it says which session is the active one
    _backlog: deque[tuple[Session, JobView]] = attrs.field(factory=deque)  # accepted before the last restart
    _keys: dict[str, _Key] = attrs.field(factory=dict)  # by the hash of the key

    # --- What clients name ----------------------------------------------------------------------------------------

    @property
    def active_job(self) -> JobView | None:
        return self._run.job if self._run else None

    def find_job(self, job_id: str) -> tuple[Session, JobView]:
        """Raises JobNotFound."""
        for session in self.sessions:
            if (job := session.state.jobs.get(job_id)) is not None:
                return session, job
        raise JobNotFound(job_id)

    def run_of(self, job_id: str) -> JobRun | None:
        """The work on this job, while it lasts."""
        return self._run if self._run is not None and self._run.job.id == job_id else None

    # --- Sessions -------------------------------------------------------------------------------------------------

    async def create_session(self, name: str, face: str) -> Session:
        """A new, empty session; it becomes the active one. Raises JobInProgress, StoreFailed."""
        self.check_free()
        async with self._choosing:
            self.check_free()
            return await self.sessions.create(face, self.bench.workspace, name)

    async def import_session(self, chunks: AsyncIterator[bytes], session_id: str | None) -> Session:
        """The session that a zip holds, in the place of the one of that id if there is one; it becomes the active one.

        Raises JobInProgress, before the first of *chunks* is taken; InvalidRequest, saying what is wrong with the zip;
        StoreFailed; what *chunks* raise. Then everything is as it was.
        """
        self.check_free()
        async with transfer.spooled(self._scratch, chunks) as path, self._choosing:
            self.check_free()
            if session_id in self.sessions:
                session = self.sessions.get(session_id or "")
                await transfer.import_over(self.sessions, path, session)
            else:
                session = await transfer.import_new(self.sessions, self.bench.workspace, path, session_id)
            await self.sessions.activate(session)
        return session

    def export_session(self, session_id: str) -> Path | AsyncIterator[bytes]:
        """Its zip: the very file that was imported, while nothing has changed, or what there is now in pieces. Raises
        SessionNotFound; with the first piece StoreFailed."""
        session = self.sessions.get(session_id)
        if session.state.imported is not None:
            return session.dir.transient.path(session.state.imported)
        return transfer.exported(self._scratch, session)

    @property
    def _scratch(self) -> Path:
        """For files that live no longer than a request. A supervised executor has no directory but its session's."""
        if self.sessions.home is not None:
            return self.sessions.home.root
        assert self.sessions.active is not None
        return self.sessions.active.dir.path

    async def switch_session(self, session_id: str) -> Session:
        """Make it the active one. Raises SessionNotFound, JobInProgress, StoreFailed."""
        session = self.sessions.get(session_id)
        self.check_free()
        async with self._choosing:
            self.check_free()
            await self.sessions.activate(session)
        return session

    @asynccontextmanager
    async def active_session(self) -> AsyncIterator[Session]:
        """The active session, made if there is none. It stays the active one until the block ends."""
        async with self._choosing:
            yield await self._session_for(None, None)

    async def set_tasks(self, tasks: Sequence[Task]) -> None:
        """Replace the active session's task list. Raises JobInProgress, StoreFailed."""
        self.check_free()
        async with self.active_session() as session:
            self.check_free()
            await session.commit(Entry("tasks", {"tasks": [attrs.asdict(task) for task in tasks]}))

    @property
    def is_free(self) -> bool:
        """Whether a job would be taken now."""
        return not self._slot_taken

    @property
    def slot_state(self) -> str:
        """Of the job that has the slot: what it waits for is its own business."""
        return "CANCELLING" if self._run is not None and self._run.cancelling else "RUNNING"

    def check_free(self) -> None:
        """Raises JobInProgress."""
        if not self.is_free:
            raise JobInProgress(self.slot_state)

    # --- Jobs -----------------------------------------------------------------------------------------------------

    async def accept(
        self,
        spec: JobSpec,
        *,
        key: str | None = None,
        payload: str | None = None,
        session_id: str | None = None,
        session_hint: str | None = None,
    ) -> Accepted:
        """Start a job, or find the one that this key started. When this returns, the job is on disk and at work.

        *session_id* must be known; *session_hint* is used if it is. Without either it is the active session, made if
        there is none. Raises IdempotencyKeyReused, InvalidRequest, JobInProgress, StoreFailed: then nothing is kept.
        """
        if key is not None and (known := self._keys.get(key)) is not None:
            return await self._replay(known, payload)
        if session_id is not None and session_id not in self.sessions:
            raise InvalidRequest([f"Unknown Session-Id {session_id}"])
        self.check_free()
        taken = _Key(payload, str(uuid.uuid4()), trio.Event())
        self._slot_taken = True
        if key is not None:
            self._keys[key] = taken
        # A client that hangs up now must not leave a job that is on disk and never runs.
        with trio.CancelScope(shield=True):
            try:
                async with self._choosing:
                    session = await self._session_for(session_id, session_hint)
                fragments = await self._write_job(session, taken.job, spec, key, payload)
            except BaseException:
                self._slot_taken = False
                if key is not None:
                    del self._keys[key]
                self._withdraw(taken.job)
                raise
            finally:
                taken.written.set()
            run = self._start(session, session.state.jobs[taken.job], attrs.evolve(spec, context_texts=()))
            await run.begun.wait()
        return Accepted(run.job, session, True, fragments)

    def cancel(self, job_id: str) -> bool:
        """Whether there was anything to cancel. Raises JobNotFound."""
        session, job = self.find_job(job_id)
        if (run := self.run_of(job_id)) is not None:
            run.cancel()
            return True
        if (session, job) in self._backlog:
            self._backlog.remove((session, job))
            error = {"code": "CANCELLED", "message": "cancelled before it started"}
            session.append(_end_of(job, JobState.CANCELLED, "cancelled", error))
            context.sweep(session)
            return True
        return False

    async def settle(self, ask_id: str, answer: Settlement) -> None:
        """Raises AskNotFound, AskSettled, StoreFailed."""
        session = next((s for s in self.sessions if ask_id in s.state.asks), None)
        if session is None:
            raise AskNotFound(ask_id)
        await self._asks_of(session).settle(ask_id, answer)

    async def control(self, *, permission_mode: PermissionMode | None, answer: str | None) -> JobView:
        """Steer the job that is at work: its permission mode from the next call on, also for a call that waits for a
        permission; an answer for its next question. Raises JobNotFound where none is, StoreFailed."""
        if self._run is None:
            raise JobNotFound("that is at work")
        session, job = self._run.session, self._run.job
        asks = self._asks_of(session)
        if permission_mode is not None:
            await session.commit(Entry("session.changed", {"permission_mode": permission_mode}, job.id))
            asks.look()
        if answer is not None:
            asks.answer_early(job.id, answer)
        return job

    async def rewind(self, session_id: str, checkpoint: str, *, dry_run: bool) -> Rewound:
        """Put files back to what they were. Raises SessionNotFound, JobInProgress, InvalidCheckpoint, StoreFailed."""
        session = self.sessions.get(session_id)
        self.check_free()
        self._slot_taken = True  # nothing else writes to the workspace meanwhile
        try:
            await self.sessions.open(session)
            return await rewind(session, self.bench.workspace, checkpoint, dry_run=dry_run)
        finally:
            self._slot_taken = False

    async def diff(self, job_id: str) -> bytes | None:
        """What the job changed, until now if it is at work; None where there is no repository. Raises JobNotFound."""
        session, job = self.find_job(job_id)
        if job.finished is not None and job.finished["diff"] is not None:
            return session.dir.blobs.get(job.finished["diff"]["sha256"])
        if self.bench.snapshots is None:
            return None
        if job.start_tree is None or job.state.terminal:
            return b""
        return await self.bench.snapshots.diff(job.start_tree, await self.bench.snapshots.take())

    # --- Beginning and end ----------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Take up what the last process left: jobs it ran are interrupted, those it had accepted are run, texts that no
        fragment names any more are removed."""
        for session in self.sessions:
            self._remember_keys(session)
            for job in session.state.jobs.values():
                if job.state.terminal:
                    continue
                await self.sessions.open(session)
                if job.at_rest:
                    self._backlog.append((session, job))
                else:
                    error = {"code": "INTERRUPTED", "message": "the executor stopped while this job was at work"}
                    branch = Branch(session, job)
                    diff = await Changes(branch, self.bench.snapshots).diff()
                    if job.spec.get("checkpoints"):
                        await self._finish_checkpoint(branch)
                    session.append(_end_of(job, JobState.INTERRUPTED, "interrupted", error, diff))
            await self._sweep(session)
        await self._start_next()

    async def _finish_checkpoint(self, branch: Branch) -> None:
        bench, blobs = self.bench, branch.session.dir.blobs
        kept = Checkpoints(branch, bench.workspace, bench.snapshots, blobs, off_limits=bench.off_limits)
        try:
            await kept.finish()
        except StoreFailed as exc:
            logger.error("what job %s changed could not be kept: %s", branch.job.id, exc)

    def _remember_keys(self, session: Session) -> None:
        for job in session.state.jobs.values():
            if job.key is not None:
                written = trio.Event()
                written.set()
                self._keys[job.key] = _Key(job.payload, job.id, written)

    async def _sweep(self, session: Session) -> None:
        if not context.unnamed(session):
            return
        try:
            await self.sessions.open(session)
        except Locked:  # another process is at work in it, and may just be putting them
            return
        context.sweep(session)

    async def close(self, *, interrupt: bool = False) -> None:
        """Cancel the running job and wait until its end is written. *interrupt*: it ends as interrupted, which says
        that nobody asked for its end."""
        self._backlog.clear()
        self._slot_taken = True
        if self._run is not None:
            run = self._run
            if interrupt:
                run.interrupt()
            else:
                run.cancel()
            with trio.move_on_after(STOP_SECONDS, shield=True):
                await run.done.wait()

    # --- Inside ---------------------------------------------------------------------------------------------------

    async def _replay(self, known: _Key, payload: str | None) -> Accepted:
        if known.payload != payload:
            raise IdempotencyKeyReused
        await known.written.wait()
        session, job = self.find_job(known.job)
        return Accepted(job, session, new=False)

    async def _session_for(self, session_id: str | None, hint: str | None) -> Session:
        named = session_id or (hint if hint in self.sessions else None)
        session = self.sessions.get(named) if named else self.sessions.active
        if session is None:
            return await self.sessions.create("executor", self.bench.workspace, "Session")
        await self.sessions.activate(session)
        return session

    async def _write_job(
        self, session: Session, job: str, spec: JobSpec, key: str | None, payload: str | None
    ) -> tuple[str, ...]:
        """The ids of its texts, which are blobs: the log has no word of them."""
        logged, secret = secrets.conceal(attrs.asdict(attrs.evolve(spec, context_texts=())))
        unfinished = [each.id for each in session.state.jobs.values() if not each.state.terminal]
        if secret or session.dir.secrets_path.exists():
            await trio.to_thread.run_sync(secrets.keep, session.dir, job, secret, unfinished)
        created = Entry("job.created", {"spec": logged, "key": key, "payload": payload, "dialect": DIALECT}, job)
        kept = [Image(part.media_type, sha256=part.sha256) for part in spec.images if part.sha256 is not None]
        content = [block_to_json(Text(spec.prompt)), *map(block_to_json, kept)]
        said = {"id": str(uuid.uuid4()), "role": "user", "content": content}
        prompt = Entry("message", said | {"model": None, "usage": None}, job)
        messages = [] if spec.mode is Mode.CHAT else [prompt]  # in a chat, what was said comes with its turn
        texts = [text.encode() for text in spec.context_texts]
        async with context.held_texts(session, texts) as names:
            parts = [("text", "", len(text), sha256) for text, sha256 in zip(texts, names, strict=True)]
            fragments = context.added(session, parts, job)
            await session.commit(created, *fragments, *messages)
        return tuple(each.data["id"] for each in fragments)

    def _withdraw(self, job_id: str) -> None:
        """A job that was written and could not be synced. Its client is told that there is none: so that it is never
        run, not by another process either, its end is written as soon as that can be done."""
        for session in self.sessions:
            if (job := session.state.jobs.get(job_id)) is not None:
                error = {"code": "STORE_FAILED", "message": "the disk failed before the job was accepted"}
                end = _end_of(job, JobState.FAILED, REFUSED, error)
                session.owe(end)
                context.forget_texts(session, job_id)
                job.state, job.finished, job.key, job.ended = JobState.FAILED, end.data, None, job.created

    def _start(self, session: Session, job: JobView, spec: JobSpec) -> JobRun:
        self._run = JobRun(self.bench, session, self._asks_of(session), job, spec)
        self._nursery.start_soon(self._work, self._run)
        return self._run

    async def _work(self, run: JobRun) -> None:
        try:
            await run.run()
        except StoreFailed as exc:  # what it was to write about its end; that it has ended is owed
            logger.error("session %s: %s", run.session.id, exc)
        finally:
            # In one step with the last record: nobody sees a job that has ended and a slot that is still taken.
            self._run, self._slot_taken = None, False
        try:
            await self._start_next()
            await run.session.log.synced(run.session.state.pos)
            self.sessions.save(run.session)
        except StoreFailed as exc:
            logger.error("session %s: %s", run.session.id, exc)

    async def _start_next(self) -> None:
        """Raises StoreFailed; then the next job stays in line."""
        if self._backlog and not self._slot_taken:
            self._slot_taken = True
            session, job = self._backlog[0]
            try:
                await self.sessions.open(session)
                spec = read_spec(await trio.to_thread.run_sync(secrets.revealed, session.dir, job.id, job.spec))
            except BaseException:
                self._slot_taken = False
                raise
            self._backlog.popleft()
            self._start(session, job, spec)

    def _asks_of(self, session: Session) -> Asks:
        return self._asks.setdefault(session.id, Asks(session))


def _end_of(
    job: JobView, outcome: JobState, stop_reason: str, error: dict[str, str], diff: Mapping[str, Any] | None = None
) -> Entry:
    data: dict[str, Any] = {"outcome": outcome, "stop_reason": stop_reason, "error": error, "result": None}
    data |= {"turns": job.turns, "cost": job.cost, "duration_ms": 0, "diff": diff}
    return Entry("job.finished", data, job.id)


@asynccontextmanager
async def open_engine(bench: Bench, sessions: Sessions) -> AsyncIterator[Engine]:
    """An engine that has recovered; leaving the block ends its job and closes its sessions."""
    async with trio.open_nursery() as nursery:
        engine = Engine(bench, sessions, nursery)
        await engine.recover()
        try:
            yield engine
        finally:
            await engine.close()
            nursery.cancel_scope.cancel()
