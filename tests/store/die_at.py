"""A program for test_crash: `die_at.py ACTION DIRECTORY` does ACTION again and again, each time in a new DIRECTORY/N.

The Nth time the process dies at the Nth thing that it asks of the file system, as if by kill -9. At last it lives.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentd.domain import Entry
from agentd.store.blobs import Blobs
from agentd.store.home import Fold, Home, SessionDir, write_fold
from agentd.store.log import LogReader, open_log

DIED = 9


def nothing(directory: Path) -> None:
    directory.mkdir()


def damaged_log(directory: Path) -> None:
    directory.mkdir()
    with open_log(directory / "log.ndjson") as log:
        for n in (1, 2, 3, 4):
            log.append([Entry("notice", {"n": n})])
    raw = (directory / "log.ndjson").read_bytes()
    (directory / "log.ndjson").write_bytes(raw.replace(b'"pos":2', b'"pos":x').replace(b'"n":4}', b'"n":4]'))


def folded_log(directory: Path) -> None:
    directory.mkdir()
    with open_log(directory / "log.ndjson") as log:
        log.append([Entry("notice", {"n": n}) for n in (1, 2, 3, 4)])
        write_fold(SessionDir(directory), log, Fold(2, '"old"'))


def create_session(directory: Path) -> None:
    Home(directory / "home").create_session("run", Path("/src"), "a name")


def put_blob(directory: Path) -> None:
    Blobs(directory / "blobs").put(b"hello")


def open_damaged(directory: Path) -> None:
    open_log(directory / "log.ndjson").close()


def replace_fold(directory: Path) -> None:
    with LogReader(directory / "log.ndjson") as log:
        write_fold(SessionDir(directory), log, Fold(4, '"new"'))


Step = Callable[[Path], None]
ACTIONS: dict[str, tuple[Step, Step]] = {
    "create-session": (nothing, create_session),
    "put-blob": (nothing, put_blob),
    "open-damaged": (damaged_log, open_damaged),
    "replace-fold": (folded_log, replace_fold),
}


def die_at(count: int) -> None:
    calls = itertools.count(1)

    def hook(event: str, _: Any) -> None:
        if event.startswith(("open", "os.", "fcntl.", "shutil.")) and next(calls) == count:
            os._exit(DIED)

    sys.addaudithook(hook)


def main(action: str, root: Path) -> None:
    prepare, act = ACTIONS[action]
    for count in itertools.count(1):
        prepare(root / str(count))
        child = os.fork()
        if not child:
            die_at(count)
            act(root / str(count))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code != DIED:
            sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
