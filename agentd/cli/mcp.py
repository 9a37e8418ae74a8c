"""`agentd mcp`: servers of the Model Context Protocol that jobs may use, and agentd as one of them."""

from __future__ import annotations

import sys
from importlib import import_module

from agentd.config import Option
from agentd.daemon.settings import COMMON, EXECUTORS, IN_PLACE
from agentd.daemon.settings import SERVE_OPTIONS as DAEMON
from agentd.daemon.site import SITE

CLIENT_OPTIONS = {
    "config": Option("AGENTD_CONFIG"),
    "project": Option(),
    "sources": Option(many=True),
    "call": Option(),
    "input": Option(),
    "timeout": Option(),
    "json": Option(switch=True),
}  # of list and test
SERVE_OPTIONS = {
    "workspace": Option(),
    **{name: DAEMON[name] for name in ("admin-token", "url-policy", "hook-secret")},
    **EXECUTORS,
    **IN_PLACE,
    **SITE,
    **{name: option for name, option in COMMON.items() if name != "allowed-host"},
    "log-level": COMMON["log-level"]._replace(default="warning"),  # whoever started it shows its log to a person
}
OPTIONS = {**CLIENT_OPTIONS, **SERVE_OPTIONS}

COMMANDS = {"list": "mcpclient", "test": "mcpclient", "serve": "mcpserve"}  # modules, with `main(argv) -> int`


def main(argv: list[str]) -> int:
    """What its command returns; 2: there is no such command."""
    if not argv or any(word in ("-h", "--help", "help") for word in argv[:2]):
        from agentd.cli.help import page, show

        show(page("mcp"))
        return 0 if argv else 2
    command, *rest = argv
    if command not in COMMANDS:
        print(f"agentd mcp: no such command: {command}; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    module = import_module(f"agentd.cli.{COMMANDS[command]}")
    status: int = module.main(rest if command == "serve" else argv)
    return status
