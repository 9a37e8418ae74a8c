"""Settings: flags and the environment, where data lives, and what commands see of the environment.

Everything here takes the environment as a mapping, so that a test or a hello line can stand in for os.environ. The
rules of flags: the executor contract, section 1.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from agentd.errors import InvalidSetting

BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}

BASE_ENV = ("PATH", "HOME", "USER", "SHELL", "LANG", "LC_*", "TERM", "TMPDIR", "TZ")
PASS_ENV = ("VIRTUAL_ENV", "JAVA_HOME", "GOPATH", "CARGO_HOME", "*_proxy", "*_PROXY")
SECRETS = ("*KEY", "*KEY_*", "*TOKEN*", "*SECRET*", "*PASSWORD*", "*PASSWD*", "*CREDENTIAL*")
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


class Option(NamedTuple):
    """A setting, by the name of its flag without the dashes."""

    variable: str | None = None  # of the environment, for when there is no flag
    switch: bool = False  # true or false; the bare flag is true
    many: bool = False  # the flag may be repeated


class Settings:
    """What flags and environment say. A blank value counts as none."""

    def __init__(self, options: Mapping[str, Option], env: Mapping[str, str]) -> None:
        self._options, self._env = options, env
        self._flags: dict[str, list[str]] = {}
        self.words: list[str] = []  # what is no flag and no value of one

    def add(self, name: str, value: str) -> None:
        """Raises InvalidSetting for a second value of what may have one only."""
        if name in self._flags and not self._options[name].many:
            raise InvalidSetting(f"--{name} is given twice")
        self._flags.setdefault(name, []).append(value)

    def text(self, name: str) -> str | None:
        """The last flag that is not blank, else the environment's value, else None; blanks around it removed."""
        values = self.many(name)
        return values[-1] if values else None

    def required(self, name: str) -> str:
        """Raises InvalidSetting, which says how to set it."""
        value = self.text(name)
        if value is None:
            variable = self._options[name].variable
            raise InvalidSetting(f"--{name} is required" + (f" (or {variable} in the environment)" if variable else ""))
        return value

    def switch(self, name: str) -> bool:
        """Raises InvalidSetting for a word that is neither yes nor no."""
        value = self.text(name)
        if value is None:
            return False
        if value.lower() not in BOOLEANS:
            raise InvalidSetting(f"--{name}: {value} is neither true nor false")
        return BOOLEANS[value.lower()]

    def many(self, name: str) -> list[str]:
        """Every flag that is not blank, else the environment's value, if any."""
        flags = [value.strip() for value in self._flags.get(name, []) if value.strip()]
        return flags or self.from_environment(name)

    def from_environment(self, name: str) -> list[str]:
        value = self._env.get(self._options[name].variable or "", "").strip()
        return [value] if value else []

    def aliases(self, name: str) -> dict[str, str]:
        """Model names and what they stand for. A flag adds to the environment's, and beats it for the same name."""
        return parse_aliases([*self.from_environment(name), *self.many(name)])


def read_settings(
    options: Mapping[str, Option], argv: Sequence[str], env: Mapping[str, str], *, words: bool = False
) -> Settings:
    """Take *argv* apart: `--name value`, `--name=value`, or the bare `--name` of a switch. Raises InvalidSetting.

    Anything else is an error, unless *words* are wanted: then a word may stand anywhere, everything after `--` is one,
    and a switch takes its value only after `=`, since the next word may mean something else.
    """
    settings = Settings(options, env)
    rest = list(reversed(argv))
    while rest:
        word = rest.pop()
        flag, equals, value = word.partition("=")
        name = flag.removeprefix("--")
        if words and word == "--":
            settings.words += reversed(rest)
            break
        if words and (word == "-" or not word.startswith("-")):
            settings.words.append(word)
        elif not flag.startswith("--") or name not in options:
            raise InvalidSetting(f"unknown argument: {flag}")
        elif equals:
            settings.add(name, value)
        elif options[name].switch:
            settings.add(name, rest.pop() if rest and rest[-1].lower() in BOOLEANS and not words else "true")
        elif not rest or rest[-1].startswith("--"):
            raise InvalidSetting(f"{flag} needs a value")
        else:
            settings.add(name, rest.pop())
    return settings


def parse_aliases(texts: Iterable[str]) -> dict[str, str]:
    """`a=b,c=d`, several times; the last one wins for a name. Raises InvalidSetting."""
    aliases = {}
    for pair in (pair for text in texts for pair in text.split(",") if pair.strip()):
        name, _, model = (part.strip() for part in pair.partition("="))
        if not name or not model:
            raise InvalidSetting(f"a model alias is NAME=MODEL, as in gpt-5=builtin; this is not: {pair.strip()}")
        aliases[name] = model
    return aliases


def data_dir(flag: str | None, env: Mapping[str, str]) -> Path:
    """The user's data directory, absolute; it need not exist. DESIGN, Storage."""
    for chosen in (flag, env.get("AGENTD_DATA_DIR"), env.get("HARNESS_DATA_DIR")):
        if chosen and chosen.strip():
            return Path(chosen.strip()).expanduser().absolute()
    state = Path(env.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():  # as the XDG specification wants it: a relative path is to be ignored
        state = Path(env.get("HOME") or Path.home()) / ".local" / "state"
    return state / "agentd"


def tool_environment(
    pass_env: Iterable[str], request: Mapping[str, str], env: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The whole environment of a command that a model runs: a few names of *env*, and what the *request* asked for.

    *pass_env* are names, or patterns with `*`. Nothing of *env* whose name looks like a secret's gets through, by
    whatever pattern: a command's output goes to a model service. DESIGN, Security floor.
    """
    wanted = (*BASE_ENV, *pass_env)
    passed = {
        name: value for name, value in env.items() if matches(name, wanted) and not matches(name.upper(), SECRETS)
    }
    return {"PATH": DEFAULT_PATH, **passed, **request}


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
