"""Forms with files, whatever pieces they come in."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.wire.multipart import BadMultipart, MultipartParser, Part, boundary_of, parameters

BOUNDARY = "----x"


def form(*parts: tuple[str, bytes], end: bytes = b"--\r\n") -> bytes:
    """*parts*: header and content."""
    told = b"".join(b"--%b\r\n%b\r\n\r\n%b\r\n" % (BOUNDARY.encode(), head.encode(), body) for head, body in parts)
    return told + b"--" + BOUNDARY.encode() + end


def parsed(pieces: Iterable[bytes]) -> list[tuple[Part, bytes]]:
    parser, found = MultipartParser(BOUNDARY), list[tuple[Part, bytearray]]()
    for piece in pieces:
        for event in parser.feed(piece):
            if isinstance(event, Part):
                found.append((event, bytearray()))
            else:
                found[-1][1].extend(event)
    parser.finish()
    return [(part, bytes(content)) for part, content in found]


FILE = 'Content-Disposition: form-data; name="file"; filename="ui.png"\r\nContent-Type: image/png'
FIELD = 'Content-Disposition: form-data; name="note"'


def test_a_form_is_its_parts() -> None:
    assert parsed([form((FIELD, b"hi"), (FILE, b"\x89PNG\r\n\r\n--x"))]) == [
        (Part("note", None, ""), b"hi"),
        (Part("file", "ui.png", "image/png"), b"\x89PNG\r\n\r\n--x"),
    ]


def test_what_is_before_and_behind_the_parts_says_nothing() -> None:
    assert parsed([b"hello\r\n" + form((FIELD, b"hi")) + b"bye"]) == [(Part("note", None, ""), b"hi")]


def test_a_part_may_be_empty() -> None:
    assert parsed([form((FIELD, b""), (FIELD, b""))]) == [(Part("note", None, ""), b"")] * 2


@given(st.lists(st.binary(max_size=60).filter(lambda data: b"\r\n------x" not in data), max_size=4), st.data())
def test_parts_are_the_same_in_whatever_pieces_they_come(contents: list[bytes], data: st.DataObject) -> None:
    body = form(*((FILE, content) for content in contents))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert [content for _, content in parsed(pieces)] == contents
    assert [content for _, content in parsed(bytes([byte]) for byte in body)] == contents


@given(st.binary(max_size=200))
def test_anything_else_is_refused_or_has_no_parts(body: bytes) -> None:
    try:
        parsed([body])
    except BadMultipart:
        pass


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(form((FIELD, b"hi"))[:-6], id="no end"),
        pytest.param(b"--" + BOUNDARY.encode() + b"oops\r\n", id="text behind a boundary"),
        pytest.param(form(("Content-Type: text/plain", b"")), id="no name"),
        pytest.param(form(("no header", b"")), id="no header"),
        pytest.param(form((f"X: {'x' * 20_000}", b"")), id="a long header"),
        pytest.param(form(*[(FIELD, b"")] * 1001), id="too many parts"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(BadMultipart):
        parsed([body])


def test_a_boundary_is_read_from_the_content_type() -> None:
    assert boundary_of('Multipart/Form-Data; charset=utf-8; boundary="a b"') == "a b"
    assert boundary_of("application/json") is None


@pytest.mark.parametrize("boundary", ["", '"', "a" * 71, '"a "', "ä"])
def test_a_form_without_a_usable_boundary_is_refused(boundary: str) -> None:
    with pytest.raises(BadMultipart):
        boundary_of(f"multipart/form-data; boundary={boundary}")


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ('form-data; filename="a;b.txt"', "a;b.txt"),
        (r'form-data; filename="a\"b.txt"', 'a"b.txt'),
        (r'form-data; filename="C:\dir\a.txt"', r"C:\dir\a.txt"),
        ("form-data; filename=a.txt", "a.txt"),
        ("form-data; filename=x; filename*=UTF-8''na%C3%AFve.txt", "naïve.txt"),
    ],
)
def test_a_file_name_is_read_as_programs_write_it(field: str, name: str) -> None:
    assert parameters(field)["filename"] == name
