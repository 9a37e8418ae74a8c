"""Whether a pattern is found in a text, in time that grows with their sizes and no faster. No backtracking.

All places that a match could have got to are followed at once (K. Thompson, 1968), and where they lead is remembered
by character, so that most steps are one look-up. What a pattern asks of a place between two characters (^, $, \\b, what
lies ahead or behind) is decided for all places of the text first: what lies ahead by reading the text from its end.
"""

from __future__ import annotations

from typing import Literal

import attrs

from agentd.wire.jsonschema.regex import (
    WORD,
    CharSet,
    Choice,
    Edge,
    Look,
    PatternError,
    Repeat,
    Sequence,
    Tree,
    parse,
)

MAX_STATES = 10_000
MAX_WORK = 1_000_000  # states looked at: half a second
MAX_REMEMBERED = 2_048  # steps
FOUND = 0  # the state in which a match is complete

States = frozenset[int]


class TooMuch(Exception):
    """What is to be checked takes too long."""


@attrs.define
class Work:
    """How much may still be done; for any number of patterns and texts together."""

    left: int = MAX_WORK

    def take(self, states: int) -> None:
        """Raises TooMuch."""
        self.left -= states
        if self.left < 0:
            raise TooMuch


@attrs.define
class _State:
    """*chars*: goes on to *after* with one of these; else goes on at once, where the place passes *test* if any."""

    after: list[int]
    chars: CharSet | None = None
    test: int | None = None


class Pattern:
    """A compiled pattern; compiled once, used for any number of texts."""

    def __init__(self, text: str) -> None:
        """Raises PatternError."""
        self.text = text
        self._tests: list[Edge | _Ahead] = []
        self._program = _Program(parse(text), self._tests, forward=True)

    def found_in(self, text: str, work: Work) -> bool:
        """Whether it matches somewhere in *text*. Raises TooMuch."""
        places = [0] * (len(text) + 1)  # which tests each place passes, as bits
        for number, test in enumerate(self._tests):
            for place in _passing(test, text, places, work):
                places[place] |= 1 << number
        return any(self._program.run(text, places, work))


@attrs.frozen
class _Ahead:
    """Passes where *program* gets to a match, read towards the place."""

    program: _Program
    negated: bool


class _Program:
    def __init__(self, tree: Tree, tests: list[Edge | _Ahead], *, forward: bool) -> None:
        self._tests = tests
        self._forward = forward
        self._states = [_State([])]
        self._start = self._build(tree, FOUND)
        self._steps: dict[tuple[States, str, int], States] = {}

    def _add(self, state: _State) -> int:
        if len(self._states) >= MAX_STATES:
            raise PatternError("the pattern is too large")
        self._states.append(state)
        return len(self._states) - 1

    def _build(self, tree: Tree, after: int) -> int:
        """The state from which *tree*, then what *after* stands for, is matched."""
        match tree:
            case CharSet():
                return self._add(_State([after], chars=tree))
            case Sequence(parts):
                for part in reversed(parts) if self._forward else parts:
                    after = self._build(part, after)
                return after
            case Choice(parts):
                return self._add(_State([self._build(part, after) for part in parts]))
            case Repeat(part, least, most):
                return self._build_repeat(part, least, most, after)
            case Edge():
                return self._build_test(tree, after)
            case Look(part, ahead, negated):
                return self._build_test(_Ahead(_Program(part, self._tests, forward=not ahead), negated), after)

    def _build_repeat(self, part: Tree, least: int, most: int | None, after: int) -> int:
        if most is None:
            again = self._add(_State([after]))
            self._states[again].after.append(self._build(part, again))
            after = again
        end = after
        for _ in range((most or least) - least):
            after = self._add(_State([end, self._build(part, after)]))
        for _ in range(least):
            before = len(self._states)
            after = self._build(part, after)
            if len(self._states) == before:
                break  # it takes no state: once more changes nothing
        return after

    def _build_test(self, test: Edge | _Ahead, after: int) -> int:
        if test not in self._tests:
            self._tests.append(test)
        return self._add(_State([after], test=self._tests.index(test)))

    def run(self, text: str, places: list[int], work: Work) -> list[bool]:
        """For every place between two characters, whether a match that began at any place is complete there."""
        size = len(text)
        order = range(size) if self._forward else range(size, 0, -1)
        states = self._closure({self._start}, places[0 if self._forward else size], work)
        complete = [FOUND in states]
        for at in order:
            char, place = (text[at], places[at + 1]) if self._forward else (text[at - 1], places[at - 1])
            states = self._step(states, char, place, work)
            complete.append(FOUND in states)
        return complete if self._forward else complete[::-1]

    def _step(self, states: States, char: str, place: int, work: Work) -> States:
        key = (states, char, place)
        if (known := self._steps.get(key)) is not None:
            return known
        reached = {self._start}
        for number in states:
            state = self._states[number]
            if state.chars is not None and state.chars.has(char):
                reached.update(state.after)
        if len(self._steps) >= MAX_REMEMBERED:
            self._steps.clear()
        self._steps[key] = made = self._closure(reached, place, work)
        work.take(len(states))
        return made

    def _closure(self, states: set[int], place: int, work: Work) -> States:
        """With all that is reached from *states* without taking a character."""
        closed = set(states)
        left = list(states)
        while left:
            state = self._states[left.pop()]
            if state.chars is None and (state.test is None or place >> state.test & 1):
                fresh = [number for number in state.after if number not in closed]
                closed.update(fresh)
                left += fresh
        work.take(len(closed))
        return frozenset(closed)


def _passing(test: Edge | _Ahead, text: str, places: list[int], work: Work) -> list[int]:
    if isinstance(test, _Ahead):
        complete = test.program.run(text, places, work)
        return [place for place, found in enumerate(complete) if found is not test.negated]
    return _edges(test.kind, text)


def _edges(kind: Literal["start", "end", "word", "inside"], text: str) -> list[int]:
    if kind in ("start", "end"):
        return [0 if kind == "start" else len(text)]
    words = [False, *(WORD.has(char) for char in text), False]
    return [place for place in range(len(text) + 1) if (words[place] is not words[place + 1]) is (kind == "word")]
