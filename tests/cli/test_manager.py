"""`agentd manager`: that face alone, by the rules of its own document: contract manager.md, §1."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Place, StartDaemon

MANAGER_ID = "6F1DC0DE-0000-4000-8000-00000000ABCD"


@pytest.fixture
def required(tmp_path: Path) -> dict[str, str]:
    """Its required settings, as variables."""
    base = str(tmp_path / "trees" / "here")
    return {"LISTEN_ADDR": "127.0.0.1:0", "AUTH_TOKEN": "master-1", "POOL_SIZE": "2", "WORKTREE_BASE_DIR": base}


def test_it_starts_by_its_variables_and_prints_its_address(
    start: StartDaemon, required: dict[str, str], tmp_path: Path
) -> None:
    daemon = start("manager", **required, MANAGER_ID=MANAGER_ID)
    assert re.fullmatch(rf"agentd manager {MANAGER_ID.lower()} listening on http://127\.0\.0\.1:\d+\n", daemon.told)
    live = json.loads(daemon.ask("manager", "/health/live")[2])
    assert (live["managerId"], live["poolSize"], live["protocolVersion"]) == (MANAGER_ID.lower(), 2, 1)
    assert daemon.ask("manager", "/v1/sessions", token="master-1")[0] == 200
    assert (tmp_path / "trees" / "here").is_dir()
    assert "master-1" not in daemon.told + daemon.log()
    assert daemon.stop() == 0


def test_a_flag_beats_its_variable_and_a_blank_one_does_not(start: StartDaemon, required: dict[str, str]) -> None:
    daemon = start("manager", "--pool-size=7", "--auth-token", " ", **required)
    assert json.loads(daemon.ask("manager", "/health/live")[2])["poolSize"] == 7
    assert daemon.ask("manager", "/health/ready", token="master-1")[0] == 200


def test_times_that_are_none_and_an_old_name_are_only_warned_of(start: StartDaemon, required: dict[str, str]) -> None:
    odd = {"IDLE_TIMEOUT_SECONDS": "soon", "EVICTION_INTERVAL_SECONDS": "-1", "EXECUTOR_CLASSPATH": "/opt/x.jar"}
    log = start("manager", **required, **odd).log()
    assert "--idle-timeout-seconds (IDLE_TIMEOUT_SECONDS): soon is not a number above 0; 900 is used" in log
    assert "--eviction-interval-seconds (EVICTION_INTERVAL_SECONDS): -1 is not a number above 0; 60 is used" in log
    assert "EXECUTOR_CLASSPATH) belongs to another program; it is ignored" in log


def refused(place: Place, *flags: str, **env: str) -> str:
    done = place.run("manager", *flags, **env, AGENTD_DATA_DIR=str(place.root / "data"))
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    return line.removeprefix("agentd manager: ").removesuffix("; `agentd help manager` shows how it is used")


@pytest.mark.parametrize("missing", ["LISTEN_ADDR", "AUTH_TOKEN", "POOL_SIZE", "WORKTREE_BASE_DIR"])
def test_a_required_setting_that_is_missing_is_named_by_flag_and_variable(
    place: Place, required: dict[str, str], missing: str
) -> None:
    flag = missing.lower().replace("_", "-")
    said = f"--{flag} is required (or {missing} in the environment)"
    assert refused(place, **{**required, missing: " "}) == said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("POOL_SIZE", "0", "--pool-size (POOL_SIZE): 0 is not a whole number above 0"),
        ("POOL_SIZE", "1.5", "--pool-size (POOL_SIZE): 1.5 is not a whole number above 0"),
        ("LISTEN_ADDR", "::1:80", "--listen-addr (LISTEN_ADDR): ::1:80 is neither host:port nor unix:/path"),
        ("LISTEN_ADDR", "127.0.0.1:66000", "--listen-addr (LISTEN_ADDR): 127.0.0.1:66000 is neither host:port nor"),
        ("MANAGER_ID", "me", "--manager-id (MANAGER_ID): me is not a UUID"),
    ],
)
def test_a_setting_that_is_wrong_keeps_it_from_starting(
    place: Place, required: dict[str, str], name: str, value: str, said: str
) -> None:
    assert refused(place, **{**required, name: value}).startswith(said)


def test_an_unknown_flag_is_exit_code_1(place: Place, required: dict[str, str]) -> None:
    assert refused(place, "--workers=3", **required) == "unknown argument: --workers"


def test_a_worktree_base_that_cannot_be_made_is_named(place: Place, required: dict[str, str]) -> None:
    (place.root / "file").touch()
    base = str(place.root / "file" / "trees")
    assert base in refused(place, **{**required, "WORKTREE_BASE_DIR": base})


def test_two_managers_do_not_share_a_worktree_base(start: StartDaemon, place: Place, required: dict[str, str]) -> None:
    daemon = start("manager", **required)
    line = refused(place, "--data-dir", str(place.root / "other"), **required)
    assert f"in use by process {daemon.process.pid}" in line
    assert line.endswith("; end that one first, or name another with --worktree-base-dir")


def test_the_file_can_set_all_of_it(start: StartDaemon, place: Place, required: dict[str, str]) -> None:
    lines = {
        "listen": "LISTEN_ADDR",
        "auth_token": "AUTH_TOKEN",
        "pool_size": "POOL_SIZE",
        "worktree_base_dir": "WORKTREE_BASE_DIR",
    }
    text = "\n".join(f'{key} = "{required[name]}"' for key, name in lines.items())
    daemon = start("manager", **place.config(f"[manager]\n{text}\n"))
    assert daemon.ask("manager", "/health/ready", token="master-1")[0] == 200
