"""`agentd doctor`: every line that is not good says what to do."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from agentd.cli import doctor
from agentd.cli.doctor import (
    Finding,
    additions,
    certificates,
    clock,
    configuration,
    line,
    port,
    program,
    proxies,
    storage,
)
from tests.cli.conftest import ModelServer, Place


def test_a_machine_that_has_what_is_needed_is_told_so_line_by_line(place: Place) -> None:
    done = place.run("doctor", "--json")
    findings = [json.loads(text) for text in done.stdout.splitlines()]
    names = [finding["name"] for finding in findings]
    assert names[:4] == ["python", "sqlite", "ssl", "git"]
    assert {"rg", "containment", "sandbox", "certificates", "proxy", "data", "clock", "config", "models"} <= set(names)
    assert all(finding["remedy"] for finding in findings if finding["state"] != "good")
    assert done.returncode == (1 if any(finding["state"] == "bad" for finding in findings) else 0)


def test_nothing_is_left_behind(place: Place) -> None:
    place.run("doctor")
    assert [path.name for path in place.root.iterdir()] == ["repo"]


def test_a_line_has_its_mark_and_its_remedy() -> None:
    assert line(Finding("git", "bad", "not found", "install git")) == "✗ git          not found  → install git"


def test_a_program_that_is_not_there_or_does_not_work_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\necho broken >&2; exit 3\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    assert program("git", "bad", "install git").text == f"{tmp_path}/git does not work: broken"
    assert program("no-such-program", "poor", "get it") == Finding(
        "no-such-program", "poor", "not found in PATH", "get it"
    )


def test_a_data_directory_that_cannot_be_written_is_bad(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert storage(tmp_path / "file/data").state == "bad"
    assert storage(tmp_path / "data").state == "good"


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        doctor.PORTS[number] = "a test"
        try:
            assert (port(number).state, port(number).text) == ("poor", "cannot be used: Address already in use")
        finally:
            del doctor.PORTS[number]


def test_authorities_that_cannot_be_read_are_told() -> None:
    assert certificates({}).state == "good"
    assert certificates({"SSL_CERT_FILE": "/nowhere"}).state == "poor"


def test_a_proxy_is_told_without_its_password_and_a_broken_one_as_bad() -> None:
    assert proxies({}).text.startswith("none")
    assert proxies({"https_proxy": "http://me:s3cret@proxy:3128"}).text == "https: the proxy proxy:3128"
    broken = proxies({"https_proxy": "ftp://me:s3cret@proxy"})
    assert (broken.state, "s3cret" in broken.text) == ("bad", False)


def test_a_clock_that_was_never_set_is_bad() -> None:
    assert clock(0.0).state == "bad"
    assert clock(1.8e9).text == "2027-01-15 08:00:00 UTC"


def test_a_configuration_file_with_keys_is_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[providers.openai]\napi_key = "k"')
    file.chmod(0o644)
    assert (configuration(file).state, configuration(file).remedy) == ("poor", f"chmod 600 {file}")
    file.chmod(0o600)
    assert configuration(file).state == "good"


@pytest.mark.parametrize(
    ("server", "state"),
    [
        ('env = { KEY = "k" }', "poor"),
        ('env = { KEY = "${KEY}" }', "good"),
        ('args = ["a"]', "good"),
    ],
)
def test_keys_of_mcp_servers_are_for_the_owner_only(tmp_path: Path, server: str, state: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(f'[mcp.servers.a]\ncommand = "a"\n{server}')
    file.chmod(0o644)
    assert configuration(file).state == state


def test_plugins_and_mcp_servers_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    servers = '[mcp.servers.a]\ncommand = "a"\n[mcp.servers.b]\nurl = "${NOWHERE}"\n'
    file.write_text(f'{servers}[[plugins]]\npath = "gone"\n[[plugins]]\npath = "off"\nenabled = false')
    told = [(each.name, each.state, each.text.partition(";")[0]) for each in additions(str(file), {})]
    assert told == [
        ("plugin", "poor", f"gone: {tmp_path}/gone is no directory"),
        ("mcp", "poor", "b: Missing required environment variable: NOWHERE"),
        ("mcp", "good", "a"),
    ]


@pytest.mark.parametrize("text", ["[provider.x]", "[jobs]\nsandbox = 'perhaps'", "[[plugins]]\nname = 'x'"])
def test_a_configuration_file_with_any_mistake_is_bad(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    assert configuration(tmp_path / "c.toml").state == "bad"
    assert list(additions(str(tmp_path / "c.toml"), {})) == []


def test_a_configuration_file_with_a_mistake_is_bad(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[provider.x]")
    assert configuration(file).state == "bad"
    assert "did you mean providers?" in configuration(file).text


def test_a_service_that_answers_is_good_and_one_that_does_not_is_bad(place: Place, model_server: ModelServer) -> None:
    done = place.run("doctor", OPENAI_BASE_URL=model_server.url, OLLAMA_BASE_URL="http://127.0.0.1:1")
    assert f"✓ openai       {model_server.url}: works, lists 2 models" in done.stdout
    assert "✗ ollama       http://127.0.0.1:1: could not be reached" in done.stdout
    assert done.returncode == 1
