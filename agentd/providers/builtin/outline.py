"""The structure of code: classes, their fields and methods, as their own lines say it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from agentd.providers.builtin.cite import cite, counted
from agentd.providers.builtin.definitions import FIELDS, OUTLINE, field_name, is_scope
from agentd.providers.builtin.outputs import Hit, grep_hits, is_cut, paths
from agentd.providers.builtin.plan import Answered, Call, Plan, run_calls
from agentd.providers.builtin.rank import kind_of
from agentd.providers.builtin.words import Question

MAX_PATHS = 3
MAX_LINES = 1500  # of definitions that are looked at
MAX_SHOWN = 120
_ASKS = re.compile(
    r"\b(?:structure|outline|skeletons?|signatures?|members)\b"
    r"|\b(?:list|show(?: me)?|what are|which)\b[^.?]*\b(?:all|the)\s+(?:\w+\s+)?"
    r"(?:classes|functions|methods|interfaces|structs)\b(?=[^.?]*\b(?:in|of|under|from)\b)",
    re.IGNORECASE,
)
_FIELDS_ASKED = re.compile(r"\b(?:fields?|attributes?|members?|structure|properties|skeletons?)\b", re.IGNORECASE)
_DIRECTORY = re.compile(r"\b(?:directory|folder|package|module|file)\b", re.IGNORECASE)


def asks_outline(question: Question) -> bool:
    return bool(question.paths) and bool(_ASKS.search(question.text))


def outline(question: Question) -> Plan[str]:
    """The definitions below the paths that a question names."""
    fields = bool(_FIELDS_ASKED.search(question.text))
    told = ""
    for path in question.paths[:MAX_PATHS]:
        told += "\n\n" + (yield from _outline(path.rstrip("/"), fields))
    return told.strip()


def _outline(path: str, fields: bool) -> Plan[str]:
    found, defined, declared = yield from run_calls(
        f"Looking at what `{path}` defines.",
        Call("Glob", {"pattern": "**/*", "path": path} if "." not in path.rsplit("/", 1)[-1] else {"pattern": path}),
        _grep(OUTLINE, path),
        _grep(FIELDS, path) if fields else _grep(OUTLINE, path),
    )
    if not defined.ok:
        return f"`{path}`: {defined.text.strip()}"
    hits = _definitions(defined, declared if fields else None)
    if not hits:
        files = paths(found.text) if found.ok else []
        return f"`{path}` has {counted(len(files), 'file')}, and I see no definition in them."
    return _tell(path, hits, cut=is_cut(defined.text))


def _grep(pattern: str, path: str) -> Call:
    return Call("Grep", {"pattern": pattern, "path": path, "output_mode": "content", "head_limit": MAX_LINES})


def _definitions(defined: Answered, declared: Answered | None) -> Mapping[str, list[Hit]]:
    """Lines that define a type, a function or a field, by file, in their order."""
    scopes = [hit for hit in grep_hits(defined.text) if is_scope(hit.text, hit.path)]
    files: dict[str, dict[int, Hit]] = {}
    for hit in scopes:
        files.setdefault(hit.path, {})[hit.number] = hit
    for hit in grep_hits(declared.text) if declared else ():
        if hit.path in files and field_name(hit.text, hit.path):
            files[hit.path].setdefault(hit.number, hit)
    return {path: _first_of_each(sorted(lines.values(), key=lambda hit: hit.number)) for path, lines in files.items()}


def _first_of_each(hits: Sequence[Hit]) -> list[Hit]:
    """A field is shown where it is set first in its class."""
    kept: list[Hit] = []
    seen: set[str] = set()
    for hit in hits:
        field = None if is_scope(hit.text, hit.path) else field_name(hit.text, hit.path)
        if re.match(r"\s*(?:\w+\s+)*(?:class|interface|struct|enum|trait|record)\b", hit.text):
            seen = set()
        if field is None or field not in seen:
            kept.append(hit)
        if field:
            seen.add(field)
    return kept


def _tell(path: str, files: Mapping[str, Sequence[Hit]], cut: bool) -> str:
    total = sum(map(len, files.values()))
    lines = [f"`{path}` defines, in {counted(len(files), 'file')}:"]
    room = MAX_SHOWN
    for name, hits in sorted(files.items(), key=lambda each: (kind_of(each[0]) != "source", each[0])):
        lines += ["", name, *(_indented(hit) for hit in hits[:room])]
        room -= len(hits)
        if room <= 0:
            break
    if total > MAX_SHOWN or cut:
        lines.append(f"[{'more than ' if cut else ''}{total - min(total, MAX_SHOWN)} more; ask for a part of it]")
    return "\n".join(lines)


def _indented(hit: Hit) -> str:
    """A citation, as deep as its line."""
    depth = (len(hit.text) - len(hit.text.lstrip())) // 2
    return " " * min(2 * depth, 8) + cite(hit)
