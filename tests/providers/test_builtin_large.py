"""The built-in model in a tree so large that counting every match would take long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentd.providers.builtin import questions

if TYPE_CHECKING:
    from tests.providers.conftest import Tell, World

QUESTION = "How does the scheduler decide which worker gets a new job, and what is the value of its limit?"


def many_files() -> dict[str, str]:
    files = {f"lib/part{number}.py": "value = 1  # of a new job\n" for number in range(questions.LARGE)}
    return files | {
        "lib/scheduler.py": "MAX_WORKERS = 4\n\n\ndef choose_worker(job):\n    ...  # the scheduler decides\n"
    }


@pytest.fixture
def shown_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake Glob tells all it found, where the real one tells a hundred and how many more there are."""
    monkeypatch.setattr(questions, "LARGE", 200)


@pytest.mark.usefixtures("shown_few")
async def test_a_large_tree_is_searched_a_few_times_for_files_and_not_for_every_match(
    tell: Tell, world: type[World]
) -> None:
    talk = await tell(QUESTION, world(many_files()))
    whole = [call.input for call in talk.calls if call.name == "Grep" and "path" not in call.input]
    assert 0 < len([each for each in whole if each["output_mode"] == "files_with_matches"]) <= questions.FEW
    assert [each for each in whole if each["output_mode"] == "count"] == []
    assert talk.answer.startswith("Look at lib/scheduler.py")


@pytest.mark.usefixtures("shown_few")
async def test_other_words_are_searched_for_where_no_file_has_those_of_the_question(
    tell: Tell, world: type[World]
) -> None:
    tools = world(many_files() | {"lib/remover.py": "def erase_folder(name): ...\n"})
    talk = await tell("How is a directory deleted?", tools)
    assert "lib/remover.py:1" in talk.answer
