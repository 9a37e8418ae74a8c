"""An objective, split into tasks that stand alone. Pure.

A list is its items. A text is what it spells out, each for itself and to the letter, and the rest by its sentences and
their clauses: a new task begins where a clause begins with a verb that tells somebody to do something.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal as OneOf

import attrs

from agentd.providers.builtin.grammar import ApplyDiff, Create
from agentd.providers.builtin.literals import MASK, Masked, mask
from agentd.providers.builtin.patch import parse_diff
from agentd.providers.builtin.task import PART_OF, Free, Item, asks, clauses, parse, spans

TITLE_CHARS = 80
CONTEXT_CHARS = 200

# Words that begin an instruction, whatever follows them; and those that do only before what they act on.
_DO = (
    "add|adapt|adjust|append|apply|clean up|configure|convert|create|delete|deprecate|disable|drop|enable|eliminate|"
    "expose|extend|extract|fix|generate|handle|harden|implement|improve|insert|install|integrate|introduce|make|migrate|"
    "modernize|modify|optimi[sz]e|publish|reduce|refactor|remove|rename|reorgani[sz]e|replace|resolve|restructure|"
    "rewrite|set up|simplify|speed up|unify|upgrade|validate|verify|write"
)
_MAY_DO = (
    "build|bump|cache|change|check|clean|commit|cover|design|document|execute|format|invoke|lint|log|merge|move|port|"
    "profile|put|release|report|reuse|review|run|split|store|support|test|update|wrap"
)
_OBJECT = (
    rf"(?:the|an?|all|any|both|each|every|its|it|my|new|our|some|that|their|them|these|this|those)\b|{MASK}|[\w.]+/"
)
_VERB = rf"(?:(?:{_DO})\b|(?:{_MAY_DO})\s+(?:{_OBJECT}))"
_BEGINS = re.compile(
    rf"(?:(?:please|also|then|next|finally|first|now)\b,?\s+)*(?={_VERB}|(?:{_MAY_DO})\b)", re.IGNORECASE
)
_RULE = re.compile(
    r"(?:please\s+)?(?:do not|don't|never|always|make sure|be sure|ensure|keep|avoid|only|leave)\b", re.IGNORECASE
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|;\s+|\n+")
_NEXT = re.compile(
    rf"(?P<comma>\s*,\s+)(?:and\s+)?(?:then\s+|also\s+)?(?={_VERB})"
    rf"|\s*,?\s+(?:and\s+)?then\s+(?=(?:{_DO}|{_MAY_DO})\b)|\s+and\s+(?:also\s+)?(?={_VERB})",
    re.IGNORECASE,
)
_PURPOSE = re.compile(rf"\bto\s+(?:{_DO}|{_MAY_DO})\b|\b(?:that|which|who|when|if|because)\b", re.IGNORECASE)
_WITHOUT_OBJECT = re.compile(rf"(?:^|\bto\s+|\band\s+|,\s*)(?:{_DO}|{_MAY_DO})$", re.IGNORECASE)  # "create and …"


@attrs.frozen
class Task:
    title: str
    text: str  # all that is needed to do it


def split(objective: str) -> list[Task]:
    """The tasks of an objective, in its order; none if it asks for nothing."""
    masked = mask(objective.strip().replace("\r\n", "\n"))
    lead, *items = spans(masked, nested=False)
    if items:
        return _of_list(masked, lead, items)
    parts = [item for item in parse(objective) if not (isinstance(item.what, Free) and item.what.kind == "talk")]
    tasks = [task for item in parts for task in _of_item(item)]
    # What is one task anyhow keeps every word of the objective.
    return tasks if len(tasks) != 1 else [Task(tasks[0].title, objective.strip())]


def _of_list(masked: Masked, lead: tuple[int, int], items: Iterable[tuple[int, int]]) -> list[Task]:
    before = list(clauses(masked, *lead))
    tasks = [task for item in before if not isinstance(item.what, Free) for task in _of_item(item)]
    said = [item.text for item in before if isinstance(item.what, Free)]
    context = _context(" ".join([*said, _announced(masked, lead)]))
    for start, end in items:
        if text := masked.restore(masked.text[start:end]).rstrip():
            tasks.append(_of_line(text, context))
    return tasks


def _announced(masked: Masked, lead: tuple[int, int]) -> str:
    """ "Refactor the login:" before a list is what the list is of; "Do the following:" says nothing."""
    line = masked.text[slice(*lead)].strip().rsplit("\n", 1)[-1]
    return masked.restore(line) if line.endswith(":") and _BEGINS.match(line) else ""


def _of_line(text: str, context: str) -> Task:
    """An item of a list is one task, whatever it consists of. What is spelled out stays as it stands."""
    items = parse(text)
    title = _title_of(items[0]) if len(items) == 1 else _title(text)
    return Task(title, _within(text, context) if all(isinstance(item.what, Free) for item in items) else text)


def _of_item(item: Item) -> list[Task]:
    return _of_words(item.text) if isinstance(item.what, Free) else [Task(_title_of(item), item.text)]


# --- Words that spell nothing out -------------------------------------------------------------------------------------


@attrs.define
class _Part:
    kind: OneOf["work", "question"]
    words: str  # masked
    context: str = ""  # that the sentence gives: what stands before its colon


def _of_words(text: str) -> list[Task]:
    masked = mask(text)
    parts, rules = _parts(masked.text)
    if len(parts) < 2:
        return [Task(_title(text), text)]
    return [_task(part, masked, rules) for part in parts]


def _task(part: _Part, masked: Masked, rules: Sequence[str]) -> Task:
    text = _capital(masked.restore(part.words).strip().rstrip(".;,:"))
    if part.kind == "question" or not any(isinstance(item.what, Free) for item in parse(text)):
        return Task(_title(text), text)
    context = ". ".join([part.context, *rules]) if part.context else masked.text
    return Task(_title(text.split(". ")[0]), _within(text, _context(masked.restore(context))))


def _parts(text: str) -> tuple[list[_Part], list[str]]:
    """What is to be done one after another, and sentences that are about all of it."""
    parts: list[_Part] = []
    rules: list[str] = []
    for sentence in filter(None, _SENTENCE.split(text)):
        for part in _of_sentence(sentence):
            before = parts[-1] if parts else None
            if _RULE.match(part.words) or (before is None and part.kind == "work" and not _BEGINS.match(part.words)):
                rules.append(part.words)
            elif before and (
                part.kind == before.kind == "question" or not (part.kind == "question" or _BEGINS.match(part.words))
            ):
                before.words = f"{before.words} {part.words}"
            else:
                parts.append(part)
    return parts, rules


def _of_sentence(sentence: str) -> Iterator[_Part]:
    if asks(sentence):
        yield _Part("question", sentence)
        return
    head, colon, rest = sentence.partition(":")
    told = list(_told(rest.strip())) if colon else []
    if len(told) > 1 and all(_BEGINS.match(clause) for clause in told):
        yield from (_Part("work", clause, context=head) for clause in told)
    else:
        yield from (_Part("work", clause) for clause in ([sentence] if colon else _told(sentence)))


def _told(sentence: str) -> Iterator[str]:
    """The clauses of a sentence that each tell to do something, with what they act on."""
    opening = _BEGINS.match(sentence)
    start = opening.end() if opening else 0
    for found in _NEXT.finditer(sentence, start):
        clause = sentence[start : found.start()]
        inner = not found["comma"] and "then" not in found[0] and _PURPOSE.search(clause)
        if not inner and not _WITHOUT_OBJECT.search(clause):
            yield clause
            start = found.end()
    yield sentence[start:]


# --- Texts ------------------------------------------------------------------------------------------------------------


def _within(text: str, context: str) -> str:
    space = "\n" if "\n" in text else " "
    return f"{text}{space}{PART_OF.format(context)}" if context else text


def _context(text: str) -> str:
    line = " ".join(text.split()).rstrip(".:;,")
    return line if len(line) <= CONTEXT_CHARS else f"{line[: CONTEXT_CHARS - 1]}…"


def _title_of(item: Item) -> str:
    """Of what is spelled out; the words for a diff or a file may begin with a fence."""
    match item.what:
        case (ApplyDiff(diff),):
            files = [patch.new or patch.old or "" for patch in parse_diff(diff)]
            return _title(f"Apply the diff to {', '.join(files)}")
        case (Create(path, _),) if re.match(rf"\s*(?:Do this:|{MASK})", mask(item.text).text):
            return _title(f"Write {path}")
    return _title(item.text.removeprefix("Do this:\n"))


def _title(text: str) -> str:
    line = _capital(" ".join(text.strip().split("\n")[0].split()).rstrip(".;:"))
    return line if len(line) <= TITLE_CHARS else f"{line[: TITLE_CHARS - 1]}…"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
