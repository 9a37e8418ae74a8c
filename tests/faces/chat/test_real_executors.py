"""Chats over real executors, one process each, and the model that needs no network: killed, they leave nothing open."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import trio

from agentd.daemon.access import Access
from agentd.daemon.listing import open_listing
from agentd.daemon.opening import open_control, open_work
from agentd.daemon.plan import Plan
from agentd.faces.chat.routes import open_chats
from agentd.faces.runs.base import Base, FaceSettings
from agentd.store.home import make_home
from tests.adminapi import FakeSeats
from tests.agentserver import Stage
from tests.chatapi import Api, texts
from tests.witness import Witness


@asynccontextmanager
async def serving(root: Path) -> AsyncIterator[Api]:
    home, workspace = make_home(root / "data"), root / "workspace"
    workspace.mkdir(exist_ok=True)
    access = Access(home.root_log, "")
    async with (
        trio.open_nursery() as nursery,
        open_control(home, Plan()) as control,
        open_listing(home) as listing,
        open_work(control, listing) as work,
    ):
        base = Base(work, access, FaceSettings(), nursery)
        async with open_chats(base) as chats:
            await work.sessions.recovered.wait()
            yield Api(chats, Stage([]), cast("FakeSeats", control.seats), home, workspace)
        nursery.cancel_scope.cancel()


async def kill_executor(api: Api, chat: str) -> None:
    seat = api.chats.base.sessions.seat(api.directory(chat).id)
    assert seat is not None
    launched = seat.launched
    assert launched is not None
    os.kill(launched.pid, 9)
    with trio.fail_after(10):
        while seat.launched is launched:  # noqa: ASYNC110  # it has no event
            await trio.sleep(0.01)


async def test_an_approval_outlives_a_killed_executor(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        chat = await api.create()
        turn = await api.say(chat, "Run the command `echo walk`.")
        asked = await api.waiting(chat, turn)
        await kill_executor(api, chat)
        await api.approve(chat, asked)
        session = await api.turn(chat, turn)
        assert session["status"] == "active"
        assert "walk" in texts(session)[-1][1]
        assert (await api.types(chat)).count("tool_call_started") == 1


async def test_a_turn_fails_with_its_executor_and_the_next_begins(tmp_path: Path, witness: Witness) -> None:
    async with serving(tmp_path) as api:
        chat = await api.create()
        first = await api.say(chat, f"Run the command `{witness.sleep}`.")
        await api.approve(chat, await api.waiting(chat, first))
        second = await api.say(chat, "Run the command `echo next`.")
        with trio.fail_after(20):
            while not witness.alive():  # noqa: ASYNC110  # another process begins
                await trio.sleep(0.05)
        await kill_executor(api, chat)
        await api.approve(chat, await api.waiting(chat, second))
        session = await api.turn(chat, second)
        assert [turn["status"] for turn in session["turns"]] == ["failed", "succeeded"]
        assert "restart" not in session["turns"][0]["error"]
        assert not witness.alive()


async def test_messages_and_modes_reach_the_log_while_a_turn_is_at_work(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        chat = await api.create()
        turn = await api.say(chat, "Run the command `echo walk`.")
        asked = await api.waiting(chat, turn)
        await api.post(f"/{chat}/mode", {"mode": "spec"})
        ref = (await api.post(f"/{chat}/attachments", {"name": "a.txt", "content_base64": "aGk="}))["ref"]
        await api.approve(chat, asked)
        await api.turn(chat, turn)
        session = await api.get(f"/{chat}")
        assert session["mode"] == "spec"
        assert (await api.answer("GET", f"/{chat}/{ref}")).body == b"hi"
