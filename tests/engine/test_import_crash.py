"""A process that dies in the middle of an import leaves the session that was there, or the new one, whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("how", ["over", "new"])
def test_a_death_while_importing_leaves_one_whole_session(tmp_path: Path, how: str) -> None:
    program = Path(__file__).with_name("die_importing.py")
    command = [sys.executable, str(program), how, str(tmp_path)]
    env = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore::DeprecationWarning"}  # it forks beside idle threads
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.iterdir())) > 20
