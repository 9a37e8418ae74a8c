"""What the built-in model says without looking into the repository."""

from __future__ import annotations

import pytest

from agentd.providers.builtin.talk import small_talk


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("What is 2+2? Answer briefly.", "2+2 = 4."),
        ("what's 7 times 6", "7 times 6 = 42."),
        ("10 / 4 =", "10 / 4 = 2.5."),
        ("Calculate 3 - 5 x 2", "3 - 5 x 2 = -7."),
        ("What is 1/0?", "That has no value: it divides by zero."),
    ],
)
def test_sums_are_done(asked: str, said: str) -> None:
    assert small_talk(asked, []) == said


def test_what_was_to_be_remembered_is_remembered() -> None:
    before = ["Remember this number: 42"]
    assert small_talk(before[0], []) == "I will: 42. It stays in this conversation."
    assert small_talk("What number did I tell you to remember?", before) == "You told me to remember 42."
    assert small_talk("Multiply that number by 2", before) == "42 * 2 = 84."
    assert small_talk("Halve it.", before) == "42 / 2 = 21."
    assert small_talk("Add 3 to that number", before) == "42 + 3 = 45."


def test_what_was_not_said_is_not_made_up() -> None:
    assert small_talk("What did I tell you?", []) == "This is the first thing that you say in this conversation."
    assert small_talk("What did I ask?", ["Where is main?"]) == (
        'You told me nothing to remember. The last thing you said before this is: "Where is main?"'
    )
    assert small_talk("Multiply that number by 2", ["Hello"]) == "No number was named in this conversation before."


@pytest.mark.parametrize(
    "task",
    [
        "What is the capital of France? Answer in one word.",
        "Replace 'x = 2+2' with 'x = 4' in a.py",
        "Multiply that number by 2 in config.py",
        "Remember to update the README when you change the flag",
        "What does the function did_i_tell do?",
        "Which tests did I break in tests/test_a.py, and what do they need?\nLook at the last commit.",
        "2024-01-02",
        "9" * 30 + " + 1",
        "((((",
        "",
    ],
)
def test_what_is_about_the_repository_is_left_to_others(task: str) -> None:
    assert small_talk(task, ["Remember this number: 42"]) is None
