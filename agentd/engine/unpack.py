"""A door for zips from outside: what passes is whole, of bounded size, and has no name that leads elsewhere.

Nothing is unpacked onto the disk by the name of an entry. Blocking; no trio here. The rules: executor contract, 5.
"""

from __future__ import annotations

import errno
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from agentd.errors import InvalidRequest
from agentd.store.files import disk

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

MOST_ENTRIES = 10_000
MOST_BYTES = 256 << 20  # unpacked
MOST_DIRECTORY_BYTES = 4 << 20  # of the list of entries, which is read at once
CHUNK_BYTES = 1 << 18

_END = struct.Struct("<4s4H2LH")  # of the list of entries: APPNOTE.TXT, 4.3.16
_END_MARK, _ZIP64_MARK = b"PK\5\6", b"PK\6\7"
_UNREADABLE_FLAGS = 0x1 | 0x20 | 0x40 | 0x2000  # encrypted, patched, and encrypted in two more ways
_METHODS = frozenset({0, 8})  # stored and deflated: others may ask for any amount of memory
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:")


def refused(why: str) -> InvalidRequest:
    return InvalidRequest([f"the zip cannot be imported: {why}"])


class Unpacked:
    """A zip that was looked through. Its methods raise InvalidRequest, StoreFailed."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self.names = [info.filename for info in archive.infolist()]
        self._infos = {info.filename: info for info in archive.infolist()}

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    def read(self, name: str, most: int) -> bytes:
        """All of one entry, of at most *most* bytes."""
        info = self._infos[name]
        if info.file_size > most:
            raise refused(f"{shown(name)} is larger than {most} bytes")
        with _translated():
            return self._archive.read(info)

    def lines(self, name: str, most: int) -> Iterator[bytes]:
        """Without their ends; of at most *most* bytes each. Blank ones are left out."""
        with _translated(), self._archive.open(self._infos[name]) as file:
            while line := file.readline(most + 1):
                if len(line) > most:
                    raise refused(f"{shown(name)} has a line of more than {most} bytes")
                if line.strip():
                    yield line.rstrip(b"\r\n")

    def chunks(self, name: str) -> Iterator[bytes]:
        with _translated(), self._archive.open(self._infos[name]) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


@contextmanager
def open_zip(path: Path) -> Iterator[Unpacked]:
    """Look through the zip at *path*, every byte of it. Raises InvalidRequest, saying what is wrong; StoreFailed."""
    import zipfile  # here: it loads three compressors, and is hardly ever needed

    with disk("read the zip"), path.open("rb") as file:
        _check_end(file)
        with _translated():
            archive = zipfile.ZipFile(file)
            _check_entries(archive.infolist())
            for info in archive.infolist():
                _check_content(archive, info)
        yield Unpacked(archive)


def _check_end(file: BinaryIO) -> None:
    """That the list of entries is short, before anybody reads it: what it says of itself is not to be believed."""
    size = file.seek(0, 2)
    file.seek(max(size - _END.size - (1 << 16), 0))
    tail = file.read()
    start = len(tail) - _END.size
    if start < 0 or tail[start : start + 4] != _END_MARK or tail[-2:] != b"\0\0":
        start = tail.rfind(_END_MARK)  # there is a comment behind it
    if start < 0 or start + _END.size > len(tail):
        raise refused("it is empty" if not size else "it is no zip, or its end is missing")
    _, _, _, _, entries, directory, _, _ = _END.unpack_from(tail, start)
    if tail[start - 20 : start - 16] == _ZIP64_MARK and start >= 20:
        raise refused("it is in the zip64 form, for sizes that are not taken anyway")
    if entries > MOST_ENTRIES or directory > MOST_DIRECTORY_BYTES:
        raise refused(f"it has more than {MOST_ENTRIES} entries")


def _check_entries(infos: list[ZipInfo]) -> None:
    if len(infos) > MOST_ENTRIES:
        raise refused(f"it has more than {MOST_ENTRIES} entries")
    if sum(info.file_size for info in infos) > MOST_BYTES:
        raise refused(f"it has more than {MOST_BYTES} bytes unpacked")
    seen: set[str] = set()
    for info in infos:
        if (problem := _problem(info)) is not None:
            raise refused(f"{shown(info.orig_filename)} {problem}")
        if info.filename in seen:
            raise refused(f"{shown(info.filename)} is in it twice")
        seen.add(info.filename)


def _problem(info: ZipInfo) -> str | None:
    name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
    if not name or "\0" in name:
        return "is no name"
    if _ABSOLUTE.match(name):
        return "is an absolute path"
    if ".." in re.split(r"[/\\]", name):
        return "leads out of the archive"
    if kind and kind not in (stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if info.flag_bits & _UNREADABLE_FLAGS:
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return "is compressed in a way that is not taken; deflate it"
    return None


def _check_content(archive: ZipFile, info: ZipInfo) -> None:
    """Its checksum, by reading it; no more comes out than its declared size, which was counted."""
    with archive.open(info) as file:
        while file.read(CHUNK_BYTES):
            pass


@contextmanager
def _translated() -> Iterator[None]:
    """What zipfile raises over bytes that are no sound zip, as InvalidRequest."""
    from zipfile import BadZipFile

    try:
        yield
    except (
        BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        ValueError,
        LookupError,
        RuntimeError,
        OverflowError,
    ) as exc:
        raise refused("it is damaged or cut off") from exc
    except OSError as exc:
        if exc.errno != errno.EINVAL:  # a seek to before the beginning
            raise
        raise refused("it is damaged or cut off") from exc


def shown(name: str) -> str:
    """The name of an entry, for an error."""
    return repr(name if len(name) <= 100 else name[:99] + "…")
