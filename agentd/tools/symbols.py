"""What the tools that answer from the index of symbols share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from agentd.domain import Text
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.workspace.symbols.model import CALLABLES, TYPES
from agentd.workspace.symbols.outline import heading
from agentd.workspace.symbols.query import Symbols

SECONDS = 50.0  # less than the engine gives a tool
MAX_CHARACTERS = 100_000  # of one answer
TOLD_EVERY = 1000  # files, while there are many to read


@contextmanager
def symbols_of(context: ToolContext) -> Iterator[Symbols]:
    """The index; how far it has come is told as live output. Raises ToolFailed where there is none, and if what is done
    in the block takes too long."""
    symbols, reached, told = context.symbols, "", 0
    if symbols is None:
        raise ToolFailed("There is no index of symbols in this session; use Grep to find definitions")

    def tell(done: int, total: int) -> None:
        nonlocal reached, told
        reached = f" ({done} of {total} files are read)"
        if done >= told + TOLD_EVERY or done == total:
            told = done
            context.on_output(f"indexed {done} of {total} files\n")

    try:
        with trio.fail_after(SECONDS), symbols.watched(tell):
            yield symbols
    except trio.TooSlowError:
        raise ToolFailed(
            f"The answer was not there after {SECONDS:.0f} s{reached}. What was read is kept: ask again to go on, "
            "or use Grep"
        ) from None


async def unknown(symbols: Symbols, name: str, what: str) -> ToolFailed:
    """The error that nothing of that name is a *what*, with what there is instead."""
    found = await symbols.find(name)
    if found:
        kinds = {each.definition.kind for each in found}
        tool = "ClassSkeleton" if kinds & TYPES else "MethodSource" if kinds & CALLABLES else "Read"
        there_is = "\n".join(heading(each) for each in found[:5])
        return ToolFailed(f"{name} is no {what}, but there is ({tool} shows it):\n{there_is}")
    near = await symbols.similar(name)
    similar = f" Similar names: {', '.join(near)}." if near else ""
    return ToolFailed(
        f"No {what} of the workspace is called {name}.{similar} SearchSymbols finds names by a part of them"
    )


def outcome(text: str, summary: str) -> ToolOutcome:
    """An answer of bounded length."""
    if len(text) > MAX_CHARACTERS:
        cut = text.rfind("\n", 0, MAX_CHARACTERS)
        left = text.count("\n", cut + 1) + 1
        text = f"{text[: max(cut, 0)]}\n[{left} more lines; ask for less at once: a longer name, a file, a lower limit]"
    return ToolOutcome((Text(text),), summary)


def counted(number: int, what: str) -> str:
    """`1 usage`, `2 usages`, `3 matches`."""
    return f"{number} {what}{('es' if what.endswith(('s', 'sh', 'ch')) else 's') if number != 1 else ''}"
