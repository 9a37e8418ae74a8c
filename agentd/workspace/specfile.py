"""A spec as a file: its parts, and a draft where there is none. The structure: runs-and-chat.md, 12."""

from __future__ import annotations

from pathlib import Path

HEADINGS = ("Goal", "Constraints / nuances", "Acceptance tests", "Notes")
TO_BE_WRITTEN = "(to be written)"
EXISTS = "SPEC_EXISTS"  # code of the failure to write one where there is one


def path_of(workspace: Path, name: str) -> Path:
    """Where the spec *name* is: letters, digits, dashes and underscores."""
    return workspace / "specs" / name / "spec.md"


def draft(name: str, goal: str = TO_BE_WRITTEN) -> str:
    """A spec that says no more than its goal. *name*: letters, digits, dashes and underscores."""
    head = f"---\nname: {name}\nowner: \nstatus: draft\n---\n"
    texts = (goal.strip() or TO_BE_WRITTEN, *[f"- {TO_BE_WRITTEN}"] * (len(HEADINGS) - 1))
    return head + "".join(f"\n# {heading}\n\n{text}\n" for heading, text in zip(HEADINGS, texts, strict=True))
