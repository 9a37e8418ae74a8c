"""Runs the benchmarks and prints one table: `python3 build.py bench [NAMES] [--peers]`.

A benchmark is a file bench_<name>.py here. Its `rows(peers)` yields Row; *peers* is the Python of a scratch environment
with the packages in the file's `PEERS`, or None: then it leaves out what it cannot compare. Ratios are what counts: the
two sides of one are measured in one run on one machine.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import build

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NAMES = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


class Row(NamedTuple):
    """One measurement. *target* is about the ratio ours/theirs if it ends in × ("≥ 2×"), else about ours ("≤ 32")."""

    what: str
    ours: float
    unit: str
    target: str = ""
    peer: str = ""
    theirs: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.ours / self.theirs if self.theirs else None

    @property
    def verdict(self) -> str:
        """met, MISSED, or nothing where there is no target or no peer to compare with."""
        parsed = re.match(r"([≤≥]) *([\d.]+) *(×?)", self.target)
        value = self.ratio if parsed and parsed[3] else self.ours
        if not parsed or value is None:
            return ""
        return "met" if (value <= float(parsed[2])) == (parsed[1] == "≤") or value == float(parsed[2]) else "MISSED"

    def cells(self) -> tuple[str, ...]:
        theirs = "" if self.theirs is None else f"{short(self.theirs)} {self.unit}"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}×"
        return self.what, f"{short(self.ours)} {self.unit}", self.peer, theirs, ratio, self.target, self.verdict


HEAD = ("", "agentd", "beside", "", "ratio", "target", "")


def short(number: float) -> str:
    """Three digits that count."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def table(rows: Iterable[Row]) -> str:
    """As text, in columns; also a Markdown table."""
    cells = [HEAD, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "".join(f"| {line} |\n" for line in lines)


def measure(modules: Iterable[ModuleType], peers: str | None) -> Iterator[Row]:
    cores = os.sched_getaffinity(0)
    for module in modules:
        print(f"measuring: {module.__name__.rpartition('_')[2]}", file=sys.stderr, flush=True)
        yield from module.rows(peers)
        os.sched_setaffinity(0, cores)  # some keep to one core, to leave the other to what they measure


def main() -> None:
    parser = argparse.ArgumentParser(prog="build.py bench")
    parser.add_argument("names", nargs="*", metavar="NAME", default=NAMES, help=f"of {', '.join(NAMES)} (all)")
    parser.add_argument("--peers", action="store_true", help="install other servers in .cache, and measure them too")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}")
    modules = [importlib.import_module(f"tests.bench.bench_{name}") for name in options.names]
    packages = sorted({package for module in modules for package in getattr(module, "PEERS", ())})
    peers = str(build.install_scratch(packages) / "bin" / "python") if options.peers else None
    print(table(list(measure(modules, peers))), end="")


if __name__ == "__main__":
    main()
