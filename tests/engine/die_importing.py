"""A program for test_import_crash: `die_importing.py over|new DIRECTORY` imports a session again and again, each time
in a new DIRECTORY/N.

The Nth time the process dies at the Nth thing that it asks of the file system, as if by kill -9. At last it lives.
After each death an engine is opened on what is left, and the session must be the old one or the new one.
"""

from __future__ import annotations

import itertools
import os
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from agentd.engine import context
from agentd.engine.engine import Engine
from agentd.providers.scripted import ScriptedProvider
from agentd.store.home import make_home
from tests.workshop import Workshop
from tests.zips import fragment, job_line, native

DIED = 9
SESSION = "00000000-0000-4000-8000-000000000000"
OLD, NEW = "what was there", "what is to come"
assert zipfile  # loaded before the deaths are counted


def zipped(text: str) -> bytes:
    line = job_line(messages=[{"role": "user", "content": [{"type": "text", "text": text}]}])
    return native(context__json=fragment(text=text), history__jsonl=line)


async def import_text(engine: Engine, text: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield zipped(text)

    await engine.import_session(chunks(), SESSION)


def workshop(directory: Path) -> Workshop:
    (directory / "workspace").mkdir(parents=True, exist_ok=True)
    return Workshop(make_home(directory / "home"), directory / "workspace", ScriptedProvider([]))


async def act(directory: Path, text: str) -> None:
    async with workshop(directory).open() as engine:
        await import_text(engine, text)


async def look(directory: Path, allowed: set[str | None]) -> str | None:
    """The text that the session has; None if there is no session. Raises AssertionError for half a session."""
    there = workshop(directory)
    there.home.sweep()
    async with there.open() as engine:
        left = list(there.home.root.rglob(".tmp-*"))
        assert left == [], left
        if SESSION not in engine.sessions:
            assert None in allowed
            assert list(there.home.sessions_path.iterdir()) == []
            return None
        session = engine.sessions.get(SESSION)
        (only,) = session.state.fragments.values()
        text = session.dir.transient.get(only.sha256 or "").decode()
        assert text in allowed, text
        assert session.state.history.messages[0].text == text
        assert set(session.dir.transient.sizes()) == context.named_blobs(session)
        return text


def die_at(count: int) -> None:
    calls = itertools.count(1)

    def hook(event: str, _: object) -> None:
        if event.startswith(("open", "os.", "fcntl.", "shutil.")) and next(calls) == count:
            os._exit(DIED)

    sys.addaudithook(hook)


def main(how: str, root: Path) -> None:
    seen: set[str | None] = set()
    for count in itertools.count(1):
        directory = root / str(count)
        if how == "over":
            trio.run(act, directory, OLD)
        child = os.fork()
        if not child:
            die_at(count)
            trio.run(act, directory, NEW)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        seen.add(trio.run(look, directory, {OLD if how == "over" else None, NEW}))
        if code != DIED:
            assert code == 0
            break
    assert seen == {OLD if how == "over" else None, NEW}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
