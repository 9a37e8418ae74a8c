"""Chats: made, spoken to, approved, cancelled. What is known of each is a fold of its log, and what clients do becomes
records there. The contract: runs-and-chat.md, 6."""

from __future__ import annotations

import logging
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from agentd.daemon.appending import append
from agentd.daemon.asks import Answer
from agentd.daemon.tail import Cursor, Tail
from agentd.domain import (
    ChatMessage,
    ChatPart,
    ChatSpec,
    Entry,
    JobSpec,
    Limits,
    Mode,
    SystemPrompt,
    ToolPolicy,
)
from agentd.errors import AgentdError, AskNotFound, AskSettled, InvalidRequest, SessionNotFound
from agentd.faces.chat import places
from agentd.faces.chat.attachments import MOST, Upload, name_for
from agentd.faces.chat.dialect import ATTACHMENTS, Chat
from agentd.faces.chat.objects import session_of
from agentd.faces.chat.parts import Attachment, Said
from agentd.faces.chat.requests import Decision, Message
from agentd.faces.chat.turns import Turns
from agentd.faces.runs.answers import NotFound, Refused
from agentd.faces.runs.base import CHAT, Base, id_of, may_see
from agentd.faces.runs.requests import place_of
from agentd.store.naming import fresh
from agentd.store.summary import SessionRow
from agentd.store.tables import Found, Query
from agentd.wire.messages import Request, to_json

MAX_ITERATIONS = 100  # calls of the model in a turn
PAGE_RECORDS = 1000  # that are folded at a time
KEPT_BYTES = 256 * 1024 * 1024  # of logs whose folds are kept, of chats that somebody has asked for
CANCEL_SECONDS = 20.0  # for what is at work to end
MOST_AT_START = 500  # chats that are looked at
GATES = ToolPolicy(ask_seconds=None)  # whoever is asked has all the time that they want
logger = logging.getLogger(__name__)


@attrs.define(eq=False)
class _Known:
    """A fold, and the position of the last record that it knows. *mark*: of the file, as it was then: inode and size;
    *shown*: its JSON, if somebody has listed it."""

    chat: Chat
    pos: int = 0
    generation: int = 0
    tail: Tail | None = None
    cuts: int = 0
    mark: tuple[int, int] = (0, 0)
    counted: int = 0  # of its size, in the sum of those that are kept
    shown: bytes = b""

    def goes_on_in(self, tail: Tail) -> bool:
        same = self.tail is not tail or self.cuts == tail.cuts
        return same and tail.reader.can_resume(self.pos, self.generation or None)


@attrs.define(eq=False)
class Chats:
    """Made by open_chats()."""

    base: Base
    nursery: trio.Nursery
    turns: Turns = attrs.field(init=False)
    _known: OrderedDict[str, _Known] = attrs.field(factory=OrderedDict)  # by session
    _bytes: int = 0  # of the logs whose folds are kept
    _folding: defaultdict[str, trio.Lock] = attrs.field(factory=lambda: defaultdict(trio.Lock))
    _deciding: defaultdict[str, trio.Lock] = attrs.field(factory=lambda: defaultdict(trio.Lock))

    def __attrs_post_init__(self) -> None:
        self.turns = Turns(self.base.sessions, self.nursery, self.state_of, self._begin)

    # --- Looking --------------------------------------------------------------------------------------------------

    async def find(self, request: Request, ident: str) -> Found[SessionRow]:
        """Raises NotFound, StoreFailed."""
        return await self.base.find(request, CHAT, ident)

    async def list(self, request: Request) -> bytes:
        """All that the client may see as a JSON array, the newest first. Raises StoreFailed."""
        shown: list[bytes] = []
        for found in await self.base.all(CHAT):
            if may_see(request, found):
                try:
                    shown.append(await self._shown(found))
                except NotFound:  # it was removed meanwhile
                    continue
        return b"[" + b",".join(shown) + b"]"

    async def _shown(self, found: Found[SessionRow]) -> bytes:
        chat = await self.state(found)
        known = self._known.get(found.row.id)
        if known is None or known.chat is not chat:  # others took its place meanwhile
            return to_json(session_of(id_of(found.row), chat))
        known.shown = known.shown or to_json(session_of(id_of(found.row), chat))
        return known.shown

    async def state(self, found: Found[SessionRow]) -> Chat:
        """As it is now. Raises NotFound, StoreFailed."""
        try:
            return await self.state_of(found.row.id)
        except SessionNotFound:
            raise NotFound("session", id_of(found.row)) from None

    async def state_of(self, session_id: str) -> Chat:
        """Raises SessionNotFound, StoreFailed."""
        async with self._folding[session_id]:
            path = self.base.sessions.directory(session_id).log_path
            status = await trio.to_thread.run_sync(path.stat)
            mark = (status.st_ino, status.st_size)
            known = self._known.get(session_id)
            if known is None or known.mark != mark:
                known = await self._folded(session_id, known)
                known.mark, known.shown = mark, b""
            self._keep(session_id, known)
            return known.chat

    async def _folded(self, session_id: str, known: _Known | None) -> _Known:
        tail = await self.base.sessions.tail(session_id)
        if known is None or not known.goes_on_in(tail):
            known = _Known(Chat([]))
        known.tail, known.cuts, known.generation = tail, tail.cuts, tail.generation
        while records := tail.reader.read(known.pos, PAGE_RECORDS):
            for record in records:
                known.chat.apply(record)
            known.pos = records[-1].pos
            await trio.lowlevel.checkpoint()
        return known

    def _keep(self, session_id: str, known: _Known) -> None:
        before = self._known.get(session_id)
        self._bytes += known.mark[1] - (before.counted if before is not None else 0)
        known.counted = known.mark[1]
        self._known[session_id] = known
        self._known.move_to_end(session_id)
        while self._bytes > KEPT_BYTES and len(self._known) > 1:
            forgotten, dropped = self._known.popitem(last=False)
            self._folding.pop(forgotten, None)
            self._bytes -= dropped.counted

    # --- Making ---------------------------------------------------------------------------------------------------

    async def create(self, request: Request, asked: Mapping[str, Any]) -> tuple[str, str]:
        """A chat, and where its spec is ("" if it has none); *asked*: the data of its first record. Raises Refused,
        Forbidden, StoreFailed."""
        place = await trio.to_thread.run_sync(place_of, asked["workspace"])
        request.principal.check_root(str(place))
        made = Entry("chat.set", {**asked, "why": "created", "drafted": False})
        with trio.CancelScope(shield=True):  # what is made is made whole, also for a client that hangs up
            directory = await self.base.sessions.create(
                CHAT, "", place, owner=request.principal.id, fill=lambda _: (made,)
            )
            found = await self.base.sessions.find(directory.id)
            ident, spec = id_of(found.row), asked["spec_path"]
            if asked["mode"] == "spec" and not spec:
                spec = await self._place_spec(found, "drafted", "spec", "")
        return ident, spec

    async def set_mode(self, found: Found[SessionRow], mode: str, given: str) -> str:
        """From the next turn on; where its spec is now. Raises Refused, NotFound, and what append() does."""
        with trio.CancelScope(shield=True):
            async with self._deciding[found.row.id]:
                path = await self._place_spec(found, "switched", mode, given)
        return path

    async def _place_spec(self, found: Found[SessionRow], why: str, mode: str, given: str) -> str:
        chat = await self.state(found)
        path = chat.spec_path
        if given:
            path = await trio.to_thread.run_sync(places.spec_place, chat.workspace, given)
        elif mode == "spec" and not path:
            path = await trio.to_thread.run_sync(places.default_place, chat.workspace, id_of(found.row))
        drafted = mode == "spec" and await trio.to_thread.run_sync(places.draft, chat.workspace, path)
        data = {"mode": mode, "spec_path": path, "why": why, "drafted": drafted}
        await append(self.base.sessions, found.row.id, Entry("chat.set", data))
        return path

    # --- Speaking -------------------------------------------------------------------------------------------------

    async def say(self, found: Found[SessionRow], message: Message) -> tuple[str, str]:
        """The ids of the message and of its turn. Raises NotFound, and what append() does."""
        chat = await self.state(found)
        ident, turn = fresh("msg_"), fresh("turn_")
        run = chat.auto_run if message.run is None else message.run
        data = {"id": ident, "role": message.role, "parts": list(message.parts), "turn": turn, "run": run}
        with trio.CancelScope(shield=True):
            async with self._deciding[found.row.id]:
                await append(self.base.sessions, found.row.id, Entry("chat.message", data))
            self.turns.attend(found.row.id)
        return ident, turn

    async def attach(self, found: Found[SessionRow], upload: Upload) -> str:
        """Its ref. Raises Refused, NotFound, and what append() does."""
        directory = self.base.sessions.directory(found.row.id)
        async with self._deciding[found.row.id]:
            taken = (await self.state(found)).attachments
            if len(taken) >= MOST:
                raise Refused(f"a session takes at most {MOST} attachments")
            name = name_for(upload.name, {ref.removeprefix(ATTACHMENTS) for ref in taken})
            with trio.CancelScope(shield=True):
                sha256 = await trio.to_thread.run_sync(directory.blobs.put, upload.data)
                kept = {"sha256": sha256, "size": len(upload.data), "media_type": upload.media_type, "call": None}
                record = Entry("artifact", {**kept, "name": f"{ATTACHMENTS}{name}"})
                await append(self.base.sessions, found.row.id, record)
        return f"{ATTACHMENTS}{name}"

    # --- Deciding -------------------------------------------------------------------------------------------------

    async def decide(self, request: Request, found: Found[SessionRow], decision: Decision) -> None:
        """About the call that waits. Raises Refused where that call does not; what settling does."""
        chat = await self.state(found)
        nothing = Refused(f"no approval pending for tool call {decision.call}")
        if chat.waiting is None or chat.waiting.call != decision.call or decision.turn not in ("", chat.turn):
            raise nothing
        about = {"reason": decision.reason, "by": request.principal.id, "updated_input": decision.updated_input}
        answer = Answer("allow", **about) if decision.allow else Answer("deny", **about)
        try:
            await self.base.asks.settle(await self.base.asks.find(chat.waiting.ask), answer)
        except (AskNotFound, AskSettled, InvalidRequest):
            raise nothing from None
        self.turns.attend(found.row.id)

    async def cancel(self, found: Found[SessionRow]) -> None:
        """End what is at work, and what is queued. It has ended when this returns, unless that takes too long. Raises
        NotFound, and what append() does."""
        session_id = found.row.id
        with trio.CancelScope(shield=True):
            async with self._deciding[session_id]:
                chat = await self.state(found)
                if chat.status == "canceled" and chat.is_idle:
                    return
                if not (chat.canceling and not chat.queue):
                    await append(self.base.sessions, session_id, Entry("chat.canceled", {}))
            job = chat.job
            self.turns.attend(session_id)
        if job is not None:
            await self._until_ended(session_id, job)

    async def _until_ended(self, session_id: str, job: str) -> None:
        tail = await self.base.sessions.tail(session_id)
        with trio.move_on_after(CANCEL_SECONDS):
            while not tail.closed:
                seen = tail.reader.last_pos
                if (await self.state_of(session_id)).job != job:
                    return
                await tail.wait(Cursor(seen), 1.0)

    async def retry(self, found: Found[SessionRow], turn: str) -> None:
        """Have a turn that has failed, or was never begun, begin as soon as it can. Raises NotFound, Refused, and what
        append() does."""
        with trio.CancelScope(shield=True):
            async with self._deciding[found.row.id]:
                chat = await self.state(found)
                if (known := chat.turns.get(turn)) is None:
                    raise NotFound("turn", turn)
                if known.status not in ("failed", "pending"):
                    raise Refused("turn is not retryable", 409)
                if turn not in chat.queue:
                    await append(self.base.sessions, found.row.id, Entry("chat.queued", {"turn": turn}))
            self.turns.attend(found.row.id)

    # --- Turns ----------------------------------------------------------------------------------------------------

    async def _begin(self, session_id: str, chat: Chat, turn: str) -> None:
        """Raises what choosing a model and starting a job do."""
        async with self._deciding[session_id]:
            chat = await self.state_of(session_id)
            if chat.job is not None or not chat.queue or chat.queue[0] != turn:
                return
            choice = await self.base.choose(chat.total_cost)
            spec = job_spec(chat, turn, self.base.settings.verify_commands)
            limits = Limits(MAX_ITERATIONS, choice.limits.usd, choice.limits.seconds)
            await self.base.sessions.start(session_id, attrs.evolve(spec, models=choice.models, limits=limits))

    async def resume(self) -> None:
        """Look after what was left: turns that were to begin, and those at work. That this cannot be done is logged."""
        await self.base.sessions.recovered.wait()
        try:
            query = Query(face=CHAT, unfinished=True, limit=MOST_AT_START)
            page = await self.base.sessions.listing.ask(lambda index: index.sessions(query))
        except AgentdError as exc:
            logger.error("chats with turns that are to begin are not looked after: %s", exc)
            return
        for found in page.items:
            self.turns.attend(found.row.id)


def job_spec(chat: Chat, turn: str, verify: Sequence[str]) -> JobSpec:
    """The job that a turn is."""
    messages = tuple(_message(said, chat.attachments) for said in chat.due(turn))
    spec = chat.spec_path if chat.mode == "spec" and chat.spec_path else None
    told = ChatSpec(turn, messages, spec, tuple(verify), retry=chat.turns[turn].started is not None)
    prompt = "\n".join(part.text for part in messages[-1].parts if part.text) if messages else ""
    system = SystemPrompt(append=chat.system_prompt or None)
    return JobSpec(Mode.CHAT, prompt, chat=told, system=system, tools=GATES)


def _message(said: Said, attachments: Mapping[str, Attachment]) -> ChatMessage:
    return ChatMessage(said.id, said.role, tuple(_part(part, attachments) for part in said.parts))


def _part(part: Mapping[str, Any], attachments: Mapping[str, Attachment]) -> ChatPart:
    ref = part.get("ref", "")
    found = attachments.get(ref)
    media_type = part.get("mime_type", "") or (found.media_type if found else "")
    return ChatPart(part["type"], part.get("text", ""), ref, media_type, found.sha256 if found else None)


@asynccontextmanager
async def open_chats(base: Base) -> AsyncIterator[Chats]:
    """Leaving the block stops looking after turns; their executors are the daemon's."""
    async with trio.open_nursery() as nursery:
        chats = Chats(base, nursery)
        nursery.start_soon(chats.resume)
        yield chats
        nursery.cancel_scope.cancel()
