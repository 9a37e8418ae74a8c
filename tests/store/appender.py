"""A program for test_kill and test_reader: `appender.py LOG WRITERS` appends to a log until it is killed.

It prints `written POS SIZE` when a record is announced, and `synced POS WRITER N` when one is acknowledged.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio

from agentd.domain import Entry
from agentd.store.log import SessionLog, open_log


def say(*words: object) -> None:
    os.write(1, " ".join(map(str, words)).encode() + b"\n")  # one write, so that a kill cannot leave half a line


async def append_forever(log: SessionLog, writer: int) -> None:
    n = 0
    while True:
        n += 1
        entries = [Entry("notice", {"writer": writer, "n": n, "text": "é\n" * (n % 50)})] * (1 + n % 3)
        pos = log.append(entries)[-1].pos
        if n % 2:
            await log.synced(pos)
            say("synced", pos, writer, n)
        else:
            await trio.lowlevel.checkpoint()


async def main(path: Path, writers: int) -> None:
    with open_log(path) as log:
        log.subscribe(lambda pos: say("written", pos, log.size))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.run_committer)
            for writer in range(writers):
                nursery.start_soon(append_forever, log, writer)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
