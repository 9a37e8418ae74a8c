"""What a spec has to say at least: its headings. The rule: runs-and-chat.md, 8."""

from __future__ import annotations

import re

REQUIRED = (  # a word that some heading has to begin with or hold, and how it is called
    (re.compile(r"goal"), "Goal"),
    (re.compile(r".*constraint"), "Constraints / nuances"),
    (re.compile(r".*acceptance"), "Acceptance tests"),
)
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.*)")
_FENCE = re.compile(r" {0,3}(```|~~~)")


def problems(text: str) -> list[str]:
    """What is wrong with a spec: `missing heading: # …` each."""
    found = _headings(text)
    return [f"missing heading: # {name}" for word, name in REQUIRED if not any(map(word.match, found))]


def _headings(text: str) -> list[str]:
    """In lower case; what is in fences is code."""
    found, fence = list[str](), ""
    for line in text.splitlines():
        if (mark := _FENCE.match(line)) is not None and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
        elif not fence and (heading := _HEADING.fullmatch(line)) is not None:
            found.append(heading[1].strip().lower())
    return found
