"""What a job's checkpoint holds of what its tools and its commands changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from agentd.engine.checkpoints import Keeper
from agentd.store.checkpoints import SavedFile
from agentd.store.home import Home, make_home
from tests.rewinding import Desk, git, make_repository, open_desk
from tests.workshop import notices


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    top = tmp_path / "repository"
    make_repository(top, a="a\n", b="b\n")
    return top


async def last_files(desk: Desk) -> list[str]:
    return (await desk.all())[-1].files


async def test_a_job_that_changes_nothing_has_a_checkpoint_without_files(home: Home, repository: Path) -> None:
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.end()
        (checkpoint,) = await desk.all()
        assert (checkpoint.message, checkpoint.job, checkpoint.files) == (job.message, job.id, [])


async def test_a_file_is_saved_before_the_first_edit_and_not_again(home: Home, repository: Path) -> None:
    (repository / "a").chmod(0o640)
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.write("a", "1")
        await job.call("Edit", file_path="a", old_string="1", new_string="2")
        await job.end()
        (checkpoint,) = await desk.all()
        saved = checkpoint.changes["a"]
        assert (saved.kind, saved.size, saved.mode) == ("file", 2, 0o640)
        assert desk.session.dir.blobs.get(saved.sha256 or "") == b"a\n"


async def test_a_file_that_a_tool_makes_was_absent(home: Home, repository: Path) -> None:
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.write("new/file", "1")
        await job.end()
        assert (await desk.all())[0].changes == {"new/file": SavedFile("new/file", "absent")}


async def test_an_edit_that_failed_changed_nothing(home: Home, repository: Path) -> None:
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        assert not await job.call("Edit", file_path="a", old_string="not there", new_string="x")
        await job.end()
        assert await last_files(desk) == []


async def test_an_edit_that_was_taken_back_changed_nothing(home: Home, repository: Path) -> None:
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.write("a", "1")
        await job.write("a", "a\n")
        await job.end()
        assert await last_files(desk) == []


@pytest.mark.parametrize("raw", [None, 7, "", "a\0b", "\ud800", "no/../../../etc"])
async def test_a_path_that_a_tool_refuses_is_no_trouble(home: Home, repository: Path, raw: object) -> None:
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.checkpoints.before("Write", {"file_path": raw})
        await job.checkpoints.before("Write", {})
        await job.end()
        assert await last_files(desk) == []


async def test_a_file_outside_the_workspace_is_saved_by_its_whole_path(
    home: Home, repository: Path, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere"
    other.write_text("x")
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.checkpoints.before("Write", {"file_path": str(other)})
        other.write_text("y")
        await job.end()
        assert await last_files(desk) == [str(other)]


async def test_a_file_that_is_reached_through_a_link_is_saved_where_it_is(home: Home, repository: Path) -> None:
    (repository / "link").symlink_to("a")
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.write("link", "1")
        await job.end()
        assert await last_files(desk) == ["a"]


async def test_what_a_command_changes_is_found(home: Home, repository: Path) -> None:
    (repository / "untracked").write_text("u\n")

    def work() -> None:
        (repository / "a").write_text("changed\n")
        (repository / "b").unlink()
        (repository / "untracked").unlink()
        (repository / "new").write_text("n")

    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.command(work)
        await job.end()
        (checkpoint,) = await desk.all()
        assert checkpoint.files == ["a", "b", "new", "untracked"]
        assert checkpoint.changes["new"].kind == "absent"
        held = {name: desk.session.dir.blobs.get(checkpoint.changes[name].sha256 or "") for name in ("a", "untracked")}
        assert held == {"a": b"a\n", "untracked": b"u\n"}


async def test_what_others_change_while_no_command_runs_is_theirs(home: Home, repository: Path) -> None:
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.write("a", "1")
        (repository / "b").write_text("by a person")
        await job.end()
        assert await last_files(desk) == ["a"]


async def test_names_may_be_anything_that_a_file_system_takes(home: Home, repository: Path) -> None:
    names = ["line\nbreak", 'quo"te', os.fsdecode(b"latin\xe9"), "tab\tand space", "ütf", ":(glob)*"]

    def work() -> None:
        for name in names:
            (repository / name).write_text("2")

    for name in names[::2]:
        (repository / name).write_text("1")
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.command(work)
        await job.end()
        assert await last_files(desk) == sorted(names)


async def test_what_a_command_changed_before_an_edit_is_not_taken_for_the_beginning(
    home: Home, repository: Path
) -> None:
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.command(lambda: (repository / "a").write_text("by a command"))
        await job.write("a", "by a tool")
        await job.end()
        (checkpoint,) = await desk.all()
        assert desk.session.dir.blobs.get(checkpoint.changes["a"].sha256 or "") == b"a\n"


async def test_a_file_that_an_edit_makes_again_as_it_was_before_a_command_is_unchanged(
    home: Home, repository: Path
) -> None:
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.command(lambda: (repository / "a").write_text("by a command"))
        await job.write("a", "a\n")
        await job.command(lambda: (repository / "new").write_text("by a command"))
        await job.write("new", "by a tool")
        await job.command((repository / "new").unlink)
        await job.end()
        assert await last_files(desk) == []


async def test_an_ignored_file_that_comes_to_light_is_not_taken_for_new(home: Home, repository: Path) -> None:
    (repository / ".gitignore").write_text("*.env\nbuild/\n")
    (repository / "build").mkdir()
    for name in ("secret.env", "build/old"):
        (repository / name).write_text("precious")

    def work() -> None:
        (repository / ".gitignore").write_text("")
        (repository / "new.env").write_text("new")

    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.command(work)
        await job.end()
        assert await last_files(desk) == [".gitignore", "new.env"]


async def test_a_new_file_beside_ignored_ones_is_new(home: Home, repository: Path) -> None:
    (repository / ".gitignore").write_text("*.log\n")
    (repository / "logs").mkdir()
    (repository / "logs/old.log").write_text("old")
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.command(lambda: (repository / "logs/notes").write_text("new"))
        await job.end()
        assert await last_files(desk) == ["logs/notes"]


async def test_files_of_a_repository_inside_are_never_taken_for_new(home: Home, repository: Path) -> None:
    make_repository(repository / "inner", x="x")
    (repository / "inner/.git").rename(repository.parent / "kept")

    def work() -> None:
        (repository / "inner/.git").rename(repository.parent / "kept")

    (repository.parent / "kept").rename(repository / "inner/.git")
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.command(work)
        await job.end()
        assert await last_files(desk) == []


async def test_a_file_with_other_line_ends_than_git_keeps_is_saved_as_it_was(home: Home, repository: Path) -> None:
    (repository / ".gitattributes").write_text("* text=auto eol=crlf\n")
    (repository / "dos").write_bytes(b"one\r\ntwo\r\n")
    (repository / "mixed").write_bytes(b"one\r\ntwo\nthree\r\n")

    def work() -> None:
        for name in ("dos", "mixed"):
            (repository / name).write_bytes(b"gone\n")

    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.command(work)
        await job.end()
        (checkpoint,) = await desk.all()
        assert desk.session.dir.blobs.get(checkpoint.changes["dos"].sha256 or "") == b"one\r\ntwo\r\n"
        assert not checkpoint.changes["mixed"].is_kept


async def test_a_file_of_which_git_has_a_pointer_is_listed_and_not_kept(home: Home, repository: Path) -> None:
    git(repository, "config", "filter.large.clean", "echo pointer; cat > /dev/null")
    (repository / ".gitattributes").write_text("*.bin filter=large\n")
    (repository / "x.bin").write_bytes(b"the real thing")
    os.utime(repository / "x.bin", (1, 1))  # or git does not trust its own index, and looks at the file
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "with a pointer")
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.command((repository / "x.bin").unlink)
        await job.end()
        (checkpoint,) = await desk.all()
        assert checkpoint.files == ["x.bin"]
        assert not checkpoint.changes["x.bin"].is_kept


async def test_files_too_large_for_a_snapshot_are_listed_when_they_change(
    home: Home, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.workspace.snapshot.FILE_LIMIT", 100)
    for name in ("changed", "removed", "left"):
        (repository / name).write_bytes(b"x" * 101)

    def work() -> None:
        (repository / "changed").write_bytes(b"y" * 102)
        (repository / "removed").unlink()
        (repository / "new").write_bytes(b"z" * 101)

    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.command(work)
        await job.end()
        (checkpoint,) = await desk.all()
        kept = {name: (saved.kind, saved.is_kept) for name, saved in checkpoint.changes.items()}
        assert kept == {"changed": ("file", False), "removed": ("file", False), "new": ("absent", True)}


async def test_a_large_file_is_listed_and_not_kept(home: Home, repository: Path) -> None:
    async with open_desk(home, repository, largest=1) as desk:
        job = await desk.begin()
        await job.write("a", "1")
        await job.command((repository / "b").unlink)
        await job.end()
        (checkpoint,) = await desk.all()
        assert checkpoint.files == ["a", "b"]
        assert not any(saved.is_kept for saved in checkpoint.changes.values())


async def test_beyond_the_bound_of_a_session_contents_are_not_kept_and_that_is_told_once(
    home: Home, repository: Path
) -> None:
    async with open_desk(home, repository, bound=3) as desk:
        first = await desk.begin()
        await first.write("a", "1")
        await first.end()
        (repository / "c").write_text("a\n")
        job = await desk.begin()
        for name in ("b", "c", "a"):
            await job.write(name, f"{name} is new")
        await job.command((repository / "b").unlink)
        await job.end()
        kept = {name: saved.is_kept for name, saved in (await desk.all())[-1].changes.items()}
        assert kept == {"a": True, "b": False, "c": True}  # what is there already takes no room
        assert notices(desk.session.view.records()) == ["NOT_SAVED"]


async def test_what_a_job_changed_before_its_process_died_is_found_by_the_next(home: Home, repository: Path) -> None:
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.write("a", "1")
        await job.command((repository / "b").unlink)
    async with open_desk(home, repository) as desk:
        await desk.checkpoints_of(job.id).finish()
        (checkpoint,) = await desk.all()
        assert checkpoint.files == ["a", "b"]
        assert desk.session.dir.blobs.get(checkpoint.changes["b"].sha256 or "") == b"b\n"


async def test_a_job_that_is_taken_up_again_goes_on_with_its_checkpoint(home: Home, repository: Path) -> None:
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.write("a", "1")
    async with open_desk(home, repository) as desk:
        job.desk, job.checkpoints = desk, desk.checkpoints_of(job.id)
        await job.checkpoints.begin(job.message)
        await job.write("a", "2")
        await job.write("b", "2")
        await job.end()
        (checkpoint,) = await desk.all()
        assert checkpoint.files == ["a", "b"]
        assert desk.session.dir.blobs.get(checkpoint.changes["a"].sha256 or "") == b"a\n"


async def test_a_job_without_a_checkpoint_has_nothing_to_finish(home: Home, repository: Path) -> None:
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.end()
        other = desk.checkpoints_of(job.id)
        other.branch.job.id = "another"
        await other.before("Write", {"file_path": "a"})
        await other.finish()
        assert len(await desk.all()) == 1


async def test_where_there_is_no_repository_what_commands_change_is_not_known(home: Home, tmp_path: Path) -> None:
    workspace = tmp_path / "plain"
    workspace.mkdir()
    async with open_desk(home, workspace, git=False) as desk:
        job = await desk.begin()
        await job.command(lambda: (workspace / "by a command").write_text("x"))
        await job.write("a", "1")
        await job.end()
        assert await last_files(desk) == ["a"]


async def test_a_git_that_fails_is_told_and_fails_nothing(home: Home, repository: Path) -> None:
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.command((repository / "a").unlink)
        (repository / ".git/objects").rename(repository / ".git/gone")
        await job.end()
        assert notices(desk.session.view.records()) == ["NOT_SAVED"]


async def test_a_workspace_below_the_top_of_a_repository_has_paths_of_its_own(home: Home, repository: Path) -> None:
    below = repository / "below"
    below.mkdir()
    (below / "x").write_text("x")
    async with open_desk(home, below) as desk:
        job = await desk.begin()
        await job.command((below / "x").unlink)
        await job.end()
        assert await last_files(desk) == ["x"]


async def test_nothing_is_left_of_a_mark_when_the_job_has_ended(home: Home, repository: Path) -> None:
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.command((repository / "a").unlink)
        await job.end()
    assert not list((home.root / "objects/marks").iterdir())


async def test_an_end_that_is_cut_short_lists_what_it_did_not_come_to(
    home: Home, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        for name in ("a", "b"):
            (repository / name).unlink()

    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        await job.command(work)
        with trio.CancelScope() as scope:
            keep = Keeper.keep

            def cut(keeper: Keeper, data: bytes) -> str | None:
                trio.from_thread.run_sync(scope.cancel)
                return keep(keeper, data)

            monkeypatch.setattr(Keeper, "keep", cut)
            await job.end()
        (checkpoint,) = await desk.all()
        assert checkpoint.files == ["a", "b"]
        assert sorted(saved.is_kept for saved in checkpoint.changes.values()) == [False, True]


async def test_files_of_agentd_itself_are_not_copied(home: Home, repository: Path) -> None:
    async with open_desk(home, repository) as desk:
        job = await desk.begin()
        job.checkpoints.off_limits = (home.root,)
        (home.root / "secret").write_text("x")
        await job.checkpoints.before("Write", {"file_path": str(home.root / "secret")})
        assert (await desk.all())[0].saved == {}
