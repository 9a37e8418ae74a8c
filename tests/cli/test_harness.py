"""Settings of the runs API: its variables, its JSON file, its tokens. The contract: runs-and-chat.md, 2 and 3."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agentd.daemon.harness import load_env_file, read_variables
from agentd.errors import InvalidSetting

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Daemon, ModelServer, Place, StartDaemon

ALONE = ("--listen", "127.0.0.1:0", "--manager", "off", "--agent", "off")
POLICY = {"require_tools": True, "require_vision": False, "max_cost_usd": 2, "preferred_models": ["a:b"]}


def shown(place: Place, *flags: str, **env: str) -> dict[str, tuple[Any, str]]:
    """Value and origin by name."""
    done = place.run("config", "show", "--json", *flags, **env)
    assert done.returncode == 0, done.stderr
    assert "s3cret" not in done.stdout
    return {row["name"]: (row["value"], row["origin"]) for row in map(json.loads, done.stdout.splitlines())}


def harness(place: Place, text: str) -> dict[str, str]:
    (place.root / "harness.json").write_text(text)
    return {"HARNESS_CONFIG": str(place.root / "harness.json")}


def ask(daemon: Daemon, path: str, token: str = "", method: str = "GET", body: Any = None, **fields: str) -> Any:
    raw = None if body is None else json.dumps(body).encode()
    status, headers, answer = daemon.ask("main", path, token=token, method=method, body=raw, **fields)
    return status, headers, json.loads(answer) if answer else None


# --- What is set --------------------------------------------------------------------------------------------------


def test_a_json_file_comes_behind_everything_else(place: Place) -> None:
    env = harness(place, '{"listen_addr": "127.0.0.1:1", "data_dir": "/d", "auth_token": "s3cret", "other": 1}')
    file = env["HARNESS_CONFIG"]
    found = shown(place, **env)
    assert found["listen"] == ("127.0.0.1:1", file)
    assert found["data-dir"] == ("/d", file)
    assert found["runs-token"] == ("(hidden)", file)
    assert shown(place, **env, HARNESS_LISTEN="127.0.0.1:2")["listen"] == ("127.0.0.1:2", "HARNESS_LISTEN")
    assert shown(place, "--data-dir", "/e", **env)["data-dir"] == ("/e", "--data-dir")
    ours = place.config('[serve]\nlisten = "127.0.0.1:3"\n')
    assert shown(place, **env, **ours)["listen"][0] == "127.0.0.1:3"


@pytest.mark.parametrize("text", ["{", "[]", '{"listen_addr": 5}'])
def test_a_json_file_that_cannot_be_read_is_no_error(place: Place, text: str) -> None:
    assert shown(place, **harness(place, text))["listen"] == ("127.0.0.1:8787", "default")


def test_the_policy_of_the_file_holds_until_one_is_set(start: StartDaemon, place: Place) -> None:
    env = harness(place, json.dumps({"model_policy": POLICY}))
    daemon = start("serve", *ALONE, **env)
    assert ask(daemon, "/v1/model-policy")[2] == POLICY
    _, _, changed = ask(daemon, "/v1/model-policy", method="POST", body={"max_cost_usd": None})
    assert daemon.stop() == 0
    assert ask(start("serve", *ALONE, **env), "/v1/model-policy")[2] == changed


def test_variables_of_a_file_count_where_they_are_not_set(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# mine\nexport A='a b'\nB=\"c\"\nC = d\n\nno line\n")
    env = {"C": "set"}
    load_env_file(["--runs", "on", "--env-file", str(tmp_path / ".env")], env)
    assert env == {"A": "a b", "B": "c", "C": "set"}
    assert dict(read_variables("A='b\nB=''")) == {"A": "'b", "B": ""}
    with pytest.raises(InvalidSetting, match="--env-file: "):
        load_env_file([f"--env-file={tmp_path / 'nothing'}"], env)


# --- Which model --------------------------------------------------------------------------------------------------


def test_a_service_is_listed_chosen_and_fallen_back_on(
    start: StartDaemon, model_server: ModelServer, tmp_path: Path
) -> None:
    env = {"OPENAI_BASE_URL": model_server.url, "OPENAI_API_KEY": "s3cret-key"}
    daemon = start("serve", *ALONE, **env)
    listed = ask(daemon, "/v1/models")[2]["models"]
    assert [each["id"] for each in listed] == ["builtin:builtin", "openai:broke", "openai:small"]
    model_server.says("# Goal\n\nDo it.")
    body = {"workspace_path": str(tmp_path), "spec_name": "a", "prompt": "Do it."}
    assert ask(daemon, "/v1/specs/generate", method="POST", body=body)[0] == 200
    assert [each["model"] for each in model_server.requests] == ["broke", "small"]
    ask(daemon, "/v1/model-policy", method="POST", body={"preferred_models": ["small"]})
    model_server.says("# Goal\n\nDo it again.")
    status, _, told = ask(daemon, "/v1/specs/generate", method="POST", body=body | {"overwrite": True})
    assert (status, told["content"]) == (200, "# Goal\n\nDo it again.\n")
    assert model_server.requests[-1]["model"] == "small"
    assert "s3cret" not in daemon.log() + daemon.told


def test_a_service_that_is_not_there_is_a_warning_and_no_model_fits(start: StartDaemon, tmp_path: Path) -> None:
    daemon = start("serve", *ALONE, OLLAMA_BASE_URL="http://127.0.0.1:1/v1")
    status, _, told = ask(daemon, "/v1/models")
    assert (status, [each["id"] for each in told["models"]]) == (200, ["builtin:builtin"])
    assert told["warnings"][0].startswith("ollama")
    body = {"workspace_path": str(tmp_path), "spec_name": "a", "prompt": "Do it."}
    status, _, told = ask(daemon, "/v1/specs/generate", method="POST", body=body)
    assert status == 500
    assert told["error"].startswith("router: no models match constraints; ollama")
    assert not (tmp_path / "specs").exists()


# --- Who may ask --------------------------------------------------------------------------------------------------


def test_without_a_token_it_is_open_on_this_machine_and_to_no_page_of_others(start: StartDaemon) -> None:
    daemon = start("serve", *ALONE)
    assert ask(daemon, "/v1/runs")[0] == 200
    assert ask(daemon, "/agentd/v1/sessions")[0] == 401
    assert ask(daemon, "/v1/runs", Origin="http://other.example")[0] == 403
    assert ask(daemon, "/v1/runs", Host="other.example")[0] == 403


def test_with_a_token_everything_needs_it_the_page_too(start: StartDaemon) -> None:
    daemon = start("serve", *ALONE, HARNESS_AUTH_TOKEN="the-token")
    for path in ("/v1/runs", "/v1/sessions", "/v1/models", "/healthz", "/hello", "/v1/nothing", "/"):
        assert [daemon.ask("main", path, token=token)[0] for token in ("", "wrong")] == [401, 401], path
    status, headers, told = ask(daemon, "/v1/runs")
    assert (status, told, headers["www-authenticate"]) == (401, {"error": "unauthorized"}, "Bearer")
    assert daemon.ask("main", "/", token="the-token")[0] == 200
    assert (
        ask(daemon, "/v1/runs", token="the-token")[0] == ask(daemon, "/v1/runs", token=daemon.token("admin"))[0] == 200
    )
    assert ask(daemon, "/v1/runs", authorization="bearer the-token")[0] == 200
    assert "the-token" not in daemon.told + daemon.log()


def test_its_token_sees_of_all_faces_what_runs_and_chats_made(start: StartDaemon, tmp_path: Path) -> None:
    daemon = start("serve", *ALONE, HARNESS_AUTH_TOKEN="the-token")
    body = {"workspace_path": str(tmp_path)}
    assert ask(daemon, "/v1/sessions", "the-token", "POST", body)[0] == 200
    assert [each["face"] for each in ask(daemon, "/agentd/v1/sessions", "the-token")[2]["items"]] == ["chat"]
    assert ask(daemon, "/agentd/v1/executors", "the-token")[0] == 403


def test_a_token_is_made_where_others_can_reach_it(start: StartDaemon, tmp_path: Path) -> None:
    daemon = start("serve", "--listen", "0.0.0.0:0", *ALONE[2:])
    assert (tmp_path / "data/tokens/runs").stat().st_mode & 0o777 == 0o600
    assert f"runs   {tmp_path}/data/tokens/runs" in daemon.told


def test_pages_that_are_let_in_are_told_so(start: StartDaemon) -> None:
    daemon = start("serve", *ALONE, HARNESS_CORS_ORIGINS="https://a.example, https://b.example")
    status, headers, _ = ask(daemon, "/v1/runs", Origin="https://b.example")
    assert (status, headers["access-control-allow-origin"]) == (200, "https://b.example")
    assert ask(daemon, "/v1/runs", Origin="https://c.example")[0] == 403
    preflight = {"Origin": "https://a.example", "Access_Control_Request_Method": "POST"}
    status, headers, _ = ask(daemon, "/v1/runs", method="OPTIONS", **preflight)
    assert (status, headers["access-control-allow-methods"]) == (204, "GET, POST, OPTIONS")


def test_where_it_is_off_nothing_of_it_is_there(start: StartDaemon) -> None:
    daemon = start("serve", *ALONE, "--runs", "off")
    assert ask(daemon, "/v1/runs")[0] == 404
    assert ask(daemon, "/v1/models")[0] == 404
    assert "runs" not in daemon.told
