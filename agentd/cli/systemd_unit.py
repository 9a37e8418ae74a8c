"""`agentd systemd-unit`: a unit for systemd that runs `agentd serve` from where this program is now."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Sequence

from agentd.config import Option, read_settings
from agentd.errors import InvalidSetting
from agentd.sandbox.reexec import own_argv

OPTIONS = {"user": Option(switch=True)}

UNIT = """\
# {place}
# {enable}

[Unit]
Description=agentd, a coding-agent server
After=network.target

[Service]
Type=notify
ExecStart={command}
{identity}# Settings go into {config}; secrets into an EnvironmentFile that only this user can read.
Restart=on-failure
RestartSec=2
WatchdogSec=60
TimeoutStartSec=120
# SIGTERM goes to agentd alone, which ends its executors; what is left after the time below is killed.
KillMode=mixed
TimeoutStopSec=90
# A command of an agent that the kernel ends for want of memory is no reason to stop everything.
OOMPolicy=continue
LimitNOFILE=65536

# bwrap makes namespaces and mounts a /proc of its own, and git writes where repositories are. So there is no
# PrivateTmp, ProtectHome, ProtectProc, ProtectKernel*, ProtectHostname, RestrictNamespaces and SystemCallFilter here:
# with any of these commands would run less contained, or repositories would be out of reach.
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
{hardening}
[Install]
WantedBy={target}
"""
SYSTEM_HARDENING = "ProtectSystem=full\nRestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n"
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+./:=@,")


def main(argv: list[str]) -> int:
    if any(word in ("-h", "--help") for word in argv):
        from agentd.cli.help import page, show

        show(page("systemd-unit"))
        return 0
    try:
        user = read_settings(OPTIONS, argv, os.environ).switch("user")
    except InvalidSetting as exc:
        print(f"agentd systemd-unit: {exc}; `agentd help systemd-unit` shows how it is used", file=sys.stderr)
        return 2
    print(unit(own_argv("serve"), user=user, name=pwd.getpwuid(os.getuid()).pw_name), end="")
    return 0


def unit(argv: Sequence[str], *, user: bool, name: str) -> str:
    """The text of a unit that runs *argv*: of the *user*'s own manager, or of the system's, as the user *name*."""
    if user:
        return UNIT.format(
            place="agentd systemd-unit --user > ~/.config/systemd/user/agentd.service",
            enable="systemctl --user enable --now agentd; loginctl enable-linger keeps it after you log out",
            command=command_line(argv),
            identity="",
            config="~/.config/agentd/config.toml",
            hardening="",
            target="default.target",
        )
    return UNIT.format(
        place="agentd systemd-unit | sudo tee /etc/systemd/system/agentd.service",
        enable="sudo systemctl enable --now agentd",
        command=command_line(argv),
        identity=f"# Who owns the repositories: agents work in them as this user.\nUser={name}\n",
        config=f"~{name}/.config/agentd/config.toml",
        hardening=SYSTEM_HARDENING,
        target="multi-user.target",
    )


def command_line(argv: Sequence[str]) -> str:
    return " ".join(map(quoted, argv))


def quoted(word: str) -> str:
    """A word as systemd.service(5) reads it: % begins a specifier, $ a variable; quotes and backslashes as in C."""
    if word and PLAIN.issuperset(word):
        return word
    inner = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{inner}"'
