"""A spec out of what was asked for: its own sentences, sorted. Nothing is added but what the workspace says it is
checked by. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

DRAFT_MARK = "Draft the spec that is asked for below."  # as engine/specdraft.py begins it; a test holds them together
DRAFT_ASKED = "What is asked for:\n\n"
HOW = "- Drafted by agentd's built-in offline model: the sentences of the request, sorted. Nothing was invented."
_NAME = re.compile(r"^name: ([\w-]+)$", re.MULTILINE)
FENCE = re.compile(r"^(```|~~~)[^\n]*\n.*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_ITEM = re.compile(r"\s*(?:[-*•+]|\d{1,3}[.)])\s+(?:\[[ xX]\]\s+)?")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+(?=[A-Z`\"'(])")
_ACCEPTS = re.compile(
    r"\b(?:verif|tests?\b|check|accept|given\b.*\bthen\b|when\b.*\bthen\b|expect|returns?\b|prints?\b|exits?\b|pass(?:es)?\b)",
    re.IGNORECASE,
)
_CONSTRAINS = re.compile(
    r"\b(?:must|shall|should|only|never|without|don't|do not|avoid|keep|stays?|at (?:most|least)|compatible|limit"
    r"|no (?:new|more|other)|not (?:be|change|break|use|require))\b",
    re.IGNORECASE,
)
_CHECK = re.compile(r"`((?:make|npm|yarn|pnpm|go|cargo|pytest|python|tox|mvn|gradle|\./)[^`\n]*(?:test|check)[^`\n]*)`")
MOST_CHECKS = 5


def spec_draft(texts: Sequence[str]) -> str:
    """The spec that the last of *texts* asks for; those before it are what is known of the workspace."""
    *known, ask = texts
    asked = ask.partition(DRAFT_ASKED)[2].strip()
    named = _NAME.search(ask)
    goal, constraints, checks, blocks = sentences_of(asked)
    goal = goal or constraints[:1] or checks[:1]
    told = [*checks, *_checks_of(known)] or [f"It can be seen that this is done: {_inner(goal[0])}" if goal else ""]
    parts = {
        "Goal": "\n\n".join([*goal, *blocks]),
        "Constraints / nuances": items(constraints),
        "Acceptance tests": items(told),
        "Notes": HOW,
    }
    head = f"---\nname: {named[1] if named else 'draft'}\nowner: \nstatus: draft\n---\n"
    return head + "".join(f"\n# {heading}\n\n{text}\n" for heading, text in parts.items())


def sentences_of(text: str) -> tuple[list[str], list[str], list[str], list[str]]:
    """The sentences that say what is to be done, how, and how that is seen; and what stands in fences."""
    blocks = [found[0] for found in FENCE.finditer(text)]
    goal, constraints, checks = list[str](), list[str](), list[str]()
    for sentence in _sentences(FENCE.sub("\n", text)):
        kind = checks if _ACCEPTS.search(sentence) else constraints if _CONSTRAINS.search(sentence) else goal
        kind.append(sentence)
    return goal, constraints, checks, blocks


def _sentences(text: str) -> Iterator[str]:
    """Items of lists are whole ones; lines of a paragraph go on."""
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*•+]|\d{1,3}[.)])\s)", text):
        if found := _ITEM.match(paragraph):
            yield " ".join(paragraph[found.end() :].split())
        else:
            line = " ".join(re.sub(r"^#+\s*", "", paragraph.strip()).split())
            yield from filter(None, _SENTENCE.split(line))


def _checks_of(known: Sequence[str]) -> list[str]:
    commands = dict.fromkeys(found[1] for text in known for found in _CHECK.finditer(text))
    return [f"`{command}` passes." for command in list(commands)[:MOST_CHECKS]]


def _inner(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:] if sentence[:2].istitle() else sentence


def items(texts: Sequence[str]) -> str:
    return "\n".join(f"- {text}" for text in texts if text) or "- None was named."
