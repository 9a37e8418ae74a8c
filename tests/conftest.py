"""What every test may use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest


@pytest.fixture
def require() -> Callable[[str], str]:
    """The path of a program that a test needs beyond Python and git. Where it is missing the test skips, naming it;
    with AGENTD_TEST_REQUIRE=all it fails, so that a machine that should have everything cannot pass by skipping."""

    def find(program: str) -> str:
        path = shutil.which(program)
        if path:
            return path
        if os.environ.get("AGENTD_TEST_REQUIRE") == "all":
            pytest.fail(f"needs {program}, which is not installed", pytrace=False)
        pytest.skip(f"needs {program}")

    return find
