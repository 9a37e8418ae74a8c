"""The structure of code: classes, their fields and methods, as their own lines say it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from agentd.providers.builtin.cite import cite, counted, listed
from agentd.providers.builtin.definitions import FIELDS, OUTLINE, field_name, is_scope
from agentd.providers.builtin.outputs import Hit, grep_hits, is_cut, paths, read_lines
from agentd.providers.builtin.plan import Answered, Call, Plan, run_calls
from agentd.providers.builtin.rank import kind_of
from agentd.providers.builtin.words import Question

MAX_PATHS = 3
MAX_LINES = 1500  # of definitions that are looked at
MAX_SHOWN = 200
TOLD_WHOLE = 3  # files of which FileSummary tells what is in their types; of more it does when it is asked for each
MAX_WHOLE_FILES = 20
_TYPE = re.compile(r"(?:[\w@()]+\s+)*(?:class|interface|struct|enum|trait|record|type|union|protocol|object|typedef)\b")
_SUMMED_FILE = re.compile(r"(?P<path>.+?)(?:: \d+ definitions?| \[not read: .*\])")
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


def outline(question: Question, offered: frozenset[str]) -> Plan[str]:
    """The definitions below the paths that a question names."""
    fields = bool(_FIELDS_ASKED.search(question.text))
    told = ""
    for path in question.paths[:MAX_PATHS]:
        path = path.rstrip("/") or "."
        known = (yield from _indexed(path, _only_types(question))) if "FileSummary" in offered else None
        told += "\n\n" + (known or (yield from _outline(path, fields)))
    return told.strip()


def _only_types(question: Question) -> bool:
    return bool(re.search(r"\bclass(?:es)?\b", question.text)) and not re.search(r"\bfunctions?\b", question.text)


def _indexed(path: str, only_types: bool) -> Plan[str | None]:
    """What the index of symbols knows of it, whole files where they are few; None if it is nothing."""
    (summary,) = yield from run_calls(f"Looking at what `{path}` defines.", Call("FileSummary", {"path": path}))
    if not summary.ok:
        return None
    names = [name for name, _ in _files(summary.text)]
    calls = [Call("FileSummary", {"path": name}) for name in names[:MAX_WHOLE_FILES]] if len(names) > TOLD_WHOLE else []
    whole = yield from run_calls("Looking into the files.", *calls)
    files = dict(_files(summary.text))
    for answered in whole:
        files.update(_files(answered.text) if answered.ok else ())
    if only_types:
        files = {
            name: [hit for hit in hits if hit.text[:1] == " " or _TYPE.match(hit.text)] for name, hits in files.items()
        }
    return _tell(path, {name: hits for name, hits in files.items() if hits}, cut=is_cut(summary.text))


def _files(output: str) -> Iterator[tuple[str, list[Hit]]]:
    """The files that FileSummary tells, each with its lines."""
    path, hits = "", list[Hit]()
    for line in output.split("\n"):
        if found := _SUMMED_FILE.fullmatch(line):
            if path:
                yield path, hits
            path, hits = found["path"], []
        hits += [Hit(path, each.number, each.text) for each in read_lines(line).lines]
    if path:
        yield path, hits


def _outline(path: str, fields: bool) -> Plan[str]:
    found, defined, declared = yield from run_calls(
        f"Looking at what `{path}` defines.",
        Call("Glob", {"pattern": "**/*", "path": path} if "." not in path.rsplit("/", 1)[-1] else {"pattern": path}),
        _grep(OUTLINE, path),
        _grep(FIELDS, path) if fields else _grep(OUTLINE, path),
    )
    if not defined.ok:
        return f"`{path}`: {defined.text.strip()}{(yield from _elsewhere(path))}"
    hits = _definitions(defined, declared if fields else None)
    if not hits:
        files = paths(found.text) if found.ok else []
        return f"`{path}` has {counted(len(files), 'file')}, and I see no definition in them."
    return _tell(path, hits, cut=is_cut(defined.text))


def _elsewhere(path: str) -> Plan[str]:
    """Where there is a directory or a file of that name instead."""
    name = path.rsplit("/", 1)[-1]
    (found,) = yield from run_calls(f"Looking for `{name}` elsewhere.", Call("Glob", {"pattern": f"**/{name}{{,/*}}"}))
    places = [each if each.endswith(f"/{name}") else each.rpartition("/")[0] for each in paths(found.text)]
    there = list(dict.fromkeys(places))[:5] if found.ok else []
    return f"\nThere is {listed(f'`{each}`' for each in there)}; ask for that." if there else ""


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
