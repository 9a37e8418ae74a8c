"""What a command line has to do with rules: which of its commands they name, which files they keep it from.

Here a command line is held against one rule at a time; the order of the rules is decided in rules.py. The only look at
the disk is for links and directories.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator
from functools import cached_property

import attrs

from agentd.engine.rulecommands import CommandPattern, Match
from agentd.engine.rulepaths import PathPattern, Place
from agentd.engine.shellcommands import Reading, Simple
from agentd.engine.shellwords import DYNAMIC

MAX_BASES = 16
HARMLESS = {"true", "false", ":", "break", "continue", "return", "exit", "[", "test", "[[", "set"}  # shell's own
MUTE = {"echo", "printf", *HARMLESS} - {"[", "test", "[["}  # they open no file that an argument names
DESCENDING = {  # go through directories, and show or change what is in them
    *("7z", "ack", "ag", "chgrp", "chmod", "chown", "cp", "diff", "egrep", "fgrep", "grep", "ln", "mv", "rg", "rm"),
    *("rsync", "scp", "shred", "tar", "zip"),
}
SEARCHES_HERE = {"ack", "ag", "rg"}  # without being told where
TEXTS = {"-m", "--message", "--author", "--title", "--body"}  # options whose value is no path

_DEVICES = re.compile(r"/dev/(null|stdout|stderr|tty|fd/[0-9\0]+)")
_NETWORK = re.compile(r"/dev/(tcp|udp)/")
# Not in the environment of programs, by custom: so setting it changes nothing but this script. The rest change what
# programs print.
_OWN_VARIABLE = re.compile(
    r"[a-z][a-z0-9]*|LANG|LC_[A-Z]+|TZ|CI|NO_COLOR|FORCE_COLOR|CLICOLOR|COLUMNS|PYTHONUNBUFFERED"
)
_PIECES = re.compile(r"[=:,@]")


@attrs.define
class CommandLine:
    """A reading, at the place where it would run."""

    reading: Reading
    place: Place

    @property
    def known(self) -> bool:
        return not self.reading.doubts

    def names(self, pattern: CommandPattern) -> Match:
        if pattern.everything:
            return Match.YES
        return max(map(pattern.held_against, self.reading.commands), default=Match.NO)

    def covered(self, patterns: Iterable[CommandPattern], writable: Iterable[PathPattern]) -> CommandPattern | None:
        """One of the rules that allow it, if together they allow all of it."""
        if not self.known:
            return None
        patterns, writable = list(patterns), list(writable)
        named = None
        for simple in self.reading.commands:
            if not self._goes_unnoticed(simple, writable):
                return None
            if not simple.words or simple.transparent or self._harmless(simple):
                continue
            named = next((pattern for pattern in patterns if pattern.covers(simple)), None)
            if named is None or simple.words[0] in self.reading.functions:
                return None
        return named

    def _goes_unnoticed(self, simple: Simple, writable: list[PathPattern]) -> bool:
        """Whether what it does beside running is nothing, or allowed: variables, redirections."""
        return (
            all(map(_OWN_VARIABLE.fullmatch, simple.assigned))
            and all(_DEVICES.fullmatch(path) or self._writable(path, writable) for path in simple.writes)
            and not any(DYNAMIC in path and not _DEVICES.fullmatch(path) for path in simple.reads)
            and not any(map(_NETWORK.match, (*simple.reads, *simple.writes)))
        )

    def _writable(self, path: str, writable: list[PathPattern]) -> bool:
        return self._settled and DYNAMIC not in path and any(pattern.allows(path, self._there) for pattern in writable)

    def _harmless(self, simple: Simple) -> bool:
        name = simple.words[0]
        static = name in ("exit", "return") or not any(DYNAMIC in word for word in simple.words)
        return name in HARMLESS and static and name not in self.reading.functions

    # Files

    def redirects(self, pattern: PathPattern, *, writing: bool) -> bool:
        """Whether it redirects to or from a file that the rule names."""
        return any(
            DYNAMIC not in path and not _DEVICES.fullmatch(path) and self._denies(pattern, path)
            for simple in self.reading.commands
            for path in (simple.writes if writing else simple.reads)
        )

    def touches(self, pattern: PathPattern) -> bool:
        """Whether it may have to do with a file that the rule names."""
        return not self._settled or any(self._touches(pattern, raw, within) for raw, within in self._files)

    def _denies(self, pattern: PathPattern, path: str) -> bool:
        return pattern.denies(self._there.paths(path), self._there)

    def _touches(self, pattern: PathPattern, raw: str, within: bool) -> bool:
        if _DEVICES.fullmatch(raw):
            return False
        if DYNAMIC in raw:
            return pattern.may_be(raw, self._there)
        return self._denies(pattern, raw) or (within and pattern.is_below(self._there.paths(raw), self._there))

    @cached_property
    def _files(self) -> list[tuple[str, bool]]:
        """What may be the path of a file, and whether what is below it counts as well."""
        found = dict[tuple[str, bool], None]()
        for simple in self.reading.commands:
            within = simple.program in DESCENDING
            found.update(dict.fromkeys((path, False) for path in (*simple.reads, *simple.writes)))
            found.update(dict.fromkeys((raw, within) for raw in _paths_in(simple)))
        return list(found)

    @cached_property
    def _moves(self) -> list[str]:
        """Where it goes before it does something."""
        return [target for simple in self.reading.commands for target in _targets(simple)]

    @property
    def _settled(self) -> bool:
        """Whether it is known where relative paths start."""
        return not any(DYNAMIC in target for target in self._moves) and len(self._there.bases) <= MAX_BASES

    @cached_property
    def _there(self) -> Place:
        bases = dict.fromkeys(self.place.bases)
        for target in self._moves:
            target = self.place.home + target[1:] if target.startswith("~") else target
            bases |= dict.fromkeys(os.path.normpath(os.path.join(base, target)) for base in bases)  # noqa: PTH118
            if len(bases) > MAX_BASES:
                break
        return attrs.evolve(self.place, bases=tuple(bases))


def _targets(simple: Simple) -> Iterator[str]:
    words = simple.words
    if simple.program in ("cd", "pushd"):
        operands = [word for word in words[1:] if not word.startswith("-")]
        yield from operands or ["~"]
    for option, value in itertools.pairwise(words):
        if option in ("-C", "--directory", "--chdir", "--cwd", "--prefix"):
            yield value
    for word in words:
        if word.startswith(("--directory=", "--chdir=", "--cwd=", "--prefix=")):
            yield word.partition("=")[2]


def _paths_in(simple: Simple) -> Iterator[str]:
    if not simple.words or simple.program in MUTE or simple.transparent:
        return
    if "/" in simple.words[0]:
        yield simple.words[0]
    texts = TEXTS if simple.program in ("git", "gh") else set()
    for option, word in itertools.pairwise(simple.words):
        if option in texts:
            continue
        yield word
        if word.startswith("-") and not word.startswith("--"):
            yield word[2:] or "-"
        pieces = _PIECES.split(word)
        if len(pieces) > 1:
            yield from filter(None, pieces)
            yield word.partition("=")[2] or "."
    if _searches_here(simple):
        yield "."


def _searches_here(simple: Simple) -> bool:
    """Whether it goes through the directory that it starts in, without being told so."""
    recursive = any(re.match(r"-\w*[rR]|--(de)?r", word) for word in simple.words[1:])
    searches = simple.program in SEARCHES_HERE or simple.words[:2] == ("git", "grep")
    operands = [word for word in simple.words[1:] if not word.startswith("-")]
    return (searches or (simple.program.endswith("grep") and recursive)) and len(operands) < 2 + (
        operands[:1] == ["grep"]
    )
