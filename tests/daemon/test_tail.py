"""A session's log seen from the daemon."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from agentd.daemon import tail as tail_module
from agentd.daemon.tail import OVER, RESET, Cursor, Executor, LogFrames, Tail, Tails
from agentd.domain import Entry
from agentd.errors import InvalidRequest, StoreFailed
from agentd.providers.scripted import call, reply
from agentd.store.home import Home, SessionDir
from agentd.store.log import open_log
from agentd.wire import sse
from tests.adminapi import append, job_entries, serving


@pytest.fixture
def session(tmp_path: Path) -> SessionDir:
    return Home(tmp_path / "data").create_session("run", tmp_path, "a session")


@asynccontextmanager
async def tailing(session: SessionDir, executor: Executor | None = None) -> AsyncIterator[Tail]:
    async with trio.open_nursery() as nursery:
        tails = Tails(nursery, lambda session_id: executor)
        yield await tails.open(session)
        tails.close()
        nursery.cancel_scope.cancel()


def note(text: str) -> Entry:
    return Entry("notice", {"level": "info", "text": text, "code": None})


def events(frames: bytes) -> list[tuple[str, str, Any]]:
    return [(event.name, event.id, json.loads(event.data)) for event in sse.Decoder().feed(frames)]


@pytest.fixture
def reboot(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on the machine seems to have been restarted."""
    return lambda: monkeypatch.setattr("agentd.store.generations.boot_id", lambda: "another boot")


async def test_records_are_read_page_by_page(session: SessionDir) -> None:
    append(session, note("one"), note("two"), note("three"))
    async with tailing(session) as tail:
        page = tail.page(Cursor(1), 2)
        assert [json.loads(line)["data"]["text"] for line in page.lines] == ["one", "two"]
        assert (str(page.at), page.reset) == ("3", False)
        assert len(tail.page(page.at, 10).lines) == 1


async def test_records_of_some_types_are_picked(session: SessionDir) -> None:
    append(session, *job_entries(), note("x"))
    async with tailing(session) as tail:
        page = tail.page(Cursor(), 10, ["notice", "message"])
        assert [json.loads(line)["type"] for line in page.lines] == ["message", "notice"]
        assert page.at.pos == tail.reader.last_pos


async def test_what_tells_requests_apart_is_not_shown(session: SessionDir) -> None:
    append(session, *job_entries())
    async with tailing(session) as tail:
        shown = b"".join(tail.page(Cursor(), 10).lines)
        assert b"job.created" in shown
        assert b"a-key-hash" not in shown
        assert b"a-payload-hash" not in shown


async def test_who_waits_hears_of_what_another_process_appends(session: SessionDir) -> None:
    async with tailing(session) as tail, trio.open_nursery() as nursery:
        with trio.fail_after(10):
            nursery.start_soon(tail.wait, Cursor(1), 60, ["notice"])
            await trio.testing.wait_all_tasks_blocked()
            append(session, *job_entries(), note("now"))
    assert not tail.is_read


async def test_waiting_ends_with_its_time(session: SessionDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "LOOK_SECONDS", 0.01)
    async with tailing(session) as tail:
        await tail.wait(Cursor(1), 0.05)
        assert tail.page(Cursor(1), 10).lines == []


async def test_an_executor_tells_when_there_is_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "LOOK_SECONDS", 3600.0)  # so it is not found by looking
    async with serving(tmp_path) as api:
        session = api.session()
        api.says(reply(call("Write", about="a")), "Done.")
        await api.seats.seat(session, api.workspace).up()
        tail = await api.app.sessions.tail(session.id)
        async with trio.open_nursery() as nursery:
            with trio.fail_after(10):
                nursery.start_soon(tail.wait, Cursor(1), 60, ["ask.opened"])
                await trio.testing.wait_all_tasks_blocked(0.05)
                await api.ask("POST", f"/sessions/{session.id}/message", {"text": "write it"})
        assert tail.page(Cursor(), 10, ["ask.opened"]).lines


async def test_streams_carry_positions(session: SessionDir) -> None:
    append(session, note("one"))
    async with tailing(session) as tail:
        frames = LogFrames(tail, frozenset({"notice"}))
        raw, at = frames.read(0)
        [(name, position, record)] = events(raw)
        assert (name, position, record["data"]["text"], at) == ("record", "2", "one", 2)
        assert frames.read(at) == (b"", 2)
        append(session, *job_entries())
        tail.look()
        assert frames.read(at) == (b"", 2)
        append(session, note("two"))
        tail.look()
        assert events(frames.read(at)[0])[0][1] == "5"


async def test_much_that_is_not_wanted_is_passed_over_in_turns(
    session: SessionDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "SCAN_BYTES", 100)
    append(session, *(note("x" * 50) for _ in range(5)), *job_entries())
    async with tailing(session) as tail:
        frames = LogFrames(tail, frozenset({"message"}))
        seen, at = b"", 0
        monkeypatch.setattr(tail_module, "FRAME_BYTES", 150)
        while (step := frames.read(at))[0]:
            seen, at = seen + step[0], step[1]
            if b"event" in seen:
                break
        assert [name for name, _, _ in events(seen)] == ["record"]


async def test_a_cursor_of_what_a_reboot_took_back_gets_a_reset(
    session: SessionDir, reboot: Callable[[], None]
) -> None:
    append(session, note("one"))
    append(session, note("lost"))
    raw = session.log_path.read_bytes()
    session.log_path.write_bytes(b"".join(raw.splitlines(keepends=True)[:2]))
    reboot()
    append(session, note("another"))
    async with tailing(session) as tail:
        assert tail.can_resume(Cursor(2, 1))
        assert not tail.can_resume(Cursor(3, 1))
        page = tail.page(Cursor(3, 1), 10)
        assert (page.reset, str(page.at)) == (True, "3.2")
        raw, at = LogFrames(tail).read(RESET)
        assert (events(raw)[0][0], at) == ("reset", 0)


async def test_who_reads_while_a_log_is_cut_is_told_and_begins_anew(
    session: SessionDir, reboot: Callable[[], None]
) -> None:
    append(session, note("one"))
    append(session, note("lost"))
    async with tailing(session) as tail:
        feed = tail.feed()
        frames = LogFrames(tail)
        raw = session.log_path.read_bytes()
        session.log_path.write_bytes(b"".join(raw.splitlines(keepends=True)[:2]))
        reboot()
        append(session)
        tail.look()
        raw, at = frames.read(3)
        assert (events(raw)[0][0], at, frames.ended(at)) == ("reset", OVER, True)
        assert tail.feed() is not feed


async def test_who_has_seen_what_a_full_disk_took_back_begins_anew(session: SessionDir) -> None:
    append(session, note("one"))
    async with tailing(session) as tail:
        frames = LogFrames(tail)
        session.log_path.write_bytes(session.log_path.read_bytes().splitlines(keepends=True)[0])
        tail.look()
        raw, at = frames.read(2)
        assert (events(raw)[0][0], at) == ("reset", OVER)
        assert events(LogFrames(tail).read(0)[0])[0][1] == "1"


async def test_streams_end_with_their_session(session: SessionDir) -> None:
    async with tailing(session) as tail:
        Home(session.path.parent.parent).remove_session(session.id)
        tail.look()
        assert tail.closed


async def test_a_session_that_is_gone_has_no_log(session: SessionDir) -> None:
    Home(session.path.parent.parent).remove_session(session.id)
    async with trio.open_nursery() as nursery:
        with pytest.raises(StoreFailed):
            await Tails(nursery, lambda _: None).open(session)


async def test_a_log_is_open_once_for_all_who_read_it(session: SessionDir) -> None:
    async with trio.open_nursery() as nursery:
        tails = Tails(nursery, lambda _: None)
        assert await tails.open(session) is await tails.open(session)
        tails.close()


@pytest.mark.parametrize("read", [0, 3])
async def test_of_logs_that_nobody_reads_only_the_oldest_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: int
) -> None:
    monkeypatch.setattr(tail_module, "KEPT", 2)
    home = Home(tmp_path / "data")
    async with trio.open_nursery() as nursery:
        tails = Tails(nursery, lambda _: None)
        opened = [await tails.open(home.create_session("run", tmp_path, "")) for _ in range(read)]
        ends = [tail.subscribe(lambda: None) for tail in opened]
        opened += [await tails.open(home.create_session("run", tmp_path, "")) for _ in range(4)]
        assert [tail.closed for tail in opened[read:]] == [True, False, False, False]
        assert not any(tail.closed for tail in opened[:read])
        for end in ends:
            end()
        tails.close()


@pytest.mark.parametrize("text", ["", "-1", "x", "1.", "1.2.3", "1e3", "٣"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        Cursor.parse(text)


@pytest.mark.parametrize("text", ["0", "17", "17.2"])
def test_a_cursor_comes_back_as_it_was_told(text: str) -> None:
    assert str(Cursor.parse(text)) == text


async def test_an_append_of_the_daemon_itself_is_seen_at_once(session: SessionDir) -> None:
    async with tailing(session) as tail:
        heard = []
        unsubscribe = tail.subscribe(lambda: heard.append(tail.reader.last_pos))
        with open_log(session.log_path) as log:
            log.append([note("one")])
        tail.look()
        assert heard == [2]
        unsubscribe()
