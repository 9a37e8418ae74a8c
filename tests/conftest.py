"""What every test may use."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from agentd.providers.scripted import ScriptedProvider
from agentd.store.home import make_home
from agentd.wire.egress import Guard
from tests.witness import Witness
from tests.workshop import Workshop

ROOT = Path(__file__).resolve().parent.parent

# How fast a machine is that others use too says nothing about what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


_outside = Guard()  # of this process: nothing but loopback is contacted, as with --offline
_is_watching = True


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event.startswith("socket.") and _is_watching:
        _outside.audit(event, args)


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def nothing_outside_is_contacted(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails whatever test contacts anything but this machine, unless it is marked with `contacts_outside`."""
    global _is_watching
    _is_watching = request.node.get_closest_marker("contacts_outside") is None
    _outside.refused.clear()
    yield
    if refused := dict(_outside.refused):
        pytest.fail(f"this test wanted to contact {', '.join(refused)}", pytrace=False)


@pytest.fixture
def require() -> Callable[[str], str]:
    """The path of a program that a test needs beyond Python and git. Where it is missing the test skips, naming it;
    with AGENTD_TEST_REQUIRE=all it fails, so that a machine that should have everything cannot pass by skipping."""

    def find(program: str) -> str:
        path = shutil.which(program)
        if path:
            return path
        if os.environ.get("AGENTD_TEST_REQUIRE") == "all":
            pytest.fail(f"needs {program}, which is not installed", pytrace=False)
        pytest.skip(f"needs {program}")

    return find


@pytest.fixture(scope="session")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An agentd.pyz, built once for all tests from a copy of this source, which is two directories above it."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "agentd", source / "agentd", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("build.py", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / ".cache").symlink_to(ROOT / ".cache")
    subprocess.run([sys.executable, str(source / "build.py")], check=True, stderr=subprocess.PIPE)
    return source / "dist" / "agentd.pyz"


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """An engine for conversations with a scripted model."""
    (tmp_path / "workspace").mkdir()
    return Workshop(make_home(tmp_path / "home"), tmp_path / "workspace", ScriptedProvider([]))


@pytest.fixture
def witness() -> Iterator[Witness]:
    """Whoever is named by it is looked for, and ended with the test."""
    one = Witness(str(secrets.randbelow(10**9) + 10**9))
    yield one
    for pid in one.alive():
        os.kill(pid, 9)
