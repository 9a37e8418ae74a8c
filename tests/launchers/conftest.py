"""What the tests of launchers share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.store.home import Home
from tests.launchers.site import Site


@pytest.fixture
def site(pyz: Path) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="agd", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        one = Site(Path(scratch), pyz, Home(Path(scratch, "home")))
        one.workspace.mkdir()
        yield one
