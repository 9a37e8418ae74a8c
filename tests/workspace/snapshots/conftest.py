"""A repository of a user, and what that user would notice."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import attrs
import pytest

from agentd.workspace.snapshot import Snapshots


@attrs.frozen
class Repository:
    top: Path
    scratch: Path

    def git(self, *args: str, check: bool = True) -> str:
        done = subprocess.run(
            ["git", *args], cwd=self.top, capture_output=True, text=True, errors="surrogateescape", check=check
        )
        return done.stdout

    def read(self, name: str) -> str:
        return (self.top / name).read_text()

    def another(self, name: str, *options: str) -> Repository:
        """One more repository, beside this one or inside it."""
        other = attrs.evolve(self, top=self.top / name, scratch=self.scratch.with_name(f"scratch of {Path(name).name}"))
        other.top.mkdir()
        other.git("init", "-q", *options)
        return other

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def commit(self, **files: str) -> None:
        for name, content in files.items():
            self.write(name, content)
        self.git("add", "-A")
        self.git("commit", "-qm", "a commit")

    def snapshots(self, below: str = ".") -> Snapshots:
        return Snapshots(self.top / below, self.scratch)

    def listed(self, before: str, after: str) -> list[str]:
        """Paths that differ between two trees that a snapshot took."""
        env = os.environ | {"GIT_DIR": str(self.scratch)}
        argv = ["git", "diff-tree", "-r", "-z", "--name-only", before, after]
        return os.fsdecode(subprocess.run(argv, env=env, capture_output=True, check=True).stdout).split("\0")[:-1]

    def state(self) -> dict[str, object]:
        """What a user would see changed: the index to the byte and its times, the objects, the refs, the status."""
        index = self.top / ".git/index"
        found = index.stat()
        return {
            "index": (index.read_bytes(), found.st_mtime_ns, found.st_ino),
            "objects": self.git("count-objects", "-v"),
            "refs": self.git("for-each-ref"),
            "files": sorted(str(path) for path in (self.top / ".git").rglob("*")),
            "status": self.git("--no-optional-locks", "status", "--porcelain"),
        }


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    home, top = tmp_path / "home", tmp_path / "repository"
    home.mkdir()
    top.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    repository = Repository(top, tmp_path / "scratch")
    repository.git("init", "-q")
    return repository
