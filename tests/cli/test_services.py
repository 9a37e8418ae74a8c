"""Commands that use a language model service: how they learn of it, and where its key does not get to."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from agentd.sandbox.reexec import own_argv
from tests.cli.conftest import ModelServer, Place

KEY = "sk-t0p-s3cret-0123456789"
BYPASS = ("--mode", "code", "--permission-mode", "bypassPermissions")


def work(server: ModelServer, more: str = "") -> str:
    return f'[providers.work]\nprotocol = "openai"\nbase_url = "{server.url}"\napi_key_env = "WORK_KEY"\n{more}'


# --- run ----------------------------------------------------------------------------------------------------------


def test_a_service_of_the_environment_does_the_work(place: Place, model_server: ModelServer) -> None:
    model_server.says("Hello from afar.")
    done = place.run("run", "Hi", OPENAI_BASE_URL=model_server.url, OPENAI_API_KEY=KEY)
    assert (done.returncode, done.stdout) == (0, "Hello from afar.\n"), done.stderr
    assert model_server.requests[0]["model"] == "small"
    assert set(model_server.keys) == {f"Bearer {KEY}"}


def test_a_service_of_the_configuration_file_does_the_work(place: Place, model_server: ModelServer) -> None:
    model_server.says("Hello from afar.")
    price = '[models.mine]\nid = "small"\nprice = { input = 10, output = 100 }\n[aliases]\ngpt-5 = "mine"'
    done = place.run("run", "--model", "gpt-5", "Hi", **place.config(work(model_server, price)), WORK_KEY=KEY)
    assert done.returncode == 0, done.stderr
    [usage] = place.records("usage")
    assert (usage["provider"], usage["model"], usage["cost"]) == ("work", "small", 0.011)
    assert usage["prefix_bytes"] == 0 < usage["request_bytes"]


def test_the_users_own_configuration_is_found(place: Place, model_server: ModelServer) -> None:
    own = place.root / ".config/agentd"
    own.mkdir(parents=True)
    (own / "config.toml").write_text(work(model_server))
    model_server.says("Hello.")
    assert place.run("run", "Hi", WORK_KEY=KEY).returncode == 0


def test_a_key_gets_neither_to_commands_nor_to_the_disk_nor_to_the_screen(
    place: Place, model_server: ModelServer
) -> None:
    model_server.calls("Bash", command="env; cat /proc/$PPID/cmdline; ps -eo args")
    model_server.calls("Read", file_path="../config.toml")
    model_server.says("Done.")
    config = place.config(work(model_server).replace('api_key_env = "WORK_KEY"', f'api_key = "{KEY}"'))
    done = place.run("run", *BYPASS, "Look around", **config, OPENAI_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    assert KEY not in json.dumps(model_server.requests)
    assert KEY not in done.stdout + done.stderr
    assert not [path for path in place.root.glob("data/**/*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_a_configuration_file_in_the_workspace_is_off_limits_to_file_tools(
    place: Place, model_server: ModelServer
) -> None:
    (place.root / "repo").mkdir()
    config = place.root / "repo/c.toml"
    config.write_text(work(model_server).replace('api_key_env = "WORK_KEY"', f'api_key = "{KEY}"'))
    model_server.calls("Read", file_path="c.toml")
    model_server.calls("Grep", pattern="api_key", output_mode="content")
    model_server.says("Done.")
    done = place.run("run", "--config", str(config), *BYPASS, "Look around")
    assert done.returncode == 0, done.stderr
    assert KEY not in json.dumps(model_server.requests)


def test_a_fallback_takes_over_and_the_person_is_told(place: Place, model_server: ModelServer) -> None:
    model_server.says("Hello.")
    config = place.config(work(model_server))
    done = place.run("run", "--model", "broke", "--fallback-model", "small", "Hi", **config, WORK_KEY=KEY)
    assert (done.returncode, done.stdout) == (0, "Hello.\n")
    assert "small serves the rest of this job" in done.stderr


def test_a_service_that_fails_has_an_exit_code_of_its_own(place: Place, model_server: ModelServer) -> None:
    config = place.config(work(model_server))
    assert place.run("run", "--model", "broke", "Hi", **config, WORK_KEY=KEY).returncode == 3


def test_a_key_that_is_not_set_is_told_with_its_name(place: Place, model_server: ModelServer) -> None:
    done = place.run("run", "--model", "work/small", "Hi", **place.config(work(model_server)))
    assert done.returncode == 3
    assert "WORK_KEY is not set" in done.stderr
    assert model_server.requests == []


def test_a_mistake_in_the_configuration_is_told_before_anything_is_started(place: Place) -> None:
    done = place.run("run", "Hi", **place.config("[provider.x]"))
    assert done.returncode == 2
    assert "config.toml: provider: no such key; did you mean providers?" in done.stderr
    assert not (place.root / "data").exists()


def test_a_configuration_file_that_is_named_has_to_be_there(place: Place) -> None:
    done = place.run("run", "--config", "/nowhere.toml", "Hi")
    assert (done.returncode, "/nowhere.toml: cannot be read" in done.stderr) == (2, True)


# --- executor -----------------------------------------------------------------------------------------------------


@contextmanager
def executor(place: Place, **env: str) -> Iterator[Callable[..., Any]]:
    """A standalone executor, as a function that makes a request and gives the answer's JSON."""
    (place.root / "repo").mkdir()
    process = subprocess.Popen(
        own_argv("executor", "--listen-addr", "127.0.0.1:0", "--workspace-dir", str(place.root / "repo")),
        env={"PATH": os.environ["PATH"], "HOME": str(place.root), "AUTH_TOKEN": "t0ken", **env},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        base = process.stdout.readline().rpartition(" ")[2].strip()

        def request(path: str, body: object = None) -> Any:
            headers = {"Authorization": "Bearer t0ken", "Idempotency-Key": "k", "Content-Type": "application/json"}
            data = None if body is None else json.dumps(body).encode()
            with urllib.request.urlopen(urllib.request.Request(base + path, data, headers), timeout=30) as answer:
                return json.load(answer)

        try:
            yield request
        finally:
            process.terminate()


def test_an_executor_uses_what_is_set_and_its_commands_do_not_see_it(place: Place, model_server: ModelServer) -> None:
    model_server.calls("Bash", command="env")
    model_server.says("Done.")
    config = place.config(work(model_server, '[roles]\ncode = "small"'))
    with executor(place, WORK_KEY=KEY, OPENAI_API_KEY=KEY, **config) as request:
        job = request("/v1/jobs", {"taskInput": "Look", "plannerModel": "small", "tags": {"mode": "CODE"}})["jobId"]
        status = request(f"/v1/jobs/{job}")
        while not status["terminal"]:
            status = request(f"/v1/jobs/{job}")
    assert (status["state"], status["result"]) == ("COMPLETED", "Done.")
    assert "PATH=" in json.dumps(model_server.requests[-1])
    assert KEY not in json.dumps(model_server.requests)


def test_an_executor_refuses_a_mistake_in_the_configuration(place: Place) -> None:
    (place.root / "repo").mkdir()
    config = place.config("[roles]\ncode = 1")
    done = place.run(
        "executor", "--listen-addr", "127.0.0.1:0", "--workspace-dir", str(place.root), AUTH_TOKEN="t", **config
    )
    assert (done.returncode, "roles.code: expected a text" in done.stderr) == (1, True)
