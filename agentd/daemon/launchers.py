"""How an executor's command line becomes a launcher's: local, or by whatever program a site starts its work with.

A template is split into words once, as a shell would, and then filled in: no value passes a local shell.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence

import attrs

from agentd.errors import InvalidSetting, NotStarted

LOCAL_TEMPLATE = "{argv}"
NAMES = ("session", "session_dir", "mgr", "epoch", "run_dir", "callback")
# What launchers need to find their site. Not what would make their job a part of the one that this daemon may be in, as
# SLURM_JOB_ID does.
LAUNCHER_ENV = (
    "SSH_AUTH_SOCK",
    "SLURM_CONF",
    "KUBECONFIG",
    "CONTAINERS_CONF",
    "CONTAINER_HOST",
    "DBUS_SESSION_BUS_ADDRESS",
    "XDG_RUNTIME_DIR",
)


@attrs.frozen
class Launcher:
    """*template* holds `{argv}`, the executor's command line as words, or `{cmd}`, the same as one word for a remote
    shell; and where it wants them `{session} {session_dir} {mgr} {epoch} {run_dir} {callback}`."""

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
        """The command line that launches *argv*. Raises NotStarted: *values* lack a name that is in the template."""
        known = {"cmd": shlex.join(argv), **values}
        words: list[str] = []
        for word in shlex.split(self.template):
            if word == "{argv}":
                words += argv
            else:
                words.append(re.sub(r"\{(\w+)\}", lambda name: _value(known, name[1]), word))
        return words


def _value(known: Mapping[str, str], name: str) -> str:
    if name not in known:
        raise NotStarted(f"the launch template wants {{{name}}}, and nobody has said what that is")
    return known[name]


def launcher_command(
    launcher: Launcher, argv: Sequence[str], values: Mapping[str, str], env: Mapping[str, str]
) -> list[str]:
    """The same, of a program that hears SIGTERM when we are killed, where that can be had.

    SIGKILL would be wrong: srun would leave its job in the queue, where it starts later, empty, and stays.
    Raises NotStarted also if there is no such program.
    """
    command = launcher.command(argv, values)
    if shutil.which(command[0], path=env.get("PATH")) is None:
        raise NotStarted(f"{command[0]} could not be started: there is no such program")
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--", *command] if setpriv else command


def launcher_environment(env: Mapping[str, str]) -> dict[str, str]:
    """*env*, an executor's, and what a launcher needs besides."""
    return {**{name: os.environ[name] for name in LAUNCHER_ENV if name in os.environ}, **env}


LOCAL = Launcher()
