"""Sandboxed jobs: what their commands and file tools reach, and what is refused rather than run free."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer
from typing import Any

import pytest

from agentd.domain import (
    EVERY_HOST,
    ChatMessage,
    ChatPart,
    ChatSpec,
    McpServer,
    Mode,
    PermissionMode,
    Record,
    Sandbox,
    Site,
    ToolPolicy,
)
from agentd.providers.scripted import call, reply
from agentd.sandbox import levels
from agentd.sandbox.contain import Containment, probe
from agentd.tools.registry import built_in
from tests.workshop import Workshop, only

BYPASS = ToolPolicy(permission_mode=PermissionMode.BYPASS)


@pytest.fixture
async def sandboxed(
    workshop: Workshop, require: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Workshop:
    require("bwrap")
    monkeypatch.setenv("HOME", str(tmp_path))  # what somebody has in their profile may say something
    workshop.tools, workshop.confine = built_in(), await probe()
    return workshop


async def query(workshop: Workshop, *calls: Any, mode: Mode = Mode.QUERY, **fields: Any) -> list[Record]:
    workshop.says(reply(*calls), "Done.")
    _, records = await workshop.do(mode=mode, tools=BYPASS, **fields)
    return records


def told(records: list[Record]) -> list[str]:
    return [data["content"][0]["text"] for data in only(records, "tool.finished")]


def bash(command: str) -> Any:
    return call("Bash", command=command)


async def test_a_job_without_a_sandbox_says_so(workshop: Workshop) -> None:
    records = await query(workshop, call("Read"))
    assert only(records, "job.started")[0]["sandbox"] == "off"


async def test_commands_write_in_the_workspace_alone(sandboxed: Workshop, tmp_path: Path) -> None:
    records = await query(
        sandboxed, bash(f"echo x > in; echo x > {tmp_path}/out; echo x > /usr/share/out"), sandbox=Sandbox()
    )
    assert only(records, "job.started")[0]["sandbox"] == "bwrap"
    assert (sandboxed.workspace / "in").exists()
    assert not (tmp_path / "out").exists()
    assert "Read-only file system" in told(records)[0]


async def test_file_tools_reach_the_workspace_and_what_is_allowed(sandboxed: Workshop, tmp_path: Path) -> None:
    for name in ("allowed", "added", "other"):
        (tmp_path / name).mkdir()
    (sandboxed.workspace / "link").symlink_to(tmp_path / "other")
    places = ["allowed", "added", "other"]
    writes = [call("Write", file_path=str(tmp_path / place / "f"), content="x") for place in places]
    sandbox = Sandbox(paths=(str(tmp_path / "allowed"), str(tmp_path / "nowhere")))
    more = [call("Write", file_path="link/f", content="x"), call("Read", file_path="/etc/hostname")]
    records = await query(sandboxed, *writes, *more, sandbox=sandbox, directories=(str(tmp_path / "added"),))
    oks = [data["ok"] for data in only(records, "tool.finished")]
    assert oks == [True, True, False, False, False]
    assert f"only files in it or {tmp_path}/added or {tmp_path}/allowed can be reached" in told(records)[2]


@pytest.mark.parametrize(("network", "there"), [(False, False), (True, True)])
async def test_without_network_there_is_no_tool_that_fetches(sandboxed: Workshop, network: bool, there: bool) -> None:
    records = await query(sandboxed, bash("true"), sandbox=Sandbox(network=network))
    assert ("WebFetch" in only(records, "job.started")[0]["tools"]) is there


async def test_a_subagent_is_in_the_same_sandbox(sandboxed: Workshop, tmp_path: Path) -> None:
    task = call("Task", description="d", prompt="p", subagent_type="general-purpose")
    sandboxed.says(reply(task), reply(bash(f"touch {tmp_path}/out")), "ok", "Done.")
    await sandboxed.do(mode=Mode.QUERY, tools=BYPASS, sandbox=Sandbox())
    assert not (tmp_path / "out").exists()


@pytest.fixture
def without_means(sandboxed: Workshop, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """On a machine on which no sandbox works."""

    async def none(containment: Containment) -> levels.Means:
        return levels.Means(levels.SandboxLevel.NONE)

    monkeypatch.setattr(levels, "find_means", none)
    return sandboxed


@pytest.mark.parametrize(
    ("site", "asked", "runs"),
    [
        ("off", Sandbox(), False),
        ("require", None, False),
        ("best-effort", None, True),
        ("require", Sandbox(False), False),
        ("best-effort", Sandbox(False), True),
    ],
)
async def test_where_no_sandbox_works_commands_are_refused_unless_it_was_a_wish(
    without_means: Workshop, site: Any, asked: Sandbox | None, runs: bool
) -> None:
    without_means.site = Site(sandbox=site)
    records = await query(without_means, bash("echo ran"), sandbox=asked)
    assert (told(records)[0] == "ran") is runs
    assert only(records, "job.started")[0]["sandbox"] == ("off" if site == "best-effort" and asked else "none")


async def test_the_site_confines_jobs_that_do_not_say(sandboxed: Workshop, tmp_path: Path) -> None:
    sandboxed.site = Site(sandbox="require")
    records = await query(sandboxed, bash(f"touch {tmp_path}/out"), mode=Mode.CODE)
    assert only(records, "job.started")[0]["sandbox"] == "bwrap"
    assert not (tmp_path / "out").exists()


async def test_offline_a_command_has_a_loopback_of_its_own(sandboxed: Workshop) -> None:
    sandboxed.site = Site(offline=True)
    for sandbox in (None, Sandbox(network=True)):
        records = await query(sandboxed, bash("cut -d: -f1 /proc/net/dev | tail -n +3"), sandbox=sandbox)
        assert told(records)[0].split() == ["lo"]


async def test_offline_without_namespaces_no_command_runs(sandboxed: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(_: Containment) -> None:
        return None

    monkeypatch.setattr(levels, "offline", none)
    sandboxed.site = Site(offline=True)
    assert "agentd is offline" in told(await query(sandboxed, bash("echo ran")))[0]


async def test_commands_of_a_chat_and_of_a_run_have_both_their_streams_in_a_sandbox(sandboxed: Workshop) -> None:
    sandboxed.site = Site(sandbox="require")
    chat = ChatSpec("turn_1", (ChatMessage("m", "user", (ChatPart("text", "go"),)),))
    records = await query(sandboxed, call("shell", command="echo out; echo err >&2"), mode=Mode.CHAT, chat=chat)
    said = json.loads(told(records)[0])
    assert (said["stdout"], said["stderr"]) == ("out\n", "err\n")


async def test_nothing_of_a_job_starts_where_no_sandbox_works(without_means: Workshop, tmp_path: Path) -> None:
    """Not the servers, and not the commands of a chat."""
    server = McpServer(command="touch", args=(str(tmp_path / "started"),))
    records = await query(without_means, bash("echo ran"), sandbox=Sandbox(), servers={"demo": server})
    assert only(records, "job.started")[0]["mcp_servers"][0]["status"] == "failed"
    chat = ChatSpec("turn_1", (ChatMessage("m", "user", (ChatPart("text", "go"),)),))
    touch = call("shell", command=f"touch {tmp_path}/started")
    records = await query(without_means, touch, mode=Mode.CHAT, chat=chat, sandbox=Sandbox())
    assert "have to be in a sandbox" in told(records)[0]
    assert not (tmp_path / "started").exists()


async def test_temporary_files_last_as_long_as_the_job(sandboxed: Workshop) -> None:
    records = await query(sandboxed, bash("echo x > /tmp/f"), bash("cat /tmp/f; echo $TMPDIR"), sandbox=Sandbox())
    assert told(records)[1].split() == ["x", "/tmp"]
    assert not [path for path in sandboxed.home.root.rglob("*") if path.name.startswith(".tmp-")]


async def test_commands_reach_the_hosts_that_are_allowed_and_no_others(
    sandboxed: Workshop, require: Callable[[str], str]
) -> None:
    require("curl")
    with TCPServer(("127.0.0.1", 0), BaseRequestHandler) as server:
        port = server.server_address[1]
        curl = (
            f"curl -s -m 5 -o /dev/null -w '%{{http_connect}} %{{errormsg}}' --noproxy '' -p http://localhost:{port}/"
        )
        sandbox = Sandbox(network=True, hosts=(f"localhost:{port}",))
        other = curl.replace("localhost", "example.org")
        records = await query(sandboxed, bash(curl), bash(other), sandbox=sandbox)
    assert [text.split()[0] for text in told(records)] == ["200", "403"]
    assert "WebFetch" not in only(records, "job.started")[0]["tools"]
    refused = [data["text"] for data in only(records, "notice") if data["code"] == "NETWORK_REFUSED"]
    assert refused == [
        f"this sandbox does not let commands reach example.org:{port}: network_access allows localhost:{port}"
    ]


@pytest.mark.parametrize(("hosts", "reached"), [((), False), (EVERY_HOST, True), (("localhost",), True)])
async def test_the_site_says_what_commands_reach_where_jobs_do_not(
    sandboxed: Workshop, require: Callable[[str], str], hosts: tuple[str, ...], reached: bool
) -> None:
    require("curl")
    with TCPServer(("127.0.0.1", 0), BaseRequestHandler) as server:
        port = server.server_address[1]
        named = tuple(host if host == "*" else f"{host}:{port}" for host in hosts)
        sandboxed.site = Site(sandbox="require", sandbox_hosts=named)
        curl = f"curl -s -m 2 --noproxy '' -p http://localhost:{port}/; echo $?"
        records = await query(sandboxed, bash(curl), mode=Mode.CODE)
    assert (told(records)[0] == "28") is reached  # it was there, and said nothing


async def test_remote_servers_are_those_of_the_hosts_that_are_allowed(sandboxed: Workshop) -> None:
    servers = {
        name: McpServer("http", url=f"http://{name}:9/mcp", connect_seconds=0.2) for name in ("localhost", "127.0.0.2")
    }
    errors = {}
    for sandbox in (Sandbox(), Sandbox(network=True, hosts=("localhost:9",)), None):
        sandboxed.site = Site(sandbox="require")
        records = await query(sandboxed, bash("true"), sandbox=sandbox, servers=servers)
        listed = only(records, "job.started")[-1]["mcp_servers"]
        errors[sandbox and sandbox.hosts] = {each["name"]: each["error"] for each in listed}
    assert set(errors[()].values()) == {"network disabled by sandbox"}
    assert "none of the hosts" in errors["localhost:9",]["127.0.0.2"]
    assert "none of the hosts" not in errors["localhost:9",]["localhost"]
    assert "sandbox" not in errors[None]["localhost"]  # the site's is for commands
