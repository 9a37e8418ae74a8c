"""`agentd record` and `agentd replay`, as a person calls them."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path

import pytest

from agentd.cli import main
from agentd.domain import Mode
from agentd.providers.scripted import call, reply
from agentd.store.naming import of_uuid
from agentd.tools.registry import built_in
from tests.workshop import Workshop

KEY = "sk-very-secret"


@pytest.fixture
async def job(workshop: Workshop) -> str:
    """The id of a job that has a secret and has ended."""
    workshop.tools = built_in()
    workshop.says(reply("Let me look.", call("LS")), "It is empty.")
    done, _ = await workshop.do(mode=Mode.ASK, env={"API_KEY": KEY}, face={"secret": {"key": KEY}, "id": "x"})
    return done.id


@pytest.fixture
def place(tmp_path: Path, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENTD_DATA_DIR", str(workshop.home.root))
    return tmp_path


async def test_a_job_is_recorded_by_its_id_and_by_its_session(
    place: Path, job: str, workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    (session,) = workshop.home.sessions()
    run = of_uuid("run_", 1_760_000_000_000, session.id)  # what clients of runs know it by
    for name, path in ((job, "a.zip"), (session.id, "b.zip"), (run, "c.zip")):
        assert main(["record", name, "-o", path]) == 0
        assert job in capsys.readouterr().out
    assert len({(place / path).read_bytes() for path in ("a.zip", "b.zip", "c.zip")}) == 1
    assert stat.S_IMODE((place / "a.zip").stat().st_mode) == 0o600


async def test_a_recording_has_no_secret(place: Path, job: str) -> None:
    assert main(["record", job]) == 0
    with zipfile.ZipFile("run.zip") as archive:
        assert not any(KEY.encode() in archive.read(name) for name in archive.namelist())


async def test_a_file_that_is_there_stays_unless_it_is_said(
    place: Path, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "run.zip").write_text("mine")
    assert main(["record", job]) == 1
    assert "File exists" in capsys.readouterr().err
    assert main(["record", job, "--force"]) == 0
    assert zipfile.is_zipfile(place / "run.zip")


@pytest.mark.parametrize(
    "argv", [["record"], ["record", "a", "b"], ["record", "nothing"], ["replay"], ["replay", "no.zip"]]
)
def test_what_cannot_be_done_is_said(argv: list[str], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith(f"agentd {argv[0]}: ")


# `main` runs an event loop of its own, so these tests have none.


def recorded(place: Path, name: str = "run.zip") -> str:
    """The path of the zip of a job that the built-in model did."""
    (place / "repo").mkdir()
    (place / "repo/tea.py").write_text("def tea(): ...\n")
    assert main(["run", "--repo", str(place / "repo"), "--model", "builtin", "Where is tea?"]) == 0
    (session,) = (place / "home/sessions").iterdir()
    assert main(["record", session.name, "-o", name]) == 0
    return name


def test_a_job_that_is_the_same_is_said_to_be(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recorded(place)
    capsys.readouterr()
    assert main(["replay", path]) == 0
    assert capsys.readouterr().out.startswith("the same: the ask job ")


def test_a_job_that_diverges_is_told_with_the_place(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recorded(place)
    monkeypatch.setattr("agentd.engine.modes.COMMON", "You are somebody else.")
    capsys.readouterr()
    assert main(["replay", path]) == 1
    assert "request: request 1: the system prompt" in capsys.readouterr().out
    assert main(["replay", path, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["same"], told["differences"][0]["kind"]) == (False, "request")


def test_what_is_no_recording_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "x.zip").write_bytes(b"PK" * 100)
    assert main(["replay", "x.zip"]) == 2
    assert "it is no zip" in capsys.readouterr().err


def test_nothing_is_left_of_a_replay(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recorded(place)
    scratch = place / "tmp"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    assert main(["replay", path]) == 0
    assert not list(scratch.iterdir())
