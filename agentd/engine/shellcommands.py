"""A command line as the simple commands that it can run, those inside wrappers and scripts in arguments included.

What is not known for certain is a doubt: a command line with one is never allowed by a rule about commands, and what
is found in it is still held against the rules that deny. Bounded: a text that is too long, too deep or too many gets a
doubt instead of an answer. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from agentd.engine.shellprograms import runs
from agentd.engine.shellruns import UNKNOWN_CODE
from agentd.engine.shellsyntax import MAX_COMMANDS, Command, read_script
from agentd.engine.shelltables import RUNNING_VARIABLE
from agentd.engine.shellwords import DYNAMIC, GLOB, MAX_COMMAND, MAX_DEPTH

MAX_TAILS = 200  # arguments of one command that are looked at as commands of their own

_SCRIPT_LIKE = re.compile(r"[\s;|&$`(]")


@attrs.frozen
class Simple:
    """A command that the shell, or a program that it starts, can run."""

    words: tuple[str, ...]  # without quotes; DYNAMIC for what is not known; none: assignments or redirections alone
    assigned: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    transparent: bool = False  # it does nothing but run others, which are here too
    loose: bool = False  # its arguments may be commands that it runs
    certain: bool = True  # False: it may be no command at all, just text in an argument

    @property
    def program(self) -> str:
        """The name, without the directory."""
        return self.words[0].rsplit("/", 1)[-1] if self.words else ""

    def tails(self) -> Iterator[tuple[str, ...]]:
        """What it may run of its own arguments."""
        if self.loose:
            yield from (self.words[at:] for at in range(1, min(len(self.words), MAX_TAILS + 1)))


@attrs.frozen
class Reading:
    commands: tuple[Simple, ...]
    doubts: tuple[str, ...]  # why this is not all, or not known to be; empty: it is all
    functions: frozenset[str]  # that are defined: they may have the name of a program
    whole: bool  # False: there is more, which could not be read


def read_command(text: str) -> Reading:
    """Never raises. Commands are in the order of the text, those inside others after or before them."""
    unfolding = _Unfolding()
    unfolding.script(text, 0, certain=True)
    return Reading(
        tuple(unfolding.commands),
        tuple(dict.fromkeys(unfolding.doubts)),
        frozenset(unfolding.functions),
        unfolding.whole,
    )


class _Unfolding:
    def __init__(self) -> None:
        self.commands: list[Simple] = []
        self.doubts: list[str] = []
        self.functions: set[str] = set()
        self.whole = True
        self._budget = 2 * MAX_COMMAND  # characters of scripts: one inside others is read more than once

    def script(self, text: str, depth: int, *, certain: bool) -> None:
        self._budget -= len(text)
        if self._budget < 0 or depth > MAX_DEPTH:
            self._stop("it is too long, or nested too deeply")
            return
        if DYNAMIC in text and depth and certain:
            self.doubts.append(UNKNOWN_CODE)
        script = read_script(text.replace(GLOB, "*").replace(DYNAMIC, "$_") if depth else text, depth)
        self.functions |= script.functions
        if certain:
            self.doubts += script.doubts
            self.whole &= script.whole
        for command in script.commands:
            self._command(command, depth, certain=certain)

    def _stop(self, doubt: str) -> None:
        self.doubts.append(doubt)
        self.whole = False

    def _command(self, command: Command, depth: int, *, certain: bool) -> None:
        if len(self.commands) >= MAX_COMMANDS or depth > MAX_DEPTH:
            self._stop("it has too many commands, or is nested too deeply")
            return
        self._variables(command.assigned)
        simple = Simple(command.words, command.assigned, command.reads, command.writes, certain=certain)
        if not command.words:
            self.commands.append(simple)
            return
        found = runs(command.words, command.stdin)
        self._variables(found.assigned)
        self.commands.append(
            attrs.evolve(
                simple,
                assigned=(*simple.assigned, *found.assigned),
                transparent=found.transparent,
                loose=found.loose,
            )
        )
        if found.doubt and certain:
            self.doubts.append(found.doubt)
        for words in found.commands:
            self._command(Command(words, stdin=command.stdin), depth + 1, certain=certain)
        for inner in found.scripts:
            self.script(inner, depth + 1, certain=certain)
        if found.loose and not found.transparent:
            self._arguments(command.words, found.scripts, depth)

    def _variables(self, names: tuple[str, ...]) -> None:
        if any(map(RUNNING_VARIABLE.fullmatch, names)):
            self.doubts.append("a variable that holds what programs run")

    def _arguments(self, words: tuple[str, ...], known: tuple[str, ...], depth: int) -> None:
        """Read as scripts what is in the arguments of a program that may run them."""
        if len(words) > MAX_TAILS:
            self._stop(f"{words[0]} with more than {MAX_TAILS} arguments")
        for word in words[1 : MAX_TAILS + 1]:
            if word not in known and _SCRIPT_LIKE.search(word):
                for text in filter(None, (word, word.partition("=")[2])):
                    self.script(text, depth + 1, certain=False)
