from __future__ import annotations

from collections.abc import Callable

from agentd.workspace.symbols.cfamily import scan


def test_c_definitions_are_those_of_the_answer_file(check_answers: Callable[..., None]) -> None:
    check_answers("c", scan)


def test_cpp_definitions_are_those_of_the_answer_file(check_answers: Callable[..., None]) -> None:
    check_answers("cpp", scan)
