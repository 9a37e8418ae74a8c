"""Git: whatever it would run, or follow, when somebody uses it outside of the sandbox."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.sandbox.hostile.program import E, place

MANY = 6000
HOOKS = ("pre-commit", "post-commit", "post-checkout", "post-index-change", "reference-transaction")


def settings() -> str:
    """Which have git run a program."""
    run = f"touch {E['CANARY']}"
    return (
        f'[core]\n\tfsmonitor = "{run};false"\n\thooksPath = {Path.cwd()}/hooks\n[diff]\n\texternal = {run}\n'
        f'[filter "evil"]\n\tclean = "{run};cat"\n\tsmudge = "{run};cat"\n'
    )


def plant_hooks(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    for name in HOOKS:
        (directory / name).write_text(f"#!/bin/sh\ntouch {E['CANARY']}\n")
        (directory / name).chmod(0o755)


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def evil_copy(name: str, git: Path) -> Path:
    """A repository like another, with settings of its own."""
    evil = Path(name).absolute()
    shutil.copytree(git, evil, symlinks=True)
    append(evil / "config", settings())
    return evil


def lead(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


# --- Of a worktree ------------------------------------------------------------------------------------------------


def worktree_hooks() -> None:
    plant_hooks(place("MAIN") / ".git/hooks")


def worktree_settings() -> None:
    append(place("MAIN") / ".git/config", settings())


def worktree_settings_by_git() -> None:
    subprocess.run(["git", "config", "core.fsmonitor", f"touch {E['CANARY']};false"], check=True)


def worktree_settings_by_rename() -> None:
    config = place("MAIN") / ".git/config"
    (place("MAIN") / ".git/config.lock").write_text(config.read_text() + settings())
    (place("MAIN") / ".git/config.lock").rename(config)


def worktree_own_settings() -> None:
    (place("ADMIN") / "config.worktree").write_text(settings())


def worktree_attributes() -> None:
    append(place("MAIN") / ".git/info/attributes", "* filter=known\n")
    Path("a.txt").write_text("changed")


def worktree_file_rewritten() -> None:
    evil = evil_copy("evil", place("MAIN") / ".git")
    Path(".git").write_text(f"gitdir: {evil}/worktrees/tree\n")


def worktree_file_replaced() -> None:
    Path(".git").unlink()
    evil_copy(".git", place("MAIN") / ".git")


def worktree_common_directory() -> None:
    evil = evil_copy("evil", place("MAIN") / ".git")
    (place("ADMIN") / "commondir").write_text(f"{evil}\n")


def worktree_back_link() -> None:
    (place("ADMIN") / "gitdir").write_text("/nowhere/.git\n")


def worktree_log_as_link() -> None:
    lead(place("ADMIN") / "logs/HEAD", place("OUT") / "kept")


def worktree_index_as_link() -> None:
    lead(place("ADMIN") / "index", place("OUT") / "made")


def worktree_message_as_link() -> None:
    lead(place("ADMIN") / "COMMIT_EDITMSG", place("OUT") / "kept")


def worktree_objects_removed() -> None:
    """A commit needs to write there."""
    for path in (place("MAIN") / ".git/objects").glob("[0-9a-f][0-9a-f]/*"):
        path.unlink()


def worktree_other_branch() -> None:
    (place("MAIN") / ".git/refs/heads/other").write_text("0" * 40 + "\n")


# --- Of a repository ----------------------------------------------------------------------------------------------


def repository_hooks() -> None:
    plant_hooks(Path(".git/hooks"))


def repository_settings() -> None:
    append(Path(".git/config"), settings())
    Path(".gitattributes").write_text("* filter=evil\n")
    Path("a.txt").write_text("changed")


def repository_own_settings() -> None:
    """Read by git if the repository's settings say so, as these do."""
    Path(".git/config.worktree").write_text(settings())


def repository_common_directory() -> None:
    evil = evil_copy("evil", Path(".git"))
    Path(".git/commondir").write_text(f"{evil}\n")


def repository_attributes() -> None:
    """The settings have a filter of that name."""
    append(Path(".git/info/attributes"), "* filter=known\n")
    Path("a.txt").write_text("changed")


def repository_moved() -> None:
    Path(".git").rename("moved")
    evil_copy(".git", Path("moved"))


def repository_file() -> None:
    evil_copy("evil", Path(".git"))
    Path(".git").rename("moved")
    Path(".git").write_text("gitdir: evil\n")


def repository_hooks_moved() -> None:
    Path(".git/hooks").rename(".git/moved")
    plant_hooks(Path(".git/hooks"))


def repository_log_as_link() -> None:
    lead(Path(".git/logs/HEAD"), place("OUT") / "kept")


def repository_log_as_link_among_many() -> None:
    """More files than anybody looks through after each command."""
    for number in range(MANY):
        Path(f".git/{number}").touch()
    lead(Path(".git/logs/HEAD"), place("OUT") / "kept")


def repository_index_as_link() -> None:
    lead(Path(".git/index"), place("OUT") / "made")


def repository_above() -> None:
    """From a workspace that is a part of it."""
    plant_hooks(Path("../.git/hooks"))


def evil_module() -> Path:
    evil = evil_copy("evil", Path(".git/modules/sub"))
    append(evil / "config", f"[core]\n\tworktree = {Path.cwd()}/sub\n")
    return evil


def submodule_settings() -> None:
    append(Path(".git/modules/sub/config"), settings())


def submodule_file() -> None:
    evil = evil_module()
    Path("sub/.git").write_text(f"gitdir: {evil}\n")


def submodule_moved() -> None:
    evil = evil_module()
    Path("sub").rename("moved")
    shutil.copytree("moved", "sub")
    Path("sub/.git").write_text(f"gitdir: {evil}\n")


def nested_settings() -> None:
    append(Path("nested/.git/config"), settings())


def deeply_nested_settings() -> None:
    """Further below than is looked."""
    append(Path("far/down/deep/.git/config"), settings())


def new_submodule() -> None:
    """One that the index names: git looks into it when it is asked about the repository around it."""
    made = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", "new"]
    for command in (
        ["git", "init", "-q", "new"],
        [*made, "commit", "-q", "--allow-empty", "-m", "x"],
        ["git", "-c", "advice.addEmbeddedRepo=false", "add", "new"],
    ):
        subprocess.run(command, check=True)
    append(Path("new/.git/config"), settings())


def new_bare_repository() -> None:
    """In a directory that looks like any other, until somebody who is in it asks git for anything."""
    evil = evil_copy("new", Path(".git"))
    append(evil / "config", "[core]\n\tbare = false\n\tworktree = .\n")


def new_repository() -> None:
    """In a workspace that has none."""
    subprocess.run(["git", "init", "-q"], check=True)
    append(Path(".git/config"), settings())
