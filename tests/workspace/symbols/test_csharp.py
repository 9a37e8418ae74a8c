"""C#: the answers of its samples."""

from __future__ import annotations

from collections.abc import Callable

from agentd.workspace.symbols.csharp import scan


def test_samples_are_answered_as_a_compiler_would(check_answers: Callable[..., None]) -> None:
    check_answers("csharp", scan, least=0.98)
