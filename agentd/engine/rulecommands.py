"""Rules about shell commands: `git status`, `git log:*`, `npm run *`. Pure.

A rule that allows is taken by the letter: the words of the command, as they are. One that denies is held against all
that the command may turn out to be: what a variable holds, a program by its path, options before the subcommand, the
same options written in another way, arguments that a program may run.
"""

from __future__ import annotations

import re
import shlex
from enum import IntEnum

import attrs

from agentd.engine.shellcommands import Simple
from agentd.engine.shellwords import DYNAMIC

_BETWEEN = "\x01"  # words; a blank inside one is another thing
_STAR = "\x06"  # a literal one, written \*
MAX_SKIPPED = 12  # options in front of what a rule is about


class Match(IntEnum):
    NO = 0
    MAYBE = 1
    YES = 2


@attrs.frozen
class CommandPattern:
    everything: bool  # any command whatever, also one that cannot be read
    _words: tuple[str, ...] = ()
    _exact: re.Pattern[str] = re.compile("")
    _denying: re.Pattern[str] = re.compile("")

    def covers(self, simple: Simple) -> bool:
        """Whether it is one of the commands that the rule names, whatever is DYNAMIC in it."""
        return self.everything or self._exact.fullmatch(_BETWEEN.join(simple.words)) is not None

    def held_against(self, simple: Simple) -> Match:
        """Whether it is such a command, or may be."""
        if self.everything:
            return Match.YES
        if not simple.words:
            return Match.NO
        words = (simple.program, *simple.words[1:])
        if self._denies(words) or self._denying.fullmatch(_BETWEEN.join(simple.words)):
            return Match.YES if simple.certain else Match.MAYBE
        may = (
            self._may_become(words)
            or any(map(self._denies, _without_options(words)))
            or self._has_options(words)
            or any(map(self._tail_denies, simple.tails()))
        )
        return Match.MAYBE if may else Match.NO

    def _denies(self, words: tuple[str, ...]) -> bool:
        return self._denying.fullmatch(_BETWEEN.join(words)) is not None

    def _tail_denies(self, tail: tuple[str, ...]) -> bool:
        name = tail[0].rsplit("/", 1)[-1]
        if name != self._words[0] and DYNAMIC not in name and "*" not in self._words[0]:
            return False
        words = (name, *tail[1:])
        return self._denies(words) or self._may_become(words)

    def _may_become(self, words: tuple[str, ...]) -> bool:
        """Whether they agree as far as both are known."""
        text = _BETWEEN.join(words)
        known, dynamic, _ = text.partition(DYNAMIC)
        wanted = _BETWEEN.join(self._words).partition("*")[0]
        return bool(dynamic) and (known.startswith(wanted) or wanted.startswith(known.rstrip(_BETWEEN)))

    def _has_options(self, words: tuple[str, ...]) -> bool:
        """Whether the rule is about a program with short options (`rm -rf`), and all of them are there in some form."""
        wanted = [word for word in self._words[1:] if word != "*"]
        if not wanted or words[0] != self._words[0] or not all(re.fullmatch(r"-[A-Za-z]+", word) for word in wanted):
            return False
        return _letters(wanted) <= _letters(words[1:])


def command_pattern(text: str) -> CommandPattern:
    """Raises ValueError, whose text says what is wrong."""
    if text.strip() in ("*", ":*"):
        return CommandPattern(everything=True)
    prefix = text.endswith(":*")
    written = shlex.split(text.removesuffix(":*").replace("\\*", _STAR))
    if not written:
        raise ValueError("names no command")
    name = written[0].rsplit("/", 1)[-1] or written[0]
    words = [written[0] if "*" in written[0] else name, *written[1:]]
    more = f"(?:{_BETWEEN}.*)?"
    last = prefix or words[-1] == "*"
    base = words[:-1] if words[-1] == "*" and len(words) > 1 else words
    return CommandPattern(
        everything=False,
        words=tuple(words),
        exact=re.compile(_regex(written) + (more if prefix else ""), re.DOTALL),
        denying=re.compile(_regex(base) + (more if last else ""), re.DOTALL),
    )


def _regex(words: list[str]) -> str:
    text = _BETWEEN.join(words)
    return ".*".join(re.escape(part).replace(_STAR, r"\*") for part in re.split(r"\*+", text))


def _without_options(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The command as it is when options in front, with or without a value, are left out."""
    starts, todo = set[int](), [1]
    while todo and len(starts) < MAX_SKIPPED:
        at = todo.pop()
        if at < len(words) and words[at].startswith("-"):
            todo += [start for start in (at + 1, at + 2) if start not in starts]
            starts.update((at + 1, at + 2))
    return [(words[0], *words[start:]) for start in starts if start < len(words)]


def _letters(words: list[str] | tuple[str, ...]) -> set[str]:
    """Of options; a long one counts as its first letter."""
    long = {word[2] for word in words if word.startswith("--") and len(word) > 2}
    return long.union(*(word[1:] for word in words if word.startswith("-") and not word.startswith("--")))
