"""`agentd replay RUN.ZIP`: a recorded job once more, without models, commands and network; says where it parts."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import attrs
import trio

from agentd.config import Option, read_settings
from agentd.errors import AgentdError, InvalidRequest, InvalidSetting, only_cause

OPTIONS = {"json": Option(switch=True)}
SAME, DIVERGED, UNUSABLE = 0, 1, 2
SHOWN = 20  # differences; --json has all


def main(argv: list[str]) -> int:
    """0: the same; 1: it diverged; 2: the zip, or the command line, cannot be used."""
    if any(word in ("-h", "--help") for word in argv):
        from agentd.cli.help import page, show

        show(page("replay"))
        return SAME
    try:
        settings = read_settings(OPTIONS, argv, os.environ, words=True)
        if len(settings.words) != 1:
            raise InvalidSetting("name the zip: agentd replay run.zip")
        return _replay(Path(settings.words[0]), as_json=settings.switch("json"))
    except InvalidSetting as exc:
        print(f"agentd replay: {exc}; `agentd help replay` shows how it is used", file=sys.stderr)
    except (AgentdError, ExceptionGroup) as group:
        cause = only_cause(group)
        if not isinstance(cause, AgentdError):
            raise
        problems = cause.problems if isinstance(cause, InvalidRequest) else [str(cause)]
        print(f"agentd replay: {'; '.join(problems)}", file=sys.stderr)
    return UNUSABLE


def _replay(path: Path, *, as_json: bool) -> int:
    """Raises AgentdError."""
    from agentd.engine.replay import replay

    with tempfile.TemporaryDirectory(prefix="agentd-replay-") as scratch:
        report = trio.run(replay, path, Path(scratch))
    if as_json:
        print(json.dumps(attrs.asdict(report) | {"same": report.same}, ensure_ascii=False))
        return SAME if report.same else DIVERGED
    for why in report.not_compared:
        print(f"not compared: {why}")
    done = f"the {report.mode} job {report.job}: {report.requests} requests, {report.calls} calls"
    if report.same:
        print(f"the same: {done}")
        return SAME
    first, *others = report.differences
    print(f"diverged: {done}, {len(report.differences)} differences. The first, at position {first.pos} of the log:")
    print(f"  {first.kind}: {first.where}\n    recorded: {first.recorded}\n    replayed: {first.replayed}")
    for each in others[: SHOWN - 1]:
        print(f"  then at {each.pos}: {each.kind}: {each.where}: {each.recorded} -> {each.replayed}")
    if len(others) >= SHOWN:
        print(f"  and {len(others) - SHOWN + 1} more; --json has them all")
    return DIVERGED
