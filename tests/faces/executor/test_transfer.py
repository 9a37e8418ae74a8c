"""Sessions uploaded and downloaded over the executor API. The contract: executor.md, 4 and 5."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentd.engine import transfer
from agentd.engine.session import Session
from agentd.errors import StoreFailed
from agentd.providers.scripted import Hang, reply
from agentd.wire.messages import Hangup, Request, Response
from agentd.wire.routing import respond
from tests.executorapi import Api, code, serving
from tests.workshop import Workshop

NOWHERE = "00000000-0000-4000-8000-000000000000"


def foreign_zip(**extra: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        theirs = {"fragments-v4.json": b'{"version": 1, "referenced": {}, "virtual": {}}', "contexts.jsonl": b""}
        for name, data in (theirs | extra).items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return file.getvalue()


def entries(zipped: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def said(answer: Response) -> Any:
    assert answer.status in (200, 201), answer.body
    return json.loads(answer.body)


def everything(root: Path) -> set[Path]:
    """Below *root*, but for what only says who is at work."""
    return {path for path in root.rglob("*") if path.suffix != ".lock" and path.name != "root.ndjson"}


async def a_session(api: Api, workshop: Workshop) -> str:
    """One with a bit of everything."""
    (workshop.workspace / "a.py").write_text("a = 1")
    session: str = said(await api.ask("POST", "/v1/sessions", {"name": "Mine"}))["sessionId"]
    said(await api.ask("POST", "/v1/context/text", {"text": "note " * 2000}))
    said(await api.ask("POST", "/v1/context/text", {"text": "dropped"}))
    said(await api.ask("POST", "/v1/context/files", {"relativePaths": ["a.py"]}))
    said(await api.ask("POST", "/v1/context/pin", {"id": "1"}))
    said(await api.ask("POST", "/v1/context/drop", {"ids": ["2"]}))
    said(await api.ask("POST", "/v1/tasklist", {"tasks": [{"id": "t", "title": "One"}]}))
    await api.finish(said(await api.start("k", contextText=["for the job"]))["jobId"])
    return session


async def test_what_was_uploaded_is_downloaded_unchanged_until_the_session_changes(workshop: Workshop) -> None:
    zipped = foreign_zip(other=b"kept")
    async with serving(workshop) as api:
        session = said(await api.upload(zipped))["sessionId"]
        assert (await api.get("/health/ready"))["sessionId"] == session
        assert await api.download(session) == zipped
    async with serving(workshop) as api:
        assert await api.download(session) == zipped
        assert (await api.get("/v1/sessions"))["sessions"][0]["name"] == "Imported session"
        said(await api.ask("POST", "/v1/context/text", {"text": "new"}))
        changed = entries(await api.download(session))
        assert (changed["other"], json.loads(changed["context.json"])["fragments"][0]["text"]) == (b"kept", "new")


async def test_a_session_goes_from_one_executor_to_another(workshop: Workshop) -> None:
    workshop.says("Hello.")
    async with serving(workshop) as api:
        session = await a_session(api, workshop)
        zipped = await api.download(session)
        assert b"for the job" not in b"".join(entries(zipped).values())
        assert "content/1.txt" in entries(zipped)
        before = (await api.get("/v1/context"))["fragments"]
        copy = said(await api.upload(zipped, x_session_id=NOWHERE))["sessionId"]
        assert copy == NOWHERE
    workshop.says("Again.")
    async with serving(workshop) as api:
        assert (await api.get("/v1/sessions"))["currentSessionId"] == NOWHERE
        assert (await api.get("/v1/context"))["fragments"] == before
        assert (await api.get("/v1/context/fragments/1"))["text"] == "note " * 2000
        assert (await api.get("/v1/tasklist"))["tasks"][0]["id"] == "t"
        # 1 to 3 were given there, and 4 to the text of its job.
        assert said(await api.ask("POST", "/v1/context/text", {"text": "new"}))["id"] == "5"
        await api.finish(said(await api.start("other"))["jobId"])
        told = str(workshop.model.requests[-1].messages)
        assert "Say hello." in told
        assert "Hello." in told


async def test_an_upload_under_a_known_id_replaces_the_session_and_keeps_its_jobs(workshop: Workshop) -> None:
    workshop.says("Hello.")
    async with serving(workshop) as api:
        session = await a_session(api, workshop)
        job = (await api.get("/v1/jobs"))["jobs"][0]["jobId"]
        said(await api.upload(foreign_zip(), x_session_id=session.upper()))
        assert len((await api.get("/v1/sessions"))["sessions"]) == 1
    for _ in range(2):
        async with serving(workshop) as api:
            assert await api.download(session) == foreign_zip()
            assert (await api.get("/v1/context"))["fragments"] == []
            assert (await api.get("/v1/tasklist"))["tasks"] == []
            assert (await api.get(f"/v1/jobs/{job}"))["state"] == "COMPLETED"
            assert said(await api.start("k", contextText=["for the job"]))["jobId"] == job
            texts = [path for path in workshop.home.root.rglob("transient/*") if path.is_file()]
            assert [path.read_bytes() for path in texts] == [foreign_zip()]


@pytest.mark.parametrize("named", [None, "known"])
@pytest.mark.parametrize("body", [b"", b"not a zip", foreign_zip()[:-1], foreign_zip(**{"/etc/x": b""})])
async def test_what_is_no_sound_zip_is_refused_and_leaves_everything_as_it_was(
    workshop: Workshop, body: bytes, named: str | None
) -> None:
    async with serving(workshop) as api:
        session = said(await api.upload(foreign_zip()))["sessionId"]
        before = everything(workshop.home.root)
        headers = {"x_session_id": session} if named else {}
        assert code(await api.upload(body, **headers)) == (400, "VALIDATION_ERROR")
        assert everything(workshop.home.root) == before
        assert await api.download(session) == foreign_zip()
        assert code(await api.upload(foreign_zip(), x_session_id="nonsense")) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("path", "expected"),
    [("nonsense", (400, "VALIDATION_ERROR")), (NOWHERE, (404, "NOT_FOUND")), (f"{NOWHERE}/x", (404, "NOT_FOUND"))],
)
async def test_a_session_that_there_is_not_cannot_be_downloaded(
    workshop: Workshop, path: str, expected: tuple[int, str]
) -> None:
    async with serving(workshop) as api:
        assert code(await api.ask("GET", f"/v1/sessions/{path}")) == expected


async def test_while_a_job_runs_nothing_of_an_upload_is_read(workshop: Workshop) -> None:
    workshop.says(reply(Hang()))

    async def read(limit: int | None) -> bytes:
        raise AssertionError("the body was read")

    async with serving(workshop) as api:
        session = said(await api.start())["sessionId"]
        request = Request("PUT", "/v1/sessions", {"authorization": "Bearer secret"}, read=read)
        answer = await respond([api.app.mount()], request)
        assert isinstance(answer, Response)
        assert code(answer) == (409, "JOB_IN_PROGRESS")
        assert b"for the job" not in await api.download(session)


async def test_an_upload_that_breaks_off_or_is_too_large_leaves_nothing(workshop: Workshop) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield foreign_zip()
        raise Hangup

    async with serving(workshop) as api:
        said(await api.upload(foreign_zip()))
        before = everything(workshop.home.root)
        with pytest.raises(Hangup):
            await api.app.engine.import_session(broken(), None)
        large = Request(
            "PUT", "/v1/sessions", {"authorization": "Bearer secret", "content-length": "1"}, bytes(273 << 20)
        )
        assert code(await respond([api.app.mount()], large)) == (413, "PAYLOAD_TOO_LARGE")  # type: ignore[arg-type]
        assert everything(workshop.home.root) == before


async def test_a_disk_that_refuses_in_the_middle_leaves_the_old_session(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.says("Hello.")
    async with serving(workshop) as api:
        session = await a_session(api, workshop)
        before, context = await api.download(session), await api.get("/v1/context")
        append = Session.append
        monkeypatch.setattr(transfer, "BATCH_RECORDS", 1)

        def refuse(self: Session, *records: Any) -> int:
            if records[-1].type == "session.imported":
                raise StoreFailed("full")
            return append(self, *records)

        monkeypatch.setattr(Session, "append", refuse)
        assert (await api.upload(before, x_session_id=session)).status == 507
        assert await api.get("/v1/context") == context
        assert (await api.get("/v1/context/fragments/1"))["text"] == "note " * 2000
    monkeypatch.undo()
    async with serving(workshop) as api:
        assert await api.get("/v1/context") == context
        assert entries(await api.download(session)) == entries(before)


async def test_the_spool_of_a_killed_upload_goes_at_the_next_start(workshop: Workshop) -> None:
    left = workshop.home.root / f".tmp-{uuid.uuid4().hex[:16]}"
    left.write_bytes(foreign_zip())
    workshop.home.sweep()
    assert not left.exists()


async def test_an_executor_of_one_session_gives_it_away_and_takes_no_other(workshop: Workshop) -> None:
    workshop.says("Hello.")
    async with serving(workshop) as api:
        session = await a_session(api, workshop)
        api.app.engine.sessions.home = None  # as a daemon starts one
        before = everything(workshop.home.root)
        assert code(await api.ask("POST", "/v1/sessions", {"name": "x"})) == (400, "VALIDATION_ERROR")
        assert code(await api.upload(foreign_zip())) == (400, "VALIDATION_ERROR")
        assert "content/1.txt" in entries(await api.download(session))
        assert everything(workshop.home.root) == before
