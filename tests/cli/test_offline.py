"""--offline, as processes: what is configured does its work, and nothing else is contacted."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.cli.conftest import ModelServer, Place, StartDaemon

BYPASS = ("--mode", "code", "--permission-mode", "bypassPermissions")
ELSEWHERE = "http://192.0.2.7/"  # RFC 5737
CONFIG = """
[serve]
offline = true
reachable = ["hooks.example:8443"]
[providers.far]
protocol = "openai"
base_url = "https://models.example/v1"
api_key = "x"
[mcp.servers.wiki]
url = "https://wiki.example:444/mcp"
[mcp.servers.files]
command = "/opt/files-server"
"""


def results(place: Place) -> list[str]:
    return ["".join(block["text"] for block in data["content"]) for data in place.records("tool.finished")]


def test_a_job_has_its_model_and_reaches_nothing_else(place: Place, model_server: ModelServer) -> None:
    model_server.calls("WebFetch", url=ELSEWHERE, prompt="x")
    connect = "import socket; socket.create_connection(('192.0.2.7', 80), 3)"
    model_server.calls("Bash", command=f'{sys.executable} -c "{connect}"; cat /proc/net/dev')
    model_server.says("Done.")
    env = {"OPENAI_BASE_URL": model_server.url, "OPENAI_API_KEY": "x"}
    done = place.run("run", "--offline", *BYPASS, "Look around", **env)
    assert (done.returncode, done.stdout.strip()) == (0, "Done."), done.stderr
    page, said = results(place)
    assert "refused: offline; 192.0.2.7:80 is neither loopback nor configured" in page
    interfaces = [line.split(":")[0].strip() for line in said.splitlines() if line.count(":") == 1 and "lo:" in line]
    assert "Network is unreachable" in said or "No command can be run" in said
    assert interfaces == ["lo"] or "No command can be run" in said


def test_a_service_that_is_configured_is_tried_by_its_proxy(place: Place) -> None:
    env = {"OPENAI_BASE_URL": "http://192.0.2.7/v1", "OPENAI_API_KEY": "x"}
    done = place.run(
        "run", "--offline", "--timeout", "2", "--model", "openai/m", "Hi", http_proxy="http://127.0.0.1:9", **env
    )
    assert done.returncode != 0
    assert "refused: offline" not in done.stderr  # it is configured: that nobody is there is another matter
    assert "127.0.0.1:9" in done.stderr


def test_a_daemon_and_its_executors_are_offline_and_count_what_they_refuse(
    start: StartDaemon, place: Place, model_server: ModelServer
) -> None:
    model_server.calls("WebFetch", url=ELSEWHERE, prompt="x")
    model_server.says("Done.")
    flags = ("--offline", "--listen", "127.0.0.1:0", "--manager", "off", "--agent", "127.0.0.1:0")
    daemon = start("serve", *flags, OPENAI_BASE_URL=model_server.url, OPENAI_API_KEY="x")
    asked: dict[str, Any] = {"prompt": "Look", "cwd": str(place.root), "permission_mode": "bypassPermissions"}
    body = json.dumps(asked | {"model": "openai/small"}).encode()
    fields = {"Content_Type": "application/json"}
    status, _, answer = daemon.ask(
        "agent", "/api/v1/query", token=daemon.token("agent"), method="POST", body=body, **fields
    )
    assert status == 200, answer
    assert b"refused: offline; 192.0.2.7:80" in answer
    page = daemon.ask("main", "/metrics", token=daemon.token("admin"))[2].decode()
    assert "# TYPE agentd_egress_refused_total counter" in page


def test_what_cannot_be_an_endpoint_is_refused_before_anything_starts(place: Place) -> None:
    done = place.run("run", "--offline", "--reachable", "hooks.example", "Hi")
    assert (done.returncode, "is not host:port" in done.stderr) == (2, True)


# --- doctor --egress ----------------------------------------------------------------------------------------------


@pytest.fixture
def told(place: Place) -> dict[str, list[str]]:
    """By name, with a proxy for what is not of the example."""
    env = place.config(CONFIG) | {"https_proxy": "http://proxy.example:3128", "no_proxy": "wiki.example"}
    done = place.run("doctor", "--egress", "--json", **env)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        finding = json.loads(line)
        found.setdefault(finding["name"], []).append(finding["text"])
    return found


def test_doctor_lists_what_is_configured_and_why(told: dict[str, list[str]]) -> None:
    assert told["offline"] == ["on: what is refused is not contacted"]
    assert told["models"] == ["models.example:443, language models of the service far: --offline leaves it"]
    assert told["proxy"][0].startswith("proxy.example:3128, the proxy that https_proxy names")
    assert told["reachable"] == ["hooks.example:8443, named by --reachable: --offline leaves it"]
    assert told["mcp"][0] == "wiki.example:444, the MCP server wiki: --offline leaves it"
    assert told["mcp"][1].startswith("files runs files-server, which reaches what it likes")


def test_doctor_lists_what_jobs_may_bring_and_who_knows_names(told: dict[str, list[str]]) -> None:
    assert {"dns", "commands", "hooks", "images", "web pages", "else"} <= told.keys()
    assert told["dns"][0].endswith(
        "for the addresses of hooks.example, models.example, proxy.example, wiki.example: --offline leaves these"
    )


def test_a_fresh_machine_contacts_nothing_by_itself(place: Place) -> None:
    lines = place.run("doctor", "--egress").stdout
    assert "off" in lines
    assert not any(word in lines for word in ("models", "proxy", "dns", "reachable:"))
