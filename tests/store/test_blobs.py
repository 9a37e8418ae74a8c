"""Blobs: contents by their SHA-256."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest

from agentd.errors import BlobNotFound, StoreFailed
from agentd.store.blobs import COPY_BYTES, Blobs

HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
NO_NAMES = ["", "..", "../secrets.json", HELLO.upper(), HELLO[:-1], HELLO + "\n", "/etc/passwd", "g" * 64]


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def test_what_was_put_is_there_under_its_hash(blobs: Blobs) -> None:
    assert blobs.put(b"hello") == HELLO
    assert blobs.get(HELLO) == b"hello"
    with blobs.open(HELLO) as file:
        assert file.read(2) == b"he"
    assert blobs.path(HELLO).read_bytes() == b"hello"
    assert (blobs.size(HELLO), blobs.sizes()) == (5, {HELLO: 5})


def test_putting_it_again_keeps_one(blobs: Blobs) -> None:
    assert blobs.put(b"hello") == blobs.put(b"hello")
    assert list(blobs.sizes()) == [HELLO]


def test_a_file_is_copied(blobs: Blobs, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"hello")
    assert blobs.put_file(source) == HELLO
    source.write_bytes(b"changed")
    assert blobs.get(HELLO) == b"hello"


def test_a_large_file_is_copied_in_little_memory(blobs: Blobs, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.touch()
    os.truncate(source, 64 * COPY_BYTES)
    tracemalloc.start()
    try:
        sha256 = blobs.put_file(source)
        assert tracemalloc.get_traced_memory()[1] < 4 * COPY_BYTES
    finally:
        tracemalloc.stop()
    assert sha256 == hashlib.sha256(bytes(64 * COPY_BYTES)).hexdigest()


def test_a_damaged_blob_is_told_from_a_whole_one(blobs: Blobs) -> None:
    blobs.put(b"hello")
    blobs.path(HELLO).write_bytes(b"hellO")
    with pytest.raises(StoreFailed, match="is damaged"):
        blobs.get(HELLO)


def test_a_damaged_blob_is_mended_by_putting_it_again(blobs: Blobs) -> None:
    blobs.put(b"hello")
    blobs.path(HELLO).write_bytes(b"hellO")
    blobs.put(b"hello")
    assert blobs.get(HELLO) == b"hello"


def test_a_deleted_blob_is_gone(blobs: Blobs) -> None:
    blobs.put(b"hello")
    blobs.delete(HELLO)
    blobs.delete(HELLO)
    assert blobs.sizes() == {}
    for read in (blobs.get, blobs.open, blobs.size):
        with pytest.raises(BlobNotFound):
            read(HELLO)


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_hash_never_becomes_a_path(blobs: Blobs, name: str) -> None:
    for use in (blobs.get, blobs.open, blobs.path, blobs.size, blobs.delete):
        with pytest.raises(BlobNotFound):
            use(name)


def test_blobs_are_for_their_owner_only(blobs: Blobs) -> None:
    blobs.put(b"hello")
    assert blobs.directory.stat().st_mode & 0o777 == 0o700
    assert blobs.path(HELLO).stat().st_mode & 0o777 == 0o600


def test_a_disk_that_refuses_leaves_nothing(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs.put(b"other")
    before = sorted(blobs.directory.iterdir())

    def refuse(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreFailed, match="cannot store a blob: No space left"):
        blobs.put(b"hello")
    assert sorted(blobs.directory.iterdir()) == before


def test_without_a_directory_there_are_no_blobs(blobs: Blobs) -> None:
    blobs.sweep()
    assert blobs.sizes() == {}
