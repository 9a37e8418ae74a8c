"""The command line: finds the verb and calls its module. Nothing is imported that the verb does not need."""

from __future__ import annotations

import sys
from types import ModuleType

from agentd import __version__

VERBS = {
    "run": "do one job in a repository, and show it live",
    "serve": "serve every API over HTTP: sessions in worktrees, figures, health",
    "manager": "serve the session manager alone",
    "agent": "serve the agent API alone",
    "executor": "serve one workspace over HTTP",
    "ctl": "ask a daemon that runs: runs, chats, sessions, what waits for a decision",
    "record": "put a job into a zip, to be played again",
    "replay": "play a recorded job again, and say where it diverges",
    "models": "list the language models there are",
    "mcp": "MCP servers that jobs may use: list and try them; serve agentd as one",
    "doctor": "say what this machine has and what it lacks",
    "gc": "remove what nobody owns any more",
    "config": "the configuration file: language model services, settings; show what is set",
    "systemd-unit": "print a unit that runs `agentd serve` under systemd",
    "help": "explain a verb or a topic",
}  # `main(argv) -> int` of agentd.cli.<verb> does it, its dashes written as _

USAGE = """\
usage: agentd run [OPTIONS] "WHAT TO DO"
       agentd serve | manager | agent | executor | models | doctor | gc | systemd-unit [OPTIONS]
       agentd ctl COMMAND …
       agentd mcp list | test | serve [OPTIONS]
       agentd record SESSION | JOB; agentd replay RUN.ZIP
       agentd config show [OPTIONS]
       agentd help [TOPIC]
       agentd --version"""


def main(argv: list[str]) -> int:
    """Do what *argv* says. Its exit code; 2: there is no such verb."""
    if argv in (["--version"], ["version"]):
        print(f"agentd {__version__}")
        return 0
    if not argv:
        print(USAGE, file=sys.stderr)
        return 2
    verb, *args = argv
    if verb in ("--help", "-h"):
        verb = "help"
    if verb not in VERBS:
        return refuse(verb)
    return run_verb(verb, args)


def run_verb(verb: str, args: list[str]) -> int:
    try:
        status: int = import_verb(verb).main(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return hang_up()
    return status


def import_verb(verb: str) -> ModuleType:
    import gc
    from importlib import import_module

    gc.disable()  # modules are no garbage, and looking through them again and again takes a tenth of the start
    module = import_module(f"agentd.cli.{verb.replace('-', '_')}")
    gc.freeze()
    gc.enable()
    return module


def hang_up() -> int:
    """Whoever read our output has gone (`agentd help | head`): say nothing more, not at exit either."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def refuse(verb: str) -> int:
    from difflib import get_close_matches

    near = get_close_matches(verb, VERBS, n=1)
    hint = f"did you mean `agentd {near[0]}`?" if near else "`agentd help` lists what there is"
    print(f"agentd: no such command: {verb}; {hint}", file=sys.stderr)
    return 2
