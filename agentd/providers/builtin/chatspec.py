"""The spec of a chat: what a person says is to be done goes into it, each sentence under its heading."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agentd.providers.builtin.cite import counted
from agentd.providers.builtin.plan import Call, Move, Plan, run_calls
from agentd.providers.builtin.specdraft import FENCE, items, sentences_of
from agentd.providers.builtin.task import Free, parse

WRITE, READ = "write_spec", "read_spec"
NOT_YET = "(to be written)"  # as workspace/specfile.py has it; a test holds the two together
HOW = (
    "These are your own sentences, sorted: I am agentd's built-in offline model, and invent nothing. Tell me more of "
    "it, or write the rest into the file yourself."
)
EMPTY = "[the spec is empty]"  # as the tool says it
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(?P<name>[^\n]*)$", re.MULTILINE)
_ANNOUNCED = re.compile(
    r"\W*(?:please\s+)?(?:(?:can|could) you\s+)?(?:write|draft|make|create|prepare|update|extend|change)\s+"
    r"(?:(?:me|us)\s+)?(?:an?|the|this|our)\s+(?:new\s+|short\s+)?spec(?:ification)?\b"
    r"(?:\s+(?:for|about|that|which|to|so|of|with|says?|saying|where|this|the following)\b)*\s*[:,.-]?\s*",
    re.IGNORECASE,
)
_PARTS = (("Goal", r"goal"), ("Constraints / nuances", r".*constraint"), ("Acceptance tests", r".*acceptance"))


def speaks_of_spec(task: str, offered: frozenset[str]) -> bool:
    """Whether *task* says what is to be done, in a chat that has a spec, and spells out nothing to be done at once."""
    if WRITE not in offered:
        return False
    return bool(_ANNOUNCED.match(task)) or all(isinstance(i.what, Free) and i.what.kind == "work" for i in parse(task))


def write_spec(task: str) -> Plan[Move]:
    """Put what *task* says into the spec."""
    (now,) = yield from run_calls("Reading the spec.", Call(READ, {}))
    said = task[found.end() :] if (found := _ANNOUNCED.match(task)) else task
    goal, constraints, checks, blocks = sentences_of(said[:1].upper() + said[1:])
    last = now.text.rsplit("\n", 1)[-1]
    if not now.ok or last.startswith("[cut at "):
        return Move(f"I cannot read the whole spec, so I leave it as it is: {last}", failed=not now.ok)
    if not (goal or constraints or checks or blocks):
        return Move("Tell me what is to be done, how, and how that is seen: I sort it into the spec.")
    added = ([*goal, *blocks], constraints, checks)
    (wrote,) = yield from run_calls("Writing it into the spec.", Call(WRITE, {"content": spec_with(now.text, added)}))
    if not wrote.ok:
        return Move(f"The spec was not written: {wrote.text}", failed=True)
    told = [
        f"{name}, {counted(len(texts), 'sentence')}:\n{items(texts)}"
        for (name, _), texts in zip(_PARTS, (goal, constraints, checks), strict=True)
        if texts
    ]
    return Move("\n\n".join(["I wrote into the spec what you said.", *told, HOW]))


def spec_with(now: str, added: tuple[Sequence[str], Sequence[str], Sequence[str]]) -> str:
    """A spec with more under its headings; those that it has not are put behind it."""
    text = "" if now == EMPTY else f"{now.rstrip()}\n"
    for (name, shape), texts in zip(_PARTS, added, strict=True):
        start, end = _section(text, shape)
        body = text[start:end].strip()
        new = [each for each in texts if each not in body]
        told = "\n\n".join(new) if name == "Goal" else items(new) if new else ""
        kept = body if body.removeprefix("- ") != NOT_YET else ""
        joined = ("\n\n" if name == "Goal" else "\n").join(filter(None, (kept, told))) or f"- {NOT_YET}"
        before = text[:start] if start < len(text) or end > start else f"{text}\n# {name}\n".lstrip("\n")
        text = f"{before.rstrip()}\n\n{joined}\n{text[end:] and chr(10)}{text[end:]}"
    return text


def _section(text: str, shape: str) -> tuple[int, int]:
    """Where what stands under a heading begins and ends; the end of the text, twice, where there is none."""
    bare = FENCE.sub(lambda fenced: " " * len(fenced[0]), text)
    headings = [*_HEADING.finditer(bare)]
    for at, found in enumerate(headings):
        if re.match(shape, found["name"].strip().lower()):
            return found.end(), headings[at + 1].start() if at + 1 < len(headings) else len(text)
    return len(text), len(text)
