"""What a program runs beside itself, and how its options are told from its operands."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from agentd.engine.shellwords import DYNAMIC

# Doubts that are about everything, beside those about one program's ways.
UNKNOWN_NAME = "a command whose name is not known"
UNKNOWN_CODE = "code that is not known"


@attrs.frozen
class Runs:
    commands: tuple[tuple[str, ...], ...] = ()  # the words of simple commands
    scripts: tuple[str, ...] = ()  # shell code
    assigned: tuple[str, ...] = ()  # variables for them
    doubt: str = ""  # why this is not all, or not known to be
    transparent: bool = False  # the program itself does nothing but run them
    loose: bool = False  # any of its arguments may be a command that it runs


def may_be_option(word: str) -> bool:
    """Whether a word that is not wholly known can turn out to be an option, several words, or nothing."""
    return word.startswith(DYNAMIC) or (word.startswith("-") and DYNAMIC in word)


def skip_options(words: Sequence[str], at: int, shorts: str, longs: Sequence[str]) -> int | None:
    """Where the operands begin. *shorts* and *longs*: the options that take a value. None if it cannot be told."""
    while at < len(words):
        word = words[at]
        if may_be_option(word):
            return None
        if word == "--":
            return at + 1
        if not word.startswith("-") or word == "-":
            return at
        at += 2 if _takes_next(word, shorts, longs) else 1
    return min(at, len(words))


def _takes_next(word: str, shorts: str, longs: Sequence[str]) -> bool:
    if word.startswith("--"):
        return "=" not in word and any(long.startswith(word) for long in longs)
    return next((at for at, char in enumerate(word) if at and char in shorts), 0) == len(word) - 1


def risky(words: Sequence[str], shorts: str, longs: Sequence[str]) -> bool:
    """Whether one of these options is among the words, shortened or not, or may be. It says yes too often: a value
    that is glued to another option can look like one."""
    for word in words:
        if word == "--":
            return False
        if may_be_option(word):
            return True
        name = word.partition("=")[0]
        if len(name) > 2 and any(long.startswith(name) for long in longs):
            return True
        if word.startswith("-") and not word.startswith("--") and set(word[1:]) & set(shorts):
            return True
    return False
