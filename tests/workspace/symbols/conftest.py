"""Scanners held against answer files: samples written to be hard, and what a compiler would say they define."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.workspace.symbols.model import Scan

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
