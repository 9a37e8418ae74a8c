"""What a walk finds, and that it ends. What it leaves out for git's rules is in test_ignore.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.workspace import walk as walk_module
from agentd.workspace.walk import Walk

Git = Callable[..., bytes]


def plant(top: Path, *names: str) -> None:
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).touch()


def test_files_come_by_name_each_directory_in_its_place(tmp_path: Path) -> None:
    plant(tmp_path, "b/x", "a", "b.txt", "b/a/y", "c", ".hidden/z", "B")
    assert list(Walk(tmp_path)) == [b".hidden/z", b"B", b"a", b"b/a/y", b"b/x", b"b.txt", b"c"]


def test_links_and_what_is_no_file_are_left_out(tmp_path: Path) -> None:
    plant(tmp_path, "a/x")
    (tmp_path / "a/up").symlink_to("..")
    (tmp_path / "link").symlink_to("a/x")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    assert list(Walk(tmp_path)) == [b"a/x"]


def test_version_control_and_what_is_off_limits_is_not_entered(tmp_path: Path) -> None:
    plant(tmp_path, ".git/config", "sub/.git", ".hg/x", ".agentd/log", "x")
    assert list(Walk(tmp_path, off_limits=[tmp_path / ".agentd"])) == [b"x"]


def test_a_file_that_is_off_limits_is_left_out_and_others_of_its_name_are_not(tmp_path: Path) -> None:
    plant(tmp_path, "key", "a/key")
    assert list(Walk(tmp_path, off_limits=[tmp_path / "key"])) == [b"a/key"]
    assert list(Walk(tmp_path / "a", off_limits=[tmp_path / "a/key"])) == []


def test_names_that_are_no_text_are_found(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n")).touch()
    assert list(Walk(tmp_path)) == [b"\xff\n"]


def test_a_directory_that_cannot_be_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, "a/x", "b/x")
    open_file = os.open

    def refusing(path: bytes, *args: int) -> int:
        if path.endswith(b"/a"):
            raise PermissionError(13, "Permission denied")
        return open_file(path, *args)

    monkeypatch.setattr(os, "open", refusing)
    assert list(Walk(tmp_path)) == [b"b/x"]


def test_what_vanishes_during_a_walk_is_left_out(tmp_path: Path) -> None:
    plant(tmp_path, "a/x", "b/x")
    walk = iter(Walk(tmp_path))
    assert next(walk) == b"a/x"
    (tmp_path / "b/x").unlink()
    (tmp_path / "b").rmdir()
    assert list(walk) == []


def test_a_missing_directory_has_no_files(tmp_path: Path) -> None:
    assert list(Walk(tmp_path / "missing")) == []


def test_a_deep_tree_is_walked_to_its_end(tmp_path: Path) -> None:
    deep = "/".join("d" for _ in range(900))
    plant(tmp_path, f"{deep}/x")
    assert list(Walk(tmp_path)) == [f"{deep}/x".encode()]


def test_a_walk_is_bounded_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, "a", "b", "c")
    walk = Walk(tmp_path, max_files=2)
    assert list(walk) == [b"a", b"b"]
    assert walk.cut
    whole = Walk(tmp_path, max_files=3)
    assert len(list(whole)) == 3
    assert not whole.cut
    monkeypatch.setattr(walk_module, "MAX_ENTRIES", 2)
    huge = Walk(tmp_path)
    assert len(list(huge)) == 2
    assert huge.cut


def test_an_ignored_directory_that_is_named_is_walked(tmp_path: Path) -> None:
    plant(tmp_path, "build/a", "build/b.o", ".git/HEAD")
    (tmp_path / ".gitignore").write_text("build/\n*.o\n")
    assert list(Walk(tmp_path)) == [b".gitignore"]
    assert list(Walk(tmp_path / "build")) == [b"a"]


def test_rules_hold_without_a_repository(tmp_path: Path) -> None:
    plant(tmp_path, "a.o", "b")
    (tmp_path / ".gitignore").write_text("*.o\n")
    assert list(Walk(tmp_path)) == [b".gitignore", b"b"]


def test_a_linked_worktree_has_the_exclusions_of_its_repository(tmp_path: Path, git: Git) -> None:
    main, linked = tmp_path / "main", tmp_path / "linked"
    main.mkdir()
    git(main, "init", "-q")
    git(main, "-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "x")
    git(main, "worktree", "add", "-q", str(linked))
    (main / ".git/info/exclude").write_text("secret\n")
    plant(linked, "secret", "x")
    assert list(Walk(linked)) == [b"x"]
    assert git(linked, "ls-files", "--others", "--exclude-standard") == b"x\n"
