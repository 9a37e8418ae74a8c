"""kill -9 of a process that appends, at random moments. AGENTD_FAULTS=N for another number of times than 20."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

from agentd.store.log import LogReader, open_log

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("AGENTD_FAULTS", "20"))
KILLS_PER_LOG = 10
LONGEST_LIFE_SECONDS = 0.05  # after the first word


def run_until_killed(log_path: Path, life_seconds: float) -> list[list[str]]:
    """Let a process append; what it had said when it was killed, whole lines only."""
    command = [sys.executable, "-m", "tests.store.appender", str(log_path), "4"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        timer = threading.Timer(life_seconds, process.kill)
        timer.start()
        rest = process.stdout.read()
        timer.join()
    return [line.split() for line in (first + rest).decode().splitlines()]


def check(log_path: Path, said: list[list[str]], acknowledged: dict[int, tuple[int, int]]) -> None:
    """*acknowledged*: by position, the writer that was told and the number that it had given its record."""
    with LogReader(log_path) as reader:  # as a neighbour sees it, before anybody opens it to write
        seen = list(reader.records())
    with open_log(log_path) as log:
        records = list(log.records())
        assert log.generation == 1
        assert not any(repair.quarantined for repair in log.repairs)
    assert records == seen
    assert [record.pos for record in records] == list(range(1, len(records) + 1))
    assert len(records) >= max(int(words[1]) for words in said if words[0] == "written")
    found = {pos: (records[pos - 1].data["writer"], records[pos - 1].data["n"]) for pos in acknowledged}
    assert found == acknowledged


def test_nothing_that_was_announced_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    moments = random.Random(KILLS)
    for session in range(0, KILLS, KILLS_PER_LOG):
        log_path = tmp_path / f"{session}.ndjson"
        acknowledged: dict[int, tuple[int, int]] = {}
        for _ in range(min(KILLS_PER_LOG, KILLS - session)):
            said = run_until_killed(log_path, moments.uniform(0, LONGEST_LIFE_SECONDS))
            acknowledged |= {int(words[1]): (int(words[2]), int(words[3])) for words in said if words[0] == "synced"}
            check(log_path, said, acknowledged)
