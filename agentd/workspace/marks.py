"""What files were at a moment, so that they can be brought back: more than a tree tells.

A tree has what git would commit. That is not always what the file held: line ends may have been converted, a filter
may have put a pointer in its place, and what is too large for a snapshot stays what it was before. So with the tree a
mark keeps the index of that moment, which has the sizes of the files themselves, and the names of what was there and is
in no tree: it must not be taken for new when it turns up later, because somebody has changed what is ignored.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs
import trio

from agentd.errors import GitFailed
from agentd.store.files import remove_tree, write_atomic
from agentd.workspace.commit import Entry, parse_changes
from agentd.workspace.scratch import Scratch

SUBMODULE = b"160000"
LINK = b"120000"
EXECUTABLE = b"100755"
BATCH_BYTES = 32 << 20  # of contents that are read at once; one alone may be larger
ARGUMENTS = 500  # paths that one command line names
_SIZES = re.compile(rb"([^\0]+)\0(?:  [^\n]*\n){4}  size: (\d+)\t[^\n]*\n")  # git ls-files --debug -z
Stamp = tuple[int, int]  # size in bytes, nanoseconds of the last change


@attrs.frozen
class Was:
    """What was at a path. *blob*: git's name of its content; None where that is not known any more."""

    path: bytes  # from the repository's top
    kind: Literal["file", "link", "absent"]
    size: int = 0  # bytes
    executable: bool = False
    blob: bytes | None = None
    converted: bool = False  # the blob is not what the file held, byte for byte


@attrs.frozen
class Facts:
    """What a mark keeps beside tree and index. Names of directories end with a slash: all below them is meant."""

    unseen: frozenset[bytes]  # was there, and is in no tree
    left_out: Mapping[bytes, Stamp]  # is in the tree as something older, or not at all

    def hides(self, path: bytes) -> bool:
        """Whether there may have been something at *path* that the tree does not tell of."""
        parts = path.split(b"/")
        above = (b"/".join(parts[:count]) + b"/" for count in range(1, len(parts)))
        return path in self.unseen or path in self.left_out or any(one in self.unseen for one in above)


async def make_mark(scratch: Scratch, directory: Path, left_out: Mapping[bytes, Stamp]) -> None:
    """Keep in *directory* what the index and the last snapshot know now. Raises GitFailed."""
    below = ["--", scratch.prefix or "."]
    ignored = await scratch.git("ls-files", "-z", "-o", "-i", "--exclude-standard", "--directory", *below)
    foreign = [path for path in left_out if path.endswith(b"/")]
    names = sorted(map(os.fsdecode, [*_whole(ignored.split(b"\0")[:-1]), *foreign]))
    stamps = {os.fsdecode(path): stamp for path, stamp in left_out.items() if not path.endswith(b"/")}
    facts = json.dumps({"unseen": names, "left_out": stamps})
    try:
        await trio.to_thread.run_sync(_write_mark, directory, scratch.directory / "index", facts.encode())
    except OSError as exc:
        raise GitFailed(f"{directory} could not be written: {exc.strerror}") from exc


def _write_mark(directory: Path, index: Path, facts: bytes) -> None:
    import shutil  # here, since it loads three compressors and is hardly ever needed

    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy2(index, directory / "index")
    write_atomic(directory / "facts", facts, durable=False)


def _whole(names: Sequence[bytes]) -> list[bytes]:
    """Without the directories of which what is in them is listed too: those are not hidden as a whole."""
    parents = {name[: name.rstrip(b"/").rfind(b"/") + 1] for name in names}
    return [name for name in names if name not in parents]


def read_mark(directory: Path) -> Facts:
    """Raises GitFailed."""
    try:
        facts = json.loads((directory / "facts").read_bytes())
        stamps = {os.fsencode(path): (size, time) for path, (size, time) in facts["left_out"].items()}
        return Facts(frozenset(map(os.fsencode, facts["unseen"])), stamps)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise GitFailed(f"what was remembered of the workspace in {directory} is gone or damaged") from exc


def forget_mark(directory: Path) -> None:
    remove_tree(directory)


# --- What has changed since ---------------------------------------------------------------------------------------


async def changed_since(
    scratch: Scratch, directory: Path, before: str, after: str, left_out: Mapping[bytes, Stamp], also: Collection[bytes]
) -> list[Was]:
    """What everything was that differs between two trees, and what *also* was, as far as it is known.

    *directory*: the mark made with *before*; *left_out*: of *after*. Raises GitFailed."""
    facts = read_mark(directory)
    raw = await scratch.git("diff-tree", "-r", "-z", "--raw", "--no-renames", before, after)
    old = {path: change.old for path, change in parse_changes(raw).items()}
    asked = {path for path in {*also, *left_out} - old.keys() if not path.endswith(b"/")}
    old |= await _entries(scratch, before, asked)
    submodules = {path for path, entry in old.items() if entry is not None and entry.mode == SUBMODULE}
    hidden = Facts(facts.unseen | {path + b"/" for path in submodules}, facts.left_out)
    told = {path: entry for path, entry in old.items() if path not in submodules and not hidden.hides(path)}
    # A file that was there, and that the tree has not as it was: that it changed is all there is to say.
    lost = [path for path, known in facts.left_out.items() if known != stamp(os.fsencode(scratch.top), path)]
    return [*(await _sized(scratch, directory, told)), *(Was(path, "file", facts.left_out[path][0]) for path in lost)]


async def _entries(scratch: Scratch, tree: str, paths: Collection[bytes]) -> dict[bytes, Entry | None]:
    """What *tree* has at *paths*; with the submodules that some are in."""
    above = {path[:end] for path in paths for end in _slashes(path)}
    found: dict[bytes, Entry | None] = dict.fromkeys(paths)
    asked = sorted({*paths, *above})
    for start in range(0, len(asked), ARGUMENTS):
        part = map(os.fsdecode, asked[start : start + ARGUMENTS])
        listed = await scratch.git("ls-tree", "--full-tree", "-z", tree, "--", *part)
        for line in listed.split(b"\0")[:-1]:
            facts, _, path = line.partition(b"\t")
            mode, kind, blob = facts.split(b" ")
            if kind == b"commit" or (kind == b"blob" and path in found):
                found[path] = Entry(mode, blob)
    return found


def _slashes(path: bytes) -> list[int]:
    return [index for index, byte in enumerate(path) if byte == 0x2F]


def stamp(top: bytes, path: bytes) -> Stamp | None:
    """None where there is nothing."""
    try:
        found = os.lstat(os.path.join(top, path))  # noqa: PTH118  # bytes
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


async def _sized(scratch: Scratch, directory: Path, old: Mapping[bytes, Entry | None]) -> list[Was]:
    there = {path: entry for path, entry in old.items() if entry is not None}
    blobs = await _sizes_of_blobs(scratch, {entry.blob for entry in there.values()})
    files = await _sizes_of_files(scratch, directory, there)
    found = [Was(path, "absent") for path, entry in old.items() if entry is None]
    for path, entry in there.items():
        size = files.get(path, 0)
        blob = entry.blob if entry.blob in blobs else None
        kind: Literal["file", "link"] = "link" if entry.mode == LINK else "file"
        found.append(Was(path, kind, size, entry.mode == EXECUTABLE, blob, converted=blobs.get(entry.blob) != size))
    return found


async def _sizes_of_blobs(scratch: Scratch, blobs: Collection[bytes]) -> dict[bytes, int]:
    """Without those that are missing: of a partial clone, or removed by the user's `git gc`."""
    if not blobs:
        return {}
    told = await scratch.git("cat-file", "--batch-check", input=b"".join(blob + b"\n" for blob in blobs))
    lines = (line.split(b" ") for line in told.splitlines())
    return {words[0]: int(words[2]) for words in lines if len(words) == 3}


async def _sizes_of_files(scratch: Scratch, directory: Path, paths: Collection[bytes]) -> dict[bytes, int]:
    """What the files of the working tree had when the mark was made."""
    named = list(map(os.fsdecode, paths)) if len(paths) <= ARGUMENTS else []
    if not paths:
        return {}
    listed = await scratch.git("ls-files", "--debug", "-z", "--", *named, index=directory / "index")
    return {found[1]: int(found[2]) for found in _SIZES.finditer(listed)}


# --- Contents -----------------------------------------------------------------------------------------------------


async def contents(scratch: Scratch, files: Sequence[Was]) -> AsyncGenerator[tuple[Was, bytes | None], None]:
    """What each held; None where that cannot be told. Raises GitFailed."""
    for batch in _batches([was for was in files if was.blob is not None and not was.converted]):
        held = await _read(scratch, {was.blob for was in batch if was.blob is not None})
        for was in batch:
            yield was, held.get(was.blob or b"")
    for was in files:
        if was.blob is None:
            yield was, None
        elif was.converted:
            yield was, await _converted_back(scratch, was)


def _batches(files: Sequence[Was]) -> list[list[Was]]:
    batches: list[list[Was]] = []
    room = 0
    for was in files:
        if not batches or was.size > room:
            batches.append([])
            room = BATCH_BYTES
        batches[-1].append(was)
        room -= was.size
    return batches


async def _read(scratch: Scratch, blobs: Collection[bytes]) -> dict[bytes, bytes]:
    told = await scratch.git("cat-file", "--batch", input=b"".join(blob + b"\n" for blob in blobs))
    found, start = {}, 0
    while start < len(told):
        end = told.index(b"\n", start)
        words = told[start:end].split(b" ")
        start = end + 1
        if len(words) == 3:
            found[words[0]] = told[start : start + int(words[2])]
            start += int(words[2]) + 1
    return found


async def _converted_back(scratch: Scratch, was: Was) -> bytes | None:
    """With the line ends and the encoding that git gives such a file. It is what the file held if it is as long; what
    a filter or mixed line ends were is not known."""
    if was.kind != "file" or was.size == 0:
        return None
    path, blob = os.fsdecode(was.path), (was.blob or b"").decode()
    made = await scratch.git("cat-file", "--filters", f"--path={path}", blob)
    return made if len(made) == was.size else None
