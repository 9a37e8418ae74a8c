from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.cdp import Browser, open_browser
from tests.browser.served import Served


@pytest.fixture
def served(pyz: Path, tmp_path: Path) -> Iterator[Served]:
    daemon = Served(pyz, tmp_path)
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
async def browser(require: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Browser]:
    async with open_browser(require("chromium"), tmp_path / "profile") as opened:
        yield opened
