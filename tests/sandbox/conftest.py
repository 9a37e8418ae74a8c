"""Commands that try to outlive those who started them, and a look at what is left of them."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from agentd.sandbox.contain import Containment, Level, probe


@attrs.frozen
class Witness:
    """Finds processes by a number that no other has among its arguments."""

    number: str

    @property
    def sleep(self) -> str:
        return f"sleep {self.number}"

    def alive(self) -> list[int]:
        found = []
        for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if self.number.encode() in cmdline.read_bytes():  # of a zombie it is empty
                    found.append(int(cmdline.parent.name))
            except OSError:
                continue
        return [pid for pid in found if pid != os.getpid()]

    def gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True


@pytest.fixture
def witness() -> Iterator[Witness]:
    one = Witness(str(secrets.randbelow(10**9) + 10**9))
    yield one
    for pid in one.alive():
        os.kill(pid, 9)


@pytest.fixture
async def contained(request: pytest.FixtureRequest, require: Callable[[str], str]) -> Containment:
    """The containment of the level that the test is parametrized with."""
    level: Level = request.param
    if level is Level.BWRAP:
        require("bwrap")
    containment = await probe([level])
    assert containment.level is level
    return containment
