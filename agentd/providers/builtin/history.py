"""What git says was changed, summed up: when, by whom, where, and each commit's own subject."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import attrs

from agentd.providers.builtin.cite import code, counted, listed
from agentd.providers.builtin.plan import Call, Plan, run_calls
from agentd.providers.builtin.words import Question

LIMIT = 50  # commits that are looked at
SHOWN = 15
AREAS = 8
AUTHORS = 5
_COMMIT = re.compile(r"(?P<sha>[0-9a-f]{7,64}) (?P<date>\d{4}-\d\d-\d\d)\S* (?P<author>.*?): (?P<subject>.*)")
_FILE = re.compile(r"  (?P<status>[A-Z]\d*) (?P<path>.+)")
_SINCE = re.compile(r"\b(?:last|past)\s+(?:(?P<number>\d+)\s+)?(?P<unit>day|week|month|year)s?\b", re.IGNORECASE)


@attrs.frozen
class Commit:
    sha: str
    date: str
    author: str
    subject: str
    files: list[str] = attrs.field(factory=list)


def commits(output: str) -> list[Commit]:
    """What GitLog said, newest first."""
    found: list[Commit] = []
    for line in output.split("\n"):
        if head := _COMMIT.fullmatch(line):
            found.append(Commit(head["sha"], head["date"], head["author"], head["subject"]))
        elif found and (changed := _FILE.fullmatch(line)):
            found[-1].files.append(changed["path"])
    return found


def recent_commits(question: Question) -> Plan[str | None]:
    """What was committed last; None where there is no history."""
    path = {"path": question.paths[0]} if question.paths else {}
    ago = _SINCE.search(question.text)
    since = {"since": f"{ago['number'] or 1} {ago['unit'].lower()}s ago"} if ago else {}
    (answered,) = yield from run_calls("Asking git.", Call("GitLog", {"limit": LIMIT, **path, **since}))
    found = commits(answered.text) if answered.ok else []
    return _told(found, more="[more commits" in answered.text) if found else None


def _told(found: Sequence[Commit], *, more: bool) -> str:
    dates = sorted({commit.date for commit in found})
    when = f"on {dates[0]}" if len(dates) == 1 else f"from {dates[0]} to {dates[-1]}"
    there_are = "There are more before them." if more else "There are no others."
    authors = Counter(commit.author for commit in found)
    by = listed([f"{name} ({count})" for name, count in authors.most_common(AUTHORS)])
    parts = [f"The last {counted(len(found), 'commit')}, {when}, by {by}. {there_are}"]
    if areas := Counter(area for commit in found for area in sorted({_area(path) for path in commit.files})):
        lines = [f"- {area}: {counted(count, 'commit')}" for area, count in areas.most_common(AREAS)]
        parts.append("\n".join(["Where they changed most:", *lines]))
    shown = [_line(commit) for commit in found[:SHOWN]]
    rest = [f"[{len(found) - SHOWN} more]"] if len(found) > SHOWN else []
    parts.append("\n".join(["In their own words, newest first:", *shown, *rest]))
    parts.append("This was counted from the commits, not read and understood: I am agentd's built-in offline model.")
    return "\n\n".join(parts)


def _area(path: str) -> str:
    """The first two directories of a path."""
    folders = PurePosixPath(path).parent.parts[:2]
    return "/".join(folders) or "the top directory"


def _line(commit: Commit) -> str:
    files = f" ({counted(len(commit.files), 'file')})" if commit.files else ""
    return f"- {commit.sha[:10]} {commit.date} {commit.author}: {code(commit.subject)}{files}"
