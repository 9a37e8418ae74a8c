"""A person's words, taken apart: steps that are spelled out, questions, and work that would need invention."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal as OneOf

import attrs

from agentd.providers.builtin.grammar import ApplyDiff, Create, Found, Run, Step, directive_at
from agentd.providers.builtin.literals import MASK, Masked, mask


@attrs.frozen
class Free:
    """Words that spell nothing out. *talk*: to the model, about itself; *work*: something to be made or changed."""

    text: str
    kind: OneOf["question", "work", "talk"]


@attrs.frozen
class Item:
    """What one sentence asks for. *text*: the person's words for it, from which alone the same can be read again."""

    what: tuple[Step, ...] | Free
    text: str


_ITEM = re.compile(r"^(?P<indent> {0,3})(?:[-*•+]|\(?\d{1,3}[.)])\s+", re.MULTILINE)
_BOUNDARY = re.compile(r"[.!?]+(?=\s|$)|;|\n\s*\n|\n|$")
_FILLER = re.compile(
    r"(?:[\s.,;:!]|(?:and|then|also|next|finally|first|second|third|please|now|afterwards?|after that|lastly|ok|okay|"
    r"secondly|"
    r"can you|could you|i want you to|i would like you to|thanks|thank you|steps?|tasks?|do the following|"
    r"do this|do these|the following|in this order|in order|one after another|here is the (?:file|patch|diff)|"
    r"apply (?:this|the following) (?:patch|diff)|apply the (?:patch|diff)|apply|"
    r"(?:write|create|save) (?:this|the following|these) files?|(?:please )?help me)\b)+",
    re.IGNORECASE,
)
_FILE_LINE = re.compile(
    rf"(?:#+\s*)?(?:\*\*)?(?:file(?:name)?|path)\s*:\s*(?P<path>{MASK}|[^\s*{MASK[0]}]+)(?:\*\*)?\s*$", re.IGNORECASE
)
_INFO_PATH = re.compile(
    r"(?:^|[\s:=\"'])(?P<path>[\w.~@+\-]*(?:/[\w.@+\-\[\]]+)+|[\w@+\-]+\.[A-Za-z]\w{0,9})(?=[\s\"']|$)"
)
_QUESTION = re.compile(
    r"(?:please\s+)?(?:(?:can|could|would) you\s+)?(?:(?:and|so|but|also|then)\s+)?"
    r"(?:(?:based on|given|using|according to|from|in|with|for)\b[^,.\n]*,\s*)?"
    r"(?:how|what|which|where|who|why|when|whose|is|are|does|do(?! not| the| this| these| it\b)|did|can|could|should|"
    r"has|have|was|were|will|explain|"
    r"describe|summari[sz]e|find|show|list|tell|search|look|locate|trace|outline|count|give|analy[sz]e|explore|"
    r"investigate|name|identify|compare|walk me|read|in (?:which|what))\b",
    re.IGNORECASE,
)
# A line that is a command itself. Only programs whose names begin no sentence.
_COMMAND_LINE = re.compile(
    r"(?:echo|printf) [^\n]*[^\s.?!:]|(?:pwd|whoami|uname|ls|pytest|npm (?:test|ci)|cargo (?:test|build|check)|go test)"
    r"(?: +(?:-[^\s]*|[^\s]*[./][^\s]*))*"
)
_TALK = re.compile(
    r"\W*(?:(?:hello|hi|hey|good (?:morning|evening|day))\b[\s,.!]*)?(?:what (?:can|could) you do|who are you|"
    r"what are you|"
    r"what model are you|which model are you|introduce yourself|what are your (?:guidelines|limits)|help|"
    r"how do you work|test|ping)?\W*",
    re.IGNORECASE,
)


PART_OF = "(part of: {})"  # behind a task that was split off from a larger one: nothing in it is to be carried out
_PART_OF = re.compile(r"\s\(part of: [^\n]*\)\s*$")


def parse(task: str) -> list[Item]:
    """The items of a task, in order. Never empty for a text that is not blank."""
    around = _PART_OF.search(task)
    part = _parse(task[: around.start()]) if around else []
    if around and all(isinstance(item.what, Free) for item in part):
        return [_within(item, around[0].rstrip()) for item in part]
    return _parse(task) or [Item(Free(task.strip(), "talk"), task.strip())]


def _parse(task: str) -> list[Item]:
    masked = mask(task.strip().replace("\r\n", "\n"))
    return [item for start, end in spans(masked) for item in clauses(masked, start, end)]


def _within(item: Item, context: str) -> Item:
    """An item that spells nothing out; it is looked for with the words around it."""
    return attrs.evolve(item, what=attrs.evolve(item.what, text=f"{item.text}{context}"))  # type: ignore[misc]


def spans(masked: Masked, *, nested: bool = True) -> list[tuple[int, int]]:
    """What comes before a list, then each of its items; the whole text where there is no list.

    *nested*: the items of a list inside an item are items, too.
    """
    found = list(_ITEM.finditer(masked.text))
    if not nested:
        found = [each for each in found if each["indent"] == found[0]["indent"]]
    if len(found) < 2 or _swallows_list(masked, found[0].start()):
        return [(0, len(masked.text))]
    ends = [*(each.start() for each in found[1:]), len(masked.text)]
    return [(0, found[0].start()), *((each.end(), end) for each, end in zip(found, ends, strict=True))]


def _swallows_list(masked: Masked, first_item: int) -> bool:
    """Whether the list is the content of a file that the sentence before it spells out."""
    return any(
        found is not None and found.end > first_item
        for start in _clause_starts(masked.text[:first_item])
        if (found := directive_at(masked, start))
    )


def _clause_starts(text: str) -> Iterator[int]:
    for boundary in _BOUNDARY.finditer(text):
        rest = _FILLER.match(text, boundary.end())
        yield rest.end() if rest else boundary.end()
    opening = _FILLER.match(text)
    yield opening.end() if opening else 0


def clauses(masked: Masked, start: int, end: int) -> Iterator[Item]:
    """The items between *start* and *end*. What is not spelled out stays together, as one question or piece of work."""
    part = Masked(masked.text[:end].rstrip(), masked.literals)
    if _COMMAND_LINE.fullmatch(part.text[start:].strip()):
        command = part.restore(part.text[start:]).strip()
        yield Item((Run(command),), command)
        return
    loose: list[str] = []
    at = start
    while at < len(part.text):
        if filler := _FILLER.match(part.text, at):
            at = filler.end()
            continue
        found = _files_at(part, at) or directive_at(part, at)
        if found is None:
            stop = _BOUNDARY.search(part.text, at)
            at, piece = (stop.end(), part.text[at : stop.end()]) if stop else (len(part.text), part.text[at:])
            loose.append(piece)
            continue
        yield from _free(part, loose)
        loose = []
        yield Item(found.steps, _alone(part.restore(part.text[at : found.end])))
        at = found.end
    yield from _free(part, loose)


def _alone(words: str) -> str:
    """Words that mean the same when they are a whole task: the indentation of a fence is part of it."""
    return f"Do this:\n{words}" if words[:1].isspace() else words


def _files_at(part: Masked, at: int) -> Found | None:
    """A diff, or a fence that names its file: in its info string or on the line before it."""
    named = re.compile(rf"(?P<line>[^\n]*)\n\s*(?P<fence>{MASK})").match(part.text, at)
    if named and (line := _FILE_LINE.match(named["line"].strip())) and part.literal(named["fence"]).kind == "fence":
        return Found((Create(part.value(line["path"]), part.literal(named["fence"]).value),), named.end())
    alone = re.compile(MASK).match(part.text, at)
    literal = part.literal(alone[0]) if alone else None
    if alone is None or literal is None or asks(part.text):
        return None
    if literal.kind == "diff":
        return Found((ApplyDiff(literal.value),), alone.end())
    if literal.kind == "fence" and (path := _INFO_PATH.search(literal.info)):
        return Found((Create(path["path"], literal.value),), alone.end())
    return None


def asks(text: str) -> bool:
    """Whether a text as a whole is a question, so that what is pasted into it is not meant to be carried out."""
    return bool(_QUESTION.match(text)) or bool(re.search(r"\?(?:\s|$)", text))


def _free(part: Masked, loose: list[str]) -> Iterator[Item]:
    masked_text = " ".join(piece.strip() for piece in loose if piece.strip())
    text = part.restore(masked_text).strip()
    if not text or masked_text.endswith(":"):
        return  # "Do this:" announces what follows
    if _TALK.fullmatch(masked_text):
        yield Item(Free(text, "talk"), text)
    elif asks(masked_text):
        yield Item(Free(text, "question"), text)
    else:
        yield Item(Free(text, "work"), text)
