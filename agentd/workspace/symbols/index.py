"""What the files of a workspace define, brought up to date before each answer.

A file is looked at again when its times or its size have changed, or could have unnoticed; it is scanned again when its
contents have. That happens in worker processes, which are there only while there is something to scan. The rest, a walk
and a stat of each file, happens in a thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import trio

from agentd.errors import ToolFailed
from agentd.workspace.symbols import cache
from agentd.workspace.symbols.cache import Files
from agentd.workspace.symbols.languages import is_source
from agentd.workspace.symbols.packed import NOTHING, Packed
from agentd.workspace.symbols.worker import Look
from agentd.workspace.walk import Walk
from agentd.workspace.worker import pack as message
from agentd.workspace.workerprocess import WorkerDied, WorkerProcess

WORKER = "agentd.workspace.symbols.worker"
MAX_WORKERS = 4
PIECE = 32  # files that a worker is given at once
PROGRESS_FILES = 200  # from which on it is worth telling how far a pass has come
UNSAVED_FILES = 100  # or a twentieth of all, if that is more: what a crash may cost
DEATHS = 2  # of workers that had nothing else to scan, until a file is given up: one may be killed by anybody

Progress = Callable[[int, int], None]
logger = logging.getLogger(__name__)


class SymbolIndex:
    """Of one workspace. *cache_dir*: where to keep it between starts, outside of what git sees; made if need be."""

    def __init__(self, workspace: Path, cache_dir: Path, *, off_limits: Sequence[Path] = ()) -> None:
        self._workspace = workspace
        self._cache_dir = cache_dir
        self._off_limits = tuple(off_limits)
        self._files: Files = {}  # replaced, never changed: queries go through it in threads
        self._loaded = False
        self._unsaved = 0
        self._begun = self._ended = 0  # passes
        self._alone = trio.Lock()
        self._watching: list[Progress] = []

    @contextlib.contextmanager
    def watched(self, progress: Progress) -> Iterator[None]:
        """Inside of the block *progress* is told how many of how many files are done, when there are many to scan."""
        self._watching.append(progress)
        try:
            yield
        finally:
            self._watching.remove(progress)

    async def refresh(self) -> Files:
        """What is known of each file, as it is now or was after this was called. Whoever asks while others wait shares
        their pass. Cancellable: what was scanned until then is kept. Raises ToolFailed if no scanner can be started."""
        wanted = self._begun + 1  # a pass that has begun already may be past what was changed meanwhile
        await trio.lowlevel.checkpoint()  # others that ask at the same moment want the same one
        async with self._alone:
            if self._ended < wanted:
                self._begun += 1
                await self._pass()
                self._ended = self._begun
        return self._files

    async def aclose(self) -> None:
        """Write the cache, if there is something new."""
        async with self._alone:
            if self._unsaved:
                await self._save()

    async def _pass(self) -> None:
        if not self._loaded:
            self._files = await trio.to_thread.run_sync(cache.load, self._cache_dir)
            self._loaded = True
        old = self._files
        survey = await trio.to_thread.run_sync(_survey, self._workspace, self._off_limits, old)
        if not survey.doubtful and len(survey.kept) == len(old):
            return
        found: dict[bytes, Look | None] = {}
        base: Files = old  # should this be cancelled
        try:
            await _Scanning(self._workspace, survey.doubtful, found, self._tell).run()
            base = survey.kept
        finally:
            self._files = {**base, **dict(_known(found, old))}
            self._unsaved += len(found) + len(old) - len(base)
        if self._unsaved > max(UNSAVED_FILES, len(self._files) // 20):
            await self._save()

    def _tell(self, done: int, total: int) -> None:
        if total >= PROGRESS_FILES:
            for progress in self._watching:
                progress(done, total)

    async def _save(self) -> None:
        try:
            await trio.to_thread.run_sync(cache.save, self._cache_dir, self._files)
        except OSError as exc:
            reason = exc.strerror or exc
            logger.warning(
                "the index of symbols cannot be kept in %s (%s); it is made anew at the next start",
                self._cache_dir,
                reason,
            )
        self._unsaved = 0


class _Survey(NamedTuple):
    kept: dict[bytes, Look]
    doubtful: list[tuple[bytes, bytes]]  # paths, and the digests of what is known; b"" if nothing is


def _survey(workspace: Path, off_limits: tuple[Path, ...], old: Files) -> _Survey:
    """Which source files there are, and which of them are the ones that are known."""
    survey = _Survey({}, [])
    walk = Walk(workspace, off_limits=off_limits, check=trio.from_thread.check_cancelled)
    top = _slashed(workspace)
    for path in walk:
        if is_source(path):
            look = old.get(path)
            if look and not look.young and _times(top + path) == look[:3]:
                survey.kept[path] = look
            else:
                survey.doubtful.append((path, look.digest if look else b""))
    return survey


def _known(found: Mapping[bytes, Look | None], old: Files) -> Iterator[tuple[bytes, Look]]:
    """What workers say, with the old definitions where they say that nothing has changed."""
    for path, look in found.items():
        if look is not None:
            same = look.packed is None
            yield path, look._replace(skipped=old[path].skipped, packed=old[path].packed) if same else look


def _times(path: bytes) -> tuple[int, int, int] | None:
    """And the size; None if it is gone."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _slashed(workspace: Path) -> bytes:
    return os.path.join(os.fsencode(workspace), b"")  # noqa: PTH118 - bytes, ending in a slash


class _Scanning:
    """Has files looked at by workers. A piece whose worker dies is halved until it is clear which file did it."""

    def __init__(
        self, workspace: Path, files: list[tuple[bytes, bytes]], found: dict[bytes, Look | None], tell: Progress
    ) -> None:
        self._top = _slashed(workspace)
        self._total = len(files)
        self._pieces = deque(files[start : start + PIECE] for start in range(0, len(files), PIECE))
        self._found = found
        self._tell = tell
        self._deaths: Counter[bytes] = Counter()  # of workers that had only this file to look at
        self._scope = trio.CancelScope()
        self._failed: OSError | None = None

    async def run(self) -> None:
        """Cancellable; what is found until then is there. Raises ToolFailed if no worker can be started."""
        workers = min(os.cpu_count() or 1, MAX_WORKERS, len(self._pieces))
        with self._scope:
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(self._work)
        if self._failed:
            raise ToolFailed(f"No process could be started to read the sources with: {self._failed.strerror}")

    async def _work(self) -> None:
        worker = WorkerProcess(WORKER, message(os.getpid()))
        try:
            while self._pieces:
                piece = self._pieces.popleft()
                try:
                    self._take(piece, await worker.ask(message(("scan", self._top, piece))))
                except WorkerDied:
                    await worker.end()
                    self._blame(piece)
        except OSError as exc:  # raised here it would reach the caller in an exception group
            self._failed = exc
            self._scope.cancel()
        finally:
            await worker.end()

    def _take(self, piece: list[tuple[bytes, bytes]], looks: list[Any]) -> None:
        for (path, _), look in zip(piece, looks, strict=True):
            self._found[path] = look and Look(*look[:6])._replace(packed=look[6] and Packed(*look[6]))
        self._tell(len(self._found), self._total)

    def _blame(self, piece: list[tuple[bytes, bytes]]) -> None:
        """What to do with files whose worker has died."""
        if len(piece) > 1:
            middle = len(piece) // 2
            self._pieces.extendleft((piece[middle:], piece[:middle]))
            return
        path = piece[0][0]
        self._deaths[path] += 1
        if self._deaths[path] < DEATHS:
            self._pieces.appendleft(piece)
            return
        times = _times(self._top + path)
        self._take(piece, [times and (*times, False, b"", "scanning it ended the scanner", NOTHING)])
