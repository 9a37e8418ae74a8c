"""What a workspace holds at a moment, as a git tree, and what changed between two. The user's repository is only read.

A tree is HEAD's files as they are in the working tree now, with the untracked ones that are not ignored. Not in it:
what git does not keep (directories, pipes, sockets), repositories inside the workspace that are no submodules, and
changes to files that cannot be read or are larger than FILE_LIMIT.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from pathlib import Path

import attrs
import trio

from agentd.workspace import marks
from agentd.workspace.commit import Commit, commit_changes
from agentd.workspace.scratch import Scratch, open_scratch

FILE_LIMIT = 32 << 20  # bytes; a larger file stays what it was when it was last small enough


@attrs.frozen
class DiffStat:
    files: int
    added: int  # lines
    removed: int


class Snapshots:
    """Of one workspace, which may be a directory inside a repository: then only that directory is looked at.

    *scratch_dir* is made when it is needed; it holds the objects of every tree that was taken, so a tree's name is
    good for as long as that directory. Every method raises NotARepository or GitFailed.
    """

    def __init__(self, workspace: Path, scratch_dir: Path) -> None:
        self._workspace = workspace.resolve()
        self._directory = scratch_dir.resolve()
        self._scratch: Scratch | None = None
        self._latest = ""  # the tree that our index is
        self._left_out: dict[bytes, marks.Stamp] = {}  # of that tree
        self._opening = trio.Lock()
        self._alone = trio.Lock()  # whoever works with an index here

    async def take(self) -> str:
        """The name of the tree that the workspace is now."""
        async with self._alone:
            return await self._take()

    async def _take(self) -> str:
        scratch = await self._open()
        self._latest = ""
        scratch.unlock()  # a job that was cancelled may have killed the git of its snapshot
        changed, gone = await self._differences(scratch)
        if gone:
            await scratch.git("update-index", "-z", "--force-remove", "--stdin", input=_joined(gone))
        if changed:
            add = ("update-index", "-z", "--add", "--remove", "--replace", "--stdin")
            await scratch.git(*add, input=_joined(changed))
        self._latest = (await scratch.git("write-tree", "--missing-ok")).decode().strip()
        return self._latest

    async def diff(self, before: str, after: str) -> bytes:
        """A unified git diff, with paths from the repository's top; that binary files differ is only said."""
        scratch = await self._open()
        return await scratch.git("diff-tree", "-r", "-p", "-M", "--no-ext-diff", "--no-textconv", before, after)

    async def stat(self, before: str, after: str) -> DiffStat:
        scratch = await self._open()
        text = (await scratch.git("diff-tree", "-r", "-M", "--shortstat", before, after)).decode()
        counts = (re.search(rf"(\d+) {what}", text) for what in ("file", "insertion", "deletion"))
        return DiffStat(*(int(count[1]) if count else 0 for count in counts))

    async def commit(self, before: str, after: str, message: str) -> Commit | None:
        """Commit what changed between two trees onto HEAD: see commit_changes(). None: HEAD has it already."""
        async with self._alone:
            return await commit_changes(await self._open(), before, after, message)

    # --- What files were, so that they can be brought back: see marks.py ------------------------------------------

    async def mark(self, name: str, tree: str | None) -> str:
        """Keep what is needed to tell later what files were; the tree that they are. That is *tree*, if it is the last
        one that was taken here."""
        async with self._alone:
            if tree is None or tree != self._latest:
                tree = await self._take()
            await marks.make_mark(await self._open(), self._mark(name), self._left_out)
            return tree

    async def changed_since(
        self, name: str, before: str, after: str | None, also: Iterable[Path]
    ) -> dict[Path, marks.Was]:
        """What was at every path that differs between the tree *before*, for which the mark was made, and *after*, or
        now; and at those of *also* of which it is known."""
        async with self._alone:
            if after is None or after != self._latest:
                after = await self._take()
            scratch = await self._open()
            top = os.fsencode(scratch.top)
            inside = [
                os.fsencode(path.relative_to(scratch.top)) for path in also if path.is_relative_to(self._workspace)
            ]
            found = await marks.changed_since(scratch, self._mark(name), before, after, self._left_out, inside)
            return {Path(os.fsdecode(os.path.join(top, was.path))): was for was in found}  # noqa: PTH118  # bytes

    async def contents(self, files: Sequence[marks.Was]) -> AsyncGenerator[tuple[marks.Was, bytes | None], None]:
        """What each held, in any order; None where that cannot be told. To be closed."""
        return marks.contents(await self._open(), files)

    def forget_mark(self, name: str) -> None:
        marks.forget_mark(self._mark(name))

    def _mark(self, name: str) -> Path:
        return self._directory / "marks" / name

    async def _open(self) -> Scratch:
        async with self._opening:
            if self._scratch is None:
                self._scratch = await open_scratch(self._workspace, self._directory)
            return self._scratch

    async def _differences(self, scratch: Scratch) -> tuple[list[bytes], list[bytes]]:
        """Paths that are not what our index has, and paths that are not there any more."""
        below = ["--", scratch.prefix or "."]
        # ignore-submodules: looking whether one is dirty would run git in it, with its own configuration.
        listed = await scratch.git("diff-files", "-z", "--name-status", "--ignore-submodules=dirty", *below)
        words = iter(listed.split(b"\0")[:-1])
        status = {path: letter for letter, path in zip(words, words, strict=True)}
        untracked = await scratch.git("ls-files", "-z", "--others", "--exclude-standard", *below)
        forced = await scratch.git(  # tracked though they are ignored: added with --force since our copy was made
            "ls-files", "-z", "--cached", "--ignored", "--exclude-standard", *below, index=scratch.index
        )
        gone = [path for path, letter in status.items() if letter == b"D"]
        candidates = {*(path for path in status if path not in gone), *(untracked + forced).split(b"\0")[:-1]}
        readable, self._left_out = await trio.to_thread.run_sync(_readable, os.fsencode(scratch.top), candidates)
        return readable, gone


def _readable(top: bytes, paths: Collection[bytes]) -> tuple[list[bytes], dict[bytes, marks.Stamp]]:
    """Those that a tree can have, and of the rest what they are now."""
    readable = {path for path in paths if _is_readable(os.path.join(top, path))}  # noqa: PTH118  # bytes
    left_out = {path: marks.stamp(top, path) or (0, 0) for path in paths if path not in readable}
    return sorted(readable), left_out


def _is_readable(path: bytes) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return True  # gone: git takes that as a removal
    if stat.S_ISREG(found.st_mode):
        return found.st_size <= FILE_LIMIT and os.access(path, os.R_OK)
    # A directory is a submodule, or with a slash at its end a repository that is none.
    return stat.S_ISLNK(found.st_mode) or (stat.S_ISDIR(found.st_mode) and not path.endswith(b"/"))


def _joined(paths: Iterable[bytes]) -> bytes:
    return b"".join(path + b"\0" for path in paths)
