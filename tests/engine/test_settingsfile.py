"""Settings files: what is taken from them, and what keeps a run from starting."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from agentd.domain import Rules
from agentd.engine.settingsfile import InvalidSettings, SettingsFile, read_settings_file


def read(tmp_path: Path, content: Any) -> SettingsFile:
    path = tmp_path / "settings.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_settings_file(path)


def test_rules_environment_and_model_are_taken(tmp_path: Path) -> None:
    content = {
        "permissions": {"allow": ["Read"], "ask": ["Edit"], "deny": ["Bash(rm:*)"]},
        "env": {"A": "b", "N": 1, "B": True},
        "model": "opus",
        "theme": "dark",
    }
    rules = Rules(allow=("Read",), ask=("Edit",), deny=("Bash(rm:*)",))
    assert read(tmp_path, content) == SettingsFile(rules, {"A": "b", "N": "1", "B": "true"}, "opus")


def test_an_empty_object_says_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, {}) == SettingsFile()


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    found = read(tmp_path, {"permissions": {"defaultMode": "plan"}, "env": {"A": [], "B=": "x"}, "model": 7})
    assert found.problems == (
        "permissions.defaultMode is not used",
        "env.A is left out: it is no text",
        "env.B= is left out: it is no text",
        "model is left out: it is no text",
    )
    assert found.env == {}


UNUSABLE = {
    "empty": "",
    "cut": "{",
    "a list": "[]",
    "deep": "[" * 100_000,
    "large": " " * 2_000_000,
    "permissions": '{"permissions": []}',
    "no list": '{"permissions": {"deny": "Bash"}}',
    "no text": '{"permissions": {"deny": [1]}}',
    "null": '{"permissions": {"allow": null}}',
}


@pytest.mark.parametrize("content", UNUSABLE.values(), ids=UNUSABLE)
def test_a_file_whose_rules_cannot_be_read_is_refused(content: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings) as caught:
        read(tmp_path, content)
    assert caught.value.code == "AGENT_ERROR"
    assert "settings.json" in str(caught.value)


@pytest.mark.parametrize("name", ["absent.json", ".", "a\0b"])
def test_a_file_that_cannot_be_opened_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings):
        read_settings_file(tmp_path / name)


def test_what_is_no_regular_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), tmp_path):
        with pytest.raises(InvalidSettings, match=r"no regular file|Is a directory"):
            read_settings_file(path)
