"""What can be set of a daemon, and what is made of it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from agentd.config import Settings, read_settings
from agentd.daemon.settings import (
    AGENT_OPTIONS,
    FILE_TABLES,
    MANAGER_OPTIONS,
    SERVE_OPTIONS,
    Address,
    address,
    agent_keys,
    agent_workspace,
    executor_settings,
    hosts,
    keys_of,
    load_serve,
    manager_settings,
    refuse_open,
    seconds,
    seconds_or_off,
    worktree_base,
)
from agentd.errors import InvalidSetting
from agentd.wire.urlpolicy import UrlPolicy


def serve(*argv: str, **env: str) -> Settings:
    home = {"HOME": "/h", "XDG_CONFIG_HOME": "/nowhere"}
    return load_serve(read_settings(SERVE_OPTIONS, argv, home | env), home | env)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:8080", Address("::1", 8080)),
        ("unix:/run/agentd.sock", Address(path=Path("/run/agentd.sock"))),
    ],
)
def test_an_address_is_a_host_and_a_port_or_a_socket(text: str, found: Address) -> None:
    assert address(serve("--listen", text), "listen") == found


@pytest.mark.parametrize("text", ["here", ":80", "a:b", "::1:80", "[::1]", "a:-1", "a:70000", "a:٣", "unix:x", "a:"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match="is neither host:port nor unix:/path"):
        address(serve("--manager", text), "manager")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "[::1]", "localhost", "LOCALHOST", "a.localhost"])
def test_a_loopback_address_needs_no_token(host: str) -> None:
    assert refuse_open(serve("--listen", f"{host}:80"), "listen", "")


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.168.0.1", "agents.example", "*", "localhost.example"])
def test_an_address_that_others_can_reach_is_refused_without_a_token(host: str) -> None:
    settings = serve("--listen", f"{host}:80")
    with pytest.raises(InvalidSetting, match=r"^--listen \(HARNESS_LISTEN\): .* can be reached by others, which needs"):
        refuse_open(settings, "listen", "")
    assert refuse_open(settings, "listen", "token").port == 80


def test_a_unix_socket_is_for_this_machine() -> None:
    assert not Address(path=Path("/run/x")).is_open_to_others


def test_fractions_of_a_second_are_taken() -> None:
    assert seconds(serve("--idle-timeout-seconds", "0.2"), "idle-timeout-seconds") == 0.2


@pytest.mark.parametrize("text", ["soon", "0", "-5", "nan", "inf"])
def test_a_time_that_is_none_is_warned_of_and_left_at_its_default(text: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert seconds(serve("--idle-timeout-seconds", text), "idle-timeout-seconds") == 900
    assert f"{text} is not a number above 0; 900 is used" in caplog.text


def test_worktrees_are_in_the_data_directory_unless_they_are_said_to_be_elsewhere() -> None:
    assert worktree_base(serve("--data-dir", "/d")) == Path("/d/worktrees")
    assert manager_settings(serve("--data-dir", "/d")).worktree_base == Path("/d/worktrees")
    assert worktree_base(serve(WORKTREE_BASE_DIR="/w")) == Path("/w")
    assert worktree_base(Settings(MANAGER_OPTIONS, {"AGENTD_DATA_DIR": "/d"})) == Path("/d/worktrees")


def test_aliases_go_to_every_executor() -> None:
    found = executor_settings(serve("--model-alias", "a=b", MODEL_ALIASES="c=d,e=f"), hooks=False)
    assert found.words == ("--model-alias", "c=d,e=f,a=b")
    assert executor_settings(serve(), hooks=False).words == ()


@pytest.mark.parametrize(
    ("text", "command", "template"),
    [
        ("/opt/agentd 'a b' executor", ("/opt/agentd", "a b", "executor"), ""),
        ("srun -n1 {argv}", (), "srun -n1 {argv}"),
        ("ssh host {cmd}", (), "ssh host {cmd}"),
        ("", (), ""),
    ],
)
def test_an_executor_command_is_a_program_or_what_starts_one(
    text: str, command: tuple[str, ...], template: str
) -> None:
    found = executor_settings(serve("--executor-command", text), hooks=False)
    assert (found.command, found.template) == (command, template)


def test_an_executor_command_that_no_shell_could_read_is_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"--executor-command \(EXECUTOR_COMMAND\): No closing quotation"):
        executor_settings(serve("--executor-command", "a 'b"), hooks=False)


def test_names_of_this_server_may_be_repeated_or_listed() -> None:
    assert hosts(serve("--allowed-host", "a, b", "--allowed-host=c")) == ["a", "b", "c"]


def test_all_verbs_mean_the_same_by_the_same_key_and_variable() -> None:
    for options in (MANAGER_OPTIONS, AGENT_OPTIONS):
        for name in options.keys() & SERVE_OPTIONS.keys():
            assert options[name] == SERVE_OPTIONS[name]
        assert {option.key for option in options.values()} <= {option.key for option in SERVE_OPTIONS.values()}
    assert MANAGER_OPTIONS["listen-addr"].variable == SERVE_OPTIONS["manager"].variable == "LISTEN_ADDR"


def test_no_key_of_the_file_is_there_twice() -> None:
    for table in FILE_TABLES:
        assert len(keys_of(table)) == len(set(keys_of(table))) > 0


@pytest.mark.parametrize(("text", "limit"), [("off", None), ("0", None), ("2.5", 2.5)])
def test_a_time_that_may_be_off_is_a_number_or_none(text: str, limit: float | None) -> None:
    assert seconds_or_off(serve("--request-timeout", text), "request-timeout") == limit


def test_a_time_that_is_neither_is_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"--request-timeout \(AGENTD_REQUEST_TIMEOUT\): soon is neither"):
        seconds_or_off(serve("--request-timeout", "soon"), "request-timeout")


def test_api_keys_may_be_several_and_are_words_that_a_client_can_send() -> None:
    assert agent_keys(serve("--agent-key", "a", "--agent-key=b", API_KEY="c")) == ["a", "b"]
    assert agent_keys(serve(API_KEY="c")) == ["c"]
    assert agent_keys(serve()) == []
    with pytest.raises(InvalidSetting, match=r"^--agent-key \(API_KEY\): a key is one word of ASCII$"):
        agent_keys(serve(API_KEY="two words"))


def test_hooks_are_held_to_the_policy_and_signed_where_there_is_a_face_for_them() -> None:
    settings = serve("--url-policy", "strict", "--hook-secret", "s")
    assert executor_settings(settings, hooks=True).url_policy is UrlPolicy.STRICT
    assert executor_settings(settings, hooks=True).hook_secret == "s"
    with pytest.raises(InvalidSetting, match=r"^--url-policy \(AGENTD_URL_POLICY\): open is not local or strict$"):
        executor_settings(serve("--url-policy", "open"), hooks=True)


def test_queries_work_in_the_current_directory_unless_another_is_set(tmp_path: Path) -> None:
    assert agent_workspace(serve()) == Path.cwd()
    assert agent_workspace(serve("--agent-workspace", str(tmp_path))) == tmp_path
    with pytest.raises(InvalidSetting, match=r"^--agent-workspace .*: /nothing is no directory$"):
        agent_workspace(serve("--agent-workspace", "/nothing"))
