"""Snapshots of real repositories, hostile ones included. The user's repository stays as it was, to the byte."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from agentd.errors import GitFailed, NotARepository
from agentd.workspace import snapshot as snapshot_module
from agentd.workspace.snapshot import DiffStat, Snapshots

if TYPE_CHECKING:
    from tests.workspace.snapshots.conftest import Repository


async def changed(before: str, snapshots: Snapshots) -> str:
    return (await snapshots.diff(before, await snapshots.take())).decode()


async def test_a_clean_tree_is_heads(repository: Repository) -> None:
    repository.commit(a="one\n", b="two\n")
    assert await repository.snapshots().take() == repository.git("rev-parse", "HEAD^{tree}").strip()


async def test_the_users_repository_is_left_as_it_was(repository: Repository) -> None:
    repository.commit(a="one\n", b="two\n", c="three\n")
    repository.write("a", "changed\n")
    repository.write("new", "untracked\n")
    repository.write("b", "staged\n")
    repository.git("add", "b")
    before = repository.state()
    snapshots = repository.snapshots()
    first = await snapshots.take()
    repository.write("c", "changed too\n")
    await snapshots.stat(first, await snapshots.take())
    repository.write("c", "three\n")
    os.utime(repository.top / "c", ns=(0, 0))
    assert repository.state() == before


async def test_what_changed_between_two_snapshots_is_a_diff(repository: Repository) -> None:
    repository.commit(edited="1\n2\n3\n", removed="x\n", renamed="a long enough\nfile to be known again\n")
    repository.write("was here before", "the user's\n")
    snapshots = repository.snapshots()
    before = await snapshots.take()
    repository.write("edited", "1\ntwo\n3\n")
    repository.write("added/new", "n\n")
    (repository.top / "removed").unlink()
    (repository.top / "renamed").rename(repository.top / "other")
    after = await snapshots.take()
    diff = (await snapshots.diff(before, after)).decode()
    assert "--- a/edited\n+++ b/edited\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n" in diff
    assert "--- /dev/null\n+++ b/added/new\n@@ -0,0 +1 @@\n+n\n" in diff
    assert "deleted file mode 100644" in diff
    assert "rename from renamed\nrename to other\n" in diff
    assert "was here before" not in diff
    assert await snapshots.stat(before, after) == DiffStat(files=4, added=2, removed=2)


async def test_a_diff_without_changes_is_empty(repository: Repository) -> None:
    repository.commit(a="one\n")
    snapshots = repository.snapshots()
    tree = await snapshots.take()
    assert await snapshots.diff(tree, tree) == b""
    assert await snapshots.stat(tree, tree) == DiffStat(0, 0, 0)


async def test_that_binary_files_differ_is_only_said(repository: Repository) -> None:
    repository.commit(a="one\n")
    snapshots = repository.snapshots()
    before = await snapshots.take()
    repository.write("image", b"\0\1\2")
    assert "Binary files /dev/null and b/image differ\n" in await changed(before, snapshots)


async def test_ignored_files_do_not_show_unless_they_are_forced_in(repository: Repository) -> None:
    repository.commit(**{".gitignore": "*.log\n"})
    (repository.top / ".git/info/exclude").write_text("excluded\n")
    snapshots = repository.snapshots()
    before = await snapshots.take()
    for name in ("a.log", "excluded", "forced.log"):
        repository.write(name, "x\n")
    assert await changed(before, snapshots) == ""
    repository.git("add", "--force", "forced.log")
    assert "+++ b/forced.log" in await changed(before, snapshots)


async def test_the_users_own_list_of_ignored_files_counts(repository: Repository) -> None:
    repository.commit(a="one\n")
    (Path.home() / "ignored").write_text("*.swp\n")
    repository.git("config", "--global", "core.excludesFile", "~/ignored")
    snapshots = repository.snapshots()
    before = await snapshots.take()
    repository.write("a.swp", "x\n")
    assert await changed(before, snapshots) == ""


async def test_an_untracked_file_that_is_ignored_later_is_not_shown_as_deleted(repository: Repository) -> None:
    repository.commit(a="one\n")
    repository.write("notes", "mine\n")
    snapshots = repository.snapshots()
    before = await snapshots.take()
    repository.write(".gitignore", "notes\n")
    assert "notes" not in (await changed(before, snapshots)).replace("+notes", "")


async def test_an_edit_as_young_as_the_index_and_of_the_same_size_is_seen(repository: Repository) -> None:
    repository.commit(a="one\n")
    clean = repository.git("rev-parse", "HEAD^{tree}").strip()
    stamp = (repository.top / ".git/index").stat().st_mtime_ns
    os.utime(repository.top / "a", ns=(stamp, stamp))
    repository.git("update-index", "--refresh")
    os.utime(repository.top / ".git/index", ns=(stamp, stamp))
    repository.write("a", "two\n")
    os.utime(repository.top / "a", ns=(stamp, stamp))
    assert await repository.snapshots().take() != clean


async def test_only_the_workspace_is_looked_at_when_it_is_a_directory_of_the_repository(repository: Repository) -> None:
    repository.commit(**{"in/a": "one\n", "out": "two\n"})
    snapshots = repository.snapshots("in")
    before = await snapshots.take()
    repository.write("out", "changed\n")
    repository.write("beside", "new\n")
    repository.write("in/b", "new\n")
    diff = await changed(before, snapshots)
    assert "+++ b/in/b" in diff
    assert "out" not in diff
    assert "beside" not in diff


async def test_before_the_first_commit_there_are_snapshots_too(repository: Repository) -> None:
    snapshots = repository.snapshots()
    before = await snapshots.take()
    repository.write("a", "one\n")
    assert "+++ b/a" in await changed(before, snapshots)


async def test_where_there_is_no_working_tree_it_says_so(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(NotARepository):
        await Snapshots(tmp_path, tmp_path / "scratch").take()
    with pytest.raises(NotARepository):
        await repository.another("bare", "--bare").snapshots().take()


async def test_a_linked_worktree_has_snapshots_of_its_own(repository: Repository, tmp_path: Path) -> None:
    repository.commit(a="one\n")
    repository.git("worktree", "add", "-q", str(tmp_path / "linked"))
    linked = attrs.evolve(repository, top=tmp_path / "linked")
    snapshots = linked.snapshots()
    before = await snapshots.take()
    assert before == repository.git("rev-parse", "HEAD^{tree}").strip()
    linked.write("a", "two\n")
    assert "+two" in await changed(before, snapshots)


async def test_odd_files_break_nothing(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_module, "FILE_LIMIT", 1000)
    monkeypatch.setattr(os, "access", lambda path, mode: "unreadable" not in os.fsdecode(path))  # root reads all
    repository.commit(large="small\n", unreadable="r\n", pipe="p\n", directory="d\n", **{"linked/file": "l\n"})
    snapshots = repository.snapshots()
    before = await snapshots.take()
    repository.write("large", "x" * 1001)
    repository.write("large and new", "x" * 1001)
    repository.write("unreadable", "changed\n")
    repository.write("unreadable and new", "n\n")
    (repository.top / "pipe").unlink()
    os.mkfifo(repository.top / "pipe")
    os.mkfifo(repository.top / "pipe and new")
    (repository.top / "directory").unlink()
    repository.write("directory/file", "f\n")
    (repository.top / "linked/file").unlink()
    (repository.top / "linked").rmdir()
    (repository.top / "linked").symlink_to("/etc")
    (repository.top / "dangling").symlink_to("/no/such/file")
    repository.write("a\nname \udcff of € bytes", "n\n")
    repository.another("nested")
    after = await snapshots.take()
    shown = set(repository.listed(before, after))
    assert shown >= {"directory", "directory/file", "linked", "linked/file", "dangling", "a\nname \udcff of € bytes"}
    assert not shown & {"large", "large and new", "pipe", "pipe and new", "nested", "unreadable", "unreadable and new"}


async def test_files_that_are_in_conflict_are_taken_as_they_are(repository: Repository) -> None:
    repository.commit(a="base\n")
    repository.git("checkout", "-qb", "other")
    repository.commit(a="theirs\n")
    repository.git("checkout", "-q", "main")
    repository.commit(a="ours\n")
    repository.git("merge", "-q", "other", check=False)
    head = repository.git("rev-parse", "HEAD^{tree}").strip()
    assert "+<<<<<<< HEAD" in await changed(head, repository.snapshots())


async def test_submodules_count_by_their_commit(repository: Repository) -> None:
    inner = repository.another("../inner")
    inner.commit(a="one\n")
    repository.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner.top), "module")
    repository.commit()
    snapshots = repository.snapshots()
    before = await snapshots.take()
    assert before == repository.git("rev-parse", "HEAD^{tree}").strip()
    attrs.evolve(repository, top=repository.top / "module").commit(b="two\n")
    assert "+Subproject commit" in await changed(before, snapshots)


async def test_line_ends_are_normalised_as_the_repository_says(repository: Repository) -> None:
    repository.commit(**{".gitattributes": "* text=auto\n", "a": "one\n"})
    snapshots = repository.snapshots()
    before = await snapshots.take()
    repository.write("a", "one\r\n")
    assert await changed(before, snapshots) == ""


async def test_a_repository_with_sha256_names_works(repository: Repository) -> None:
    modern = repository.another("../modern", "--object-format=sha256")
    modern.commit(a="one\n")
    snapshots = modern.snapshots()
    before = await snapshots.take()
    modern.write("a", "two\n")
    after = await snapshots.take()
    assert len(after) == 64
    commit = await snapshots.commit(before, after, "second")
    assert commit is not None
    assert modern.git("status", "--porcelain") == ""


async def test_a_sparse_checkout_does_not_look_like_deletions(repository: Repository) -> None:
    repository.commit(**{"in/a": "one\n", "out/b": "two\n"})
    repository.git("sparse-checkout", "set", "in")
    assert not (repository.top / "out").exists()
    assert await repository.snapshots().take() == repository.git("rev-parse", "HEAD^{tree}").strip()


async def test_a_split_index_is_read_and_left_split(repository: Repository) -> None:
    repository.commit(a="one\n", b="two\n")
    repository.git("update-index", "--split-index")
    repository.write("a", "changed\n")
    before = repository.state()
    head = repository.git("rev-parse", "HEAD^{tree}").strip()
    assert "+changed" in await changed(head, repository.snapshots())
    assert repository.state() == before


async def test_a_tree_outlives_the_process_that_took_it(repository: Repository) -> None:
    repository.commit(a="one\n")
    repository.write("b", "new\n")
    before = await repository.snapshots().take()
    repository.write("b", "newer\n")
    assert "-new\n+newer" in await changed(before, repository.snapshots())


async def test_a_git_that_was_killed_in_our_directory_does_not_stop_the_next(repository: Repository) -> None:
    repository.commit(a="one\n")
    await repository.snapshots().take()
    (repository.scratch / "index.lock").touch()
    repository.write("a", "two\n")
    await repository.snapshots().take()


async def test_a_tree_that_is_not_there_is_an_error(repository: Repository) -> None:
    repository.commit(a="one\n")
    with pytest.raises(GitFailed, match="git diff-tree failed"):
        await repository.snapshots().diff("0" * 40, "1" * 40)


def arm(repository: Repository, marker: Path) -> None:
    """Give the repository everything that runs a command when git looks at it."""
    run = f"touch {marker}; cat"
    for name, value in {
        "filter.evil.clean": run,
        "filter.evil.smudge": run,
        "filter.evil.process": run,
        "filter.evil.required": "true",
        "diff.evil.textconv": run,
        "diff.evil.command": run,
        "diff.external": run,
        "merge.evil.driver": run,
        "core.fsmonitor": run,
        "core.pager": run,
        "core.editor": run,
        "core.sshCommand": run,
        "core.askPass": run,
        "core.alternateRefsCommand": run,
        "gpg.program": run,
        "commit.gpgSign": "true",
        "credential.helper": f"!{run}",
        "core.hooksPath": str(repository.top / "hooks"),
        "remote.origin.url": f"ext::sh -c '{run}'",
        "remote.origin.promisor": "true",
        "protocol.ext.allow": "always",
        "extensions.partialClone": "origin",
        "submodule.recurse": "true",
    }.items():
        repository.git("config", name, value)
    hooks = "pre-commit post-commit commit-msg prepare-commit-msg post-index-change reference-transaction post-checkout"
    for directory in ("hooks", ".git/hooks"):
        for hook in hooks.split():
            repository.write(f"{directory}/{hook}", f"#!/bin/sh\n{run}\n").chmod(0o755)


async def test_a_hostile_repository_runs_nothing(repository: Repository, tmp_path: Path) -> None:
    repository.commit(a="one\n", b="two\n")
    repository.write(".gitattributes", "* filter=evil diff=evil merge=evil\n")
    marker = tmp_path / "marker"
    arm(repository, marker)
    snapshots = repository.snapshots()
    before = await snapshots.take()
    repository.write("a", "changed\n")
    repository.write("c", "new\n")
    after = await snapshots.take()
    assert b"+changed" in await snapshots.diff(before, after)
    await snapshots.stat(before, after)
    commit = await snapshots.commit(before, after, "message")
    assert commit is not None
    assert commit.files == ("a", "c")
    assert not marker.exists()
    repository.write("a", "changed again\n")
    repository.git("status", check=False)
    assert marker.exists()  # the trap works: it is we who do not step on it


async def test_a_hostile_submodule_runs_nothing(repository: Repository, tmp_path: Path) -> None:
    inner = repository.another("module")
    inner.commit(a="one\n")
    repository.commit(b="two\n")
    marker = tmp_path / "marker"
    inner.write(".gitattributes", "* filter=evil diff=evil\n")
    arm(inner, marker)
    inner.write("a", "changed\n")
    snapshots = repository.snapshots()
    before = await snapshots.take()
    inner.write("a", "changed again\n")
    await snapshots.diff(before, await snapshots.take())
    assert not marker.exists()
    repository.git("status", check=False)
    assert marker.exists()


async def test_the_lock_of_a_git_that_was_killed_is_in_nobodys_way(repository: Repository) -> None:
    snapshots = repository.snapshots()
    before = await snapshots.take()
    (repository.scratch / "index.lock").touch()
    assert await snapshots.take() == before
