"""`agentd gc`: remove what nobody owns any more from a data directory that no daemon uses."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

import attrs
import trio

from agentd.config import Option, Settings, read_settings
from agentd.daemon.collect import Garbage, find_garbage, open_idle_pool, remove_garbage
from agentd.daemon.logs import configure
from agentd.daemon.recovery import Report
from agentd.daemon.settings import SERVE_OPTIONS, data_directory, load, worktree_base
from agentd.errors import AgentdError, InvalidSetting, Locked, only_cause
from agentd.store.home import Home

OPTIONS = {
    "dry-run": Option(switch=True),
    "json": Option(switch=True),
    **{name: SERVE_OPTIONS[name] for name in ("data-dir", "worktree-base-dir", "config")},
}
ASK_DAEMON = """\
agentd gc: {problem}
A daemon removes what is left over when it starts. While it runs, ask it:
  agentd ctl gc --dry-run --data-dir {root}"""


def main(argv: list[str]) -> int:
    """0; 1: a daemon uses the directory, or the disk refuses; 2: the command line is wrong."""
    if any(word in ("-h", "--help") for word in argv):
        from agentd.cli.help import page, show

        show(page("gc"))
        return 0
    try:
        settings = read_settings(OPTIONS, argv, os.environ)
    except InvalidSetting as wrong:
        print(f"agentd gc: {wrong}; `agentd help gc` shows how it is used", file=sys.stderr)
        return 2
    try:
        configure("text", "warning")
        load(settings, os.environ)
        return collect(settings)
    except (AgentdError, ExceptionGroup) as group:
        exc = only_cause(group)
        if not isinstance(exc, AgentdError):
            raise
        print(f"agentd gc: {exc}", file=sys.stderr)
        return 1


def collect(settings: Settings) -> int:
    """Raises AgentdError."""
    home = Home(data_directory(settings))
    if not home.root.is_dir():
        print(f"there is no data directory {home.root}: nothing to remove")
        return 0
    try:
        lock = home.lock()
    except Locked as exc:
        print(ASK_DAEMON.format(problem=exc, root=home.root), file=sys.stderr)
        return 1
    with lock:
        trio.run(look, settings, home)
    return 0


async def look(settings: Settings, home: Home) -> None:
    """Find it, tell it, and remove it unless asked not to. Raises AgentdError."""
    async with open_idle_pool(home, worktree_base(settings)) as pool:
        found = await find_garbage(pool)
        report = None if settings.switch("dry-run") else await remove_garbage(pool)
    tell = tell_json if settings.switch("json") else tell_people
    tell(found, report)


# --- Telling ------------------------------------------------------------------------------------------------------


def outcome(each: Garbage, report: Report | None) -> str:
    if report is None:
        return "stays" if each.state == "alive" else "would be removed"
    return "stays" if each.path.exists() else "removed"


def tell_json(found: Sequence[Garbage], report: Report | None) -> None:
    """One object a line."""
    for each in found:
        print(json.dumps(attrs.asdict(each) | {"path": str(each.path), "outcome": outcome(each, report)}))


def tell_people(found: Sequence[Garbage], report: Report | None) -> None:
    for each in found:
        print(f"{each.kind:8}  {each.state:12}  {size(each.bytes):>9}  {outcome(each, report):16}  {each.path}")
    for ref in report.rescued if report else ():
        print(f"uncommitted work was kept as {ref} in its repository")
    if not found:
        print("nothing is left over")


def size(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count //= 1024
    return f"{count} GiB"
