"""`agentd models`: what there is, what it costs, and what can be reached."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.conftest import ModelServer, Place


def listed(place: Place, *words: str, **env: str) -> tuple[int, list[dict[str, Any]]]:
    done = place.run("models", "--json", *words, **env)
    assert done.stderr == ""
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_without_a_service_there_is_the_built_in_model_for_every_role(place: Place) -> None:
    code, [builtin] = listed(place)
    assert (code, builtin["name"], builtin["roles"]) == (0, "builtin", ["planner", "code", "scan"])


def test_models_are_listed_with_their_service_size_price_and_roles(place: Place) -> None:
    text = """
[providers.work]
protocol = "openai"
base_url = "http://127.0.0.1:1"
[models.coder]
id = "qwen"
context_tokens = 1000
price = { input = 1, output = 2 }
[aliases]
gpt-5 = "coder"
[roles]
fallback = "coder"
scan = "builtin"
"""
    code, [coder, builtin, alias, service] = listed(place, **place.config(text))
    assert code == 0
    assert coder == {
        "name": "coder",
        "provider": "work",
        "alias_of": None,
        "context_tokens": 1000,
        "vision": None,
        "usd_per_million_tokens": {"input": 1.0, "output": 2.0, "cached": None, "written": None},
        "roles": ["planner", "code", "fallback"],
        "note": "",
    }
    assert (builtin["roles"], alias["alias_of"], service["state"]) == (["scan"], "coder", "not asked")


def test_a_check_lists_what_services_have_and_says_which_cannot_be_reached(
    place: Place, model_server: ModelServer
) -> None:
    code, lines = listed(
        place, "--check", OPENAI_BASE_URL=model_server.url, OPENAI_API_KEY="k", OLLAMA_BASE_URL="http://127.0.0.1:1"
    )
    assert [each["name"] for each in lines if "name" in each] == ["small", "broke", "builtin"]
    assert lines[0]["roles"] == ["planner", "code", "scan"]
    openai, ollama = (each for each in lines if "service" in each)
    assert (openai["state"], openai["models"], openai["problem"]) == ("works", 2, "")
    assert (ollama["state"], "refused" in ollama["problem"].lower()) == ("fails", True)
    assert code == 1
    assert model_server.keys == ["Bearer k"]


def test_a_service_without_its_key_says_which_variable_is_missing(place: Place) -> None:
    done = place.run("models", "--check", **place.config("[providers.openai]"))
    assert "OPENAI_API_KEY is not set" in done.stdout
    assert done.returncode == 1


def test_a_table_is_for_people(place: Place) -> None:
    done = place.run("models", "--model-alias", "x=builtin")
    assert done.stdout.splitlines()[:3] == [
        "MODEL    SERVICE  CONTEXT  USD PER MILLION     ROLES",
        "builtin  builtin           free                planner code scan",
        "x                          stands for builtin",
    ]


def test_a_mistake_in_the_configuration_is_told(place: Place) -> None:
    done = place.run("models", **place.config("[roles]\ncode = 1"))
    assert (done.returncode, "roles.code: expected a text" in done.stderr) == (2, True)
