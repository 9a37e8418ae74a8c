"""`agentd doctor`: what this machine has, what it lacks, and what to do about it. Nothing is changed."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator

import attrs

from agentd.config import Option, data_dir, read_settings
from agentd.errors import AgentdError

OPTIONS = {"json": Option(switch=True), "data-dir": Option()}
MARKS = {"good": "✓", "poor": "!", "bad": "✗"}
VERSION_SECONDS = 10.0
CONTAINMENT = {
    "bwrap": ("good", "every command in a process namespace of its own: nothing outlives it", ""),
    "subreaper": (
        "poor",
        "what a command leaves behind is swept up, unless agentd is killed first",
        "install bubblewrap",
    ),
    "group": ("poor", "a command that hides well enough can outlive its job", "install bubblewrap (Linux)"),
}


@attrs.frozen
class Finding:
    """*state*: good; poor, when agentd works but something is worse for it; bad, when it does not work."""

    name: str
    state: str
    text: str
    remedy: str = ""


def main(argv: list[str]) -> int:
    """0; 1 when something that agentd cannot do without is missing."""
    if any(word in ("-h", "--help") for word in argv):
        from agentd.cli.help import page, show

        show(page("doctor"))
        return 0
    try:
        settings = read_settings(OPTIONS, argv, os.environ)
    except AgentdError as exc:
        print(f"agentd doctor: {exc}", file=sys.stderr)
        return 2
    findings = list(examine(settings.text("data-dir")))
    for finding in findings:
        print(json.dumps(attrs.asdict(finding)) if settings.switch("json") else line(finding))
    return 1 if any(finding.state == "bad" for finding in findings) else 0


def line(finding: Finding) -> str:
    remedy = f"  → {finding.remedy}" if finding.remedy else ""
    return f"{MARKS[finding.state]} {finding.name:12} {finding.text}{remedy}"


def examine(data: str | None) -> Iterator[Finding]:
    yield Finding("python", "good", f"{platform.python_version()} ({sys.executable})")
    yield program("git", "bad", "install git: agentd needs it to show and commit what changed")
    yield program("rg", "poor", "install ripgrep: searches in large repositories get faster")
    yield containment()
    yield storage(data)


def program(name: str, state_without: str, remedy: str) -> Finding:
    path = shutil.which(name)
    if path is None:
        return Finding(name, state_without, "not found in PATH", remedy)
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as exc:
        return Finding(name, state_without, f"{path} does not work: {exc}", remedy)
    return Finding(name, "good", f"{done.stdout.splitlines()[0]} ({path})")


def containment() -> Finding:
    import trio

    from agentd.sandbox.contain import probe

    level = trio.run(probe).level
    state, text, remedy = CONTAINMENT[level]
    return Finding("containment", state, f"{level}: {text}", remedy)


def storage(data: str | None) -> Finding:
    """Whether the data directory, or the first of its parents that is there, can be written."""
    root = data_dir(data, os.environ)
    there = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding("data", "bad", f"{there} cannot be written", "set AGENTD_DATA_DIR, or use --data-dir")
    free = shutil.disk_usage(there).free
    state = "good" if free > 1 << 30 else "poor"
    return Finding("data", state, f"{root}, {free / (1 << 30):.1f} GiB free", "" if state == "good" else "make room")
