"""Executors that do what a test wants: a program that speaks the launch protocol, and a line of the test's between."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

import agentd
from agentd.daemon.executors import Plan
from agentd.store.home import Home, SessionDir

SOURCE = str(Path(agentd.__path__[0]).parent)
BEGIN = f"""
import ctypes, os, signal, sys, time
sys.path.insert(0, {SOURCE!r})
import trio
from agentd.sandbox.leash import read_hello, ready_line, watch_leash
hello = read_hello()
here = hello.session_dir

def note(name, text=""):
    with open(os.path.join(here, name), "a") as file:
        file.write(text or f"{{os.getpid()}}\\n")

def ready(address="unix:/nowhere"):
    sys.stdout.buffer.write(ready_line(hello, address, "none"))
    sys.stdout.flush()

def wait():
    trio.run(watch_leash)

note("starts")
"""
READY = "ready()\nwait()\nnote('left')"


def program(script: str) -> Callable[..., list[str]]:
    """For a Plan: an executor that reads its hello, notes its start, and runs *script*."""
    return lambda *words: [sys.executable, "-I", "-c", BEGIN + script, *words]


def fake_plan(script: str = READY, **more: Any) -> Plan:
    return Plan(program=program(script), forks=False, **more)


@attrs.frozen
class Bench:
    home: Home
    workspace: Path

    def session(self) -> SessionDir:
        return self.home.create_session("manager", self.workspace, "bench", isolation="worktree")


def starts(session: SessionDir) -> list[int]:
    """The pids of all executors that it has had."""
    path = session.path / "starts"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
