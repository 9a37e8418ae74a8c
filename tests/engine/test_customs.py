"""What a job finds on disk: read where it asks for it, and in the right place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentd.domain import JobState, Mode, Plugin, Record, SystemPrompt, ToolPolicy, ToolResult
from agentd.providers.scripted import call, reply
from tests.workshop import Workshop, notices, only

REVIEW = "---\ndescription: Reviews\nargument-hint: '[file]'\n---\nReview $1 with care."
PDF = "---\nname: pdf\ndescription: Reads PDF files.\n---\nUse pdftotext."
TESTER = "---\nname: tester\ndescription: Tests.\ntools: Read, Bash\n---\nYou are the tester."
BOTH = ("user", "project")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "user"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def claude(workshop: Workshop, home: Path) -> Path:
    """A project with one of each."""
    claude = workshop.workspace / ".claude"
    write(claude / "commands/review.md", REVIEW)
    write(claude / "skills/pdf/SKILL.md", PDF)
    write(claude / "agents/tester.md", TESTER)
    write(claude / "output-styles/pirate.md", "---\nname: pirate\ndescription: Arr.\n---\nTalk like a pirate.")
    write(workshop.workspace / "CLAUDE.md", "Use tabs.")
    return claude


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


async def query(workshop: Workshop, prompt: str = "do it", **fields: Any) -> tuple[Any, list[Record]]:
    if not workshop.model.left:
        workshop.says("Done.")
    return await workshop.do(prompt=prompt, mode=Mode.QUERY, **fields)


async def test_without_sources_commands_alone_are_known(workshop: Workshop, claude: Path) -> None:
    _, records = await query(workshop)
    [started] = only(records, "job.started")
    [command] = started["commands"]
    assert (command["name"], command["path"], command["source"]) == ("review", ".claude/commands/review.md", "project")
    assert (started["agents"], started["skills"], started["plugins"]) == (["general-purpose"], [], [])
    assert not {"Skill", "SlashCommand"} & set(started["tools"])
    assert "tabs" not in workshop.model.requests[0].system


async def test_with_its_source_everything_of_a_project_is_there(workshop: Workshop, claude: Path) -> None:
    _, records = await query(workshop, sources=("project",), output_style="pirate")
    [started] = only(records, "job.started")
    assert (started["agents"], started["skills"]) == (["general-purpose", "tester"], ["pdf"])
    assert {"Task", "Skill", "SlashCommand"} <= set(started["tools"])
    system = workshop.model.requests[0].system
    places = [
        system.index(text) for text in ("Use tabs.", "Platform:", "Talk like a pirate.", "- pdf: Reads PDF files.")
    ]
    assert places == sorted(places)


async def test_a_prompt_that_is_a_command_is_what_that_stands_for(workshop: Workshop, claude: Path) -> None:
    await query(workshop, "/review 'a b.py' now")
    assert workshop.model.requests[0].messages[0].text == "Review a b.py with care."


@pytest.mark.parametrize("prompt", ["/unknown thing", "/ review", "/etc/passwd, what is it?"])
async def test_what_is_no_command_reaches_the_model_as_it_is(workshop: Workshop, claude: Path, prompt: str) -> None:
    await query(workshop, prompt)
    assert workshop.model.requests[0].messages[0].text == prompt


async def test_a_model_reads_skills_and_commands(workshop: Workshop, claude: Path) -> None:
    calls = [
        call("Skill", skill="pdf", args="x.pdf"),
        call("Skill", command="nope"),
        call("SlashCommand", command="/review x"),
    ]
    workshop.says(reply(*calls), "Done.")
    await query(workshop, sources=("project",))
    results = workshop.model.requests[1].messages[-1].content
    told = [each.content[0].text for each in results if isinstance(each, ToolResult)]  # type: ignore[union-attr]
    assert told == [
        f"The skill pdf. Its files are in {claude}/skills/pdf\n\nUse pdftotext.\n\nIt is to be used on: x.pdf",
        "There is no skill 'nope'; there are: pdf",
        "Review x with care.",
    ]


async def test_a_restricted_query_has_the_skill_tool_where_it_names_it(workshop: Workshop, claude: Path) -> None:
    _, records = await query(workshop, sources=("project",), tools=ToolPolicy(allowed=("Read",)))
    assert only(records, "job.started")[0]["tools"] == ["Read"]
    assert "pdf" not in workshop.model.requests[0].system
    workshop.says("Done.")
    _, records = await query(workshop, tools=ToolPolicy(allowed=("Skill",)))
    assert only(records, "job.started")[-1]["tools"] == ["Skill"]


async def test_settings_of_sources_add_up_and_the_request_wins(workshop: Workshop, claude: Path, home: Path) -> None:
    settings = {"permissions": {"deny": ["Bash(rm:*)"]}, "env": {"WHO": "project", "ONLY": "project"}}
    write(claude / "settings.json", json.dumps(settings))
    write(home / ".claude/settings.json", json.dumps({"permissions": {"deny": ["Read"]}, "env": {"WHO": "user"}}))
    workshop.says(reply(call("Read", about="x"), call("Bash", command="rm -rf x")), "Done.")
    _, records = await query(workshop, sources=BOTH)
    assert [data["content"][0]["text"] for data in only(records, "tool.finished")] == [
        "Read was not executed: the rule Read denies it.",
        "Bash was not executed: the rule Bash(rm:*) denies it.",
    ]


async def test_a_settings_file_of_a_source_that_is_broken_is_told_and_the_job_goes_on(
    workshop: Workshop, claude: Path
) -> None:
    write(claude / "settings.json", "{")
    job, records = await query(workshop, sources=("project",))
    assert job.state is JobState.COMPLETED
    assert "SETTINGS" in notices(records)


async def test_a_style_that_is_not_there_is_told(workshop: Workshop, claude: Path) -> None:
    _, records = await query(workshop, sources=("project",), output_style="poet")
    assert "OUTPUT_STYLE" in notices(records)


async def test_memory_stands_behind_what_a_client_puts_in_the_place_of_the_prompt(
    workshop: Workshop, claude: Path
) -> None:
    await query(workshop, sources=("project",), system=SystemPrompt("You are a parrot.", "Repeat."))
    system = workshop.model.requests[0].system
    assert system.startswith("You are a parrot.\n\nRepeat.\n\nFrom ")
    assert "Use tabs." in system


async def test_a_plugin_brings_what_it_has(workshop: Workshop, home: Path) -> None:
    plugin = home / "plugin"
    write(plugin / "commands/ship.md", "Ship it.")
    write(plugin / "skills/pack/SKILL.md", PDF.replace("pdf", "pack"))
    plugins = (Plugin("tools", str(plugin)), Plugin("gone", str(home / "gone")), Plugin("off", "/x", enabled=False))
    _, records = await query(workshop, "/tools:ship", plugins=plugins)
    [started] = only(records, "job.started")
    assert started["plugins"] == ["tools"]
    assert [each["name"] for each in started["plugin_errors"]] == ["gone"]
    assert started["skills"] == ["pack"]
    assert workshop.model.requests[0].messages[0].text == "Ship it."
