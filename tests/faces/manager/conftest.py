"""What tests of the session manager share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.managerapi import Manager, open_fake_manager


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    async with open_fake_manager(tmp_path) as made:
        yield made
