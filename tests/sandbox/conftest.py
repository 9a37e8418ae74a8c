"""How commands are contained, for tests of each way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.sandbox.contain import Containment, Level, probe


@pytest.fixture
async def contained(request: pytest.FixtureRequest, require: Callable[[str], str]) -> Containment:
    """The containment of the level that the test is parametrized with."""
    level: Level = request.param
    if level is Level.BWRAP:
        require("bwrap")
    containment = await probe([level])
    assert containment.level is level
    return containment
