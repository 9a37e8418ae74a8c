"""`agentd config show`: every setting, and where it comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agentd.daemon.settings import POOL_SIZE, SERVE_OPTIONS

if TYPE_CHECKING:
    from tests.cli.conftest import Place

FILE = """
[serve]
allowed_hosts = ["a.example", "b.example"]
[manager]
pool_size = 5
idle_timeout_seconds = 60
auth_token = "s3cret-master"
[providers.work]
protocol = "openai"
base_url = "https://llm.example/v1"
api_key = "s3cret-key"
headers = { x-team = "s3cret-header" }
connect_seconds = 3
[models.coder]
id = "qwen3"
[aliases]
gpt-5 = "coder"
[roles]
code = "coder"
"""


def shown(place: Place, *flags: str, **env: str) -> dict[str, tuple[Any, str]]:
    """Value and origin by name."""
    done = place.run("config", "show", "--json", *flags, **env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "s3cret" not in done.stdout
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["name"]: (row["value"], row["origin"]) for row in rows}


def test_every_setting_of_serve_is_shown(place: Place) -> None:
    assert set(SERVE_OPTIONS) <= set(shown(place))


def test_defaults_are_those_of_serve(place: Place) -> None:
    found = shown(place)
    data = f"{place.root}/.local/state/agentd"
    assert found["listen"] == ("127.0.0.1:8787", "default")
    assert found["manager"] == ("127.0.0.1:8080", "default")
    assert found["pool-size"] == (str(POOL_SIZE), "default")
    assert found["data-dir"] == (data, "default")
    assert found["worktree-base-dir"] == (f"{data}/worktrees", "default")
    assert found["admin-token"] == (f"(made at the first start, in {data}/tokens/admin)", "default")
    assert found["config"] == (None, "default")


def test_what_is_set_is_shown_with_where_that_was(place: Place) -> None:
    env = {**place.config(FILE), "IDLE_TIMEOUT_SECONDS": "30", "HARNESS_DATA_DIR": "/old", "AUTH_TOKEN": "s3cret-2"}
    found, file = shown(place, **env), f"{place.root}/config.toml"
    assert found["pool-size"] == ("5", file)
    assert found["allowed-host"] == ("a.example, b.example", file)
    assert found["idle-timeout-seconds"] == ("30", "IDLE_TIMEOUT_SECONDS")
    assert found["data-dir"] == ("/old", "HARNESS_DATA_DIR")
    assert found["auth-token"] == ("(hidden)", "AUTH_TOKEN")
    assert found["config"] == (file, "AGENTD_CONFIG")
    assert shown(place, "--data-dir", "/new", **env)["data-dir"] == ("/new", "--data-dir")


def test_services_are_shown_without_their_secrets(place: Place) -> None:
    found, file = shown(place, **place.config(FILE), ANTHROPIC_API_KEY="s3cret-3"), f"{place.root}/config.toml"
    assert found["providers.work.base_url"] == ("https://llm.example/v1", file)
    assert found["providers.work.api_key"] == ("(hidden)", file)
    assert found["providers.work.headers"] == ("x-team: (hidden)", file)
    assert found["providers.work.connect_seconds"] == ("3.0", file)
    assert found["models.coder"] == ("work/qwen3", file)
    assert found["aliases.gpt-5"] == ("coder", file)
    assert found["roles.code"] == ("coder", file)
    assert found["providers.anthropic.api_key"] == ("(hidden)", "ANTHROPIC_API_KEY")
    assert found["providers.anthropic.base_url"] == ("https://api.anthropic.com", "default")


def test_what_holds_for_every_job_is_shown_without_keys(place: Place) -> None:
    text = """
[jobs]
sandbox = "require"
[[plugins]]
path = "/srv/review"
[[plugins]]
path = "/srv/other"
enabled = false
[mcp.servers.files]
command = "mcp-files"
args = ["--key", "s3cret-1"]
[mcp.servers.wiki]
url = "https://wiki.example/s3cret-2"
[mcp.servers.lost]
url = "${NOWHERE}"
"""
    found, file = shown(place, "--config", str(place.root / "config.toml"), **place.config(text)), "config.toml"
    assert found["sandbox"] == ("require", f"{place.root}/{file}")
    assert found["mcp-connect-timeout"] == ("5", "default")
    told = {name: value for name, (value, _) in found.items() if name.startswith(("plugins.", "mcp.servers."))}
    assert told == {
        "plugins.review": "/srv/review",
        "plugins.other": "/srv/other (not enabled)",
        "mcp.servers.files": "stdio mcp-files",
        "mcp.servers.wiki": "http (hidden)",
        "mcp.servers.lost": "Missing required environment variable: NOWHERE",
    }


def test_people_get_a_table_with_the_origin_if_they_ask(place: Place) -> None:
    plain = place.run("config", "show", POOL_SIZE="3").stdout
    rows = [line.split() for line in place.run("config", "show", "--origin", POOL_SIZE="3").stdout.splitlines()]
    assert ["pool-size", "3", "POOL_SIZE"] in rows
    assert ["pool-size", "3"] in [line.split() for line in plain.splitlines()]


def test_a_file_that_is_wrong_is_one_line(place: Place) -> None:
    done = place.run("config", "show", **place.config("[serve]\nlogformat = 'json'"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"agentd config: {place.root}/config.toml: serve.logformat: no such key; did you mean log_format?\n"
    )


@pytest.mark.parametrize("words", [[], ["hide"], ["show", "more"], ["show", "--all"]])
def test_there_is_only_show(place: Place, words: list[str]) -> None:
    done = place.run("config", *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
