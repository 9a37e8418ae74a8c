"""A task, from its words to the answer: items one after another, and in the end what was done and what was not.

Where there are no tools to edit with but a Code tool, this is the planner of two models: the words of an edit that is
spelled out go to the other one as they stand, and everything else is done here.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentd.providers.builtin.form import Form, fill
from agentd.providers.builtin.grammar import Edit, Step
from agentd.providers.builtin.material import Fragment, is_about
from agentd.providers.builtin.plan import Call, Move, Plan, run_calls
from agentd.providers.builtin.questions import answer_with
from agentd.providers.builtin.steps import REFUSED, Outcome, carry_out, shown
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


def answer_task(task: str, offered: frozenset[str], material: Sequence[Fragment] = ()) -> Plan[Move]:
    """Carry out a person's message; what to answer. *material*: what was put before it."""
    items = parse(task)
    if len(items) > 1:
        return (yield from _do_all(items, offered, material))
    outcome = yield from _do(items[0], offered, material)
    return Move(outcome.text, failed=outcome.broken)


def answer_in_form(
    form: Form, said: Sequence[str], offered: frozenset[str], material: Sequence[Fragment] = ()
) -> Plan[Move]:
    """The same where the answer has to be JSON. *said*: all that was, the task last. Only what is spelled out is done,
    and a question looked into where the form has a place for the answer: the rest is in the words, or unknown."""
    items = parse(said[-1])
    asks = form.wants_prose(said[-1]) and any(
        isinstance(item.what, Free) and item.what.kind == "question" for item in items
    )
    if not asks and all(isinstance(item.what, Free) for item in items):
        return Move(fill(form, said))
    move = yield from answer_task(said[-1], offered, material)
    return move if move.failed else Move(fill(form, said, move.text))


def _do_all(items: Sequence[Item], offered: frozenset[str], material: Sequence[Fragment]) -> Plan[Move]:
    """In order, up to the first that fails: what comes after it may rest on it."""
    outcomes: list[Outcome] = []
    for item in items:
        outcomes.append((yield from _do(item, offered, material)))
        if outcomes[-1].state == "failed":
            break
    return Move(_report(items, outcomes), failed=outcomes[-1].broken)


def _report(items: Sequence[Item], outcomes: Sequence[Outcome]) -> str:
    done = sum(outcome.state == "done" for outcome in outcomes)
    lines = [f"{done} of {len(items)} items done."]
    if outcomes[-1].state == "failed":
        lines[0] += f" Item {len(outcomes)} failed: {outcomes[-1].text.split(chr(10))[0].rstrip(':')}"
    for number, (item, outcome) in enumerate(zip(items, outcomes, strict=False), 1):
        lines += ["", f"{number}. {in_short(item.text)}: {outcome.state}.", outcome.text]
    for number, item in enumerate(items[len(outcomes) :], len(outcomes) + 1):
        lines += ["", f"{number}. {in_short(item.text)}: not done, because item {len(outcomes)} failed."]
    return "\n".join(lines)


def _do(item: Item, offered: frozenset[str], material: Sequence[Fragment]) -> Plan[Outcome]:
    if not isinstance(item.what, Free):
        is_edit = any(isinstance(step, Edit) for step in item.what)
        theirs = is_edit and "Code" in offered and "Edit" not in offered
        return (yield from _hand_over(item) if theirs else _all_of(item.what, offered))
    if item.what.kind == "talk":
        return Outcome("done", I_AM)
    findings = yield from answer_with(material, item.what.text, offered)
    if item.what.kind == "question" or is_about(item.what.text, material):
        return Outcome("done", findings)
    return Outcome("declined", f"{NOT_SPELLED_OUT}\n\nWhat I found about it in the repository:\n\n{findings}")


def _hand_over(item: Item) -> Plan[Outcome]:
    """An edit that is spelled out, in the person's words, to the model that has the tools for it."""
    call = Call("Code", {"instructions": item.text})
    (answered,) = yield from run_calls(f"Handing over as it stands: {in_short(item.text)}", call)
    if answered.ok:
        return Outcome("failed" if REFUSED in answered.text else "done", shown(answered.text))
    return Outcome("failed", f"It was not applied: {shown(answered.text)}", broken=True)


def _all_of(steps: Sequence[Step], offered: frozenset[str]) -> Plan[Outcome]:
    """The steps of one sentence, up to the first that is not done."""
    texts: list[str] = []
    for step in steps:
        outcome = yield from carry_out(step, offered)
        texts.append(outcome.text)
        if outcome.state != "done":
            break
    return Outcome(outcome.state, "\n".join(texts), outcome.broken)


def in_short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"
