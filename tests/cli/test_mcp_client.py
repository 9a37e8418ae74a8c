"""`agentd mcp list` and `agentd mcp test`, as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import pytest

from agentd.cli import main
from agentd.sandbox.reexec import own_argv
from tests.cli.conftest import Place
from tests.tools.mcp import fake
from tests.witness import Witness

TOOL = fake.tool(
    "look",
    annotations={"readOnlyHint": True},
    inputSchema={
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "Where to look"},
            "kind": {"enum": ["file", "directory"]},
            "deep": {"type": ["boolean", "null"]},
        },
        "required": ["path"],
    },
)
SCRIPT = {
    "tools": [TOOL, fake.tool("do")],
    "prompts": [{"name": "review", "description": "Reviews.", "arguments": [{"name": "what", "required": True}]}],
    "resources": [{"uri": "file:///x", "name": "x", "mimeType": "text/plain"}],
}


def argv(script: Mapping[str, Any], *more: str) -> list[str]:
    return [sys.executable, "-S", fake.__file__, json.dumps(script), *more]


def toml(name: str, script: Mapping[str, Any], *more: str) -> str:
    command, *args = argv(script, *more)
    return f"[mcp.servers.{name}]\ncommand = {json.dumps(command)}\nargs = {json.dumps(args)}\n"


def mcp(place: Place, *words: str, **env: str) -> tuple[int, str, str]:
    done = place.run("mcp", *words, AGENTD_CONFIG=str(place.root / "config.toml"), **env)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def one(place: Place) -> Place:
    place.configure(toml("one", SCRIPT))
    return place


# --- list ---------------------------------------------------------------------------------------------------------


def test_servers_are_listed_with_what_became_of_them(place: Place) -> None:
    place.configure(
        toml("old", SCRIPT)
        + toml("new", {**SCRIPT, "era": "modern"})
        + toml("dead", {"on": {"initialize": [{"exit": 3}], "server/discover": [{"exit": 3}]}})
        + '[mcp.servers.key]\nurl = "http://127.0.0.1:1/"\nheaders = {A = "${MISSING}"}\n'
    )
    status, out, _ = mcp(place, "list")
    rows = [line.split() for line in out.splitlines()]
    file = str(place.root / "config.toml")
    assert rows[:5] == [
        ["NAME", "TRANSPORT", "STATUS", "MCP", "TOOLS", "FROM"],
        ["old", "stdio", "connected", "2025-11-25", "2", file],
        ["new", "stdio", "connected", "2026-07-28", "2", file],
        ["dead", "stdio", "failed", file],
        ["key", "http", "failed", file],
    ]
    assert "key: Missing required environment variable: MISSING" in out
    assert "dead: " in out
    assert status == 1


def test_a_list_in_which_all_is_well_is_0(one: Place) -> None:
    status, out, err = mcp(one, "list", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == {
        "name": "one",
        "type": "stdio",
        "status": "connected",
        "error": None,
        "tool_count": 2,
        "version": "2025-11-25",
        "from": str(one.root / "config.toml"),
    }


def test_files_of_others_are_read_where_that_is_asked_for(place: Place) -> None:
    project = place.root / "project"
    project.mkdir()
    command, *args = argv(SCRIPT)
    entry = {"command": command, "args": args}
    (project / ".mcp.json").write_text(json.dumps({"mcpServers": {"theirs": entry}}))
    (place.root / ".claude.json").write_text(json.dumps({"mcpServers": {"mine": entry}}))
    place.configure(toml("site", SCRIPT))
    found = {}
    for sources in ("", "project", "user", "project,user"):
        _, out, _ = mcp(
            place, "list", "--json", "--project", str(project), *(["--sources", sources] if sources else [])
        )
        found[sources] = {json.loads(line)["name"] for line in out.splitlines()}
    assert found == {
        "": {"site"},
        "project": {"site", "theirs"},
        "user": {"site", "mine"},
        "project,user": {"site", "mine", "theirs"},
    }


def test_of_files_of_others_only_what_is_wrong_with_servers_is_told(place: Place) -> None:
    project = place.root / "project"
    (project / ".claude/agents").mkdir(parents=True)
    (project / ".claude/agents/broken.md").write_text("no front matter")
    (project / ".mcp.json").write_text("{")
    place.configure(toml("site", SCRIPT))
    _, _, err = mcp(place, "list", "--project", str(project), "--sources", "project")
    assert [line.split(": ")[1] for line in err.splitlines()] == [str(project / ".mcp.json")]


def test_without_servers_it_is_told_how_to_set_some(place: Place) -> None:
    place.configure("")
    status, out, err = mcp(place, "list")
    assert (status, out) == (0, "")
    assert "agentd help mcp" in err


def test_a_server_that_is_slow_is_waited_for_as_long_as_is_said(place: Place) -> None:
    slow = {**SCRIPT, "on": {"tools/list": [{"sleep": 30}]}}
    place.configure(toml("slow", slow))
    status, out, _ = mcp(place, "list", "--timeout", "0.5")
    assert "slow: it was not there within 0.5 s" in out
    assert status == 1


# --- test ---------------------------------------------------------------------------------------------------------


def test_all_that_a_server_offers_is_shown(one: Place) -> None:
    status, out, _ = mcp(one, "test", "one")
    assert status == 0
    assert out.splitlines() == [
        "one: connected by stdio, MCP 2025-11-25",
        "  server        fake 1",
        "  capabilities  tools (listChanged), prompts (listChanged), resources (listChanged)",
        f"  set in        {one.root / 'config.toml'}",
        "  instructions  Be careful.",
        "",
        "Tools: 2",
        "  mcp__one__look (changes nothing)",
        "      Does look.",
        "      - path (string): Where to look",
        "      - kind (file | directory, optional)",
        "      - deep (boolean | null, optional)",
        "  mcp__one__do",
        "      Does do.",
        "",
        "Resources: 1",
        "  file:///x (text/plain): x",
        "",
        "Prompts: 1",
        "  one:review",
        "      Reviews.",
        "      - what",
    ]


def test_the_same_as_json(one: Place) -> None:
    status, out, _ = mcp(one, "test", "one", "--json")
    told = json.loads(out)
    assert status == 0
    assert told["server"] == {"name": "fake", "version": "1"}
    assert [(tool["name"], tool["own"], tool["class"]) for tool in told["tools"]] == [
        ("mcp__one__look", "look", "mcp_read"),
        ("mcp__one__do", "do", "mcp"),
    ]
    assert told["tools"][0]["input_schema"] == TOOL["inputSchema"]
    assert told["resources"] == SCRIPT["resources"]
    assert [prompt["name"] for prompt in told["prompts"]] == ["one:review"]


@pytest.mark.parametrize("name", ["look", "mcp__one__look"])
def test_a_call_prints_what_comes(one: Place, name: str) -> None:
    (one.root / "input.json").write_text('{"path": "größe"}')
    for text in ('{"path": "größe"}', f"@{one.root / 'input.json'}"):
        status, out, err = mcp(one, "test", "one", "--call", name, "--input", text)
        assert (status, json.loads(out), err) == (0, {"path": "größe"}, "")


def test_the_result_of_a_call_as_json(place: Place) -> None:
    image = {"type": "image", "mimeType": "image/png", "data": "iVBORw0KGgo="}
    answer = {"content": [{"type": "text", "text": "hi"}, image], "isError": True}
    place.configure(toml("one", {**SCRIPT, "on": {"tools/call": [{"answer": answer}]}}))
    status, out, _ = mcp(place, "test", "one", "--call", "do", "--json")
    told = json.loads(out)
    assert (status, told["tool"], told["is_error"]) == (1, "mcp__one__do", True)
    assert told["content"][0] == {"type": "text", "text": "hi"}


def test_a_call_that_fails_says_why(place: Place) -> None:
    place.configure(toml("one", {**SCRIPT, "on": {"tools/call": [{"exit": 3}]}}))
    status, out, err = mcp(place, "test", "one", "--call", "do")
    assert (status, out) == (1, "")
    assert "agentd mcp: MCP server one" in err


def test_nothing_that_a_server_says_moves_the_cursor(place: Place) -> None:
    evil = "\x1b[2J\x9b\u202eevil"
    script = {
        **SCRIPT,
        "tools": [fake.tool("look", description=evil, inputSchema={"properties": {evil: {"type": evil}}})],
        "resources": [{"uri": evil, "name": evil}],
        "on": {"tools/call": [{"answer": fake.text(evil)}]},
    }
    place.configure(toml("one", script))
    for words in ((), ("--call", "look")):
        _, out, err = mcp(place, "test", "one", *words)
        assert "evil" in out
        assert not {"\x1b", "\x9b", "\u202e"} & {*out, *err}


def test_a_server_that_cannot_be_had_is_1(place: Place) -> None:
    place.configure('[mcp.servers.one]\nurl = "http://127.0.0.1:1/secret?key=secret"\n')
    status, out, err = mcp(place, "test", "one")
    assert (status, out) == (1, "")
    assert "refused" in err
    assert "secret" not in err


def test_ctrl_c_ends_it_and_what_it_started(place: Place, witness: Witness) -> None:
    place.configure(toml("one", {**SCRIPT, "on": {"tools/list": [{"say": {}}, {"sleep": 60}]}}, witness.number))
    process = subprocess.Popen(
        own_argv("mcp", "test", "one", "--timeout", "60"),
        env={"PATH": os.environ["PATH"], "HOME": str(place.root), "AGENTD_CONFIG": str(place.root / "config.toml")},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert _appears(witness)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert witness.gone_within(10)


def _appears(witness: Witness) -> bool:
    end = time.monotonic() + 20
    while not witness.alive() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(witness.alive())


# --- The command line ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("list", "one"), "did you mean `agentd mcp test one`?"),
        (("list", "--call", "x"), "--call is for `agentd mcp test`"),
        (("test",), "needs the name of one server"),
        (("test", "one", "two"), "needs the name of one server"),
        (("test", "on"), "no server is called on; did you mean one?"),
        (("test", "zzz"), "no server is called zzz; there are: one"),
        (("test", "one", "--input", "{}"), "--call names the tool"),
        (("test", "one", "--call", "do", "--input", "[1]"), "expected a JSON object"),
        (("test", "one", "--call", "do", "--input", "{"), "is no JSON"),
        (("test", "one", "--call", "do", "--input", "@/nowhere"), "/nowhere: No such file"),
        (("test", "one", "--call", "nope"), "there is no tool nope; there are: look, do"),
        (("test", "one", "--timeout", "soon"), "--timeout: soon is not a number above 0"),
        (("list", "--project", "/nowhere"), "/nowhere is no directory"),
        (("list", "--sources", "all"), "all is neither project nor user"),
        (("list", "--nope"), "unknown argument: --nope"),
    ],
)
def test_a_command_line_that_is_wrong_is_2(one: Place, words: tuple[str, ...], said: str) -> None:
    status, out, err = mcp(one, *words)
    assert (status, out) == (2, "")
    assert said in err


def test_a_configuration_that_is_wrong_is_2(place: Place) -> None:
    place.configure('[mcp.servers.one]\ncomand = "x"\n')
    status, _, err = mcp(place, "list")
    assert status == 2
    assert "mcp.servers.one.comand: no such key; did you mean command?" in err


@pytest.mark.parametrize(("argv", "status"), [([], 2), (["--help"], 0), (["list", "--help"], 0), (["test", "-h"], 0)])
def test_the_page_teaches(argv: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mcp", *argv]) == status
    assert "[mcp.servers.wiki]" in capsys.readouterr().out


def test_another_command_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mcp", "lst"]) == 2
    assert "there are: list, test, serve" in capsys.readouterr().err
