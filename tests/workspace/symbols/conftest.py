"""Scanners held against answer files: samples written to be hard, and what a compiler would say they define."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.workspace.symbols.model import SIGNATURE_CHARS, Scan

HERE = Path(__file__).parent
Line = tuple[str, int, str, str]  # file, line, kind, qualified name


def found_by(scan: Scan, directory: Path) -> set[Line]:
    """What a scanner finds in the samples of a language. Their paths are what scanners see: `nasty/Client.ts`."""
    samples = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != "answers.txt")
    found: set[Line] = set()
    for sample in samples:
        name = sample.relative_to(directory).as_posix()
        text = sample.read_bytes().decode("utf-8", "replace")
        found |= {(name, each.line, each.kind.value, each.qualified) for each in scan(text, name)}
    return found


def answers_in(directory: Path) -> set[Line]:
    """Lines of `file:line kind qualified-name`; empty ones and those that begin with # say nothing."""
    lines: set[Line] = set()
    for text in (directory / "answers.txt").read_text().splitlines():
        if text.strip() and not text.startswith("#"):
            place, kind, qualified = text.split(maxsplit=2)
            file, _, number = place.rpartition(":")
            lines.add((file, int(number), kind, qualified))
    return lines


@pytest.fixture
def check_answers() -> Callable[..., None]:
    """Asserts recall and precision of a scanner over one language's samples."""

    def check(language: str, scan: Scan, *, least: float = 0.95, definitions: int = 300) -> None:
        expected, found = answers_in(HERE / language), found_by(scan, HERE / language)
        right = expected & found
        missed = "\n".join(f"missed {line}" for line in sorted(expected - found))
        wrong = "\n".join(f"not there {line}" for line in sorted(found - expected))
        assert len(expected) >= definitions
        assert len(right) >= least * len(expected), f"recall {len(right) / len(expected):.3f}\n{missed}\n{wrong}"
        assert len(right) >= least * len(found), f"precision {len(right) / len(found):.3f}\n{missed}\n{wrong}"

    return check


CUTS = ["", "", "{", "}", "(", ")", "[", "]", "<", ">", "`", '"', "'", "/", "\n", ";", "=", ",", ":", "@", "*", "=>"]


@st.composite
def mangled(draw: st.DrawFn, texts: list[str]) -> str:
    """A piece of one of the texts, in which characters are missing, and brackets and quotes are where none belong."""
    text = draw(st.sampled_from(texts))
    start = draw(st.integers(0, len(text)))
    piece = list(text[start : start + draw(st.sampled_from([100, 1000, len(text)]))])
    for place, put in draw(st.lists(st.tuples(st.integers(0, len(text)), st.sampled_from(CUTS)), max_size=20)):
        if place < len(piece):
            piece[place] = put
    return "".join(piece)


@pytest.fixture
def check_any_text() -> Callable[[Scan, Path], None]:
    """Asserts that a scanner tells what makes sense of any text, be it what is left of a directory's samples."""

    def check(scan: Scan, directory: Path) -> None:
        samples = [path for path in sorted(directory.iterdir()) if path.name != "answers.txt"]
        texts = [path.read_bytes().decode("utf-8", "replace") for path in samples]

        @settings(max_examples=150, deadline=None)
        @given(st.one_of(st.text(), mangled(texts)), st.sampled_from([path.name for path in samples]))
        def holds(text: str, name: str) -> None:
            found = scan(text, name)
            for each in found:
                assert 1 <= each.first <= each.line <= each.last <= text.count("\n") + 1
                assert each.name
                assert "\n" not in each.name + each.signature
                assert len(each.signature) <= SIGNATURE_CHARS
            assert [each.line for each in found] == sorted(each.line for each in found)

        holds()

    return check


@pytest.fixture
def check_linear() -> Callable[[Scan, str, Iterable[str]], None]:
    """Asserts that a scanner takes about eight times as long for eight times as many of a piece of text."""

    def seconds(scan: Scan, path: str, text: str) -> float:
        start = time.process_time()
        scan(text, path)
        return time.process_time() - start

    def fastest(scan: Scan, path: str, text: str) -> float:
        return min(seconds(scan, path, text) for _ in range(2))

    def check(scan: Scan, path: str, pieces: Iterable[str]) -> None:
        for piece in pieces:
            short, long = fastest(scan, path, piece * 2_000), fastest(scan, path, piece * 16_000)
            assert long < 30 * short, piece  # 64 times were quadratic

    return check
