"""Settings: flags, the environment, the configuration file, where data lives, and what commands see of the environment.

A flag beats the environment, that beats the file, and that what is built in. Everything here takes the environment as
a mapping, so that a test or a hello line can stand in for os.environ. The rules of flags: the executor contract,
section 1.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

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
    key: str = ""  # of the configuration file, as in manager.pool_size
    default: str = ""
    secret: bool = False
    also: str = ""  # an older variable, for when the first is not set


class Found(NamedTuple):
    """What a setting is, and where that was said: by a flag, a variable, the file, or nobody ("default")."""

    texts: list[str]
    origin: str


class Settings:
    """What flags, environment and file say. A blank value counts as none."""

    def __init__(self, options: Mapping[str, Option], env: Mapping[str, str]) -> None:
        self._options, self.env = options, env
        self._flags: dict[str, list[str]] = {}
        self.words: list[str] = []  # what is no flag and no value of one
        self.file = Table({}, "")
        self.harness: Mapping[str, Any] = {}  # what another file of settings says, for daemons
        self.sources: dict[str, str] = {}  # of defaults that come from somewhere
        self.defaults = {name: option.default for name, option in options.items() if option.default}

    def add(self, name: str, value: str) -> None:
        """Raises InvalidSetting for a second value of what may have one only."""
        if name in self._flags and not self._options[name].many:
            raise InvalidSetting(f"--{name} is given twice")
        self._flags.setdefault(name, []).append(value)

    def text(self, name: str) -> str | None:
        """The last flag that is not blank, else the environment's value, the file's, the default, or None; blanks
        around it removed."""
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
            raise self.misfit(name, f"{value} is neither true nor false")
        return BOOLEANS[value.lower()]

    def one_of(self, name: str, *words: str) -> str:
        """Raises InvalidSetting."""
        value = self.required(name)
        if value not in words:
            raise self.misfit(name, f"{value} is not {' or '.join(words)}")
        return value

    def number(self, name: str) -> float:
        """Finite, above 0. Raises InvalidSetting."""
        value = self.required(name)
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0 < number < float("inf"):
            raise self.misfit(name, f"{value} is not a number above 0")
        return number

    def many(self, name: str) -> list[str]:
        """Every flag that is not blank, else the environment's value, else those of the file, else the default."""
        return self.find(name).texts

    def find(self, name: str) -> Found:
        """Raises InvalidSetting for what the file says, if that is no text or number."""
        if flags := self.flags(name):
            return Found(flags, f"--{name}")
        option = self._options[name]
        for variable in filter(None, (option.variable, option.also)):
            if value := self.env.get(variable, "").strip():
                return Found([value], variable)
        place, _, key = option.key.rpartition(".")
        if texts := self.file.table(place).scalars(key) if key else ():
            return Found(list(texts), self.file.file)
        found = [self.defaults[name]] if name in self.defaults else []
        return Found(found, self.sources.get(name, "default"))

    def flags(self, name: str) -> list[str]:
        return [value.strip() for value in self._flags.get(name, []) if value.strip()]

    def misfit(self, name: str, problem: str) -> InvalidSetting:
        """Names the setting by flag and variable, or by its place in the file if that is where it was said."""
        option = self._options[name]
        if self.file.file and self.find(name).origin == self.file.file:
            return InvalidSetting(f"{self.file.file}: {option.key}: {problem}")
        return InvalidSetting(f"--{name}{f' ({option.variable})' if option.variable else ''}: {problem}")

    def from_environment(self, name: str) -> list[str]:
        value = self.env.get(self._options[name].variable or "", "").strip()
        return [value] if value else []

    def read_file(self) -> Table:
        """The configuration file, from now on; of verbs that have --config. Raises InvalidSetting."""
        self.file = read_config(config_path(self.text("config"), self.env)).only(*TABLES)
        return self.file

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


# --- The configuration file ---------------------------------------------------------------------------------------


TABLES = ("providers", "models", "aliases", "roles", "serve", "manager", "agent", "jobs", "plugins", "mcp")


def config_path(flag: str | None, env: Mapping[str, str]) -> Path | None:
    """The file that --config or AGENTD_CONFIG names, else the user's own if there is one."""
    for chosen in (flag, env.get("AGENTD_CONFIG")):
        if chosen and chosen.strip():
            return Path(chosen.strip()).expanduser().absolute()
    path = _home_dir("XDG_CONFIG_HOME", ".config", env) / "agentd" / "config.toml"
    return path if path.is_file() else None


def read_config(path: Path | None) -> Table:
    """The file as a table; an empty one for None. Raises InvalidSetting: it cannot be read, or is no TOML."""
    if path is None:
        return Table({}, "")
    import tomllib  # slow to import, and most have no such file

    try:
        return Table(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    except OSError as exc:
        raise InvalidSetting(f"{path}: cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise InvalidSetting(f"{path}: is no TOML: {exc}") from exc


class Table:
    """A table of the configuration file, and its place there. Strict: a key that is not known, or a value of another
    kind, raises InvalidSetting, which names the file, the key and, where one is near, the key that was meant. Values
    are never in these texts: they may be secrets."""

    def __init__(self, values: Mapping[str, Any], file: str, place: str = "") -> None:
        self.values, self.file, self.place = values, file, place

    def misfit(self, key: str, problem: str) -> InvalidSetting:
        place = f"{self.place}.{key}" if self.place else key
        return InvalidSetting(f"{self.file}: {place}: {problem}")

    def only(self, *known: str) -> Table:
        """This, which has no other keys."""
        for key in self.values:
            if key not in known:
                from difflib import get_close_matches

                near = get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
                raise self.misfit(key, f"no such key; {hint}")
        return self

    def text(self, key: str) -> str | None:
        """Not blank, without blanks around it; None if it is not there. So too the others."""
        value = self._get(key, str, "a text")
        if value is not None and not value.strip():
            raise self.misfit(key, "is blank")
        return None if value is None else str(value.strip())

    def one_of(self, key: str, *words: str) -> str | None:
        value = self.text(key)
        if value is not None and value not in words:
            raise self.misfit(key, f"expected {' or '.join(words)}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        values = self._get(key, list, "a list of texts") or []
        if not all(isinstance(value, str) and value.strip() for value in values):
            raise self.misfit(key, "expected a list of texts")
        return tuple(value.strip() for value in values)

    def scalars(self, key: str) -> tuple[str, ...]:
        """A text, a number, true or false, or a list of these, as texts; empty if it is not there."""
        value = self.values.get(key, [])
        texts = [str(each).lower() if type(each) is bool else str(each).strip() for each in _as_list(value)]
        if not all(type(each) in (str, int, float, bool) for each in _as_list(value)) or not all(texts):
            raise self.misfit(key, "expected a text or a number")
        return tuple(texts)

    def switch(self, key: str) -> bool | None:
        value: bool | None = self._get(key, bool, "true or false")
        return value

    def count(self, key: str) -> int | None:
        value: int | None = self._get(key, int, "a whole number above 0")
        if value is not None and value <= 0:
            raise self.misfit(key, "expected a whole number above 0")
        return value

    def number(self, key: str) -> float | None:
        """Finite, 0 or more."""
        value = self.values.get(key)
        if value is None:
            return None
        if type(value) not in (int, float) or not 0 <= value < float("inf"):
            raise self.misfit(key, "expected a number of 0 or more")
        return float(value)

    def table(self, key: str) -> Table:
        """Empty if it is not there."""
        place = f"{self.place}.{key}" if self.place else key
        return Table(self._get(key, dict, "a table") or {}, self.file, place)

    def tables(self, key: str) -> dict[str, Table]:
        """Tables within a table, by name."""
        within = self.table(key)
        return {name: within.table(name) for name in within.values}

    def array(self, key: str) -> list[Table]:
        """Tables that have no names: [[key]]."""
        place = f"{self.place}.{key}" if self.place else key
        tables = self._get(key, list, "an array of tables") or []
        if not all(isinstance(each, dict) for each in tables):
            raise self.misfit(key, "expected an array of tables")
        return [Table(each, self.file, f"{place}[{at}]") for at, each in enumerate(tables)]

    def words(self, key: str) -> dict[str, str]:
        """A table of texts."""
        within = self.table(key)
        return {name: within.text(name) or "" for name in within.values}

    def json(self, key: str) -> dict[str, Any] | None:
        """A table of whatever JSON has too: no dates, and numbers that are finite."""
        import json

        values: dict[str, Any] | None = self._get(key, dict, "a table")
        try:
            json.dumps(values, allow_nan=False)
        except (TypeError, ValueError):
            raise self.misfit(key, "has a date, or a number that is not finite, which JSON has not") from None
        return values

    def _get(self, key: str, kind: type, what: str) -> Any:
        value = self.values.get(key)
        if value is not None and type(value) is not kind:
            raise self.misfit(key, f"expected {what}")
        return value


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# --- Places and environments --------------------------------------------------------------------------------------


def data_dir(flag: str | None, env: Mapping[str, str]) -> Path:
    """The user's data directory, absolute; it need not exist. DESIGN, Storage."""
    for chosen in (flag, env.get("AGENTD_DATA_DIR"), env.get("HARNESS_DATA_DIR")):
        if chosen and chosen.strip():
            return Path(chosen.strip()).expanduser().absolute()
    return _home_dir("XDG_STATE_HOME", ".local/state", env) / "agentd"


def _home_dir(variable: str, default: str, env: Mapping[str, str]) -> Path:
    path = Path(env.get(variable, ""))
    if not path.is_absolute():  # as the XDG specification wants it: a relative path is to be ignored
        path = Path(env.get("HOME") or Path.home()) / default
    return path


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
