"""Making and removing worktrees of real repositories."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from agentd.daemon import prepared as prepared_module
from agentd.daemon import worktrees as worktrees_module
from agentd.daemon.trash import remove_tree
from agentd.daemon.worktrees import Removed, Source, Worktree, Worktrees, open_worktrees
from agentd.errors import AgentdError, Locked, WorktreeFailed
from agentd.store.files import FileLock
from tests.daemon.worktree_repos import (
    commit,
    contents,
    fingerprint,
    git,
    make_repository,
    new_id,
    refs,
    shown,
    write,
)

NOTHING_LOST = Removed(None, branch_kept=False)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repo")


@pytest.fixture
async def worktrees(tmp_path: Path) -> AsyncIterator[Worktrees]:
    async with open_worktrees(tmp_path / "base", warm=0) as opened:
        yield opened


async def create(worktrees: Worktrees, repo: Path, ref: str | None = None) -> Worktree:
    return await worktrees.create(await worktrees.check(str(repo), ref), new_id())


async def test_a_worktree_is_on_a_branch_of_its_own_at_the_commit(worktrees: Worktrees, repo: Path) -> None:
    worktree = await create(worktrees, repo, "main")
    assert worktree.path == worktrees.base / worktree.id
    assert contents(worktree.path) == {"a.txt": "a\n", "src/b.txt": "b\n"}
    assert git(worktree.path, "status", "--porcelain=v1", "--branch") == f"## agentd/session/{worktree.id}"
    assert git(worktree.path, "rev-parse", "HEAD") == worktree.commit == git(repo, "rev-parse", "main")
    assert "locked" not in git(repo, "worktree", "list", "--porcelain")
    assert Worktree.from_json(worktree.to_json()) == worktree
    assert git(worktree.path, "fsck") == git(repo, "fsck")


async def test_only_what_is_committed_is_in_it(worktrees: Worktrees, repo: Path) -> None:
    write(repo, {"a.txt": "edited", "staged": "s", "untracked": "u"})
    git(repo, "add", "staged")
    worktree = await create(worktrees, repo)
    assert contents(worktree.path) == {"a.txt": "a\n", "src/b.txt": "b\n"}


async def test_a_removed_worktree_leaves_nothing(worktrees: Worktrees, repo: Path) -> None:
    git(repo, "stash", "list")
    before = fingerprint(repo), git(repo, "status")
    worktree = await create(worktrees, repo)
    assert await worktrees.remove(worktree, new_id()) == NOTHING_LOST
    assert (fingerprint(repo), git(repo, "status")) == before
    assert not (repo / ".git" / "worktrees").exists()
    assert shown(worktrees.base) == []
    assert list((worktrees.pool / "records").iterdir()) == []


async def test_removing_again_does_nothing(worktrees: Worktrees, repo: Path) -> None:
    worktree = await create(worktrees, repo)
    await worktrees.remove(worktree, new_id())
    assert await worktrees.remove(worktree, new_id()) == NOTHING_LOST


async def test_creating_again_gives_the_same(worktrees: Worktrees, repo: Path) -> None:
    source = await worktrees.check(str(repo), None)
    one = new_id()
    first = await worktrees.create(source, one)
    write(first.path, {"mine": "edit"})
    assert await worktrees.create(source, one) == first
    assert contents(first.path)["mine"] == "edit"


async def test_many_are_made_of_one_repository_at_the_same_time(worktrees: Worktrees, repo: Path) -> None:
    made: list[Worktree] = []

    async def make() -> None:
        made.append(await create(worktrees, repo))

    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(make)
    assert shown(worktrees.base) == sorted(one.id for one in made)
    for one in made:
        assert git(one.path, "status", "--porcelain") == ""
    async with trio.open_nursery() as nursery:
        for one in made:
            nursery.start_soon(worktrees.remove, one, new_id())
    assert shown(worktrees.base) == []
    assert list(refs(repo)) == ["refs/heads/main"]


async def test_no_hook_and_no_filter_of_the_repository_runs(tmp_path: Path, worktrees: Worktrees) -> None:
    repo = make_repository(tmp_path / "hostile", {".gitattributes": "* filter=evil\n", "f": "as committed\n"})
    ran = tmp_path / "ran"
    for hook in ("post-checkout", "reference-transaction", "post-index-change", "post-commit"):
        (repo / ".git" / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (repo / ".git" / "hooks" / hook).chmod(0o755)
    for name in ("filter.evil.smudge", "filter.evil.clean", "filter.evil.process", "core.fsmonitor", "core.pager"):
        git(repo, "config", name, f"touch {ran}; cat")
    git(repo, "config", "filter.evil.required", "true")
    ran.unlink(missing_ok=True)
    worktree = await create(worktrees, repo)
    assert contents(worktree.path)["f"] == "as committed\n"
    write(worktree.path, {"f": "edited\n", "new": "new\n"})
    removed = await worktrees.remove(worktree, "s")
    assert git(repo, "-c", "filter.evil.smudge=", "cat-file", "blob", f"{removed.rescued}:f") == "edited"
    assert not ran.exists()


async def test_an_lfs_file_is_its_pointer(tmp_path: Path, worktrees: Worktrees) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    repo = make_repository(tmp_path / "lfs", {".gitattributes": "*.bin filter=lfs diff=lfs -text\n", "x.bin": pointer})
    git(repo, "config", "filter.lfs.process", "false")
    git(repo, "config", "filter.lfs.required", "true")
    worktree = await create(worktrees, repo)
    assert (worktree.path / "x.bin").read_text() == pointer
    assert await worktrees.remove(worktree, new_id()) == NOTHING_LOST


async def test_the_repository_decides_over_line_ends(worktrees: Worktrees, repo: Path) -> None:
    git(repo, "config", "core.autocrlf", "true")
    worktree = await create(worktrees, repo)
    assert (worktree.path / "a.txt").read_bytes() == b"a\r\n"
    assert git(worktree.path, "status", "--porcelain") == ""
    assert await worktrees.remove(worktree, new_id()) == NOTHING_LOST


async def test_a_bare_repository_and_a_linked_worktree_are_sources(
    tmp_path: Path, worktrees: Worktrees, repo: Path
) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    git(tmp_path / "bare.git", "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    before = refs(tmp_path / "bare.git")
    for path in ("bare.git", "side"):
        worktree = await create(worktrees, tmp_path / path)
        assert worktree.repo == tmp_path / "bare.git"
        write(worktree.path, {"b": "b"})
        assert git(worktree.path, "status", "--porcelain") == "?? b"
        removed = await worktrees.remove(worktree, path)
        assert git(tmp_path / "bare.git", "show", f"{removed.rescued}:b") == "b"
        git(tmp_path / "bare.git", "update-ref", "-d", str(removed.rescued))
    assert refs(tmp_path / "bare.git") == before
    assert git(tmp_path / "side", "status", "--porcelain") == ""


async def test_a_sparse_checkout_stays_sparse(tmp_path: Path, worktrees: Worktrees, repo: Path) -> None:
    commit(repo, {"docs/d.txt": "d\n"})
    git(repo, "sparse-checkout", "set", "src")
    worktree = await create(worktrees, repo)
    assert contents(worktree.path) == {"a.txt": "a\n", "src/b.txt": "b\n"}
    assert git(worktree.path, "status", "--porcelain") == ""
    write(worktree.path, {"docs/d.txt": "an edit where nothing was\n", "docs/e.txt": "e\n"})
    removed = await worktrees.remove(worktree, new_id())
    assert git(repo, "show", f"{removed.rescued}:docs/d.txt") == "an edit where nothing was"
    assert git(repo, "ls-tree", "-r", "--name-only", str(removed.rescued)).splitlines() == [
        *("a.txt", "docs/d.txt", "docs/e.txt", "src/b.txt")
    ]


async def test_a_superproject_and_a_submodule_are_sources(tmp_path: Path, worktrees: Worktrees, repo: Path) -> None:
    outer = make_repository(tmp_path / "outer")
    git(outer, "submodule", "--quiet", "add", str(repo), "sub")
    commit(outer, {})
    for path, files in (
        (outer, {".gitmodules", "a.txt", "src/b.txt"}),
        (outer / "sub", {"a.txt", "src/b.txt"}),
    ):
        worktree = await create(worktrees, path)
        assert set(contents(worktree.path)) == files
        assert git(worktree.path, "status", "--porcelain") == ""
        assert await worktrees.remove(worktree, new_id()) == NOTHING_LOST


async def test_a_shallow_clone_is_a_source(tmp_path: Path, worktrees: Worktrees, repo: Path) -> None:
    commit(repo, {"c": "c"})
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repo}", "shallow")
    worktree = await create(worktrees, tmp_path / "shallow")
    commit(worktree.path, {"d": "d"})
    assert await worktrees.remove(worktree, new_id()) == Removed(None, branch_kept=True)


async def test_a_partial_clone_that_lacks_files_is_told_what_helps(
    tmp_path: Path, worktrees: Worktrees, repo: Path
) -> None:
    git(repo, "config", "uploadpack.allowFilter", "true")
    words = ("clone", "-q", "--no-checkout", "--filter=blob:none", f"file://{repo}", "partial")
    git(tmp_path, *words)
    source = await worktrees.check(str(tmp_path / "partial"), None)
    with pytest.raises(WorktreeFailed, match=r"it is a partial clone: `git checkout [0-9a-f]+`"):
        await worktrees.create(source, new_id())
    git(tmp_path / "partial", "checkout", "-q", "main")
    worktree = await worktrees.create(source, new_id())
    assert await worktrees.remove(worktree, new_id()) == NOTHING_LOST


async def test_a_repository_of_sha256_names_is_a_source(tmp_path: Path, worktrees: Worktrees) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256", "long")
    commit(tmp_path / "long", {"a": "a"})
    worktree = await create(worktrees, tmp_path / "long")
    write(worktree.path, {"b": "b"})
    removed = await worktrees.remove(worktree, new_id())
    assert git(tmp_path / "long", "show", f"{removed.rescued}:b") == "b"


async def test_the_branch_of_another_is_not_taken(worktrees: Worktrees, repo: Path) -> None:
    one = new_id()
    git(repo, "branch", f"agentd/session/{one}")
    before = refs(repo)
    with pytest.raises(WorktreeFailed, match="not ours"):
        await worktrees.create(await worktrees.check(str(repo), None), one)
    (worktrees.base / (other := new_id())).mkdir()
    with pytest.raises(WorktreeFailed, match="not ours"):
        await worktrees.create(await worktrees.check(str(repo), None), other)
    assert refs(repo) == before
    assert shown(worktrees.base) == [other]


async def test_an_id_that_is_no_uuid_is_refused(worktrees: Worktrees, repo: Path) -> None:
    for bad in ("../x", "", ".pool", "A" * 36):
        with pytest.raises(WorktreeFailed):
            await worktrees.create(await worktrees.check(str(repo), None), bad)


async def test_a_creation_that_is_cancelled_leaves_nothing(worktrees: Worktrees, repo: Path) -> None:
    source = await worktrees.check(str(repo), None)
    before = fingerprint(repo)
    (worktrees.pool / "work").mkdir()
    finished = 0
    for patience in range(40):
        made: list[Worktree] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_create_into, made, worktrees, source)
            for _ in range(patience**2):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        for worktree in made:
            finished += 1
            await worktrees.remove(worktree, new_id())
        assert fingerprint(repo) == before
        assert shown(worktrees.base) == []
        assert list((worktrees.pool / "work").iterdir()) == []
    assert finished < 40


async def _create_into(made: list[Worktree], worktrees: Worktrees, source: Source) -> None:
    made.append(await worktrees.create(source, new_id()))


async def test_a_creation_that_fails_leaves_nothing(
    tmp_path: Path, worktrees: Worktrees, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = await worktrees.check(str(repo), None)
    before = fingerprint(repo)
    (tmp_path / "bin").mkdir()
    refuse = 'case "$*" in *"worktree add"*) echo no luck >&2; exit 1;; esac'
    (tmp_path / "bin" / "git").write_text(f'#!/bin/sh\n{refuse}\nPATH={os.environ["PATH"]} exec git "$@"\n')
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with pytest.raises(WorktreeFailed, match="no luck"):
        await worktrees.create(source, new_id())
    assert fingerprint(repo) == before
    assert shown(worktrees.base) == []
    assert list((worktrees.pool / "records").iterdir()) == []


async def test_the_repository_may_go_between_check_and_create(tmp_path: Path, worktrees: Worktrees, repo: Path) -> None:
    source = await worktrees.check(str(repo), None)
    repo.rename(tmp_path / "moved")  # noqa: ASYNC240
    with pytest.raises(WorktreeFailed):
        await worktrees.create(source, new_id())
    assert shown(worktrees.base) == []


async def test_other_worktrees_of_the_user_are_not_touched(tmp_path: Path, worktrees: Worktrees, repo: Path) -> None:
    git(repo, "worktree", "add", "-q", "-b", "away", str(tmp_path / "away"))
    (tmp_path / "away").rename(tmp_path / "unmounted")  # what `git worktree prune` would take for dead
    listed = git(repo, "worktree", "list", "--porcelain")
    worktree = await create(worktrees, repo)
    await worktrees.remove(worktree, new_id())
    assert git(repo, "worktree", "list", "--porcelain") == listed


async def test_a_branch_that_somebody_has_checked_out_is_kept(tmp_path: Path, worktrees: Worktrees, repo: Path) -> None:
    worktree = await create(worktrees, repo)
    git(repo, "checkout", "-q", "--ignore-other-worktrees", worktree.branch)
    assert await worktrees.remove(worktree, new_id()) == Removed(None, branch_kept=True)
    assert git(repo, "status", "--porcelain", "--branch") == f"## {worktree.branch}"


# --- The base -----------------------------------------------------------------------------------------------------


async def test_a_base_is_made_with_its_parents(tmp_path: Path) -> None:
    async with open_worktrees(tmp_path / "a" / "b") as worktrees:
        assert worktrees.problem() is None
        assert shown(tmp_path / "a" / "b") == []


async def test_a_base_that_cannot_be_used_is_said_to_be_so(worktrees: Worktrees, repo: Path) -> None:
    source = await worktrees.check(str(repo), None)
    worktrees.base.rename(worktrees.base.with_name("away"))
    gone = f"the worktree base directory {worktrees.base} cannot be used: No such file or directory"
    assert worktrees.problem() == gone
    worktrees.base.write_text("")
    assert worktrees.problem() == f"the worktree base {worktrees.base} is not a directory"
    with pytest.raises(WorktreeFailed, match="is not a directory"):
        await worktrees.create(source, new_id())
    worktrees.base.unlink()
    worktrees.base.with_name("away").rename(worktrees.base)
    assert worktrees.problem() is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_base_that_is_not_writable_is_said_to_be_so(worktrees: Worktrees) -> None:
    worktrees.base.chmod(0o500)
    assert worktrees.problem() == f"the worktree base directory {worktrees.base} is not writable"
    worktrees.base.chmod(0o700)


async def test_a_base_has_one_owner(worktrees: Worktrees, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worktrees_module, "DYING_SECONDS", 0.0)
    with pytest.raises(Locked, match="worktree base directory"):
        async with open_worktrees(worktrees.base):
            pytest.fail("it has two")


async def test_a_base_waits_for_the_git_of_a_daemon_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worktrees_module, "DYING_SECONDS", 0.0)
    async with open_worktrees(tmp_path / "base"):
        pass
    with FileLock.acquire(tmp_path / "base" / ".pool" / "lock", "it") as lock:
        fd = os.dup(lock.fileno())
    words = ["git", "cat-file", "--batch"]  # waits for its input
    git(tmp_path, "init", "-q")
    orphan = subprocess.Popen(words, cwd=tmp_path, stdin=subprocess.PIPE, pass_fds=[fd])  # noqa: ASYNC220
    os.close(fd)
    with orphan:
        async with open_worktrees(tmp_path / "base"):
            assert orphan.wait() == -signal.SIGTERM


async def test_a_base_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AgentdError, match="worktree base directory"):
        async with open_worktrees(tmp_path / "file"):
            pytest.fail("it is no directory")


async def test_what_dies_is_removed_behind_and_after_a_crash_at_open(tmp_path: Path, repo: Path) -> None:
    dying = tmp_path / "base" / ".pool" / "dying"
    work = tmp_path / "base" / ".pool" / "work"
    write(dying, {"one/deep/file": "", "two": ""})
    write(work, {"half/tree/file": ""})
    async with open_worktrees(tmp_path / "base", warm=0) as worktrees:
        worktree = await create(worktrees, repo)
        await worktrees.remove(worktree, new_id())
        with trio.fail_after(10):
            while any(dying.iterdir()) or any(work.iterdir()):  # noqa: ASYNC110  # nothing tells
                await trio.sleep(0.01)


# --- Removing trees -----------------------------------------------------------------------------------------------


def test_a_tree_of_any_depth_with_closed_directories_is_removed(tmp_path: Path) -> None:
    deep = tmp_path / "tree"
    write(tmp_path, {"outside": "stays", "tree/closed/file": "", "tree/unreadable/file": ""})
    (tmp_path / "tree" / "link").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "tree" / "pipe")
    fd = os.open(deep, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    (tmp_path / "tree" / "closed").chmod(0o500)
    (tmp_path / "tree" / "unreadable").chmod(0)
    remove_tree(tmp_path / "tree")
    assert shown(tmp_path) == ["outside"]
    remove_tree(tmp_path / "tree")


def test_a_removal_stops_when_it_is_told_to(tmp_path: Path) -> None:
    write(tmp_path, {"tree/a": "", "tree/b": ""})

    def refuse() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        remove_tree(tmp_path / "tree", check=refuse)
    assert set(contents(tmp_path / "tree")) == {"a", "b"}


# --- Trees that are ready -----------------------------------------------------------------------------------------


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared_module, "CALM_SECONDS", 0.0)


async def ready(worktrees: Worktrees, count: int) -> None:
    with trio.fail_after(10):
        while worktrees.prepared != count:  # noqa: ASYNC110  # nothing tells
            await trio.sleep(0.005)


@pytest.mark.usefixtures("at_once")
async def test_a_prepared_tree_is_brought_to_the_commit_that_is_wanted(tmp_path: Path, repo: Path) -> None:
    old = git(repo, "rev-parse", "HEAD")
    new = commit(repo, {"a.txt": "changed\n", "c/d": "added\n"})
    git(repo, "rm", "-q", "-r", "src")
    newest = commit(repo, {"x.sh": "#!/bin/sh\n"})
    async with open_worktrees(tmp_path / "base") as worktrees:
        first = await create(worktrees, repo)
        await ready(worktrees, 1)
        unchanged = next((worktrees.pool / "work").glob("*/tree/a.txt")).stat().st_ino
        for ref in (newest, old, new):
            worktree = await create(worktrees, repo, ref)
            git(repo, "worktree", "add", "-q", "--detach", str(tmp_path / ref), ref)
            assert contents(worktree.path) == contents(tmp_path / ref)
            assert git(worktree.path, "status", "--porcelain") == ""
            if ref == newest:
                assert (worktree.path / "a.txt").stat().st_ino == unchanged
            assert await worktrees.remove(worktree, new_id()) == NOTHING_LOST
            await ready(worktrees, 1)
        await worktrees.remove(first, new_id())
        assert shown(worktrees.base) == []
        assert str(worktrees.base) not in git(repo, "worktree", "list")


@pytest.mark.usefixtures("at_once")
async def test_a_prepared_tree_is_not_used_where_attributes_or_settings_changed(tmp_path: Path, repo: Path) -> None:
    async with open_worktrees(tmp_path / "base") as worktrees:
        await create(worktrees, repo)
        await ready(worktrees, 1)
        commit(repo, {".gitattributes": "*.txt text eol=crlf\n"})
        second = await create(worktrees, repo)
        assert (second.path / "a.txt").read_bytes() == b"a\r\n"
        await ready(worktrees, 1)
        git(repo, "config", "core.symlinks", "false")
        third = await create(worktrees, repo)
        assert git(third.path, "status", "--porcelain") == ""


@pytest.mark.usefixtures("at_once")
async def test_trees_are_prepared_for_a_few_repositories_and_not_for_ever(
    tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared_module, "REPOSITORIES", 2)
    monkeypatch.setattr(prepared_module, "IDLE_SECONDS", 1.0)
    repos = [repo, make_repository(tmp_path / "two"), make_repository(tmp_path / "three")]
    async with open_worktrees(tmp_path / "base") as worktrees:
        for one in repos:
            await create(worktrees, one)
        await ready(worktrees, 2)
        await ready(worktrees, 0)
        assert list((worktrees.pool / "work").iterdir()) == []


@pytest.mark.usefixtures("at_once")
async def test_nothing_is_prepared_on_a_disk_that_is_nearly_full(
    tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = trio.Event()

    def is_full(_: Path) -> bool:
        trio.from_thread.run_sync(asked.set)
        return False

    monkeypatch.setattr(prepared_module, "has_room", is_full)
    async with open_worktrees(tmp_path / "base") as worktrees:
        await create(worktrees, repo)
        await asked.wait()
        assert worktrees.prepared == 0


@pytest.mark.usefixtures("at_once")
async def test_a_worktree_is_no_hard_link_to_another(tmp_path: Path, repo: Path) -> None:
    async with open_worktrees(tmp_path / "base") as worktrees:
        await create(worktrees, repo)
        await ready(worktrees, 1)
        second = await create(worktrees, repo)
        found = [path.lstat() for path in second.path.rglob("*") if path.is_file()]
        assert all(one.st_nlink == 1 and stat.S_ISREG(one.st_mode) for one in found)


async def test_usage_says_what_is_there_by_kind(worktrees: Worktrees, repo: Path) -> None:
    worktree = await create(worktrees, repo)
    write(worktree.path, {"big": "x" * 100_000})
    usage = await worktrees.usage()
    assert set(usage) == {"sessions", "prepared", "dying", "kept"}
    assert usage["sessions"] >= 100_000
    assert usage["prepared"] == usage["kept"] == 0
