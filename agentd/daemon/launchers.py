"""How an executor's command line becomes a launcher's: local, or by whatever program a site starts its work with.

A template is split into words once, as a shell would, and then filled in: no value passes a local shell.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

import attrs

from agentd.errors import InvalidSetting

LOCAL_TEMPLATE = "{argv}"
NAMES = ("session", "mgr", "epoch", "run_dir", "callback")


@attrs.frozen
class Launcher:
    """*template* holds `{argv}`, the executor's command line as words, or `{cmd}`, the same as one word for a remote
    shell; and where it wants them `{session} {mgr} {epoch} {run_dir} {callback}`."""

    template: str = LOCAL_TEMPLATE

    def __attrs_post_init__(self) -> None:
        """Raises InvalidSetting."""
        try:
            words = shlex.split(self.template)
        except ValueError as exc:
            raise InvalidSetting(f"launch template: {exc}: {self.template}") from exc
        if ("{argv}" in words) == ("{cmd}" in self.template):
            raise InvalidSetting(f"launch template: it needs either the word {{argv}} or {{cmd}}: {self.template}")
        unknown = set(re.findall(r"\{(\w*)\}", self.template)) - {"argv", "cmd", *NAMES}
        if unknown:
            raise InvalidSetting(f"launch template: {{{min(unknown)}}} is none of {', '.join(NAMES)}, argv, cmd")

    @property
    def is_local(self) -> bool:
        """Whether the executor is the daemon's own child, and dies with it by a signal."""
        return self.template == LOCAL_TEMPLATE

    def command(self, argv: Sequence[str], values: Mapping[str, str]) -> list[str]:
        """The command line that launches *argv*. *values* has a text for every name."""
        known = {"cmd": shlex.join(argv), **values}
        words: list[str] = []
        for word in shlex.split(self.template):
            if word == "{argv}":
                words += argv
            else:
                words.append(re.sub(r"\{(\w+)\}", lambda name: known[name[1]], word))
        return words


LOCAL = Launcher()
