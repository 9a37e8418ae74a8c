"""`agentd ctl`, or this file started as `agentctl`: a daemon from a terminal. The contract: runs-and-chat.md, 15.

Each command asks the daemon over HTTP and waits for the answer. Modules are imported when their command is called.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agentd.config import Option, Settings, read_settings
from agentd.errors import InvalidSetting

SWITCH, MANY, TEXT = Option(switch=True), Option(many=True), Option()
OPTIONS: Mapping[str, Option] = {
    "url": Option("HARNESS_URL"),
    "token": Option(),
    "data-dir": Option("AGENTD_DATA_DIR", also="HARNESS_DATA_DIR"),
    "json": SWITCH,
    "help": SWITCH,
}


class Command(NamedTuple):
    """*words*: those that it needs, as they are called; "RUN?" may be left out. *place*: module and function."""

    place: str
    what: str
    words: str = ""
    options: Mapping[str, Option] = {}

    @property
    def counts(self) -> range:
        words = self.words.split()
        return range(sum(not word.endswith("?") for word in words), len(words) + 1)


_WORKSPACE = {"workspace": Option(default=".")}
COMMANDS: Mapping[str, Command] = {
    "init": Command("ctlfiles.init", "begin a workspace: AGENTS.md, specs, diagrams", "", {"force": SWITCH}),
    "spec new": Command("ctlfiles.spec_new", "write an empty spec", "NAME"),
    "spec prompt": Command(
        "ctlruns.spec_prompt",
        "have a spec written: --prompt TEXT or --prompt-file F",
        "NAME",
        {"prompt": TEXT, "prompt-file": TEXT, "overwrite": SWITCH, "print": SWITCH, **_WORKSPACE},
    ),
    "run": Command("ctlruns.run", "carry out a spec: --spec P", "", {"spec": TEXT, "follow": SWITCH, **_WORKSPACE}),
    "attach": Command("ctlruns.attach", "follow a run to its end", "RUN"),
    "approve": Command(
        "ctlasks.approve", "let a step (RUN --step S) or whatever else waits (ASK) go on", "RUN|ASK", {"step": TEXT}
    ),
    "deny": Command("ctlasks.deny", "refuse what waits", "ASK", {"reason": TEXT}),
    "answer": Command("ctlasks.answer", "answer a question", "ASK TEXT"),
    "list": Command("ctlruns.list_runs", "runs"),
    "cancel": Command("ctlruns.cancel", "end a run, or what a session is at", "RUN|SESSION"),
    "export": Command("ctlruns.export", "a run as a zip: --out F.zip", "RUN", {"out": TEXT}),
    "session new": Command(
        "ctlchat.new", "begin a chat", "", {"system": TEXT, "mode": TEXT, "spec": TEXT, **_WORKSPACE}
    ),
    "session message": Command(
        "ctlchat.message",
        "say something: --text T, --ref R",
        "ID",
        {"text": TEXT, "ref": MANY, "type": TEXT, "mime": TEXT, "role": TEXT, "no-auto-run": SWITCH},
    ),
    "session attach": Command(
        "ctlchat.attach", "upload a file: --file F", "ID", {"file": TEXT, "name": TEXT, "mime": TEXT}
    ),
    "session approve": Command(
        "ctlchat.approve",
        "decide about a tool call: --call C",
        "ID",
        {"call": TEXT, "turn": TEXT, "deny": SWITCH, "reason": TEXT},
    ),
    "session list": Command("ctlchat.list_chats", "chats"),
    "session show": Command("ctlchat.show", "a chat and what was said in it", "ID"),
    "session events": Command("ctlchat.events", "what happens in a chat", "ID", {"no-follow": SWITCH}),
    "session cancel": Command("ctlchat.cancel", "end what a chat is at", "ID"),
    "session retry": Command("ctlchat.retry", "do a turn again", "ID TURN"),
    "session mode": Command("ctlchat.mode", "chat or spec", "ID MODE", {"spec": TEXT}),
    "models": Command("ctlruns.models", "language models"),
    "policy": Command("ctlruns.policy", "the choice of models; --set max_cost_usd=2, …", "", {"set": MANY}),
    "sessions": Command(
        "ctladmin.sessions", "sessions of every face", "", {"face": TEXT, "status": TEXT, "search": TEXT, "limit": TEXT}
    ),
    "jobs": Command(
        "ctladmin.jobs", "jobs of every face", "", {"face": TEXT, "state": TEXT, "session": TEXT, "limit": TEXT}
    ),
    "asks": Command("ctlasks.asks", "what waits for a decision", "", {"all": SWITCH, "limit": TEXT}),
    "tail": Command("ctltail.tail", "follow any session", "SESSION", {"after": TEXT, "no-follow": SWITCH}),
    "diff": Command("ctladmin.diff", "what a session has changed", "SESSION"),
    "rewind": Command("ctladmin.rewind", "put files back; --to ID", "SESSION", {"to": TEXT, "dry-run": SWITCH}),
    "gc": Command("ctladmin.collect", "remove what nobody owns", "", {"dry-run": SWITCH}),
    "token list": Command("ctladmin.tokens", "tokens that were issued"),
    "token new": Command(
        "ctladmin.issue", "issue one: --scope S", "", {"scope": MANY, "name": TEXT, "root": MANY, "days": TEXT}
    ),
    "token revoke": Command("ctladmin.revoke", "let one open nothing any more", "ID"),
    "doctor": Command("ctlfiles.doctor", "which programs there are, and whether the daemon lives"),
    "completion": Command("ctlcompletion.completion", "for your shell: bash, zsh or fish", "SHELL"),
}


class Usage(InvalidSetting):
    """The command line is wrong."""


def main(argv: list[str]) -> int:
    """0; 1 it failed, with why on stderr; 2 the command line is wrong."""
    if not argv or argv in (["--help"], ["-h"], ["help"]):
        from agentd.cli.help import page, show

        show(page("ctl"))
        return 0 if argv else 2
    try:
        name, settings = read(["--help" if word == "-h" else word for word in argv], os.environ)
        if settings.switch("help"):
            print(usage(name))
            return 0
    except InvalidSetting as wrong:
        print(f"error: {wrong}; `agentd ctl --help` lists what there is", file=sys.stderr)
        return 2
    return carry_out(name, settings)


def carry_out(name: str, settings: Settings) -> int:
    from importlib import import_module

    from agentd.cli.ctlclient import Ctl, Failed

    module, _, function = COMMANDS[name].place.partition(".")
    try:
        done: int | None = getattr(import_module(f"agentd.cli.{module}"), function)(Ctl(settings, os.environ))
    except Usage as wrong:
        print(f"error: {wrong}\n{usage(name)}", file=sys.stderr)
        return 2
    except Failed as failed:
        print(f"error: {failed}", file=sys.stderr)
        return 1
    return done or 0


def read(argv: Sequence[str], env: Mapping[str, str]) -> tuple[str, Settings]:
    """The command, and its settings without the words of its name. Raises InvalidSetting."""
    every = {name: option for command in COMMANDS.values() for name, option in command.options.items()}
    words = read_settings({**OPTIONS, **every}, argv, env, words=True).words
    name = next((each for each in (" ".join(words[:2]), *words[:1]) if each in COMMANDS), "")
    if not name:
        subs = [each for each in COMMANDS if words and each.startswith(f"{words[0]} ")]
        raise Usage(f"{words[0]} wants one of: {', '.join(subs)}" if subs else _unknown(words))
    command = COMMANDS[name]
    settings = read_settings({**OPTIONS, **command.options}, argv, env, words=True)
    settings.words = settings.words[len(name.split()) :]
    if len(settings.words) not in command.counts and not settings.switch("help"):
        raise Usage(f"it is used so: {usage(name)}")
    return name, settings


def _unknown(words: Sequence[str]) -> str:
    from difflib import get_close_matches

    if not words:
        return "no command is given"
    near = get_close_matches(words[0], COMMANDS, n=1)
    return f"no such command: {words[0]}" + (f"; did you mean {near[0]}?" if near else "")


def usage(name: str) -> str:
    command = COMMANDS[name]
    flags = [f"[--{each}{'' if option.switch else ' …'}]" for each, option in command.options.items()]
    return " ".join(["agentd ctl", name, *command.words.replace("?", "").split(), *flags])
