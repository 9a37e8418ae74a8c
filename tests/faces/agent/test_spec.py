"""What job a query is, and what of it a later query of the same session inherits: the contract, 5, 9.4 and 9.5."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.domain import (
    Agent,
    Hook,
    ImagePart,
    JobSpec,
    Limits,
    McpServer,
    Mode,
    Models,
    OutputFormat,
    PermissionMode,
    Plugin,
    Sandbox,
    SystemPrompt,
)
from agentd.faces.agent.models import ModelNames
from agentd.faces.agent.requests import Query, follow_up, query
from agentd.faces.agent.spec import to_spec
from agentd.faces.agent.terms import Terms
from agentd.store.secrets import conceal, reveal
from agentd.wire.messages import to_json
from agentd.wire.typed import decode

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150)
TERMS = Terms(Path("/tmp"), ModelNames(("sonnet", "opus")), question_seconds=60.0, turns=20)
SETTINGS: dict[str, Any] = {
    "allowed_tools": ["Read"],
    "disallowed_tools": ["Bash"],
    "permission_mode": "acceptEdits",
    "permission_prompt_tool_name": "mcp__ask__me",
    "model": "opus",
    "fallback_model": "sonnet",
    "max_thinking_tokens": 100,
    "cwd": "/",
    "add_dirs": ["tmp", "/var"],
    "env": {"A": "1"},
    "system_prompt": "Be a pirate.",
    "system_prompt_append": "Be brief.",
    "output_style": "terse",
    "settings": "etc/settings.json",
    "setting_sources": ["user"],
    "agents": {"r": {"description": "d", "prompt": "p", "tools": ["Read"], "model": "haiku"}},
    "mcp_servers": {"db": {"type": "http", "url": "http://localhost/", "headers": {"K": "secret"}}},
    "plugins": [{"name": "p", "path": "/p", "enabled": True}],
    "hooks": {"Stop": {"url": "http://localhost/stop", "timeout": 9, "headers": {"K": "secret"}}},
    "enable_file_checkpointing": True,
    "output_format": {"type": "json"},
    "sandbox": {"enabled": True, "allowed_paths": ["/a"], "network_access": False},
    "user": "me",
}
ONCE: dict[str, Any] = {
    "images": [{"media_type": "image/png", "data": b64encode(b"png").decode()}],
    "max_turns": 3,
    "max_budget_usd": 0.5,
    "include_partial_messages": True,
    "extra_args": {"a": None},
}
CLEARED: dict[str, Any] = {
    **{name: [] for name in ("allowed_tools", "disallowed_tools", "add_dirs", "setting_sources", "plugins")},
    **{name: {} for name in ("env", "agents", "mcp_servers", "hooks")},
}


def asked(**fields: Any) -> Query:
    return follow_up(json.dumps({"prompt": "x", **fields}).encode(), TERMS)


def spec(**fields: Any) -> JobSpec:
    return to_spec(asked(**fields), TERMS)


def test_a_prompt_alone_is_a_query_with_the_defaults() -> None:
    made = spec()
    assert (made.mode, made.prompt, made.models) == (Mode.QUERY, "x", Models(planner="sonnet"))
    assert made.tools.permission_mode is PermissionMode.DEFAULT
    assert made.tools.ask_seconds == 60
    assert made.limits == Limits(turns=20)
    assert (made.servers, made.agents, made.plugins, made.sources, made.sandbox) == (None, {}, (), (), None)
    said = {"model": "sonnet", "cwd": "/tmp", "partials": False, "single": False}
    assert {name: value for name, value in made.face.items() if value is not None} == said


def test_every_setting_is_in_the_job() -> None:
    made = spec(**SETTINGS, **ONCE)
    assert made.models == Models(planner="opus", fallback="sonnet")
    assert (made.tools.allowed, made.tools.disallowed) == (("Read",), ("Bash",))
    assert made.tools.permission_mode is PermissionMode.ACCEPT_EDITS
    assert made.limits == Limits(turns=3, usd=0.5)
    assert made.images == (ImagePart("image/png", sha256=sha256(b"png").hexdigest()),)
    assert made.system == SystemPrompt("Be a pirate.", "Be brief.")
    assert (made.env, made.directories, made.settings) == ({"A": "1"}, ("/tmp", "/var"), "/etc/settings.json")
    assert made.hooks == {"Stop": Hook("http://localhost/stop", 9, {"K": "secret"})}
    assert made.output == OutputFormat("json")
    assert (made.checkpoints, made.thinking_tokens, made.user) == (True, 100, "me")
    assert (made.face["cwd"], made.face["partials"]) == ("/", True)
    assert made.servers == {"db": McpServer("http", url="http://localhost/", headers={"K": "secret"})}
    assert made.agents == {"r": Agent("d", "p", ("Read",), "haiku")}
    assert made.plugins == (Plugin("p", "/p"),)
    assert (made.sources, made.output_style) == (("user",), "terse")
    assert made.sandbox == Sandbox(paths=("/a",))
    assert made.tools.prompt_tool == "mcp__ask__me"


def test_a_server_is_a_program_with_words_that_are_taken_as_they_are() -> None:
    server = {"command": "npx", "args": ["-y", "${HOME}"], "env": {"TOKEN": "${TOKEN:-x}"}}
    made = spec(mcp_servers={"files": server})
    assert made.servers == {
        "files": McpServer(command="npx", args=("-y", "${HOME}"), env={"TOKEN": "${TOKEN:-x}"}),
    }


@pytest.mark.parametrize(
    ("asked_for", "model"),
    [("opus", "opus"), ("haiku", "haiku"), ("sonnet", "sonnet"), ("inherit", None), (None, None)],
)
def test_the_model_of_a_subagent_is_known_by_what_the_registry_has(asked_for: str | None, model: str | None) -> None:
    made = spec(agents={"a": {"description": "d", "prompt": "p", "model": asked_for}})
    assert made.agents["a"].model == model


def test_a_subagent_has_the_default_model_where_that_family_is_not_configured() -> None:
    terms = Terms(Path("/tmp"), ModelNames(("builtin",)))
    agents = {"a": {"description": "d", "prompt": "p", "model": "sonnet"}}
    made = to_spec(follow_up(json.dumps({"prompt": "x", "agents": agents}).encode(), terms), terms)
    assert made.agents["a"].model is None


@pytest.mark.parametrize(
    ("access", "sandbox"),
    [
        (True, Sandbox(network=True)),
        (False, Sandbox()),
        ([], Sandbox()),
        (["pypi.org", "*.example:443"], Sandbox(network=True, hosts=("pypi.org", "*.example:443"))),
    ],
)
def test_the_network_is_there_wholly_or_for_some_hosts(access: Any, sandbox: Sandbox) -> None:
    assert spec(sandbox={"network_access": access}).sandbox == sandbox


def test_paths_of_plugins_and_of_the_sandbox_are_below_the_cwd() -> None:
    made = spec(cwd="/var", plugins=[{"name": "p", "path": "tools"}], sandbox={"allowed_paths": ["cache", "/srv"]})
    assert made.plugins == (Plugin("p", "/var/tools"),)
    assert made.sandbox == Sandbox(paths=("/var/cache", "/srv"))


def test_an_image_by_url_is_left_for_the_job_to_fetch() -> None:
    image = {"type": "url", "media_type": "image/gif", "data": "http://localhost/a.gif"}
    assert spec(images=[image]).images == (ImagePart("image/gif", url="http://localhost/a.gif"),)
    assert asked(images=[image]).blobs == []


def test_nobody_can_be_asked_in_a_single_query() -> None:
    made = to_spec(asked(), TERMS, single=True)
    assert made.tools.ask_seconds == 0
    assert made.face["single"] is True
    assert to_spec(asked(), TERMS, made).tools.ask_seconds == 60


def test_nothing_but_a_prompt_goes_on_as_before() -> None:
    before = spec(**SETTINGS)
    assert to_spec(asked(), TERMS, before) == before


def test_what_belongs_to_one_query_is_not_inherited() -> None:
    assert to_spec(asked(), TERMS, spec(**SETTINGS, **ONCE)) == spec(**SETTINGS)


def test_what_is_empty_clears() -> None:
    assert to_spec(asked(**CLEARED), TERMS, spec(**CLEARED)) == spec(**CLEARED)
    after = to_spec(asked(**CLEARED), TERMS, spec(**SETTINGS))
    assert (after.tools.allowed, after.tools.disallowed, after.directories, after.env, after.hooks) == (
        (),
        (),
        (),
        {},
        {},
    )
    assert (after.sources, after.plugins, after.agents, after.servers) == ((), (), {}, {})
    assert to_spec(asked(), TERMS, after).servers == {}


@patient
@given(st.sets(st.sampled_from(list(SETTINGS))), st.sets(st.sampled_from(list(SETTINGS))))
def test_what_a_query_says_wins_and_the_rest_stays(first: set[str], second: set[str]) -> None:
    before = {name: SETTINGS[name] for name in first - {"cwd"}}
    after = {name: CLEARED.get(name, SETTINGS[name]) for name in second - {"cwd"}}
    assert to_spec(asked(**after), TERMS, spec(**before)) == spec(**{**before, **after})


@patient
@given(st.sets(st.sampled_from(list(SETTINGS))))
def test_a_job_is_the_same_after_it_was_in_the_log(names: set[str]) -> None:
    made = spec(**{name: SETTINGS[name] for name in names})
    again = decode(to_json(attrs.asdict(made)), JobSpec)
    assert to_spec(asked(), TERMS, again) == made


def test_directories_and_settings_stay_where_they_were_when_the_cwd_moves() -> None:
    moved = to_spec(asked(cwd="/var"), TERMS, spec(cwd="/tmp", add_dirs=["a"], settings="s.json"))
    assert (moved.face["cwd"], moved.directories, moved.settings) == ("/var", ("/tmp/a",), "/tmp/s.json")


def test_a_model_is_no_fallback_of_its_own() -> None:
    before = spec(model="opus", fallback_model="sonnet")
    between = to_spec(asked(model="sonnet"), TERMS, before)
    assert between.models == Models(planner="sonnet")
    assert to_spec(asked(model="opus"), TERMS, between).models == Models(planner="opus", fallback="sonnet")


def test_a_full_name_is_said_as_it_was_asked_for() -> None:
    made = spec(model="claude-opus-4-1")
    assert (made.face["model"], made.models.planner) == ("claude-opus-4-1", "opus")


def test_a_session_of_another_kind_can_be_gone_on_with() -> None:
    made = to_spec(asked(), TERMS, JobSpec(Mode.CODE, "before", auto_commit=True))
    assert made == spec()


def test_of_servers_the_log_has_only_how_they_are_reached() -> None:
    servers = {"db": {"type": "http", "url": "http://u:pass@localhost/", "headers": {"K": "key"}, "env": {"E": "val"}}}
    whole = attrs.asdict(spec(mcp_servers=servers))
    shown, secret = conceal(whole)
    assert shown["servers"] == {"db": {"transport": "http"}}
    assert reveal(shown, secret) == whole


def test_a_query_that_says_null_is_one_that_says_nothing() -> None:
    nothing = dict.fromkeys(("model", "hooks", "mcp_servers", "system_prompt", "max_turns", "user", "sandbox"))
    body = json.dumps({"prompt": "x", **nothing}).encode()
    assert to_spec(query(body, TERMS), TERMS, spec(**SETTINGS)) == spec(**SETTINGS)
