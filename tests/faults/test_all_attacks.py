"""All hostile commands at every level of the sandbox, and at none, as an ordinary user and as root. With AGENTD_FAULTS
alone, as it takes minutes; a few of them are tried in tests/sandbox/test_attacks.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentd.sandbox.policy import SandboxLevel
from tests.sandbox.attacking import USERS, attack, differences


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("level", SandboxLevel)
def test_what_attacks_get_is_what_the_table_says(level: SandboxLevel, user: str, require: Callable[[str], str]) -> None:
    if level is SandboxLevel.BWRAP:
        require("bwrap")
    assert differences(level, user, attack(level, user)) == []
