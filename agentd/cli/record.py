"""`agentd record SESSION|JOB`: a job out of the data directory into a zip, which `agentd replay` plays."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from agentd.config import Option, Settings, data_dir, read_settings
from agentd.errors import AgentdError, InvalidSetting, JobNotFound
from agentd.store.home import Home

OPTIONS = {"output": Option(default="run.zip"), "force": Option(switch=True), "data-dir": Option()}


def main(argv: list[str]) -> int:
    """0; 1: there is no such job, or the disk refuses; 2: the command line is wrong."""
    if any(word in ("-h", "--help") for word in argv):
        from agentd.cli.help import page, show

        show(page("record"))
        return 0
    try:
        settings = read_settings(
            OPTIONS, ["--output" if word == "-o" else word for word in argv], os.environ, words=True
        )
        if len(settings.words) != 1:
            raise InvalidSetting("say which: agentd record SESSION, or agentd record JOB")
        print(_record(settings, settings.words[0], Path(settings.required("output"))))
    except InvalidSetting as exc:
        print(f"agentd record: {exc}; `agentd help record` shows how it is used", file=sys.stderr)
        return 2
    except (AgentdError, OSError) as exc:
        print(f"agentd record: {exc}", file=sys.stderr)
        return 1
    return 0


def _record(settings: Settings, name: str, path: Path) -> str:
    """What to tell. Raises AgentdError, OSError."""
    from agentd.engine.replayzip import find_job, write_recording

    home = Home(data_dir(settings.text("data-dir"), os.environ))
    try:
        session, job = find_job(home, name)
    except JobNotFound as exc:
        raise InvalidSetting(f"there is no session and no job {name} in {home.root}") from exc
    if settings.switch("force"):
        path.unlink(missing_ok=True)
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        try:
            write_recording(session, job, file)
        except BaseException:
            path.unlink()
            raise
    return f"job {job} of session {session.id}: {path}, {path.stat().st_size} bytes\nagentd replay {path}"
