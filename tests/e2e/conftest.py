"""What tests of the built file share."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import build

Run = Callable[..., subprocess.CompletedProcess[str]]

COREUTILS = (
    "cat chmod cp date echo env false head ls mkdir mktemp mv pwd rm rmdir sleep sort tail tee touch tr true uname wc"
)


@pytest.fixture
def bare(tmp_path: Path, require: Callable[[str], str]) -> dict[str, str]:
    """The environment of a fresh machine: HOME is empty, and PATH has only python3, git and the coreutils."""
    home, programs = tmp_path / "home", tmp_path / "programs"
    home.mkdir()
    programs.mkdir()
    (programs / "python3").symlink_to(Path(build.BASE_PYTHON).resolve())
    for name in ("git", *COREUTILS.split()):
        (programs / name).symlink_to(require(name))
    return {"HOME": str(home), "PATH": str(programs)}


@pytest.fixture
def run(bare: Mapping[str, str], tmp_path: Path) -> Run:
    """Run a command in the bare environment, in an empty directory unless told otherwise."""

    def run(
        *command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, umask: int = -1
    ) -> subprocess.CompletedProcess[str]:
        empty = tmp_path / "cwd"
        empty.mkdir(exist_ok=True)
        return subprocess.run(
            [os.fspath(word) for word in command],
            env={**bare, **(env or {})},
            cwd=cwd or empty,
            umask=umask,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture(scope="session")
def clients() -> Path:
    """The directory of the programs that pyproject.toml names as clients; without them the test skips, or fails where
    AGENTD_TEST_REQUIRE=all."""
    packages = build.clients()
    directory = build.scratch_environment(packages)
    if not (directory / "complete").exists():
        give_up = pytest.fail if os.environ.get("AGENTD_TEST_REQUIRE") == "all" else pytest.skip
        give_up(f"needs {' and '.join(packages)}: python3 build.py clients")
    return directory / "bin"
