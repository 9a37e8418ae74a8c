"""The launch templates that the manual shows: what is tested is what is told."""

from __future__ import annotations

import re
import tomllib

from agentd.cli.help import page

TOPIC = "scale-out"


def recipes() -> dict[str, str]:
    """By heading."""
    found = {}
    for section in re.split(r"^# ", page(TOPIC), flags=re.MULTILINE)[1:]:
        for block in re.findall(r"^```\n(\[manager\].*?)^```", section, re.MULTILINE | re.DOTALL):
            found[section.splitlines()[0]] = " ".join(tomllib.loads(block)["manager"]["executor_command"].split())
    return found


def recipe(name: str) -> str:
    return recipes()[name]
