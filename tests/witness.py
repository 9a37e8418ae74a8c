"""A look at what is left of commands that try to outlive those who started them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import attrs


@attrs.frozen
class Witness:
    """Finds processes by a number that no other has among its arguments."""

    number: str

    @property
    def sleep(self) -> str:
        return f"sleep {self.number}"

    def alive(self) -> list[int]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):  # and no further, or glob fails on what has just ended
            try:
                if self.number.encode() in (process / "cmdline").read_bytes():  # of a zombie it is empty
                    found.append(int(process.name))
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


def commands_with(mark: str) -> list[str]:
    """The command lines of other processes that hold *mark*."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if mark.encode() in command and int(process.name) != os.getpid():
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def until(holds: Callable[[], object], seconds: float) -> bool:
    """Whether *holds* came true in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
