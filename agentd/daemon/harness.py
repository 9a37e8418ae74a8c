"""Settings in the files of another program that the runs API has them from: JSON, and variables. No trio here.

The rules: runs-and-chat.md, 3. What such a file says comes behind flags, variables and our own file.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, MutableMapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from agentd.config import Settings
from agentd.errors import InvalidSetting

KEYS = {
    "listen_addr": "listen",
    "data_dir": "data-dir",
    "auth_token": "runs-token",
    "verify_commands": "verify-command",
}
POLICY = "model_policy"
_VARIABLE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
logger = logging.getLogger(__name__)


def load_harness(settings: Settings) -> None:
    """Add what the file of --harness-config says. One that cannot be read is no error."""
    if (named := settings.text("harness-config")) is None:
        return
    path = Path(named).expanduser().absolute()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError, RecursionError) as exc:
        logger.warning("%s is left out: %s", path, exc)
        return
    settings.harness = found
    for key, name in KEYS.items():
        if text := _text(found.get(key)):
            settings.defaults[name], settings.sources[name] = text, str(path)
        elif found.get(key):
            logger.warning("%s: %s is left out: expected a text", path, key)


def _text(value: Any) -> str:
    """ "" for what is none; lines of a list."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "\n".join(value).strip()
    return value.strip() if isinstance(value, str) else ""


def lines(settings: Settings, name: str) -> tuple[str, ...]:
    """Of a setting that has one or more in each of its texts."""
    return tuple(line.strip() for text in settings.many(name) for line in text.splitlines() if line.strip())


# --- Variables ----------------------------------------------------------------------------------------------------


def load_env_file(argv: Sequence[str], env: MutableMapping[str, str]) -> None:
    """Set what the file of --env-file in *argv* says, where *env* does not say it. Raises InvalidSetting."""
    words = [word for word in argv if word.startswith("--env-file=")]
    words += [f"={value}" for flag, value in pairwise(argv) if flag == "--env-file"]
    for word in words:
        path = Path(word.partition("=")[2]).expanduser()
        try:
            found = dict(read_variables(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as exc:
            raise InvalidSetting(f"--env-file: {path} cannot be read: {exc}") from exc
        env.update({name: value for name, value in found.items() if name not in env})


def read_variables(text: str) -> Iterator[tuple[str, str]]:
    """`NAME=VALUE`, with `export` before it or not, and quotes around the value or not; # begins a comment line."""
    for line in text.splitlines():
        found = _VARIABLE.fullmatch(line.strip())
        if found is not None:
            name, value = found[1], found[2].strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            yield name, value[1:-1] if quoted else value
