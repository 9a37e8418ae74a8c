"""The built file as a server, for as long as a block lasts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def listening(pyz: Path, *words: str, cwd: Path, **settings: str) -> Iterator[dict[str, str]]:
    """The base URLs of the faces that the verb and its options, *words*, serve, by their names; the first one also as
    "". What it logs is in server.log of *cwd*."""
    env: Mapping[str, str] = {**os.environ, **settings}
    with (
        (cwd / "server.log").open("a") as log,
        subprocess.Popen(
            [sys.executable, str(pyz), *words], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            assert process.stdout
            urls: dict[str, str] = {}
            for line in process.stdout:
                urls |= re.findall(r"^(\w+) +(http://\S+)", line)
                if found := re.search(r"listening on (http://\S+)", line):
                    urls[""] = found[1]
                    break
            assert urls, (cwd / "server.log").read_text()
            yield urls
        finally:
            process.terminate()
