"""Go's scanner against samples, against its own ranges and signatures, and against text that is no Go at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agentd.workspace.symbols.golang import scan


def test_the_samples_are_read_as_a_compiler_would(check_answers: Callable[..., None]) -> None:
    check_answers("go", scan, least=0.99)
