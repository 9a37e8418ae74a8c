"""Commands of `agentd ctl` that work on this machine's files and programs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from agentd.cli.ctl import Usage
from agentd.cli.ctlclient import Ctl, Failed
from agentd.workspace import specfile

PROGRAMS = {"git": True, "rg": False, "mmdc": False, "awsdac": False}  # whether nothing works without it
AGENTS = """\
# For agents

What an agent has to know of this repository: how it is built and tested, its conventions, what not to touch.

- Build: `make`
- Test: `make test`
- Specs are in `specs/`, one directory each.
"""
SPECS = """\
# Specs

`specs/NAME/spec.md` says what is to be done. `agentd ctl spec new NAME` begins one, `agentd ctl spec prompt NAME` has
one written, and `agentd ctl run --spec specs/NAME/spec.md` carries it out.
"""
DIAGRAMS = "# Diagrams\n\nMermaid sources; `make diagrams` draws them.\n"
DIAGRAM = "flowchart LR\n  client --> service\n"
EXAMPLE = """\
---
name: example
owner: ""
status: draft
---

# Goal

Say hello.

# Constraints / nuances

- Nothing is changed.

# Acceptance tests

1. Run `echo hello`.
"""


def init(ctl: Ctl) -> None:
    files = {
        "AGENTS.md": AGENTS,
        "docs/diagrams/README.md": DIAGRAMS,
        "docs/diagrams/sample.mmd": DIAGRAM,
        "specs/README.md": SPECS,
        "specs/example/spec.md": EXAMPLE,
    }
    lines = [line for path, text in files.items() if (line := _begin(Path(path), text, ctl.settings.switch("force")))]
    ctl.show({"files": list(files)}, *lines, "[init] done")


def _begin(path: Path, text: str, force: bool) -> str:
    if path.exists() and not force:
        return f"[init] exists, skipping: {path}"
    _write(path, text)
    return f"[init] wrote: {path}"


def spec_new(ctl: Ctl) -> None:
    [name] = ctl.words
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name):
        raise Usage("a spec's name has letters, digits, dashes and underscores")
    path = specfile.path_of(Path(), name)
    if path.exists():
        return ctl.show({"spec_path": str(path.absolute()), "created": False}, f"[spec] exists: {path}")
    _write(path, specfile.draft(name))
    _write(path.parent / "diagrams" / "diagram.mmd", DIAGRAM)
    return ctl.show({"spec_path": str(path.absolute()), "created": True}, f"[spec] created: {path}")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise Failed(f"cannot write {path}: {exc.strerror}") from exc


def doctor(ctl: Ctl) -> int:
    """1 where something is missing that has to be there."""
    found = {name: shutil.which(name) for name in PROGRAMS}
    lines = [f"{'OK     ' if path else 'MISSING'}  {name}  {path or ''}".rstrip() for name, path in found.items()]
    try:
        ctl.ask("GET", "/health/ready", seconds=5.0)
        daemon, problem = True, ctl.url
    except Failed as exc:
        daemon, problem = False, str(exc)
    lines.append(f"{'OK     ' if daemon else 'MISSING'}  daemon  {problem}")
    ctl.show({"programs": found, "daemon": daemon, "url": ctl.url}, *lines)
    return 0 if daemon and all(found[name] for name, needed in PROGRAMS.items() if needed) else 1
