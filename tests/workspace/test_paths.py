"""Paths stay in the workspace; files are opened and replaced without leaving it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agentd.errors import ToolFailed
from agentd.workspace import files
from agentd.workspace.paths import resolve, resolve_for_writing, shown


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path.resolve() / "workspace"
    (path / "src").mkdir(parents=True)
    (path / "src/a.py").write_text("a\n")
    (path.parent / "secret").write_text("secret\n")
    (path.parent / "workspace-2").mkdir()
    return path


@pytest.mark.parametrize("raw", ["src/a.py", "./src//a.py", "src/../src/a.py", "{workspace}/src/a.py"])
def test_a_path_in_the_workspace_is_its_real_path(workspace: Path, raw: str) -> None:
    assert resolve(raw.format(workspace=workspace), workspace) == workspace / "src/a.py"


@pytest.mark.parametrize(
    "raw",
    ["..", "../secret", "src/../../secret", "/etc/passwd", "/", "{workspace}-2", "{workspace}/../secret", "out/passwd"],
)
def test_a_path_that_leads_outside_is_refused(workspace: Path, raw: str) -> None:
    (workspace / "out").symlink_to("/etc")
    with pytest.raises(ToolFailed, match="relative to the workspace"):
        resolve(raw.format(workspace=workspace), workspace)


def test_a_link_that_stays_inside_is_followed(workspace: Path) -> None:
    (workspace / "link").symlink_to("src")
    assert resolve("link/a.py", workspace) == workspace / "src/a.py"


@pytest.mark.parametrize("raw", ["", "  ", "a\0b", "x" * 5000, "a\ud800"])
def test_what_is_no_path_is_refused(workspace: Path, raw: str) -> None:
    with pytest.raises(ToolFailed):
        resolve(raw, workspace)


def test_a_home_directory_is_not_guessed(workspace: Path) -> None:
    assert resolve("~/x", workspace) == workspace / "~/x"


@pytest.mark.parametrize("raw", [".agentd", ".agentd/log", "src/../.agentd/x", "link/log", "link"])
def test_agentds_own_state_is_off_limits(workspace: Path, raw: str) -> None:
    (workspace / ".agentd").mkdir()
    (workspace / "link").symlink_to(".agentd")
    with pytest.raises(ToolFailed, match="off limits"):
        resolve(raw, workspace, [workspace / ".agentd"])


def test_what_is_off_limits_is_so_under_its_real_name(workspace: Path) -> None:
    (workspace / "state").mkdir()
    (workspace / ".agentd").symlink_to("state")
    with pytest.raises(ToolFailed, match="off limits"):
        resolve("state/log", workspace, [workspace / ".agentd"])


@pytest.mark.parametrize("raw", [".git/config", ".git/hooks/pre-commit", "sub/.GIT/config", ".git", ".", "src/.."])
def test_git_and_the_workspace_itself_are_not_written(workspace: Path, raw: str) -> None:
    with pytest.raises(ToolFailed):
        resolve_for_writing(raw, workspace)


def test_paths_are_shown_relative_to_the_workspace(workspace: Path) -> None:
    assert shown(workspace / "src/a.py", workspace) == "src/a.py"
    assert shown(workspace, workspace) == "."
    assert shown(Path("/etc/passwd"), workspace) == "/etc/passwd"


def read(path: Path, workspace: Path) -> bytes:
    return files.read(path, workspace)[0]


def test_a_directory_that_became_a_link_leads_nowhere(workspace: Path) -> None:
    path = resolve("src/a.py", workspace)
    (workspace / "src").rename(workspace / "moved")
    (workspace / "src").symlink_to(workspace.parent)
    (workspace.parent / "a.py").write_text("outside")
    with pytest.raises(ToolFailed):
        read(path, workspace)
    with pytest.raises(ToolFailed):
        files.replace(path, workspace, b"changed")
    assert (workspace.parent / "a.py").read_text() == "outside"


def test_a_file_that_became_a_link_is_not_followed(workspace: Path) -> None:
    path = resolve("src/a.py", workspace)
    path.unlink()
    path.symlink_to(workspace.parent / "secret")
    with pytest.raises(ToolFailed):
        read(path, workspace)
    with pytest.raises(ToolFailed, match="no regular file"):
        files.replace(path, workspace, b"changed")
    assert (workspace.parent / "secret").read_text() == "secret\n"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("src", "is a directory"),
        ("pipe", "no regular file"),
        ("src/a.py/b", "not a directory"),
        ("src/b.py", r"does not exist. Similar names: src/a.py"),
        ("nowhere/at/all", "does not exist"),
        ("loop", "circles"),
        ("n" * 300, "too long"),
        (".", "is a directory"),
    ],
)
def test_what_cannot_be_read_is_said(workspace: Path, name: str, says: str) -> None:
    os.mkfifo(workspace / "pipe")
    (workspace / "loop").symlink_to("loop")
    with pytest.raises(ToolFailed, match=says):
        read(resolve(name, workspace), workspace)


def test_a_file_is_replaced_with_its_mode(workspace: Path) -> None:
    path = workspace / "src/a.py"
    path.chmod(0o750)
    assert files.replace(path, workspace, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_a_new_file_has_the_mode_that_new_files_have(workspace: Path) -> None:
    (workspace / "other").touch()
    assert not files.replace(workspace / "made/for/it/new", workspace, b"new")
    assert (workspace / "made/for/it/new").stat().st_mode == (workspace / "other").stat().st_mode


def test_a_reader_keeps_the_old_file(workspace: Path) -> None:
    with (workspace / "src/a.py").open() as reader:
        files.replace(workspace / "src/a.py", workspace, b"new")
        assert reader.read() == "a\n"


def test_a_failed_replacement_leaves_nothing_behind(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write_all", full)
    with pytest.raises(ToolFailed, match="no space"):
        files.replace(workspace / "src/a.py", workspace, b"new")
    assert [path.name for path in (workspace / "src").iterdir()] == ["a.py"]
    assert (workspace / "src/a.py").read_text() == "a\n"


def test_a_read_only_file_is_not_replaced(workspace: Path) -> None:
    (workspace / "src/a.py").chmod(0o444)
    with pytest.raises(ToolFailed, match="read-only"):
        files.replace(workspace / "src/a.py", workspace, b"new")


def test_a_file_that_was_changed_since_it_was_read_is_not_replaced(workspace: Path) -> None:
    path = workspace / "src/a.py"
    _, version = files.read(path, workspace)
    path.write_text("somebody else's\n")
    with pytest.raises(ToolFailed, match="meanwhile"):
        files.replace(path, workspace, b"new", version)
    assert path.read_text() == "somebody else's\n"
