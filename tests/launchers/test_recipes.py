"""The manual's page on other machines."""

from __future__ import annotations

import re

import pytest

from agentd.cli.executor import OPTIONS
from agentd.cli.help import page
from agentd.daemon.launchers import NAMES, Launcher
from agentd.daemon.settings import keys_of
from tests.launchers.recipes import TOPIC, recipe, recipes

ARGV = ["python3", "agentd.pyz", "executor", "--supervised"]
VALUES = {"session": "s", "session_dir": "/d/s", "epoch": "1"}  # what a launcher is always told


def test_there_is_a_recipe_for_each_system() -> None:
    assert list(recipes()) == ["slurm", "ssh", "podman", "kubernetes"]


@pytest.mark.parametrize("name", ["slurm", "ssh", "podman", "kubernetes"])
def test_a_recipe_is_a_template_that_needs_no_more_than_what_is_known(name: str) -> None:
    words = Launcher(recipe(name)).command(ARGV, VALUES)
    assert "executor --supervised" in " ".join(words)
    assert not re.findall(rf"\{{({'|'.join(NAMES)}|argv|cmd)\}}", " ".join(words))


@pytest.mark.parametrize("name", ["slurm", "ssh", "podman", "kubernetes"])
def test_a_recipe_says_what_was_tested(name: str) -> None:
    [section] = re.findall(rf"^# {name}\n(.*?)(?=^# |\Z)", page(TOPIC), re.MULTILINE | re.DOTALL)
    assert re.search(r"^Tested", section, re.MULTILINE)
    assert re.search(r"[Nn](ot|ever) tested", section)


def test_the_page_names_flags_and_keys_that_exist() -> None:
    told = set(re.findall(r"^--([a-z-]+) [A-Z]", page(TOPIC), re.MULTILINE))
    assert told == {"callback", "advertise"}
    assert told <= set(OPTIONS)
    assert "executor_command" in keys_of("manager")
