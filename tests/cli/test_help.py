"""`agentd help`: the manual."""

from __future__ import annotations

import re
import tomllib

import pytest

from agentd.cli import VERBS, import_verb, main, run
from agentd.cli.help import TOPICS, page, plain
from agentd.config import Settings, Table
from agentd.daemon.site import KEYS, PLUGIN_KEYS, SITE, read_site
from agentd.domain import PermissionMode, ToolClass
from agentd.engine.permissions import Verdict
from agentd.providers.settings import MODEL_KEYS, OPTION_KINDS, PROVIDER_KEYS, SECONDS_KEYS, TLS_KEYS, read_catalog
from agentd.tools.mcp.config import KEYS as MCP_KEYS
from agentd.tools.registry import built_in
from tests.permitting import decide

PAGES = (*(verb for verb in VERBS if verb != "help"), *TOPICS)


@pytest.mark.parametrize("argv", [["help"], ["--help"], ["-h"], ["help", "help"]], ids=" ".join)
def test_help_lists_every_verb_and_topic(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    listed = re.findall(r"^  (\S+)  ", capsys.readouterr().out, re.MULTILINE)
    assert listed == [*VERBS, *TOPICS]


@pytest.mark.parametrize("topic", PAGES)
def test_every_verb_and_topic_has_a_page(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", topic]) == 0
    assert capsys.readouterr().out.strip()


def test_an_unknown_topic_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "xyzzy"]) == 2
    assert "there are: run, serve, manager" in capsys.readouterr().err


@pytest.mark.parametrize("topic", PAGES)
def test_a_page_names_only_pages_that_exist(topic: str) -> None:
    assert set(re.findall(r"`agentd help ([a-z-]+)`", page(topic))) <= set(PAGES)


@pytest.mark.parametrize("topic", PAGES)
def test_a_page_fits_a_wide_terminal(topic: str) -> None:
    assert max(map(len, plain(page(topic)).splitlines())) <= 130


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "help"])
def test_the_page_of_a_verb_lists_its_flags_and_no_others(verb: str) -> None:
    options = import_verb(verb).OPTIONS
    listed = re.findall(r"^--([a-z-]+)", page(verb), re.MULTILINE)
    assert sorted(listed) == sorted(set(options) - {"help"})


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "help"])
def test_the_page_of_a_verb_names_its_variables(verb: str) -> None:
    variables = {option.variable for option in import_verb(verb).OPTIONS.values()} - {None}
    assert not {variable for variable in variables if variable not in page(verb)}


VERDICTS = {"runs": Verdict.RUN, "asks": Verdict.ASK, "refused": Verdict.REFUSE}


def test_the_page_on_permissions_says_what_is_decided() -> None:
    classes = {tool.name: tool.tool_class for tool in built_in()}
    rows = re.findall(r"^(\w+) +(.*?)((?: +(?:runs|asks|refused)){4})$", page("permissions"), re.MULTILINE)
    said = [(name, ToolClass(kind), verdicts.split()) for kind, names, verdicts in rows for name in names.split()]
    assert {name: kind for name, kind, _ in said if name != "mcp__*"} == classes
    assert {kind for name, kind, _ in said if name == "mcp__*"} == {ToolClass.MCP, ToolClass.MCP_READ}
    for name, kind, verdicts in said:
        for mode, verdict in zip(PermissionMode, verdicts, strict=True):
            assert decide(kind, mode, name=name).verdict is VERDICTS[verdict], (name, mode)


def test_the_page_on_exit_codes_has_them_all() -> None:
    codes = {run.DONE, run.FAILED, run.USAGE_ERROR, run.NO_MODEL, run.REFUSED, run.LIMIT, run.CANCELLED}
    assert {int(code) for code in re.findall(r"^(\d+) ", page("exit-codes"), re.MULTILINE)} == codes


def test_the_page_of_the_configuration_file_names_every_key() -> None:
    keys = {
        *PROVIDER_KEYS,
        *MODEL_KEYS,
        *TLS_KEYS,
        *SECONDS_KEYS,
        "calls",
        "salvage",
        *(key for each in OPTION_KINDS.values() for key in each),
    }
    assert not {key for key in keys if not re.search(rf"\b{key}\b", page("config"))}


def test_the_configuration_file_that_the_manual_shows_is_a_valid_one() -> None:
    [shown] = [text for text in page("config").split("```") if "[providers.work]" in text and "[roles]" in text]
    catalog = read_catalog(Table(tomllib.loads(shown), "shown"), {"ANTHROPIC_API_KEY": "k"})
    assert [provider.name for provider in catalog.providers] == ["work", "anthropic"]


def test_what_the_manual_shows_of_jobs_is_valid_and_has_every_key() -> None:
    [shown] = [text for text in page("config").split("```") if "[jobs]" in text]
    settings = Settings(SITE, {"FILES_KEY": "k", "WIKI_KEY": "k"})
    settings.file = Table(tomllib.loads(shown), "/etc/agentd.toml")
    found = read_site(settings)
    assert [plugin.name for plugin in found.plugins] == ["review"]
    assert [server.problem for server in found.servers.values()] == ["", ""]
    keys = {*KEYS, *PLUGIN_KEYS, *MCP_KEYS}
    assert not {key for key in keys if not re.search(rf"\b{key}\b", page("config"))}


def test_code_is_indented_and_a_heading_is_bare() -> None:
    assert plain("# Title\n\ntext\n```\n# code\n\n```\n", "<", ">") == "<Title>\n\ntext\n    # code\n\n"
