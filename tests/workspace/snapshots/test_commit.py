"""Commits hold what the job changed and nothing of the user's. Each test is a user, a job, and what git says after."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from agentd.errors import GitFailed
from agentd.workspace import commit as commit_module
from agentd.workspace.commit import Change, Commit, Entry, parse_changes

if TYPE_CHECKING:
    from tests.workspace.snapshots.conftest import Repository

LINES = "".join(f"line {n}\n" for n in range(1, 21))


def edited(line: int, text: str, base: str = LINES) -> str:
    return base.replace(f"line {line}\n", f"{text}\n")


async def commit_of(
    repository: Repository, job: Callable[[], object], message: str = "What the job did"
) -> Commit | None:
    """Snapshot, let the job work, and commit its changes."""
    snapshots = repository.snapshots()
    before = await snapshots.take()
    job()
    return await snapshots.commit(before, await snapshots.take(), message)


def committed(repository: Repository) -> dict[str, str]:
    """What the last commit changed: by path, the letter of git's status."""
    listed = repository.git("show", "--no-renames", "--format=", "--name-status", "-z", "HEAD").split("\0")[:-1]
    return dict(zip(listed[1::2], listed[::2], strict=True))


async def test_edited_added_and_deleted_files_are_committed_and_the_tree_is_clean(repository: Repository) -> None:
    repository.commit(a="one\n", b="two\n", **{"dir/c": "three\n"})
    head = repository.git("rev-parse", "HEAD").strip()

    def job() -> None:
        repository.write("a", "changed\n")
        repository.write("new/file", "new\n")
        (repository.top / "dir/c").unlink()

    commit = await commit_of(repository, job, "Subject\n\nBody with ünïcode\n")
    assert commit is not None
    assert commit.files == ("a", "dir/c", "new/file")
    assert commit.left_out == ()
    assert repository.git("rev-parse", "HEAD", "HEAD^").split() == [commit.sha, head]
    assert committed(repository) == {"a": "M", "dir/c": "D", "new/file": "A"}
    assert repository.git("log", "-1", "--format=%B").strip() == "Subject\n\nBody with ünïcode"
    assert repository.git("log", "-1", "--format=%an <%ae> %cn") == "Ada <ada@example.org> Ada\n"
    assert repository.git("status", "--porcelain") == ""
    assert repository.git("branch", "--show-current") == "main\n"
    assert repository.git("fsck", "--strict", "--no-dangling") == ""
    assert repository.git("reflog", "-1", "--format=%gs") == "commit: Subject\n"


async def test_when_nothing_was_changed_there_is_no_commit(repository: Repository) -> None:
    repository.commit(a="one\n")
    repository.write("a", "the user's\n")
    repository.write("untracked", "the user's\n")
    before = repository.git("rev-parse", "HEAD")
    assert await commit_of(repository, lambda: None) is None
    assert repository.git("rev-parse", "HEAD") == before


async def test_what_the_user_had_not_committed_in_other_files_stays_uncommitted(repository: Repository) -> None:
    repository.commit(a="one\n", b="two\n", c="three\n", d="four\n")
    repository.write("a", "edited by the user\n")
    repository.write("untracked", "the user's\n")
    (repository.top / "b").unlink()
    repository.write("c", "staged by the user\n")
    repository.git("add", "c")
    before = repository.git("status", "--porcelain")
    await commit_of(repository, lambda: repository.write("d", "the job's\n"))
    assert committed(repository) == {"d": "M"}
    assert repository.git("status", "--porcelain") == before
    assert repository.git("diff", "--cached", "--name-only") == "c\n"


async def test_in_the_same_file_the_jobs_lines_alone_are_committed(repository: Repository) -> None:
    repository.commit(a=LINES)
    repository.write("a", edited(2, "the user's"))
    await commit_of(repository, lambda: repository.write("a", edited(18, "the job's", repository.read("a"))))
    assert repository.git("show", "HEAD:a") == edited(18, "the job's")
    assert repository.git("diff", "--cached") == ""
    assert "+the user's" in repository.git("diff")
    assert "the job's" not in repository.git("diff")


async def test_lines_that_both_edited_are_left_out_and_told(repository: Repository) -> None:
    repository.commit(a=LINES, b="two\n")
    repository.write("a", edited(2, "the user's"))

    def job() -> None:
        repository.write("a", edited(2, "the user's and the job's"))
        repository.write("b", "the job's\n")

    commit = await commit_of(repository, job)
    assert commit is not None
    assert commit.files == ("b",)
    assert commit.left_out == ("a",)
    assert repository.git("status", "--porcelain") == " M a\n"


async def test_a_file_that_the_user_never_committed_is_left_out(repository: Repository) -> None:
    repository.commit(a="one\n")
    repository.write("notes", "the user's\n")

    def job() -> None:
        repository.write("notes", "the user's\nand the job's\n")
        repository.write("a", "the job's\n")

    commit = await commit_of(repository, job)
    assert commit is not None
    assert (commit.files, commit.left_out) == (("a",), ("notes",))


async def test_when_all_is_left_out_it_fails_and_says_why(repository: Repository) -> None:
    repository.commit(a=LINES)
    repository.write("a", edited(2, "the user's"))
    before = repository.state()
    with pytest.raises(GitFailed, match=r"mixed with edits from before the job, in a$"):
        await commit_of(repository, lambda: repository.write("a", edited(2, "both")))
    assert repository.state() == before


@pytest.mark.parametrize("before", ["\0binary", "text\n"])
async def test_a_file_that_is_not_text_is_left_out_when_the_user_edited_it(repository: Repository, before: str) -> None:
    repository.commit(a=before)
    repository.write("a", "\0the user's")
    with pytest.raises(GitFailed, match="mixed"):
        await commit_of(repository, lambda: repository.write("a", "\0the job's"))


async def test_a_file_that_the_job_deleted_is_committed_as_deleted_though_the_user_had_edited_it(
    repository: Repository,
) -> None:
    repository.commit(a="one\n")
    repository.write("a", "the user's\n")
    await commit_of(repository, lambda: (repository.top / "a").unlink())
    assert committed(repository) == {"a": "D"}
    assert repository.git("status", "--porcelain") == ""


async def test_a_mode_that_the_job_changed_is_committed_without_the_users_lines(repository: Repository) -> None:
    repository.commit(a=LINES)
    repository.write("a", edited(2, "the user's"))
    await commit_of(repository, lambda: (repository.top / "a").chmod(0o755))
    assert repository.git("ls-tree", "HEAD", "a").startswith("100755")
    assert repository.git("show", "HEAD:a") == LINES


async def test_a_file_that_became_a_directory_and_a_link_are_committed(repository: Repository) -> None:
    repository.commit(a="one\n", b="two\n")

    def job() -> None:
        (repository.top / "a").unlink()
        repository.write("a/inside", "new\n")
        (repository.top / "b").unlink()
        (repository.top / "b").symlink_to("a/inside")

    await commit_of(repository, job)
    assert committed(repository) == {"a": "D", "a/inside": "A", "b": "T"}
    assert repository.git("status", "--porcelain") == ""


async def test_lines_that_the_user_had_staged_in_the_same_file_stay_staged(repository: Repository) -> None:
    repository.commit(a=LINES)
    repository.write("a", edited(2, "staged"))
    repository.git("add", "a")
    await commit_of(repository, lambda: repository.write("a", edited(18, "the job's", repository.read("a"))))
    assert repository.git("show", "HEAD:a") == edited(18, "the job's")
    assert repository.git("show", ":a") == edited(18, "the job's", edited(2, "staged"))
    assert repository.git("status", "--porcelain") == "M  a\n"
    assert repository.git("fsck", "--strict", "--no-dangling") == ""


async def test_what_the_job_staged_itself_is_committed_and_clean(repository: Repository) -> None:
    repository.commit(a="one\n", b="two\n")

    def job() -> None:
        repository.write("a", "the job's\n")
        repository.write("new", "the job's\n")
        repository.git("add", "-A")
        repository.git("rm", "-q", "b")

    await commit_of(repository, job)
    assert committed(repository) == {"a": "M", "b": "D", "new": "A"}
    assert repository.git("status", "--porcelain") == ""


async def test_what_the_job_committed_itself_is_not_committed_again(repository: Repository) -> None:
    repository.commit(a=LINES, b="two\n")
    snapshots = repository.snapshots()
    before = await snapshots.take()
    repository.write("a", edited(3, "committed by the job"))
    repository.git("commit", "-qam", "the job's own")
    after = await snapshots.take()
    assert await snapshots.commit(before, after, "again") is None
    repository.write("a", edited(15, "after that", repository.read("a")))
    commit = await snapshots.commit(before, await snapshots.take(), "the rest")
    assert commit is not None
    assert repository.git("log", "--format=%s") == "the rest\nthe job's own\na commit\n"
    assert repository.git("status", "--porcelain") == ""


async def test_the_first_commit_of_a_repository_can_be_the_jobs(repository: Repository) -> None:
    repository.write("mine", "the user's\n")
    commit = await commit_of(repository, lambda: repository.write("a", "the job's\n"))
    assert commit is not None
    assert repository.git("log", "--format=%H %P").split() == [commit.sha]
    assert committed(repository) == {"a": "A"}
    assert repository.git("status", "--porcelain") == "?? mine\n"


async def test_a_detached_head_moves_and_no_branch_does(repository: Repository) -> None:
    repository.commit(a="one\n")
    repository.git("checkout", "-q", "--detach")
    main = repository.git("rev-parse", "main")
    commit = await commit_of(repository, lambda: repository.write("a", "the job's\n"))
    assert commit is not None
    assert repository.git("rev-parse", "HEAD").strip() == commit.sha
    assert repository.git("rev-parse", "main") == main


async def test_a_linked_worktree_commits_to_its_own_branch(repository: Repository) -> None:
    repository.commit(a="one\n")
    main = repository.git("rev-parse", "main")
    repository.git("worktree", "add", "-q", "../linked")
    linked = attrs.evolve(repository, top=repository.top.parent / "linked")
    commit = await commit_of(linked, lambda: linked.write("a", "the job's\n"))
    assert commit is not None
    assert linked.git("status", "--porcelain") == ""
    assert repository.git("rev-parse", "main", "linked").split() == [main.strip(), commit.sha]
    assert repository.git("status", "--porcelain") == ""


async def test_of_a_workspace_inside_a_repository_only_its_own_changes_are_committed(repository: Repository) -> None:
    repository.commit(**{"in/a": "one\n", "out": "two\n"})
    snapshots = repository.snapshots("in")
    before = await snapshots.take()
    repository.write("in/a", "the job's\n")
    repository.write("out", "somebody's\n")
    commit = await snapshots.commit(before, await snapshots.take(), "message")
    assert commit is not None
    assert commit.files == ("in/a",)
    assert repository.git("status", "--porcelain") == " M out\n"


async def test_a_split_index_still_works_after_a_commit(repository: Repository) -> None:
    repository.commit(a="one\n", b="two\n")
    repository.git("update-index", "--split-index")
    await commit_of(repository, lambda: repository.write("a", "the job's\n"))
    assert repository.git("status", "--porcelain") == ""
    assert repository.git("ls-files") == "a\nb\n"


@pytest.mark.parametrize("configured", ["", "[user]\n\tname = Ada\n"])
async def test_without_a_whole_identity_the_commit_is_agentds(repository: Repository, configured: str) -> None:
    repository.commit(a="one\n")
    (Path(os.environ["HOME"]) / ".gitconfig").write_text(configured)
    await commit_of(repository, lambda: repository.write("a", "the job's\n"))
    assert repository.git("log", "-1", "--format=%an %ae %cn") == "agentd agentd@localhost agentd\n"


async def test_names_that_are_not_text_are_committed(repository: Repository) -> None:
    repository.commit(a="one\n")
    name = "a\ttab, a\nline and a \udcff byte"
    commit = await commit_of(repository, lambda: repository.write(name, "new\n"))
    assert commit is not None
    assert commit.files == (name,)
    assert repository.git("status", "--porcelain") == ""


async def test_a_merge_under_way_is_not_disturbed(repository: Repository) -> None:
    repository.commit(a="base\n", b="base\n")
    repository.git("checkout", "-qb", "other")
    repository.commit(a="theirs\n")
    repository.git("checkout", "-q", "main")
    repository.commit(a="ours\n")
    repository.git("merge", "-q", "other", check=False)
    with pytest.raises(GitFailed, match="under way"):
        await commit_of(repository, lambda: repository.write("b", "the job's\n"))
    assert repository.git("status", "--porcelain") == "UU a\n M b\n"


# --- When the user's git is at work at the same moment ------------------------------------------------------------


@contextmanager
def at_the_last_moment(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], times: int = 1) -> Iterator[None]:
    """Have something happen when the commit is written and about to be published."""
    follow = commit_module._follow
    left = [times]

    async def act_first(*args: object) -> None:
        await follow(*args)  # type: ignore[arg-type]
        if left[0]:
            left[0] -= 1
            act()

    with monkeypatch.context() as patch:
        patch.setattr(commit_module, "_follow", act_first)
        yield


async def test_a_head_that_moved_meanwhile_is_an_error_and_nothing_is_changed(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(a="one\n", b="two\n")

    def move() -> None:
        repository.git("commit", "-q", "--allow-empty", "-m", "the user's")

    snapshots = repository.snapshots()
    before = await snapshots.take()
    repository.write("a", "the job's\n")
    after = await snapshots.take()
    with at_the_last_moment(monkeypatch, move), pytest.raises(GitFailed, match="update-ref failed"):
        await snapshots.commit(before, after, "message")
    assert repository.git("log", "-1", "--format=%s") == "the user's\n"
    assert repository.git("status", "--porcelain") == " M a\n"
    assert not (repository.top / ".git/index.lock").exists()


async def test_an_index_that_was_written_meanwhile_is_kept_and_tried_again(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(a="one\n", b="two\n")
    repository.write("b", "staged at the last moment\n")
    with at_the_last_moment(monkeypatch, lambda: repository.git("add", "b")):
        await commit_of(repository, lambda: repository.write("a", "the job's\n"))
    assert committed(repository) == {"a": "M"}
    assert repository.git("status", "--porcelain") == "M  b\n"


async def test_an_index_that_never_holds_still_is_an_error(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(a="one\n")
    head = repository.git("rev-parse", "HEAD")

    def touch() -> None:
        os.utime(repository.top / ".git/index")

    with at_the_last_moment(monkeypatch, touch, times=99), pytest.raises(GitFailed, match="kept writing the index"):
        await commit_of(repository, lambda: repository.write("a", "the job's\n"))
    assert repository.git("rev-parse", "HEAD") == head
    assert not (repository.top / ".git/index.lock").exists()


async def test_a_locked_index_is_an_error_and_stays_locked(repository: Repository) -> None:
    repository.commit(a="one\n")
    head = repository.git("rev-parse", "HEAD")
    lock = repository.write(".git/index.lock", "somebody's")
    with pytest.raises(GitFailed, match="in use by another program"):
        await commit_of(repository, lambda: repository.write("a", "the job's\n"))
    assert repository.git("rev-parse", "HEAD") == head
    assert lock.read_text() == "somebody's"


def test_raw_diffs_are_read_by_path() -> None:
    raw = b":100644 100755 aa bb M\0a b\0:000000 120000 00 cc A\0\xff\n\0:100644 000000 dd 00 D\0c\0"
    assert parse_changes(raw) == {
        b"a b": Change(Entry(b"100644", b"aa"), Entry(b"100755", b"bb")),
        b"\xff\n": Change(None, Entry(b"120000", b"cc")),
        b"c": Change(Entry(b"100644", b"dd"), None),
    }


@pytest.mark.parametrize("link", ["logs", "logs/HEAD", "logs/refs/heads", "logs/refs/heads/main"])
async def test_a_reflog_that_leads_elsewhere_is_not_written_to(
    repository: Repository, tmp_path: Path, link: str
) -> None:
    repository.commit(a="one\n")
    head, place = repository.git("rev-parse", "HEAD"), repository.top / ".git" / link
    outside = place.rename(tmp_path / "outside")
    before = outside.read_bytes() if outside.is_file() else None

    def job() -> None:
        repository.write("a", "changed\n")
        place.symlink_to(outside)

    with pytest.raises(GitFailed, match="symbolic link"):
        await commit_of(repository, job, "x; touch /tmp/ran;#")
    assert repository.git("rev-parse", "HEAD") == head
    assert before is None or outside.read_bytes() == before
