"""How fast a daemon's executors are ready, and what each weighs: forked off the fork server, and started afresh."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.bench.bench_start import MIB, PYTHON, PYZ
from tests.bench.table import Row

SEATS = str(Path(__file__).with_name("seats.py"))


def rows(peers: str | None) -> Iterator[Row]:
    done = subprocess.run([PYTHON, "-I", "-S", SEATS, PYZ], stdout=subprocess.PIPE, check=True)
    told = json.loads(done.stdout)
    forked, fresh = told["forked"], told["fresh"]
    yield Row("executor, forked, ready", forked["one"] * 1000, "ms", "≤ 15", "fresh", fresh["one"] * 1000)
    yield Row("executor, fresh, ready", fresh["one"] * 1000, "ms", "≤ 130")
    yield Row("fifty at once, forked, all ready", forked["many"] * 1000, "ms", "≤ 250", "fresh", fresh["many"] * 1000)
    yield Row("executor, forked, private", forked["private"] / MIB, "MiB", "≤ 5", "fresh", fresh["private"] / MIB)
    yield Row("executor, fresh, private", fresh["private"] / MIB, "MiB", "≤ 18")
