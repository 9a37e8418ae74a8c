"""Repositories for tests of worktrees, made by the real git."""

from __future__ import annotations

import hashlib
import os
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

WHO = ("-c", "user.name=u", "-c", "user.email=u@example.invalid", "-c", "protocol.file.allow=always")
OUTSIDE = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


def git(directory: Path, *words: str) -> str:
    """What it prints, stripped. Raises CalledProcessError."""
    return git_bytes(directory, *words).decode(errors="surrogateescape").strip()


def git_bytes(directory: Path, *words: str) -> bytes:
    command = ["git", *WHO, *words]
    return subprocess.run(command, cwd=directory, env=OUTSIDE, check=True, capture_output=True, timeout=30).stdout


def write(directory: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)


def commit(directory: Path, files: Mapping[str, str], message: str = "more") -> str:
    """The commit's name, with *files* written and everything added."""
    write(directory, files)
    git(directory, "add", "--all")
    git(directory, "commit", "-q", "--allow-empty", "-m", message)
    return git(directory, "rev-parse", "HEAD")


def make_repository(path: Path, files: Mapping[str, str] | None = None) -> Path:
    path.mkdir(parents=True)
    git(path, "init", "-q", "-b", "main")
    commit(path, {"a.txt": "a\n", "src/b.txt": "b\n"} if files is None else files, "first")
    return path


def contents(tree: Path) -> dict[str, str]:
    """Of every file but git's link."""
    found = (path for path in sorted(tree.rglob("*")) if path.is_file() and path.name != ".git")
    return {path.relative_to(tree).as_posix(): path.read_text() for path in found}


def fingerprint(repo: Path) -> dict[str, str]:
    """Everything in a repository and its working tree but objects, which may come."""
    found = (path for path in sorted(repo.rglob("*")) if path.is_file() and ".git/objects/" not in str(path))
    return {str(path.relative_to(repo)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def refs(repo: Path) -> dict[str, str]:
    lines = git(repo, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return dict(line.split() for line in lines)


def files_of(repo: Path, revision: str) -> dict[str, str]:
    """What a commit holds, by path."""
    names = git(repo, "ls-tree", "-r", "--name-only", revision).splitlines()
    return {name: git_bytes(repo, "cat-file", "blob", f"{revision}:{name}").decode() for name in names}


def shown(base: Path) -> list[str]:
    return sorted(path.name for path in base.iterdir() if not path.name.startswith("."))


def new_id() -> str:
    return str(uuid.uuid4())
