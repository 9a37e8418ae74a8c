"""Going back to a checkpoint, and back again."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agentd.engine.checkpoints import Keeper
from agentd.engine.rewind import NO_FILE, NO_UNDO, NOT_KEPT, plan
from agentd.errors import InvalidCheckpoint
from agentd.store.checkpoints import bytes_of
from agentd.store.home import make_home
from tests.rewinding import Desk, make_repository, open_desk, shown
from tests.workshop import only


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """In a repository with the files a, b and d/x."""
    top = tmp_path / "repository"
    (top / "d").mkdir(parents=True)
    (top / "d/x").write_text("x\n")
    make_repository(top, a="a\n", b="b\n")
    async with open_desk(make_home(tmp_path / "home"), top) as desk:
        yield desk


async def command(desk: Desk, work: Callable[[], object]) -> str:
    """A job that is one command; its message."""
    job = await desk.begin()
    await job.command(work)
    await job.end()
    return job.message


async def there_and_back(desk: Desk, work: Callable[[], object]) -> None:
    """What *work* does is undone by a rewind, and done again by undoing that."""
    before = shown(desk.workspace)
    message = await command(desk, work)
    after = shown(desk.workspace)
    done = await desk.rewind(message)
    assert not done.failed
    assert shown(desk.workspace) == before
    again = await desk.rewind(done.undo or "")
    assert not again.failed
    assert shown(desk.workspace) == after
    assert {*again.restored, *again.deleted} == {*done.restored, *done.deleted}


async def test_what_tools_changed_goes_back(desk: Desk) -> None:
    before = shown(desk.workspace)
    job = await desk.begin()
    await job.write("a", "1")
    await job.write("new/deep/file", "1")
    await job.end()
    done = await desk.rewind(job.message)
    assert (done.restored, done.deleted, done.failed) == (("a",), ("new/deep/file",), ())
    assert shown(desk.workspace) == before
    assert (desk.workspace / "new/deep").is_dir()  # directories are left


async def test_a_checkpoint_goes_by_its_own_id_too(desk: Desk) -> None:
    job = await desk.begin()
    await job.write("a", "1")
    await job.end()
    (checkpoint,) = await desk.all()
    assert (await desk.rewind(checkpoint.id)).checkpoint == checkpoint.id


async def test_an_unknown_checkpoint_is_refused_and_nothing_is_written(desk: Desk) -> None:
    last = desk.session.state.pos
    with pytest.raises(InvalidCheckpoint, match="'nobody' is not valid"):
        await desk.rewind("nobody")
    assert desk.session.state.pos == last


async def test_what_later_jobs_changed_goes_back_too(desk: Desk) -> None:
    before = shown(desk.workspace)
    first = await desk.begin()
    await first.write("a", "1")
    await first.end()
    between = shown(desk.workspace)
    second = await desk.begin()
    await second.write("a", "2")
    await second.write("b", "2")
    await second.end()
    await desk.rewind(second.message)
    assert shown(desk.workspace) == between
    await desk.rewind(first.message)
    assert shown(desk.workspace) == before
    await desk.rewind(second.message)
    assert shown(desk.workspace) == between


async def test_what_a_job_did_not_change_is_not_touched(desk: Desk) -> None:
    job = await desk.begin()
    await job.write("a", "1")
    await job.call("Edit", file_path="b", old_string="not there", new_string="x")
    await job.end()
    (desk.workspace / "b").write_text("by a person")
    (desk.workspace / "mine").write_text("by a person")
    assert (await desk.rewind(job.message)).restored == ("a",)
    assert (desk.workspace / "b").read_text() == (desk.workspace / "mine").read_text() == "by a person"


async def test_a_dry_run_tells_and_does_nothing(desk: Desk) -> None:
    job = await desk.begin()
    await job.write("a", "1")
    await job.write("new", "1")
    await job.end()
    before, last, kept = shown(desk.workspace), desk.session.state.pos, desk.session.dir.blobs.sizes()
    told = await desk.rewind(job.message, dry_run=True)
    assert (told.undo, told.restored, told.deleted) == (None, ("a",), ("new",))
    assert (shown(desk.workspace), desk.session.state.pos) == (before, last)
    assert desk.session.dir.blobs.sizes() == kept


async def test_a_rewind_is_told_in_the_log(desk: Desk) -> None:
    job = await desk.begin()
    await job.write("a", "1")
    await job.write("new", "1")
    await job.end()
    done = await desk.rewind(job.message)
    (told,) = only(desk.session.view.records(), "files.rewound")
    assert told == {
        "checkpoint": done.checkpoint,
        "undo": done.undo,
        "restored": ["a"],
        "removed": ["new"],
        "failed": [],
    }
    undo = (await desk.all())[-1]
    assert (undo.id, undo.job, undo.files) == (done.undo, None, ["a", "new"])


async def test_going_back_where_all_is_as_it_was_changes_nothing(desk: Desk) -> None:
    job = await desk.begin()
    await job.end()
    done = await desk.rewind(job.message)
    assert (done.restored, done.deleted, done.failed) == ((), (), ())
    assert (await desk.all())[-1].files == []


async def test_commands_of_all_kinds_go_back_and_forth(desk: Desk) -> None:
    top = desk.workspace
    (top / "binary").write_bytes(bytes(range(256)))
    (top / "script").write_text("#!/bin/sh\n")
    (top / "link").symlink_to("a")
    (top / "line\nbreak").write_text("1")

    def work() -> None:
        (top / "binary").write_bytes(bytes(range(255, -1, -1)))
        (top / "script").chmod(0o755)
        (top / "link").unlink()
        (top / "link").symlink_to("nowhere")
        (top / os.fsdecode(b"\xff")).write_text("2")
        (top / "line\nbreak").unlink()
        (top / "a").unlink()
        (top / "a").symlink_to("b")

    await there_and_back(desk, work)


async def test_a_file_that_became_a_directory_and_one_that_took_a_directorys_place(desk: Desk) -> None:
    top = desk.workspace

    def work() -> None:
        (top / "a").unlink()
        (top / "a/deep").mkdir(parents=True)
        (top / "a/deep/file").write_text("1")
        (top / "d/x").unlink()
        (top / "d").rmdir()
        (top / "d").write_text("no directory")

    await there_and_back(desk, work)


async def test_a_directory_that_became_a_link_is_not_written_through(desk: Desk) -> None:
    top = desk.workspace
    elsewhere = top.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x").write_text("not mine")

    def work() -> None:
        (top / "d/x").unlink()
        (top / "d").rmdir()
        (top / "d").symlink_to(elsewhere)

    await there_and_back(desk, work)
    assert (elsewhere / "x").read_text() == "not mine"


async def test_a_directory_that_somebody_made_a_link_since_is_not_followed(desk: Desk) -> None:
    top = desk.workspace
    job = await desk.begin()
    await job.write("d/x", "1")
    await job.end()
    elsewhere = top.parent / "elsewhere"
    (top / "d").rename(elsewhere)
    (top / "d").symlink_to(elsewhere)
    done = await desk.rewind(job.message)
    assert [each["path"] for each in done.failed] == ["d/x"]
    assert (elsewhere / "x").read_text() == "1"


async def test_a_directory_with_files_that_nobody_has_a_record_of_stays(desk: Desk) -> None:
    top = desk.workspace
    (top / ".gitignore").write_text("*.log\n")

    def work() -> None:
        (top / "a").unlink()
        (top / "a").mkdir()
        (top / "a/y.log").write_text("ignored")

    message = await command(desk, work)
    done = await desk.rewind(message)
    assert [each["path"] for each in done.failed] == ["a"]
    assert (top / "a/y.log").exists()


async def test_permission_bits_that_a_tool_found_are_restored(desk: Desk) -> None:
    path = desk.workspace / "a"
    path.chmod(0o640)
    job = await desk.begin()
    await job.write("a", "1")
    path.chmod(0o755)
    await job.end()
    await desk.rewind(job.message)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


async def test_what_is_too_large_to_be_kept_for_an_undo_is_not_removed(desk: Desk) -> None:
    desk.largest = 10
    job = await desk.begin()
    await job.write("new", "more than ten bytes")
    await job.end()
    done = await desk.rewind(job.message)
    assert done.failed == ({"path": "new", "error": NO_UNDO},)
    assert (desk.workspace / "new").exists()


async def test_what_was_not_kept_stays_as_it_is(desk: Desk) -> None:
    desk.largest = 1
    job = await desk.begin()
    await job.write("a", "1")
    await job.end()
    assert (await desk.rewind(job.message)).failed == ({"path": "a", "error": NOT_KEPT},)
    assert (desk.workspace / "a").read_text() == "1"


async def test_a_socket_in_the_place_of_a_file_is_left_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await desk.begin()
    await job.write("a", "1")
    await job.end()
    (desk.workspace / "a").unlink()
    monkeypatch.chdir(desk.workspace)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("a")
        assert (await desk.rewind(job.message)).failed == ({"path": "a", "error": NO_FILE},)


async def test_a_damaged_content_is_told_and_the_others_are_restored(desk: Desk) -> None:
    job = await desk.begin()
    await job.write("a", "1")
    await job.write("b", "1")
    await job.end()
    sha256 = (await desk.all())[0].changes["a"].sha256 or ""
    desk.session.dir.blobs.path(sha256).write_bytes(b"?")
    done = await desk.rewind(job.message)
    assert (done.restored, [each["path"] for each in done.failed]) == (("b",), ["a"])


async def test_a_file_that_somebody_changes_meanwhile_is_left_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await desk.begin()
    for name in ("a", "b", "new"):
        await job.write(name, "1")
    await job.end()

    def interfere(*args: object) -> object:
        steps = plan(*args)  # type: ignore[arg-type]
        (desk.workspace / "b").write_text("by a person")
        (desk.workspace / "new").write_text("by a person")
        return steps

    monkeypatch.setattr("agentd.engine.rewind.plan", interfere)
    done = await desk.rewind(job.message)
    assert (done.restored, done.deleted) == (("a",), ())
    assert sorted(each["path"] for each in done.failed) == ["b", "new"]
    assert (desk.workspace / "b").read_text() == (desk.workspace / "new").read_text() == "by a person"


async def test_what_checkpoints_keep_is_counted_once(desk: Desk) -> None:
    for content in ("1", "2"):
        job = await desk.begin()
        await job.write("a", content)
        (desk.workspace / "copy").write_text("a\n")
        await job.write("copy", content)
        await job.end()
    assert bytes_of(desk.session.view) == len("a\n") + len("1")


async def test_what_a_killed_rewind_left_beside_a_file_is_removed_by_the_next(desk: Desk) -> None:
    job = await desk.begin()
    await job.write("a", "1")
    await job.end()
    before = shown(desk.workspace)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", _die)
        patch.setattr(os, "unlink", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            await desk.rewind(job.message)
    assert shown(desk.workspace).keys() > before.keys()
    await desk.rewind(job.message)
    assert shown(desk.workspace).keys() == before.keys()


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_keeper_takes_what_fits_and_pretends_when_told(tmp_path: Path) -> None:
    blobs = make_home(tmp_path).create_session("agent", tmp_path, "s").blobs
    keeper = Keeper(blobs, {}, bound=3, pretend=True)
    assert (keeper.keep(b"12") is None, keeper.keep(b"12") is None, keeper.keep(b"34") is None) == (False, False, True)
    assert keeper.is_full
    assert blobs.sizes() == {}
