"""Zips that must not come in, and what damage to a sound one leads to."""

from __future__ import annotations

import io
import json
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.engine import unpack
from agentd.engine.archive import import_session
from agentd.engine.unpack import open_zip
from agentd.errors import InvalidRequest
from agentd.store.home import SessionDir, make_home
from tests.zips import fragment, imported, job_line, make_zip, native


def with_info(data: bytes = b"x", **fields: Any) -> bytes:
    info = zipfile.ZipInfo("a")
    for name, value in fields.items():
        setattr(info, name, value)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(info, data)
    return file.getvalue()


def encrypted() -> bytes:
    raw = bytearray(make_zip([("a", b"x")]))
    raw[6] |= 1
    raw[raw.index(b"PK\1\2") + 8] |= 1
    return bytes(raw)


def duplicated() -> bytes:
    return make_zip([("a", b"1"), ("b", b"2")]).replace(b"b", b"a")


def lying_about_size() -> bytes:
    """16 MiB that say they are one byte."""
    raw = bytearray(make_zip([("a", bytes(16 << 20))]))
    at = raw.index(b"PK\1\2")
    raw[at + 24 : at + 28] = struct.pack("<I", 1)
    return bytes(raw)


def bomb() -> bytes:
    """A byte that says it is 300 MiB."""
    raw = bytearray(make_zip([("a", b"x")]))
    at = raw.index(b"PK\1\2")
    raw[at + 24 : at + 28] = struct.pack("<I", 300 << 20)
    return bytes(raw)


TASK = {"id": "1", "title": "T", "text": "x"}
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "it is empty"),
    "text": (lambda: b"hello" * 100, "it is no zip"),
    "truncated": (lambda: make_zip([("a", b"x" * 1000)])[:-30], "it is no zip"),
    "beginning missing": (lambda: make_zip([("a", bytes(range(256)) * 9)])[40:], "damaged or cut off"),
    "absolute": (lambda: make_zip([("/etc/x", b"")]), "absolute"),
    "drive": (lambda: make_zip([("C:x", b"")]), "absolute"),
    "backslash": (lambda: make_zip([("\\x", b"")]), "absolute"),
    "traversal": (lambda: make_zip([("a/../../x", b"")]), "leads out"),
    "traversal by backslash": (lambda: make_zip([("a\\..\\x", b"")]), "leads out"),
    "symlink": (lambda: with_info(b"/etc", external_attr=(stat.S_IFLNK | 0o777) << 16), "is a link"),
    "device": (lambda: with_info(b"", external_attr=(stat.S_IFCHR | 0o777) << 16), "is a link or a special"),
    "bzip2": (lambda: with_info(compress_type=zipfile.ZIP_BZIP2), "compressed in a way"),
    "lzma": (lambda: with_info(compress_type=zipfile.ZIP_LZMA), "compressed in a way"),
    "encrypted": (encrypted, "is encrypted"),
    "duplicate": (duplicated, "is in it twice"),
    "too many": (lambda: make_zip((str(n), b"") for n in range(10_001)), "more than 10000 entries"),
    "lying": (lying_about_size, "damaged or cut off"),
    "bomb": (bomb, "bytes unpacked"),
    "manifest": (lambda: make_zip([("manifest.json", b"{")]), "manifest.json"),
    "manifest list": (lambda: make_zip([("manifest.json", b"[]")]), "manifest.json"),
    "another form": (lambda: make_zip([("manifest.json", b'{"format": "agentd/2"}')]), "agentd/1 is what is read here"),
    "manifest deep": (lambda: make_zip([("manifest.json", b"[" * 100_000)]), "manifest.json"),
    "context": (lambda: native(context__json=b"[]"), "context.json"),
    "kind": (lambda: native(context__json=fragment(kind="image")), "context.json"),
    "no text": (lambda: native(context__json=fragment(text=None)), "there is no text"),
    "long text": (lambda: native(context__json=fragment(text="x" * (1 << 21))), "is larger than"),
    "id zero": (lambda: native(context__json=fragment(id="0")), "ids of fragments"),
    "id word": (lambda: native(context__json=fragment(id="../x")), "ids of fragments"),
    "no name": (lambda: native(context__json=fragment(name="")), "empty or too long"),
    "made": (lambda: native(context__json=fragment() | {"fragmentsMade": -1}), "ids up to"),
    "tasks": (lambda: native(tasklist__json={"tasks": [{"title": 5}]}), "tasklist.json"),
    "task ids": (lambda: native(tasklist__json={"tasks": [TASK, TASK]}), "tasklist.json"),
    "task without title": (lambda: native(tasklist__json={"tasks": [TASK | {"title": ""}]}), "tasklist.json"),
    "history": (lambda: native(history__jsonl=b"{}\n"), "history.jsonl, line 1"),
    "history twice": (lambda: native(history__jsonl=job_line() * 2), "line 2: there was a job"),
    "history deep": (
        lambda: native(
            history__jsonl=job_line(
                messages=[
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "tool_use",
                                "id": "x",
                                "name": "y",
                                "input": {"x": json.loads("[" * 500 + "]" * 500)},
                            }
                        ],
                    }
                ]
            )
        ),
        "nested too deep",
    ),
    "history deeper": (lambda: native(history__jsonl=b'{"x":' + b"[" * 200_000), "line 1: not valid JSON"),
    "block": (
        lambda: native(history__jsonl=job_line(messages=[{"role": "user", "content": [{"type": "x"}]}])),
        "unknown type",
    ),
    "block field": (
        lambda: native(
            history__jsonl=job_line(messages=[{"role": "user", "content": [{"type": "text", "text": {"a": "secret"}}]}])
        ),
        "expected a string",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_zip_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    make, why = HOSTILE[name]
    home = make_home(tmp_path / "home")
    with pytest.raises(InvalidRequest) as raised:
        imported(home, make())
    assert "the zip cannot be imported" in str(raised.value)
    assert why in str(raised.value)
    assert "secret" not in str(raised.value)
    assert len(str(raised.value)) < 1000
    assert list(home.sessions_path.iterdir()) == []


def test_a_list_of_entries_that_is_longer_than_it_says_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = bytearray(make_zip((str(n), b"") for n in range(50)))
    raw[-12:-10] = raw[-14:-12] = struct.pack("<H", 1)
    path = tmp_path / "zip"
    path.write_bytes(raw)
    monkeypatch.setattr(unpack, "MOST_DIRECTORY_BYTES", 1000)
    with pytest.raises(InvalidRequest, match="more than"), open_zip(path):
        pass


def test_a_zip_in_the_zip64_form_is_refused(tmp_path: Path) -> None:
    raw = make_zip([("a", b"x")])
    end, locator = raw[-22:], b"PK\6\7" + bytes(16)
    path = tmp_path / "zip"
    path.write_bytes(raw[:-22] + locator + end)
    with pytest.raises(InvalidRequest, match="zip64"), open_zip(path):
        pass


def test_a_zip_with_a_comment_is_read(tmp_path: Path) -> None:
    path = tmp_path / "zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "x")
        archive.comment = b"c" * 65_535
    with open_zip(path) as opened:
        assert opened.names == ["a"]


SOUND = native(
    context__json=fragment(),
    tasklist__json={"tasks": []},
    history__jsonl=job_line(messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}]}]),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), min_size=1, max_size=4), st.integers(0))
def test_no_damage_to_a_zip_is_more_than_a_refusal(tmp_path: Path, changes: list[tuple[int, int]], end: int) -> None:
    raw = bytearray(SOUND)
    for at, value in changes:
        raw[at] = value
    home = make_home(tmp_path / "home")
    path = home.root / "upload"
    path.write_bytes(raw[: end % (4 * len(raw)) + 1])
    try:
        import_session(path, SessionDir(home.root).transient, 1)
    except InvalidRequest:
        pass
