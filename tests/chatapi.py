"""Chats over sessions whose executors are engines in this process, with a model that plays replies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import trio

from agentd.daemon.access import Access
from agentd.daemon.executors import Seats
from agentd.daemon.listing import open_listing
from agentd.daemon.opening import Control, open_work
from agentd.daemon.registry import Registry
from agentd.daemon.tail import Cursor
from agentd.faces.chat.routes import PREFIX, Chats, mount, open_chats
from agentd.faces.runs.base import Base, Choose, FaceSettings, choose_default
from agentd.providers.scripted import Reply
from agentd.store import naming
from agentd.store.home import Home, SessionDir
from agentd.wire.messages import ChunkedResponse, FileResponse, Request, Response
from agentd.wire.routing import respond
from tests.adminapi import FakeSeats
from tests.agentserver import Stage

Event = dict[str, Any]


@attrs.define
class Api:
    """Requests without a socket."""

    chats: Chats
    model: Stage
    seats: FakeSeats
    home: Home
    workspace: Path

    def says(self, *replies: Reply | str) -> None:
        """The model's next replies."""
        self.model.says(*replies)

    async def answer(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """*path*: below /v1/sessions."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await respond([mount(self.chats)], Request(method, f"{PREFIX}{path}", fields, raw))
        if isinstance(answer, ChunkedResponse):
            pieces = b"".join([piece async for piece in answer.chunks])
            if (aclose := getattr(answer.chunks, "aclose", None)) is not None:
                await aclose()
            return Response(answer.status, pieces, answer.content_type, answer.headers)
        if isinstance(answer, FileResponse):
            return Response(answer.status, answer.path.read_bytes(), answer.content_type, answer.headers)
        assert isinstance(answer, Response), answer
        return answer

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        answer = await self.answer(method, path, body, **headers)
        return answer.status, json.loads(answer.body) if answer.body else None

    async def post(self, path: str, body: Any = None) -> Any:
        status, told = await self.ask("POST", path, {} if body is None else body)
        assert status == 200, told
        return told

    async def get(self, path: str) -> Any:
        status, told = await self.ask("GET", path)
        assert status == 200, told
        return told

    # --- Chats ----------------------------------------------------------------------------------------------------

    async def create(self, **fields: Any) -> str:
        fields.setdefault("workspace_path", str(self.workspace))
        return str((await self.post("", fields))["session_id"])

    async def say(self, chat: str, text: str = "Hi.", **more: Any) -> str:
        """The id of the turn."""
        body = {"role": "user", "parts": [{"type": "text", "text": text}], **more}
        return str((await self.post(f"/{chat}/messages", body))["turn_id"])

    async def events(self, chat: str) -> list[Event]:
        return cast("list[Event]", await self.get(f"/{chat}/events?format=json"))

    async def types(self, chat: str) -> list[str]:
        return [event["type"] for event in await self.events(chat)]

    async def until(self, chat: str, holds: Callable[[Any], bool]) -> Any:
        """The session, once that *holds* of it."""
        tail = await self.chats.base.sessions.tail(self.directory(chat).id)
        with trio.fail_after(10):
            while True:
                seen = tail.reader.last_pos
                if holds(session := await self.get(f"/{chat}")):
                    return session
                await tail.wait(Cursor(seen), 0.2)

    async def until_event(self, chat: str, kind: str) -> None:
        """Returns once there is an event of that type."""
        tail = await self.chats.base.sessions.tail(self.directory(chat).id)
        with trio.fail_after(10):
            while True:
                seen = tail.reader.last_pos
                if kind in await self.types(chat):
                    return
                await tail.wait(Cursor(seen), 0.2)

    async def turn(self, chat: str, turn: str, *statuses: str) -> Any:
        """The session, once a turn is in one of these states; ended if none is given."""
        wanted = statuses or ("succeeded", "failed")
        return await self.until(chat, lambda session: status_of(session, turn) in wanted)

    async def done(self, chat: str, text: str = "Hi.", **more: Any) -> Any:
        """The session, when a turn that says this has ended."""
        return await self.turn(chat, await self.say(chat, text, **more))

    async def waiting(self, chat: str, turn: str) -> str:
        """The call that a turn waits with."""
        await self.turn(chat, turn, "waiting_approval")
        asked = [event for event in await self.events(chat) if event["type"] == "approval_requested"]
        return str(asked[-1]["data"]["tool_call_id"])

    async def approve(self, chat: str, call: str, **more: Any) -> None:
        await self.post(f"/{chat}/approve", {"tool_call_id": call, **more})

    def directory(self, chat: str) -> SessionDir:
        start = naming.uuid_start("sess_", chat)
        (found,) = [each for each in self.home.sessions() if each.id.startswith(start or "-")]
        return found


def status_of(session: Any, turn: str) -> str:
    return next((str(each["status"]) for each in session["turns"] if each["id"] == turn), "")


def texts(session: Any) -> list[tuple[str, str]]:
    """Role and text of every message."""
    return [(each["role"], "".join(part.get("text", "") for part in each["parts"])) for each in session["messages"]]


@asynccontextmanager
async def serving(
    root: Path,
    *says: Reply | str,
    verify: Sequence[str] = (),
    choose: Choose = choose_default,
    token: str = "",
    most: int = 8,
    model: Stage | None = None,
) -> AsyncIterator[Api]:
    """Chats whose sessions are in *root*. Leaving the block ends executors as a daemon's death does. *most*: executors
    at a time."""
    home, workspace = Home(root / "data"), root / "workspace"
    home.make()
    workspace.mkdir(exist_ok=True)
    async with trio.open_nursery() as nursery, open_listing(home) as listing:
        seats = FakeSeats(nursery)
        seats.interrupts = True
        seats.model = model = model or Stage(says)
        registry, access = Registry(home.root_log), Access(home.root_log, "")
        registry.load()
        access.load()
        owned = Control(home, registry, cast("Seats", seats))
        async with open_work(owned, listing, most=most) as work:
            base = Base(work, access, FaceSettings(token, (), tuple(verify)), nursery, choose)
            async with open_chats(base) as chats:
                await work.sessions.recovered.wait()
                yield Api(chats, model, seats, home, workspace)
            for seat in seats:
                await seat.down()
        nursery.cancel_scope.cancel()
