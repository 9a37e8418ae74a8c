"""Questions about what a workspace defines, each answered as of now: the index is brought up to date first."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import NamedTuple

import trio

from agentd.errors import ToolFailed
from agentd.workspace.symbols import lookup, sourcefile
from agentd.workspace.symbols.cache import Files
from agentd.workspace.symbols.index import WORKER, Progress, SymbolIndex
from agentd.workspace.symbols.lookup import Found
from agentd.workspace.symbols.model import CALLABLES, TYPES, Definition, Kind
from agentd.workspace.symbols.outline import body, skeleton
from agentd.workspace.symbols.packed import LETTERS
from agentd.workspace.symbols.usages import Usages, find_usages
from agentd.workspace.symbols.worker import Look
from agentd.workspace.worker import pack as message
from agentd.workspace.workerprocess import WorkerDied, WorkerProcess

MAX_DEFINITIONS = 50  # of one name that are told in one text
MAX_BODY_LINES = 5000
TRIES = 3  # to read a file as it was indexed, while somebody writes it
MATCH_SECONDS = 20.0


class Matches(NamedTuple):
    total: int
    best: list[Found]


class Outlined(NamedTuple):
    """A file, and what it defines."""

    path: str
    definitions: list[Definition]
    skipped: str  # why it was not scanned; "" if it was


class Outlines(NamedTuple):
    total: int  # files
    first: list[Outlined]


class Symbols:
    """Of one workspace, an absolute and resolved path. *cache_dir*: where the index is kept between starts. Every
    question may raise ToolFailed, if no process can be started to scan files with."""

    def __init__(
        self,
        workspace: Path,
        cache_dir: Path,
        *,
        off_limits: Sequence[Path] = (),
        find_rg: Callable[[], str | None] = lambda: shutil.which("rg"),
    ) -> None:
        self._workspace = workspace
        self._off_limits = tuple(off_limits)
        self._find_rg = find_rg
        self._index = SymbolIndex(workspace, cache_dir, off_limits=off_limits)

    def watched(self, progress: Progress) -> contextlib.AbstractContextManager[None]:
        """Inside of the block *progress* is told how many of how many files are done, when there are many to scan."""
        return self._index.watched(progress)

    async def aclose(self) -> None:
        """Keep the index for the next start. Nothing is lost without it but time."""
        await self._index.aclose()

    async def find(self, name: str, kinds: Container[Kind] = frozenset(Kind)) -> list[Found]:
        """Definitions of that qualified name; if there are none, those whose name ends with it (`Users.add` for
        `app.db.Users.add`). `::`, `#` and `$` may stand for dots."""
        files = await self._index.refresh()
        return await trio.to_thread.run_sync(lookup.find, files, name, kinds)

    async def types(self, name: str) -> list[Found]:
        return await self.find(name, TYPES)

    async def callables(self, name: str) -> list[Found]:
        return await self.find(name, CALLABLES)

    async def similar(self, name: str) -> list[str]:
        """Names that there are, for one that there is not."""
        files = await self._index.refresh()
        return await trio.to_thread.run_sync(lookup.similar, files, name)

    async def summary(self, name: str) -> str | None:
        """The skeletons of the types of that name: declaration, fields, signatures. None: there is no such type."""
        files = await self._index.refresh()
        return await trio.to_thread.run_sync(_summary, files, name)

    async def sources(self, name: str, *, numbers: bool = False, most: int = MAX_BODY_LINES) -> str | None:
        """The sources of the functions of that name, whole or *most* lines of each, their lines numbered on demand.
        None: there is no such function."""
        top = os.path.join(os.fsencode(self._workspace), b"")  # noqa: PTH118 - bytes, ending in a slash
        told: str | None = None
        for _ in range(TRIES):
            files = await self._index.refresh()
            found = await trio.to_thread.run_sync(lookup.find, files, name, CALLABLES)
            if not found:
                return None
            told, current = await trio.to_thread.run_sync(_bodies, top, files, found, numbers, most)
            if current:
                break
        return told

    async def search(self, pattern: str, kinds: Container[Kind] = frozenset(Kind), limit: int = 50) -> Matches:
        """Definitions with a name that matches: exactly that one, then those that begin with it, then those with a word
        that does, then the rest; tests come last. Raises ToolFailed for a pattern that takes too long."""
        files = await self._index.refresh()
        letters = "".join(letter for kind, letter in LETTERS.items() if kind in kinds)
        asked = await trio.to_thread.run_sync(_match_request, files, pattern, letters, limit)
        worker = WorkerProcess(WORKER, message(os.getpid()))
        try:
            with trio.fail_after(MATCH_SECONDS):
                count, places = await worker.ask(asked)
        except trio.TooSlowError:
            raise ToolFailed("The pattern takes too long; make it simpler (no repeat in a repeat)") from None
        except (WorkerDied, OSError) as exc:
            raise ToolFailed("The process that searches names has died, maybe for want of memory") from exc
        finally:
            await worker.end()
        return Matches(count, await trio.to_thread.run_sync(_at, files, places))

    async def outlines(self, path: str, limit: int = 100) -> Outlines:
        """Of a file, or of the files in a directory, by path. *path* is relative to the workspace; "." is all of it."""
        files = await self._index.refresh()
        return await trio.to_thread.run_sync(_outlines, files, path.strip("/"), limit)

    async def usages(self, name: str, limit: int = 100) -> Usages:
        """Lines with the last word of *name*, but for those that define it."""
        files = await self._index.refresh()
        found = await trio.to_thread.run_sync(lookup.find, files, name)
        simple = found[0].definition.name if found else lookup.spellings(name)[-1].rpartition(".")[2]
        if not simple:
            return Usages(0, True, [])
        return await find_usages(self._workspace, self._off_limits, self._find_rg(), files, simple, limit)

    async def skipped(self) -> dict[str, int]:
        """How many files were not scanned, by why."""
        files = await self._index.refresh()
        return dict(Counter(look.skipped for look in files.values() if look.skipped))


def _summary(files: Files, name: str) -> str | None:
    found = lookup.find(files, name, TYPES)
    told = [skeleton(each, lookup.members(files, each)) for each in found[:MAX_DEFINITIONS]]
    return "\n\n".join([*told, *_left_out(found)]) or None


def _bodies(top: bytes, files: Files, found: list[Found], numbers: bool, most: int) -> tuple[str, bool]:
    """And whether the files are still those that were indexed."""
    told, current = [], True
    for each in found[:MAX_DEFINITIONS]:
        text, same = _text(top, files, each.file)
        told.append(body(each, text, numbers=numbers, most=most))
        current = current and same
    return "\n\n".join([*told, *_left_out(found)]), current


def _text(top: bytes, files: Files, path: bytes) -> tuple[str, bool]:
    try:
        opened = sourcefile.read(top, path)
    except OSError:
        opened = None
    if opened is None:
        return "", False
    found, data = opened
    same = (found.st_mtime_ns, found.st_ctime_ns, found.st_size) == files[path][:3]
    return sourcefile.decode(data) or "", same


def _left_out(found: list[Found]) -> list[str]:
    rest = found[MAX_DEFINITIONS:]
    if not rest:
        return []
    return [f"[{len(rest)} more of that name; a longer name tells them apart: {rest[0].definition.qualified}]"]


def _match_request(files: Files, pattern: str, letters: str, limit: int) -> bytes:
    names = [(lookup.shown(path), *look.packed[:4]) for path, look in files.items() if look.packed]
    return message(("match", pattern, letters, limit, names))


def _at(files: Files, places: list[tuple[int, int]]) -> list[Found]:
    paths = [path for path, look in files.items() if look.packed]
    return [Found(paths[at], lookup.definitions_in(files[paths[at]])[place]) for at, place in places]


def _outlines(files: Files, path: str, limit: int) -> Outlines:
    wanted = os.fsencode(path)
    below = wanted + b"/"
    chosen = sorted(each for each in files if path in ("", ".") or each == wanted or each.startswith(below))
    return Outlines(len(chosen), [_outlined(each, files[each]) for each in chosen[:limit]])


def _outlined(path: bytes, look: Look) -> Outlined:
    return Outlined(lookup.shown(path), lookup.definitions_in(look), look.skipped)
