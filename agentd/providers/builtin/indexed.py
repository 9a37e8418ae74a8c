"""Questions about what is defined and used, asked of the index of symbols, where its tools are on offer.

Every function answers None where they are not, where they fail, and where they know nothing of it: then the files
themselves are searched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from agentd.providers.builtin.cite import cite, code, counted, fenced, listed
from agentd.providers.builtin.outputs import Hit, Line, grep_hits, read_lines
from agentd.providers.builtin.plan import Answered, Call, Plan, run_calls
from agentd.providers.builtin.rank import kind_of
from agentd.providers.builtin.words import Question, read_question

MAX_NAMES = 4
MAX_DEFINITIONS = 10  # of one name
MAX_RELATED = 30
MAX_USES = 12
MAX_FILES = 15  # whose usages are counted one by one
MAX_MEMBERS = 60
MAX_SOURCE_LINES = 80
DOC_LINES = 12  # at the head of a class
TYPES = ("class", "interface", "enum", "type")
CALLABLES = ("function", "method")
_DEFINED = re.compile(r"(?P<path>.+?):(?P<line>\d+): (?P<kind>[a-z]+) (?P<name>.+?)  (?P<signature>.*)")
_HEADING = re.compile(r"(?P<path>.+?):(?P<line>\d+): (?P<kind>[a-z]+) (?P<name>.+?), lines? (?P<first>\d+)(?:-\d+)?")
_USE = re.compile(r"(?P<text>.*?)(?:  \[(?:in (?P<within>[^\]]+)|(?P<imported>import))\])?")
_STRUCTURE = re.compile(
    r"\b(?:structure|skeletons?|outline|members|fields|signatures|responsibilit\w+)\b", re.IGNORECASE
)
_SOURCE = re.compile(
    r"\b(?:source|body|implementation|code)\s+of\b|\bhow\s+(?:does|is)\b.*\bimplemented\b", re.IGNORECASE
)
_RELATED = re.compile(
    r"\b(?:classes|methods|functions|interfaces|enums|structs|types|symbols|definitions)\b[^.?]*?"
    r"\b(?:relat\w+ to|about|for|concern\w*|deal\w* with|involv\w+|named|called|with|that|which|contain\w*|handl\w+)\b"
    r"(?P<subject>[^.?!]*)",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"""\s*(?:[rR]?\"\"\".*\w|///?.*\w|/?\*+.*\w|\#.*\w)""")
_KINDS = {
    r"\b(?:class|classes|structs?)\b": ("class", "interface", "enum", "type"),
    r"\binterfaces?\b": ("interface",),
    r"\benums?\b": ("enum",),
    r"\btypes?\b": TYPES,
    r"\b(?:methods?|functions?)\b": CALLABLES,
    r"\b(?:fields?|constants?)\b": ("field",),
}


@attrs.frozen
class Defined:
    """A definition as SearchSymbols tells it."""

    hit: Hit  # its text is the declaration
    kind: str
    name: str  # qualified

    def told(self) -> str:
        return f"- {self.hit.path}:{self.hit.number} {self.kind} {code(self.hit.text)}"


def definitions(output: str) -> list[Defined]:
    found = (_DEFINED.fullmatch(line) for line in output.split("\n"))
    return [Defined(Hit(m["path"], int(m["line"]), m["signature"]), m["kind"], m["name"]) for m in found if m]


# --- Names that a question spells out ---------------------------------------------------------------------------------


def find_names(question: Question, offered: frozenset[str]) -> Plan[str | None]:
    """Where the names of a question are defined and used."""
    if not {"SearchSymbols", "FindUsages"} <= offered:
        return None
    names = question.symbols[:MAX_NAMES]
    calls = [call for name in names for call in (_exactly(name), Call("FindUsages", {"name": name, "limit": 300}))]
    answers = yield from run_calls(f"Looking {listed(names)} up in the index.", *calls)
    if not all(answered.ok for answered in answers):
        return None
    told = [_name(name, *answers[2 * at : 2 * at + 2]) for at, name in enumerate(names)]
    sources = (
        (yield from _sources(names, answers)) if _SOURCE.search(question.text) and "MethodSource" in offered else []
    )
    if not any(told):
        return None
    nothing = [f"`{name}` is nowhere in the workspace." for name, text in zip(names, told, strict=True) if not text]
    return "\n\n".join([*sources, *filter(None, told), *nothing])


def _exactly(name: str) -> Call:
    return Call("SearchSymbols", {"pattern": f"^{re.escape(name)}$", "limit": 50})


def _name(name: str, defined: Answered, used: Answered) -> str:
    found = [each for each in definitions(defined.text) if each.name.rsplit(".", 1)[-1] == name]
    uses = [hit for hit in grep_hits(used.text) if not _HEADING.fullmatch(f"{hit.path}:{hit.number}:{hit.text}")]
    if not found and not uses:
        return ""
    parts = [_definitions(name, found)]
    if uses:
        parts.append(_uses(name, uses, cut=re.search(r"^\[(?:at least )?\d+ more usages", used.text, re.MULTILINE)))
    return "\n\n".join(parts)


def _definitions(name: str, found: Sequence[Defined]) -> str:
    if not found:
        return f"Nothing here defines `{name}`, but it is mentioned."
    ordered = sorted(found, key=lambda each: kind_of(each.hit.path) != "source")
    more = [f"[{len(found) - MAX_DEFINITIONS} more]"] if len(found) > MAX_DEFINITIONS else []
    return "\n".join([f"`{name}` is defined in:", *(each.told() for each in ordered[:MAX_DEFINITIONS]), *more])


def _uses(name: str, uses: Sequence[Hit], cut: object) -> str:
    """All in numbers, by file; then lines, one a file."""
    files: dict[str, list[Hit]] = {}
    for use in uses:
        files.setdefault(use.path, []).append(use)
    at_least = "more than " if cut else ""
    lines = [f"`{name}` is used in {at_least}{counted(len(uses), 'line')} of {counted(len(files), 'file')}:"]
    lines += [_file(path, hits) for path, hits in list(files.items())[:MAX_FILES]]
    if len(files) > MAX_FILES:
        lines.append(f"[{len(files) - MAX_FILES} more files]")
    firsts = [
        max(hits, key=lambda hit: (bool(_note(hit)["within"]), not _note(hit)["imported"])) for hits in files.values()
    ]
    quoted = (cite(attrs.evolve(hit, text=_note(hit)["text"])) for hit in firsts[:MAX_USES])
    return "\n".join([*lines, "For example:", *quoted])


def _note(hit: Hit) -> dict[str, str]:
    found = _USE.fullmatch(hit.text)
    return found.groupdict() if found else {"text": hit.text, "within": "", "imported": ""}


def _file(path: str, hits: Sequence[Hit]) -> str:
    within = [note["within"] for hit in hits if (note := _note(hit))["within"]]
    short = list(dict.fromkeys(".".join(name.split(".")[-2:]) for name in within))
    places = f", in {listed(f'`{name}`' for name in short[:5])}" if short else ""
    imports = sum(bool(_note(hit)["imported"]) for hit in hits)
    only = ", only imported" if imports == len(hits) else ""
    more = f" and {len(short) - 5} more" if len(short) > 5 else ""
    return f"- {path}: {counted(len(hits), 'line')}{places}{more}{only}"


def _sources(names: Sequence[str], answers: Sequence[Answered]) -> Plan[list[str]]:
    """The source of those that are functions."""
    functions = [
        name
        for name, answered in zip(names, answers[::2], strict=True)
        if any(each.kind in CALLABLES for each in definitions(answered.text))
    ]
    shown = yield from run_calls("Reading it.", *(Call("MethodSource", {"name": name}) for name in functions))
    return [_fenced(answered.text, MAX_SOURCE_LINES) for answered in shown if answered.ok]


def _fenced(text: str, most: int) -> str:
    lines = text.split("\n")
    more = [f"[{len(lines) - most} more lines]"] if len(lines) > most else []
    return "\n".join([fenced(lines[:most]), *more])


# --- What is related to a subject -------------------------------------------------------------------------------------


def asks_related(question: Question) -> bool:
    return bool(_RELATED.search(question.text)) and bool(_subject(question))


def find_related(question: Question, offered: frozenset[str]) -> Plan[str | None]:
    """Definitions whose names speak of the subject."""
    if "SearchSymbols" not in offered:
        return None
    stems = _subject(question)
    (answered,) = yield from run_calls(
        f"Looking for definitions with {listed(stems)} in their names.",
        Call("SearchSymbols", {"pattern": "|".join(stems), "limit": 300}),  # in small letters: case does not count
    )
    kinds = [kind for shape, own in _KINDS.items() if re.search(shape, question.text, re.IGNORECASE) for kind in own]
    found = [each for each in definitions(answered.text) if not kinds or each.kind in kinds]
    if not answered.ok or not found:
        return None
    ordered = sorted(found, key=lambda each: (kind_of(each.hit.path) != "source", each.kind not in TYPES))
    more = [f"[{len(found) - MAX_RELATED} more]"] if len(found) > MAX_RELATED else []
    head = f"{counted(len(found), 'definition')} with {listed(f'`{stem}`' for stem in stems)} in the name:"
    return "\n".join([head, *(each.told() for each in ordered[:MAX_RELATED]), *more])


def _subject(question: Question) -> list[str]:
    """The words for what they are to be related to, and other words for the same."""
    related = _RELATED.search(question.text)
    terms = read_question(related["subject"]).terms if related else ()
    return list(dict.fromkeys(stem for term in terms for stem in (*term.stems, *term.synonyms) if len(stem) > 3))


# --- The structure of classes -----------------------------------------------------------------------------------------


def asks_structure(question: Question) -> bool:
    return bool(question.symbols) and bool(_STRUCTURE.search(question.text))


def find_structure(question: Question, offered: frozenset[str]) -> Plan[str | None]:
    """The skeletons of the classes that a question names, and what is said right at their beginning."""
    if not {"ClassSkeleton", "Read"} <= offered:
        return None
    names = question.symbols[:MAX_NAMES]
    calls = [Call("ClassSkeleton", {"name": name}) for name in names]
    answers = yield from run_calls(f"Looking at the structure of {listed(names)}.", *calls)
    known = [answered for answered in answers if answered.ok]
    heads = [head for answered in known if (head := _HEADING.fullmatch(answered.text.split("\n", 1)[0]))]
    reads = yield from run_calls(
        "Reading what they say of themselves.",
        *(
            Call("Read", {"file_path": head["path"], "offset": int(head["first"]), "limit": DOC_LINES})
            for head in heads
        ),
    )
    if len(heads) != len(known) or not known:
        return None
    told = [
        _skeleton(head, answered.text, read_lines(read.text).lines)
        for head, answered, read in zip(heads, known, reads, strict=True)
    ]
    unknown = [f"No class is called `{each.call.input['name']!s}`." for each in answers if not each.ok]
    return "\n\n".join([*told, *unknown])


def _skeleton(head: re.Match[str], text: str, beginning: Sequence[Line]) -> str:
    path = head["path"]
    members = [line for line in read_lines(text).lines if line.number != int(head["line"])]
    name = head["name"].rsplit(".", 1)[-1]
    lines = [f"`{name}` is defined in {path}:{head['line']}, with {counted(len(members), 'member')}:"]
    lines += [cite(Hit(path, line.number, line.text)) for line in members[:MAX_MEMBERS]]
    if len(members) > MAX_MEMBERS:
        lines.append(f"[{len(members) - MAX_MEMBERS} more]")
    own = {line.number for line in members}
    said = [line for line in beginning if _COMMENT.match(line.text) and line.number not in own]
    if said:
        lines += ["What it says of itself:", *(cite(Hit(path, line.number, line.text)) for line in said[:6])]
    return "\n".join(lines)
