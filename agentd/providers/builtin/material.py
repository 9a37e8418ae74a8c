"""What a client put before the model: files, classes, methods and texts. It is data: told and cited, never followed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import attrs

from agentd.domain import Message, Text, ToolResult
from agentd.providers.builtin.cite import cite, code, counted, fenced
from agentd.providers.builtin.definitions import field_name, is_scope
from agentd.providers.builtin.outputs import Hit
from agentd.providers.builtin.words import Question, Term, read_question

MAX_FRAGMENTS = 12  # that are told
MAX_POINTS = 20  # of one text
MAX_CODE_LINES = 50  # of one file, class or method
SEARCHED_CHARS = 400  # of the texts, whose words are looked for in the repository
HOW = (
    "This is what you added, in its own words and order. I am a planner without a language model: I weigh nothing in "
    "it and add no step of my own."
)
_FRAGMENT = re.compile(
    r'<(?P<tag>context-\S+) id="[^"]*" kind="(?P<kind>\w+)" name="(?P<name>[^"]*)">\n'
    r"\[[^\n]*\]\n(?P<text>.*?)\n?</(?P=tag)>",
    re.DOTALL,
)
_REFERS = re.compile(
    r"\b(?:notes?|observations?|attached|provided|supplied|pasted|(?:the|this|my|added|given) context"
    r"|(?:I|we)(?:'ve| have)? (?:just )?(?:added|attached|gave|shared|put))\b",
    re.IGNORECASE,
)
_NOTES = re.compile(r"\b(?:notes?|observations?|texts?)\b", re.IGNORECASE)
_POINT = re.compile(r"\s*(?:#{1,6}\s+\S|[-*•+]\s+\S|\(?\d{1,3}[.)]\s+\S|.{1,80}:$|(?:TODO|FIXME|Risk|Issue|Step)\b)")
_ACTS = re.compile(
    r"\W*(?:please\s+)?(?:implement|fix|add|create|write|change|refactor|build|apply|make|update|remove|delete)\b",
    re.IGNORECASE,
)


@attrs.frozen
class Fragment:
    kind: str  # file, class, method or text
    name: str
    text: str


def fragments(messages: Iterable[Message]) -> list[Fragment]:
    """What was put before the model in these messages; what a tool returned is none of it."""
    spoken = (message for message in messages if message.role == "user")
    blocks = (
        block.text
        for message in spoken
        if not any(isinstance(block, ToolResult) for block in message.content)
        for block in message.content[:-1]
        if isinstance(block, Text)
    )
    found = (_FRAGMENT.fullmatch(text.strip()) for text in blocks)
    return list(dict.fromkeys(Fragment(each["kind"], each["name"], each["text"]) for each in found if each))


def is_about(text: str, material: Sequence[Fragment]) -> bool:
    """Whether a text that asks for no change is about what was added."""
    return bool(material) and bool(_REFERS.search(text)) and not _ACTS.match(text)


def relevant(text: str, material: Sequence[Fragment]) -> list[Fragment]:
    """All, if the question speaks of what was added, or all of what it calls it; else those that it names."""
    if _REFERS.search(text):
        notes = [each for each in material if each.kind == "text"] if _NOTES.search(text) else []
        return notes or list(material)
    names = read_question(text).symbols
    return [each for each in material if any(re.search(rf"\b{re.escape(name)}\b", each.name) for name in names)]


def words_of(text: str, material: Sequence[Fragment]) -> Question:
    """What to look for in the repository: what the texts speak of."""
    said = " ".join(each.text for each in material if each.kind == "text")
    terms = read_question(said[:SEARCHED_CHARS] or text).terms
    return read_question(" ".join(term.word for term in terms if _is_telling(term)))


def _is_telling(term: Term) -> bool:
    return term.weight >= 1.0 and term.word not in ("note", "notes", "step", "steps", "plan")


def told(material: Sequence[Fragment]) -> str:
    parts = [_told(each) for each in material[:MAX_FRAGMENTS]]
    more = [f"[{len(material) - MAX_FRAGMENTS} more fragments]"] if len(material) > MAX_FRAGMENTS else []
    return "\n\n".join([*parts, *more, HOW])


def _told(fragment: Fragment) -> str:
    lines = fragment.text.split("\n")
    match fragment.kind:
        case "text":
            return _points(fragment.name, lines)
        case "file":
            return _structure(fragment.name, lines)
    cut = [f"[{len(lines) - MAX_CODE_LINES} more lines]"] if len(lines) > MAX_CODE_LINES else []
    return "\n".join([f"The {fragment.kind} `{fragment.name}`:", fenced(lines[:MAX_CODE_LINES]), *cut])


def _points(name: str, lines: Sequence[str]) -> str:
    """The headings and the items of a text; of one that has neither, its lines."""
    said = [line for line in lines if line.strip()]
    points = [line for line in said if _POINT.match(line)]
    chosen = points if len(points) > 1 else said
    cut = [f"[{len(chosen) - MAX_POINTS} more]"] if len(chosen) > MAX_POINTS else []
    left = len(said) - len(chosen)
    beside = f", beside {counted(left, 'line')} of prose" if left else ""
    return "\n".join([f"{name} says{beside}:", *(f"- {code(line)}" for line in chosen[:MAX_POINTS]), *cut])


def _structure(path: str, lines: Sequence[str]) -> str:
    """What a file defines, as its own lines."""
    numbered = list(enumerate(lines, 1))
    hits = [Hit(path, number, line) for number, line in numbered if is_scope(line, path) or field_name(line, path)]
    chosen = hits or [Hit(path, number, line) for number, line in numbered if line.strip()][:10]
    cut = [f"[{len(chosen) - MAX_CODE_LINES} more]"] if len(chosen) > MAX_CODE_LINES else []
    return "\n".join([f"{path} has:", *map(cite, chosen[:MAX_CODE_LINES]), *cut])
