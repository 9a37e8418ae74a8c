"""`agentd help [TOPIC]`: the manual, which is the Markdown in agentd/help."""

from __future__ import annotations

import os
import sys

from agentd.cli import USAGE, VERBS

TOPICS = {
    "permissions": "what an agent may do unasked, and how it asks",
    "extensions": "skills, commands, agents, plugins, memory, output styles: what goes where",
    "sandbox": "what commands are kept from, by which means, and what each of them stops",
    "exit-codes": "what `agentd run` tells a script",
    "files": "where data lives",
    "admin": "the admin API: sessions, logs, asks, executors, disk and tokens, with curl",
    "runs": "specs that are carried out: steps, approvals, artifacts, with curl",
    "chat": "talks with a model at work in a directory: turns, approvals, attachments, with curl",
    "dashboard": "the page for a browser: log in, watch, approve, start",
    "scale-out": "executors on other machines: Slurm, ssh, podman, Kubernetes",
    "environment": "variables that agentd reads, and those that commands see",
}  # besides one for each verb

BOLD, NORMAL = "\x1b[1m", "\x1b[0m"


def main(argv: list[str]) -> int:
    """Print the overview, or the topic *argv* names. 2: there is no such topic."""
    topic = " ".join(argv)
    if topic in ("", "help", "--help", "-h"):
        show(overview())
    elif topic in VERBS or topic in TOPICS:
        show(page(topic))
    else:
        print(f"agentd help: no topic {topic}; there are: {', '.join((*VERBS, *TOPICS))}", file=sys.stderr)
        return 2
    return 0


def overview() -> str:
    width = max(map(len, (*VERBS, *TOPICS)))
    commands = "\n".join(f"  {name:{width}}  {what}" for name, what in VERBS.items())
    topics = "\n".join(f"  {name:{width}}  {what}" for name, what in TOPICS.items())
    return f"{USAGE}\n\n# Commands\n\n{commands}\n\n# Topics of `agentd help`\n\n{topics}\n"


def page(topic: str) -> str:
    """The Markdown of a topic."""
    from importlib import resources

    import agentd

    return resources.files(agentd).joinpath("help", f"{topic}.md").read_text(encoding="utf-8")


def show(markdown: str) -> None:
    """Print it; on a terminal with bold headings, and page by page if it is longer than the screen."""
    if not sys.stdout.isatty():
        print(plain(markdown), end="")
    elif markdown.count("\n") < os.get_terminal_size(sys.stdout.fileno()).lines:
        print(plain(markdown, BOLD, NORMAL), end="")
    else:
        import pydoc

        pydoc.pager(plain(markdown))  # without bold: a pager may show escape sequences as they are


def plain(markdown: str, bold: str = "", normal: str = "") -> str:
    """Markdown as text: headings without their hashes, code indented instead of fenced, the rest as it was written."""
    lines, in_code = [], False
    for line in markdown.splitlines():
        if line.startswith("```"):
            in_code = not in_code
        elif in_code:
            lines.append(f"    {line}".rstrip())
        elif line.startswith("#"):
            lines.append(f"{bold}{line.lstrip('# ')}{normal}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"
