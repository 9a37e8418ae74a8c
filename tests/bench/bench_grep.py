"""Grep without ripgrep, beside ripgrep: a repository of 10 000 files and 100 MB, in the page cache."""

from __future__ import annotations

import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import trio

from agentd.tools.base import ToolContext, ToolState
from agentd.tools.grep import Grep
from tests.bench.table import Row

FILES = 10_000
RARE_EVERY = 1000  # files
ROUNDS = 5
CASE_MILLISECONDS = 20_000  # after which no further round begins
CASES: tuple[tuple[str, dict[str, Any], list[str], str], ...] = (
    ("rare literal", {"pattern": "needle_in_haystack"}, ["-l", "needle_in_haystack"], "≤ 4×"),
    ("no match", {"pattern": "absent_from_all"}, ["-l", "absent_from_all"], "≤ 4×"),
    ("rare, ignoring case", {"pattern": "NEEDLE_in_haystack", "-i": True}, ["-li", "NEEDLE_in_haystack"], "≤ 8×"),
    ("common literal, files", {"pattern": "return"}, ["-l", "return"], "≤ 8×"),
    (
        "common literal, count",
        {"pattern": "return", "output_mode": "count", "head_limit": 0},
        ["-c", "return"],
        "≤ 8×",
    ),
    *(
        (pattern, {"pattern": pattern}, ["-l", pattern], "≤ 8×")
        for pattern in (
            r"\w+_haystack",
            r"def \w+\(self",
            "needle_in|thimble_in",
            "[A-Z]{5}[0-9]{3}",
            r"^\s*\w+ = \d{3}$",
            r"\w+\s+\w+\d{5}",
            r"^class .*\(Base\):$",
            r"\w+\s+\w+\s+[xq]\w*[zj]\w*q$",
            r"[^a-z]\w*[A-Z]\w*$",
        )
    ),
)


def rows(_peers: str | None = None) -> Iterator[Row]:
    rg = shutil.which("rg")
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory).resolve()
        plant(top)
        for what, asked, arguments, target in CASES:
            times: list[tuple[float, float]] = []
            while len(times) < 2 or (len(times) <= ROUNDS and sum(map(sum, times)) < CASE_MILLISECONDS):
                times.append((timed(grep, top, asked), timed(ripgrep, rg, top, arguments)))
            ours, theirs = (statistics.median(side[1:]) for side in zip(*times, strict=True))  # the first warms up
            yield Row(f"grep: {what}", ours, "ms", target, "ripgrep", theirs if rg else None)


def plant(top: Path) -> None:
    """About 10 KB a file, of lines as code has them; each directory has a few files, each thousandth a needle."""
    dice = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(dice.choices(letters, k=dice.randint(2, 10))) for _ in range(3000)]
    words += ["return", "import", "def", "self", "value", "name"] * 20
    ends = ("", "", ":", "()", " = 12", "(self, name):")
    lines = [
        "    " * dice.randint(0, 3) + " ".join(dice.choices(words, k=dice.randint(2, 10))) + dice.choice(ends)
        for _ in range(20_000)
    ]
    (top / ".gitignore").write_text("*.pyc\n__pycache__/\n/build\n/dist\n*.egg-info\n.venv/\nnode_modules/\n*.so\n")
    (top / ".git").mkdir()
    for number in range(FILES):
        path = top / f"package{number % 20}" / f"part{number // 20 % 25}" / f"module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        chosen = dice.choices(lines, k=dice.randint(90, 350))
        if number % RARE_EVERY == 7:
            chosen.insert(len(chosen) // 2, "needle_in_haystack here 42")
        path.write_text("\n".join(chosen) + "\n")


def timed(run: Callable[..., object], *arguments: object) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    run(*arguments)
    return (time.perf_counter() - began) * 1000


def ripgrep(rg: str | None, top: Path, arguments: list[str]) -> None:
    if rg:
        subprocess.run([rg, "--no-config", *arguments], cwd=top, stdout=subprocess.DEVNULL, check=False)


def grep(top: Path, asked: dict[str, Any]) -> None:
    context = ToolContext(top, ToolState(top), {}, (), lambda _: None, str)
    trio.run(Grep(lambda: None).run, asked, context)


if __name__ == "__main__":
    from tests.bench.table import table

    print(table(rows()))
