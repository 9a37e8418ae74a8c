"""Our side of a worker: a Python of its own that answers messages (worker.py says how) and can be ended at any time."""

from __future__ import annotations

import marshal
import sys
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import attrs
import trio

import agentd
from agentd.workspace.worker import LENGTH_BYTES

# Where agentd and attrs are imported from: directories, or the .pyz that both are in.
_HOMES = [str(Path(package.__path__[0]).absolute().parent) for package in (agentd, attrs)]
_START = "import sys; sys.path[:0] = sys.argv[2:]; from importlib import import_module as i; i(sys.argv[1]).main()"


class WorkerDied(Exception):
    """It was killed, maybe for want of memory, or has a bug."""


def command(module: str) -> list[str]:
    """What starts a Python that runs `main()` of *module*. It does not import what is installed elsewhere."""
    return [sys.executable, "-I", "-S", "-c", _START, module, *_HOMES]


class WorkerProcess:
    """Started when it is first asked something. *hello* is sent ahead of that, and not answered."""

    def __init__(self, module: str, hello: bytes) -> None:
        self._module = module
        self._hello = hello
        self._process: trio.Process | None = None
        self._received = bytearray()

    async def ask(self, request: bytes) -> Any:
        """The answer to a packed request. Raises WorkerDied; OSError if it cannot be started. Cancelled in between,
        its answers are no longer in step: end() it."""
        if self._process is None:
            self._process = await trio.lowlevel.open_process(
                command(self._module), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd="/"
            )
            request = self._hello + request
        stdin, stdout = _pipes(self._process)
        try:
            await stdin.send_all(request)
            size = int.from_bytes(await self._receive(stdout, LENGTH_BYTES), "little")
            return marshal.loads(await self._receive(stdout, size))
        except trio.BrokenResourceError as exc:
            raise WorkerDied from exc

    async def _receive(self, stdout: trio.abc.ReceiveStream, size: int) -> bytes:
        while len(self._received) < size:
            data = await stdout.receive_some()
            if not data:
                raise trio.BrokenResourceError
            self._received += data
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    async def end(self) -> None:
        """Kill it. It can be asked again: then another one is started."""
        if self._process is None:
            return
        process, self._process = self._process, None
        self._received.clear()
        process.kill()
        with trio.CancelScope(shield=True):  # a killed process is gone at once
            await process.wait()
            for pipe in _pipes(process):
                await pipe.aclose()


def _pipes(process: trio.Process) -> tuple[trio.abc.SendStream, trio.abc.ReceiveStream]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout
