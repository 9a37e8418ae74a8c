"""Contents by their SHA-256, a file each: attachments, artifacts, diffs, checkpoints. Blocking; no trio here."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import BinaryIO

from agentd.errors import BlobNotFound, StoreFailed
from agentd.store.files import PRIVATE_DIR, TempFile, disk, fsync_dir, sweep, temp_file

COPY_BYTES = 1 << 18
_NAME = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """The blobs in one directory, which is made when the first is put. What a `put` has returned survives power loss.

    Names may come from outside: what is no SHA-256 in lower-case hexadecimal is no blob, whatever path it would make.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(self, data: bytes) -> str:
        """The blob's name. Raises StoreFailed."""
        with disk("store a blob"):
            self._make_directory()
            sha256 = hashlib.sha256(data).hexdigest()
            if self._is_sound(sha256):
                fsync_dir(self.directory)  # whoever put it may have been killed before doing so
            else:
                with temp_file(self.directory) as temp:
                    temp.file.write(data)
                    temp.become(self.directory / sha256)
        return sha256

    def put_file(self, source: Path) -> str:
        """The same for a copy of a file, in bounded memory. The name is that of what was copied. Raises StoreFailed."""
        with disk(f"store {source.name}"):
            self._make_directory()
            with source.open("rb") as original, temp_file(self.directory) as temp:
                sha256 = _copy(original, temp)
                temp.become(self.directory / sha256)
        return sha256

    def get(self, sha256: str) -> bytes:
        """All of it, checked. Raises BlobNotFound; StoreFailed if it is damaged."""
        with self.open(sha256) as file, disk("read a blob"):
            data = file.read()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StoreFailed(f"blob {sha256} is damaged")
        return data

    def open(self, sha256: str) -> BinaryIO:
        """For reading piece by piece, unchecked. Raises BlobNotFound, StoreFailed."""
        path = self.path(sha256)
        with disk("read a blob"):
            try:
                return path.open("rb")
            except FileNotFoundError as exc:
                raise BlobNotFound(sha256) from exc

    def path(self, sha256: str) -> Path:
        """Where it is, if it is there. Raises BlobNotFound for what cannot be a blob's name."""
        if not _NAME.fullmatch(sha256):
            raise BlobNotFound(sha256)
        return self.directory / sha256

    def size(self, sha256: str) -> int:
        """In bytes. Raises BlobNotFound, StoreFailed."""
        path = self.path(sha256)
        with disk("read a blob"):
            try:
                return path.stat().st_size
            except FileNotFoundError as exc:
                raise BlobNotFound(sha256) from exc

    def sizes(self) -> dict[str, int]:
        """The bytes of every blob, by name. Raises StoreFailed."""
        with disk("list the blobs"):
            paths = list(self.directory.iterdir()) if self.directory.is_dir() else []
            return {path.name: path.stat().st_size for path in paths if _NAME.fullmatch(path.name)}

    def delete(self, sha256: str) -> None:
        """Nothing happens if it is not there. Raises BlobNotFound for what cannot be a blob's name; StoreFailed."""
        path = self.path(sha256)
        with disk("delete a blob"):
            path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what processes left that were killed while they put. Raises StoreFailed."""
        with disk("tidy up the blobs"):
            sweep(self.directory)

    def _make_directory(self) -> None:
        for directory in (self.directory.parent, self.directory):
            if not directory.is_dir():
                directory.mkdir(PRIVATE_DIR, exist_ok=True)
                fsync_dir(directory.parent)

    def _is_sound(self, sha256: str) -> bool:
        try:
            with (self.directory / sha256).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except FileNotFoundError:
            return False


def _copy(source: BinaryIO, temp: TempFile) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(COPY_BYTES):
        digest.update(chunk)
        temp.file.write(chunk)
    return digest.hexdigest()
