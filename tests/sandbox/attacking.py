"""Attacks tried by a process of its own, of this user or of nobody; and where they differ from the table."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

import pytest

from agentd.sandbox.levels import landlock_abi
from agentd.sandbox.policy import SandboxLevel
from tests.sandbox.attackrange import ROOT
from tests.sandbox.attacks import BY_AGENTD
from tests.sandbox.attacktable import CELLS

SECONDS = 600.0
NOBODY = 65534
USERS = ("user", "root") if os.getuid() == 0 else ("user",)
SCOPES_ABI = 6  # of Landlock: from it on, signals and abstract sockets are what the table says
PLACES = Path("/var/cache")  # below it places for nobody can be made: temporary directories are not seen in sandboxes


def attack(level: SandboxLevel, user: str, names: Collection[str] = ()) -> Mapping[str, str | None]:
    """Why each attack is taken to have worked; None: it was stopped. Skips where that cannot be tried."""
    if level in (SandboxLevel.UNSHARE, SandboxLevel.LANDLOCK) and landlock_abi() < SCOPES_ABI:
        pytest.skip(f"needs Landlock {SCOPES_ABI}")
    stranger = user == "user" and os.getuid() == 0
    python = _interpreter() if stranger else sys.executable
    place = Path(tempfile.mkdtemp(prefix="agentd-", dir=PLACES if os.getuid() == 0 else Path.home()))
    try:
        env = _environment(place, stranger)
        done = subprocess.run(
            [python, "-m", "tests.sandbox.attacks", level, *names],
            cwd=ROOT,
            env=env,
            user=NOBODY if stranger else None,
            group=NOBODY if stranger else None,
            extra_groups=[] if stranger else None,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    finally:
        shutil.rmtree(place, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, str | None] | None = json.loads(done.stdout)
    if found is None:
        pytest.skip(f"{level} does not work here")
    return found


def _environment(place: Path, stranger: bool) -> dict[str, str]:
    """With a token, as an executor may have one; where places can be made; and a program of another user that says who
    it is run as, where this user can make one."""
    secret = f"secret-{secrets.token_hex(8)}"
    more = {"AGENTD_ATTACKS_SECRET": secret, "AGENTD_TOKEN": secret, "PYTHONDONTWRITEBYTECODE": "1"}
    if os.getuid() != 0:
        return {**os.environ, **more, "AGENTD_ATTACKS": str(place)}
    place.chmod(0o755)
    program = place / "id"
    shutil.copy(shutil.which("id") or "id", program)
    os.chown(program, 0 if stranger else NOBODY, 0)
    program.chmod(0o4755)
    (place / "h").mkdir()
    os.chown(place / "h", NOBODY if stranger else 0, NOBODY if stranger else 0)
    more |= {"AGENTD_ATTACKS_SETUID": str(program), "AGENTD_ATTACKS": str(place / "h")}
    if stranger:
        more |= {"HOME": str(place / "h"), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return {**os.environ, **more}


@cache
def _interpreter() -> str:
    """A Python of this version that nobody in particular can run. Skips where there is none."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for path in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            subprocess.run([path, "-c", ""], user=NOBODY, group=NOBODY, extra_groups=[], check=True, cwd="/")
        except (OSError, subprocess.SubprocessError):
            continue
        return path
    pytest.skip(f"needs a {version} that other users can run")


def differences(level: SandboxLevel, user: str, found: Mapping[str, str | None]) -> list[str]:
    """From the table: what works but should not, what is stopped but is told to work; and whatever works because agentd
    itself ran it, or followed it, with a sandbox or without."""
    told = []
    for name, why in found.items():
        cell = CELLS[name][level, user]
        if why == BY_AGENTD:
            told.append(f"{name}: {why}")
        elif cell != "m" and (why is not None) is not (cell in "W!"):
            told.append(f"{name} works: {why}" if why is not None else f"{name} is stopped")
    return told
