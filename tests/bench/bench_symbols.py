"""The index of symbols over 10 000 files in six languages, in the page cache; beside it ctags, where there is one."""

from __future__ import annotations

import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import trio

from agentd.workspace.symbols.query import Symbols
from tests.bench.table import Row

FILES = 10_000
CLASSES_A_FILE = (1, 4)
METHODS_A_CLASS = (3, 8)
STATEMENTS_A_METHOD = (2, 10)
LOOK_SECONDS = 0.001  # between two looks at the clock, by which is seen how long the event loop was held


class Style(NamedTuple):
    """How a language looks. In the place of %s come words."""

    head: str  # of a class
    method: str
    statement: str
    method_end: str
    end: str


STYLES = {
    "py": Style(
        "class %s(Base):\n    limit: int = 3\n\n",
        "    def %s(self, a: int, b: str = 'x') -> None:\n",
        "        self.%s = %s(%s, 'said: {%s}')  # why\n",
        "\n",
        "\n",
    ),
    "java": Style(
        "public class %s extends Base {\n    private final List<String> items = new ArrayList<>();\n\n",
        "    public Map<String, List<Item>> %s(int a, String b) throws IOException {\n",
        '        this.%s = %s(%s, "said: {%s}"); // why\n',
        "    }\n\n",
        "}\n",
    ),
    "go": Style(
        "type %s struct {\n\titems map[string][]int\n}\n\n",
        "func %s(a int, b string) (int, error) {\n",
        '\t%s := %s(%s, "said: {%s}") // why\n',
        "\treturn 0, nil\n}\n\n",
        "",
    ),
    "ts": Style(
        "export class %s extends Base<string> {\n  private items: Map<string, number> = new Map();\n\n",
        "  async %s(a: number, b = `x`): Promise<void> {\n",
        "    this.%s = %s(%s, 'said: {%s}'); // why\n",
        "  }\n\n",
        "}\n",
    ),
    "c": Style(
        "struct %s {\n    int items[3];\n};\n\n",
        "static int %s(int a, const char *b)\n{\n",
        '    %s = %s(%s, "said: {%s}"); /* why */\n',
        "    return 0;\n}\n\n",
        "",
    ),
    "cs": Style(
        "public sealed class %s : Base\n{\n    public int Limit { get; set; } = 3;\n\n",
        "    public async Task<int> %s(int a, string b)\n    {\n",
        '        this.%s = %s(%s, $"said: {%s}"); // why\n',
        "    }\n\n",
        "}\n",
    ),
}


def rows(_peers: str | None = None) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory).resolve() / "repository"
        megabytes = plant(top) / 1e6
        yield from trio.run(measure, top, Path(directory) / "cache", megabytes, ctags(top))


def plant(top: Path) -> int:
    """Bytes in all."""
    dice = random.Random(1)
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(3, 12))) for _ in range(3000)]
    total = 0
    for number in range(FILES):
        suffix = list(STYLES)[number % len(STYLES)]
        path = top / f"part{number % 20}" / f"unit{number // 20 % 25}" / f"file{number}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        total += path.write_text("".join(source(dice, words, STYLES[suffix])))
    return total


def source(dice: random.Random, words: list[str], style: Style) -> Iterator[str]:
    for _ in range(dice.randint(*CLASSES_A_FILE)):
        yield style.head % dice.choice(words).title()
        for _ in range(dice.randint(*METHODS_A_CLASS)):
            yield style.method % dice.choice(words)
            for _ in range(dice.randint(*STATEMENTS_A_METHOD)):
                yield style.statement % tuple(dice.choices(words, k=4))
            yield style.method_end
        yield style.end


async def measure(top: Path, cache: Path, megabytes: float, theirs: float | None) -> list[Row]:
    before = resident()
    symbols = Symbols(top, cache)
    first, held = await timed(lambda: symbols.find("no_such_name"))
    grown = resident() - before
    again, _ = await timed(lambda: symbols.find("no_such_name"))
    unchanged, unchanged_held = await timed(lambda: symbols.find("no_such_name"))
    search, search_held = await timed(lambda: symbols.search("handle"))
    await symbols.aclose()
    warm, warm_held = await timed(lambda: Symbols(top, cache).find("no_such_name"))
    what = f"symbols of {FILES} files, {megabytes:.0f} MB"
    return [
        Row(f"{what}: first index", first, "ms", "≤ 8×", "ctags, one core", theirs),
        Row("symbols: start with a cache", warm, "ms", "≤ 0.2×", "first index", first),
        Row("symbols: nothing has changed", min(again, unchanged), "ms", "≤ 0.06×", "first index", first),
        Row("symbols: search by name", search, "ms", "≤ 0.1×", "first index", first),
        Row("symbols: event loop held, at most", max(held, unchanged_held, search_held, warm_held), "ms", "≤ 50"),
        Row("symbols: memory", grown, "MiB", "≤ 48"),
    ]


async def timed(ask: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Milliseconds: until the answer, and the longest that the event loop did nothing else meanwhile. As far as this
    process was not running at all then, that was the machine's doing."""
    longest = 0.0

    async def look() -> None:
        nonlocal longest
        while True:
            began, used = time.perf_counter(), time.process_time()
            await trio.sleep(LOOK_SECONDS)
            late = time.perf_counter() - began - LOOK_SECONDS
            longest = max(longest, min(late, time.process_time() - used))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        began = time.perf_counter()
        await ask()
        took = time.perf_counter() - began
        nursery.cancel_scope.cancel()
    return took * 1000, longest * 1000


def resident() -> float:
    """MiB."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux: at its highest
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / (1 << 20)
    return pages * resource.getpagesize() / (1 << 20)


def ctags(top: Path) -> float | None:
    """Milliseconds."""
    program = shutil.which("ctags")
    if program is None:
        return None
    began = time.perf_counter()
    subprocess.run([program, "-R", "--fields=+neS", "-f", "/dev/null", str(top)], check=False, capture_output=True)
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    from tests.bench.table import table

    print(table(rows()))
