"""What tests of the store share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.domain import Entry
from agentd.store.log import SessionLog, open_log


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    """Of a log that does not exist yet."""
    return tmp_path / "log.ndjson"


@pytest.fixture
def filled(log_path: Path) -> Callable[[int], SessionLog]:
    """Make a log of so many records at `log_path`; it is closed already."""

    def fill(count: int) -> SessionLog:
        with open_log(log_path) as log:
            for n in range(1, count + 1):
                log.append([Entry("notice", {"n": n, "text": f"række {n}"}, job="job")])
        return log

    return fill


@pytest.fixture
def reboot(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on the machine seems to have been restarted."""
    boots = iter(range(1000))

    def reboot() -> None:
        boot = f"boot {next(boots)}"
        monkeypatch.setattr("agentd.store.generations.boot_id", lambda: boot)

    return reboot
