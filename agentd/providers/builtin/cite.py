"""Quoting: a line of a file under its number, as Markdown that nothing in it can break."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from agentd.providers.builtin.outputs import Hit

QUOTE_CHARS = 140


def code(text: str) -> str:
    """A line as inline code, cut if it is long."""
    text = text.strip()
    if len(text) > QUOTE_CHARS:
        text = text[: QUOTE_CHARS - 1].rstrip() + "…"
    marks = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{marks}{pad}{text}{pad}{marks}"


def cite(hit: Hit) -> str:
    return f"- {hit.path}:{hit.number} {code(hit.text)}"


def fenced(lines: Sequence[str]) -> str:
    """Lines as a code block that none of them can end."""
    longest = max((len(run) for line in lines for run in re.findall("`{3,}", line)), default=2)
    mark = "`" * (longest + 1)
    return "\n".join([mark, *lines, mark])


def listed(names: Iterable[str]) -> str:
    """a, b and c."""
    names = list(names)
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s'[: number != 1]}"
