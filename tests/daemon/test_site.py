"""What is set for every job of a machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentd.cli import executor, run
from agentd.config import Option, read_settings
from agentd.daemon.plan import Plan
from agentd.daemon.settings import AGENT_OPTIONS, MANAGER_OPTIONS, SERVE_OPTIONS, executor_settings, load
from agentd.daemon.site import SITE, read_site
from agentd.domain import EVERY_HOST, McpServer, Plugin, Site
from agentd.errors import InvalidSetting
from agentd.store.home import SessionDir

OPTIONS = {"config": Option("AGENTD_CONFIG"), **SITE}
HOME = {"HOME": "/h", "XDG_CONFIG_HOME": "/nowhere"}
FILE = """
[jobs]
sandbox = "best-effort"
allow_plugin_hooks = true
mcp_connect_timeout = 2
[[plugins]]
path = "review"
[[plugins]]
name = "other"
path = "/srv/other"
enabled = false
[mcp.servers.wiki]
url = "https://wiki.example/mcp"
headers = { Authorization = "Bearer ${WIKI}" }
"""


def site(*argv: str, file: str = "", directory: Path = Path("/nowhere"), **env: str) -> Site:
    if file:
        (directory / "config.toml").write_text(file)
        env["AGENTD_CONFIG"] = str(directory / "config.toml")
    settings = read_settings(OPTIONS, argv, HOME | env)
    settings.read_file()
    return read_site(settings)


def test_nothing_has_to_be_set() -> None:
    assert site() == Site()


def test_the_file_has_all_of_it(tmp_path: Path) -> None:
    assert site(file=FILE, directory=tmp_path, WIKI="key") == Site(
        servers={"wiki": McpServer("http", url="https://wiki.example/mcp", headers={"Authorization": "Bearer key"})},
        connect_seconds=2.0,
        plugins=(Plugin("review", str(tmp_path / "review")), Plugin("other", "/srv/other", enabled=False)),
        plugin_hooks=True,
        sandbox="best-effort",
    )


def test_a_server_whose_key_is_not_there_is_one_that_is_not_tried(tmp_path: Path) -> None:
    found = site(file=FILE, directory=tmp_path).servers["wiki"]
    assert found.problem == "Missing required environment variable: WIKI"


def test_a_flag_beats_a_variable_and_that_the_file(tmp_path: Path) -> None:
    def sandbox(*argv: str, **env: str) -> str:
        return site(*argv, file=FILE, directory=tmp_path, **env).sandbox

    assert sandbox(AGENTD_SANDBOX="off") == "off"
    assert sandbox("--sandbox", "require", AGENTD_SANDBOX="off") == "require"


def test_plugins_that_are_named_come_beside_those_of_the_file(tmp_path: Path) -> None:
    found = site("--plugin", "/a", "--plugin=/new/other", file=FILE, directory=tmp_path, AGENTD_PLUGINS="/no")
    paths = [str(tmp_path / "review"), "/new/other", "/a"]
    assert [(plugin.path, plugin.enabled) for plugin in found.plugins] == [(path, True) for path in paths]
    assert [plugin.path for plugin in site(AGENTD_PLUGINS="/a:/b").plugins] == ["/a", "/b"]
    assert site("--plugin", "/with:colon").plugins == (Plugin("with:colon", "/with:colon"),)


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("[jobs]\nsandbox = 'on'", "jobs.sandbox: on is not off or best-effort or require"),
        ("[jobs]\nmcp_connect_timeout = 0", "jobs.mcp_connect_timeout: 0 is not a number above 0"),
        ("[jobs]\nallow_plugin_hooks = 'some'", "jobs.allow_plugin_hooks: some is neither true nor false"),
        ("[jobs]\nsandbocks = 'off'", "jobs.sandbocks: no such key; did you mean sandbox?"),
        ("[[plugins]]\nname = 'p'", r"plugins\[0\].path: is missing"),
        ("[[plugins]]\npath = '/p'\n[[plugins]]\npaht = '/q'", r"plugins\[1\].paht: no such key; did you mean path?"),
        ("plugins = ['/p']", "plugins: expected an array of tables"),
        ("[mcp.server.a]\nurl = 'http://a/'", "mcp.server: no such key; did you mean servers?"),
        ("[mcp.servers.a]\nargs = ['x']", "mcp.servers.a.command: a server has either a command or a url"),
    ],
)
def test_what_is_wrong_is_told_by_its_place(tmp_path: Path, file: str, problem: str) -> None:
    with pytest.raises(InvalidSetting, match=f"config.toml: {problem}"):
        site(file=file, directory=tmp_path)


@pytest.mark.parametrize("options", [SERVE_OPTIONS, AGENT_OPTIONS, MANAGER_OPTIONS])
def test_every_daemon_tells_its_executors(options: dict[str, Option]) -> None:
    settings = load(read_settings(options, ["--sandbox", "require", "--plugin", "/p"], HOME), HOME)
    found = executor_settings(settings, hooks=False).site
    assert found == Site(plugins=(Plugin("p", "/p"),), sandbox="require")
    assert Plan(site=found).hello(SessionDir(Path("/s")), 1).site == found


def test_verbs_that_are_executors_themselves_have_the_same_settings() -> None:
    for options in (executor.OPTIONS, run.OPTIONS, SERVE_OPTIONS):
        assert SITE.items() <= options.items()


def test_the_client_of_mcp_is_not_loaded_where_there_is_no_server() -> None:
    program = """import sys
from agentd.cli.serve import OPTIONS
from agentd.config import read_settings
from agentd.daemon.settings import executor_settings, load_serve
env = {"HOME": "/h", "XDG_CONFIG_HOME": "/nowhere"}
executor_settings(load_serve(read_settings(OPTIONS, [], env), env), hooks=True)
late = ("tools.mcp.config", "tools.mcp.servers", "workspace.extensions")
print([name for name in sys.modules if name.removeprefix("agentd.").startswith(late)])"""
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert told.stdout == "[]\n"


@pytest.mark.parametrize(
    ("said", "hosts"),
    [
        ("true", EVERY_HOST),
        ("false", ()),
        ("pypi.org, *.example.org:443", ("pypi.org", "*.example.org:443")),
    ],
)
def test_what_commands_reach_is_a_word_or_a_list(said: str, hosts: tuple[str, ...], tmp_path: Path) -> None:
    assert site("--sandbox-network", said).sandbox_hosts == hosts
    listed = said if said in ("true", "false") else str([each.strip() for each in said.split(",")])
    file = f"[jobs]\nsandbox_network = {listed}"
    assert site(file=file, directory=tmp_path).sandbox_hosts == hosts


def test_what_is_no_host_is_refused_by_name() -> None:
    with pytest.raises(InvalidSetting, match=r"--sandbox-network .*'\*' is no host"):
        site("--sandbox-network", "*")
