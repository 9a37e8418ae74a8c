"""A task, from its words to the answer: items one after another, and in the end what was done and what was not."""

from __future__ import annotations

from collections.abc import Sequence

from agentd.providers.builtin.plan import Plan
from agentd.providers.builtin.questions import answer_question
from agentd.providers.builtin.steps import Outcome, carry_out
from agentd.providers.builtin.task import Free, Item, parse

I_AM = (
    "I am agentd's built-in offline model: not a language model, but a planner that ships inside agentd and needs no "
    "network. I answer questions about a repository by searching it and citing what I read, and I carry out what a "
    "task spells out: run a command, create a file, replace a text, append lines, apply a diff, or a list of these. "
    "I do not invent code or text. For that, configure a language model (`agentd help models`)."
)
NOT_SPELLED_OUT = (
    "I did not change anything: this asks for work that is not spelled out, and the built-in model does not invent "
    'code. A language model can do it: configure one (`agentd help models`), or spell the change out, as in "Replace '
    '\'A\' with \'B\' in F", "Create the file F with the content: …", "Run the command `X`.", or a unified diff.'
)


def answer_task(task: str, offered: frozenset[str]) -> Plan[str]:
    """Carry out a person's message; what to answer."""
    items = parse(task)
    if len(items) == 1:
        return (yield from _do(items[0], offered)).text
    return (yield from _do_all(items, offered))


def _do_all(items: Sequence[Item], offered: frozenset[str]) -> Plan[str]:
    """In order, up to the first that fails: what comes after it may rest on it."""
    outcomes: list[Outcome] = []
    for item in items:
        outcomes.append((yield from _do(item, offered)))
        if outcomes[-1].state == "failed":
            break
    done = sum(outcome.state == "done" for outcome in outcomes)
    lines = [f"{done} of {len(items)} items done."]
    for number, (item, outcome) in enumerate(zip(items, outcomes, strict=False), 1):
        lines += ["", f"{number}. {_short(item.text)}: {outcome.state}.", outcome.text]
    for number, item in enumerate(items[len(outcomes) :], len(outcomes) + 1):
        lines += ["", f"{number}. {_short(item.text)}: not done, because item {len(outcomes)} failed."]
    return "\n".join(lines)


def _do(item: Item, offered: frozenset[str]) -> Plan[Outcome]:
    if not isinstance(item.what, Free):
        return (yield from carry_out(item.what, offered))
    if item.what.kind == "talk":
        return Outcome("done", I_AM)
    findings = yield from answer_question(item.what.text, offered)
    if item.what.kind == "question":
        return Outcome("done", findings)
    return Outcome("declined", f"{NOT_SPELLED_OUT}\n\nWhat I found about it in the repository:\n\n{findings}")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"
