"""A tree searched for a pattern. What matches is decided by scan.py alone, in a thread when it is sure to be quick, or
in worker processes; ripgrep, where there is one, is asked first which files are worth it, and changes no answer."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import trio

from agentd.errors import ToolFailed
from agentd.workspace.scan import Line, Scan
from agentd.workspace.sieve import sieve
from agentd.workspace.worker import describe, pack, search
from agentd.workspace.workerprocess import WorkerDied, WorkerProcess

FIRST_BATCH = 512  # files that are looked for before the search begins; later batches are larger
MAX_BATCH = 8192
PIECE = 512  # files that a worker is given at once
SMALL_PIECE = 256  # files that a thread looks through sooner than a worker starts
MAX_WORKERS = 4
MAX_IN_FLIGHT = 16  # pieces that are being searched, or wait for an earlier one to be delivered

_ARGUMENT_BYTES = 512 << 10  # of one command line


@attrs.frozen
class FileHits:
    """*count* lines of the file match; *lines* are those to be shown, with context."""

    path: bytes  # relative to the top
    count: int
    lines: list[Line]


class Search:
    """Searches *files*, which are relative to *top*, and gives each one that matches to *sink*, in the order they come
    in, until it answers False. At most *keep* lines of each are kept. *rg* is the path of ripgrep, if there is one."""

    def __init__(
        self,
        top: Path,
        files: Iterator[bytes],
        scan: Scan,
        sink: Callable[[FileHits], bool],
        *,
        keep: int,
        rg: str | None = None,
    ) -> None:
        self._top = os.path.join(os.fsencode(top), b"")  # noqa: PTH118 - bytes, ending in a slash
        self._files = files
        self._scan = scan
        self._sink = sink
        self._keep = keep
        self._sieve = _Sieve(rg, top, scan) if rg else None
        self._in_flight = trio.Semaphore(MAX_IN_FLIGHT)
        self._done: dict[int, list[FileHits]] = {}  # what waits for an earlier piece
        self._delivered = 0
        self._enough = trio.CancelScope()
        self._failed: WorkerDied | None = None

    async def run(self) -> None:
        """Cancellable at any time. Raises ToolFailed if a worker process dies."""
        send, receive = trio.open_memory_channel[tuple[int, list[bytes]]](0)
        with self._enough:
            async with trio.open_nursery() as nursery:
                for _ in range(min(os.cpu_count() or 1, MAX_WORKERS)):
                    nursery.start_soon(self._search_pieces, receive.clone())
                receive.close()
                await self._feed(send)
        if self._failed:
            raise ToolFailed(
                "The process that searches has died, maybe for want of memory; search in less"
            ) from self._failed

    async def _feed(self, send: trio.MemorySendChannel[tuple[int, list[bytes]]]) -> None:
        numbers = itertools.count()
        size = FIRST_BATCH
        async with send:
            while batch := await trio.to_thread.run_sync(list, itertools.islice(self._files, size)):
                size = min(size * 4, MAX_BATCH)
                if self._sieve and (len(batch) > SMALL_PIECE or not self._scan.pattern.quick):
                    batch = await self._sieve.pick(batch)
                for start in range(0, len(batch), PIECE):
                    await self._in_flight.acquire()
                    await send.send((next(numbers), batch[start : start + PIECE]))

    async def _search_pieces(self, pieces: trio.MemoryReceiveChannel[tuple[int, list[bytes]]]) -> None:
        worker = WorkerProcess("agentd.workspace.worker", pack(describe(self._scan)))
        try:
            async for number, piece in pieces:
                if self._scan.pattern.quick and len(piece) <= SMALL_PIECE:
                    check = trio.from_thread.check_cancelled
                    found = await trio.to_thread.run_sync(search, self._scan, self._top, piece, self._keep, check)
                else:
                    found = await worker.ask(pack((self._top, piece, self._keep)))
                self._deliver(number, [FileHits(piece[index], count, lines) for index, (count, lines) in found])
        except WorkerDied as exc:  # raised here it would reach the caller in an exception group
            self._failed = exc
            self._enough.cancel()
        finally:
            await worker.end()

    def _deliver(self, number: int, hits: list[FileHits]) -> None:
        self._done[number] = hits
        while self._delivered in self._done:
            for hit in self._done.pop(self._delivered):
                if not self._sink(hit):
                    self._enough.cancel()
                    return
            self._delivered += 1
            self._in_flight.release()


class _Sieve:
    """ripgrep, asked for the files in which there may be something."""

    def __init__(self, rg: str, top: Path, scan: Scan) -> None:
        expression = sieve(scan.pattern)
        self._usable = expression is not None
        self._top = top
        self._command: list[str | bytes] = [
            *(rg, "--no-config", "--text", "--no-mmap", "--no-messages", "--files-with-matches", "--null"),
            *(["--multiline"] if scan.pattern.multiline else []),
            *("--regexp", expression or "", "--"),
        ]

    async def pick(self, files: list[bytes]) -> list[bytes]:
        """Those of *files* that may match, in their order; all of them if ripgrep cannot tell."""
        picked: set[bytes] = set()
        for chunk in _chunks(files):
            if self._usable:
                picked.update(await self._ask(chunk))
        return [file for file in files if file in picked] if self._usable else files

    async def _ask(self, files: list[bytes]) -> list[bytes]:
        command = [*self._command, *files]
        try:
            done = await trio.run_process(
                command, cwd=self._top, env={}, capture_stdout=True, capture_stderr=True, check=False
            )
        except OSError:
            self._usable = False  # it has gone, or takes fewer arguments than we thought
            return []
        # It exits with 2 for an unreadable file, too, but then says nothing: it was told not to.
        self._usable = done.returncode in (0, 1, 2) and not done.stderr
        return done.stdout.split(b"\0")


def _chunks(files: list[bytes]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    room = _ARGUMENT_BYTES
    for file in files:
        room -= len(file) + 9  # its NUL, and the pointer to it
        if room < 0 and chunk:
            yield chunk
            chunk, room = [], _ARGUMENT_BYTES
        chunk.append(file)
    yield chunk
