"""What tests of the workspace share: repositories to search and to ignore things in."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Git = Callable[..., bytes]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Run git in a directory, with no configuration but the repository's own; what it prints."""
    env = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "XDG_CONFIG_HOME": os.devnull}

    def run(directory: Path, *arguments: str) -> bytes:
        return subprocess.run(
            ["git", *arguments], cwd=directory, env=env, check=True, capture_output=True, timeout=30
        ).stdout

    return run
