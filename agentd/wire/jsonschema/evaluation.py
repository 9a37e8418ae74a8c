"""Schemas applied to values: how far an evaluation has come, what it found wrong, and what of a value was looked at.

The rules: JSON Schema Core 2020-12, section 7; for the dynamic scope 7.1 and 8.2.3.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from agentd.wire.jsonschema.automaton import Pattern, TooMuch, Work
from agentd.wire.jsonschema.values import Place, show

MAX_PROBLEMS = 20
MAX_STEPS = 250_000  # schemas applied to values in one evaluation: half a second


@attrs.define(eq=False)
class Node:
    """A compiled schema. *base*: the URI of its resource. *here*: nodes that it applies to the very same value."""

    base: str
    where: str
    checks: list[Check] = attrs.field(factory=list)
    here: list[Node] = attrs.field(factory=list)


@attrs.define
class Run:
    """One evaluation. *scope*: the resources that it is in, outermost first."""

    steps: int = 0
    work: Work = attrs.field(factory=Work)  # that patterns may still take
    scope: list[str] = attrs.field(factory=list)


@attrs.define
class Visit:
    """One schema at one value. *names* and *indexes*: the members and items that it, or what it applied here, saw."""

    run: Run
    value: Any
    place: Place
    problems: list[str]
    names: set[str] = attrs.field(factory=set)
    indexes: set[int] = attrs.field(factory=set)

    def tell(self, what: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(f"{show(self.place)}: {what}")

    def matches(self, pattern: Pattern, text: str) -> bool:
        """Raises TooMuch."""
        return pattern.found_in(text, self.run.work)

    def into(self, node: Node, step: str | int) -> None:
        """Applies *node* to a member or an item, which then was looked at."""
        (self.names if isinstance(step, str) else self.indexes).add(step)  # type: ignore[arg-type]
        apply(node, self._at(step, self.problems))

    def fits(self, node: Node, step: str | int) -> bool:
        """Whether a member or an item does, without a word where it does not."""
        return not apply(node, self._at(step, [])).problems

    def _at(self, step: str | int, problems: list[str]) -> Visit:
        return Visit(self.run, self.value[step], (self.place, step), problems)

    def here(self, node: Node) -> Visit:
        """What *node* says of the same value. It counts for nothing before it is taken()."""
        return apply(node, Visit(self.run, self.value, self.place, []))

    def take(self, other: Visit) -> bool:
        """Whether *other* found nothing wrong: then what it looked at counts."""
        if not other.problems:
            self.names |= other.names
            self.indexes |= other.indexes
        return not other.problems

    def must(self, other: Visit) -> None:
        """What *other* found wrong is wrong."""
        self.take(other)
        self.problems += other.problems[: MAX_PROBLEMS - len(self.problems)]


Check = Callable[[Visit], None]


def apply(node: Node, visit: Visit) -> Visit:
    """Raises TooMuch; RecursionError where schema and value are nested too deeply."""
    run = visit.run
    run.steps += 1
    if run.steps > MAX_STEPS:
        raise TooMuch
    run.scope.append(node.base)
    for check in node.checks:
        check(visit)
    run.scope.pop()
    return visit
