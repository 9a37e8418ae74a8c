"""Webhooks: what they are told, what their answers decide, and what a bad answer or none at all comes to."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trustme
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from agentd.domain import Hook, ToolUse
from agentd.engine.hooks import (
    DEEPEST_ANSWER,
    LONGEST_ANSWER,
    VERDICTS,
    Decision,
    HookFailed,
    Hooks,
    read_decision,
    sign,
)
from agentd.wire.http import HttpSettings
from agentd.wire.proxy import Proxies
from agentd.wire.urlpolicy import UrlPolicy
from tests.wire.stranger import Authority, Link, Script, Stranger, answering, names, once, stranger

ABOUT = {"session_id": "s1", "cwd": "/w", "permission_mode": "default"}
CALL = ToolUse("toolu_1", "Bash", {"command": "ls"})
BAD_ANSWERS = [
    b"",
    b"no",
    b"[]",
    b"null",
    b'"allow"',
    b'{"decision": "maybe"}',
    b'{"decision": true}',
    b'{"decision": ["allow"]}',
    b'{"decision": "ALLOW"}',
    b'{"reason": 1}',
    b'{"modified_input": "rm"}',
    b'{"modified_input": [1]}',
    b'{"decision": "allow"} {}',
    b'{"decision": "allow", "x": NaN}',
    b'{"decision": "allow", "x": 1e999}',
    b'{"decision": "allow", "x": "\xff"}',
    b'{"decision": "allow", "x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    b'{"modified_input": {"x": ' + b"[" * DEEPEST_ANSWER + b"]" * DEEPEST_ANSWER + b"}}",
]


@attrs.define
class Told:
    """Hooks, and the records that they wrote."""

    hooks: Hooks
    records: list[tuple[str, dict[str, Any]]]

    @property
    def record(self) -> dict[str, Any]:
        [(kind, data)] = self.records
        assert kind == "hook"
        return data


def hooks(configured: Mapping[str, Hook], **options: Any) -> Told:
    records: list[tuple[str, dict[str, Any]]] = []
    options = {"settings": HttpSettings(), **options}
    made = Hooks(configured, lambda: ABOUT, lambda kind, data: records.append((kind, data)), **options)
    return Told(made, records)


def one(event: str, url: str, hook: Mapping[str, Any] | None = None, **options: Any) -> Told:
    return hooks({event: Hook(url, **(hook or {}))}, **options)


def says(answer: Any, status: int = 200) -> Script:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return answering(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))


def body_of(server: Stranger) -> Any:
    [seen] = server.seen
    return json.loads(seen.body)


# --- What is told -------------------------------------------------------------------------------------------------


async def test_a_tool_is_asked_about_before_it_runs() -> None:
    async with stranger(says({})) as server:
        told = one("PreToolUse", f"{server.url}/hook?key=k")
        assert await told.hooks.before_tool(CALL, "task_1") == Decision()
    [seen] = server.seen
    assert (seen.method, seen.target, seen.headers["content-type"]) == ("POST", "/hook?key=k", "application/json")
    assert json.loads(seen.body) == {
        "hook_event": "PreToolUse",
        **ABOUT,
        "tool_name": "Bash",
        "tool_input": {"command": "ls"},
        "tool_use_id": "toolu_1",
        "parent_tool_use_id": "task_1",
    }


async def test_a_result_is_told_with_its_call() -> None:
    async with stranger(says({"decision": "allow"})) as server:
        assert await one("PostToolUse", server.url).hooks.after_tool(CALL, "a\nb", False, 12) is None
    assert body_of(server) == {
        "hook_event": "PostToolUse",
        **ABOUT,
        "tool_name": "Bash",
        "tool_input": {"command": "ls"},
        "tool_use_id": "toolu_1",
        "parent_tool_use_id": None,
        "tool_result": {"content": "a\nb", "is_error": False, "duration_ms": 12},
    }


async def test_a_prompt_is_told() -> None:
    async with stranger(says({})) as server:
        assert await one("UserPromptSubmit", server.url).hooks.prompt_submitted("Hi \ud800 é") == Decision()
    assert body_of(server) == {"hook_event": "UserPromptSubmit", **ABOUT, "tool_input": {"prompt": "Hi \ud800 é"}}


async def test_the_other_events_are_told_with_their_data() -> None:
    events = ("Stop", "SubagentStop", "PreCompact", "Notification")
    async with stranger(says({"decision": "deny"})) as server:
        told = hooks({event: Hook(server.url) for event in events})
        await told.hooks.stopped(False, 5, "done")
        await told.hooks.stopped(True, 5)
        await told.hooks.subagent_stopped("tester", False, "fine")
        await told.hooks.before_compact("auto")
        await told.hooks.waiting("Allow Bash: ls?", "permission")
    assert [json.loads(seen.body) for seen in server.seen] == [
        {"hook_event": event, **ABOUT, "result_data": data}
        for event, data in [
            ("Stop", {"is_error": False, "duration_ms": 5, "result": "done"}),
            ("Stop", {"is_error": True, "duration_ms": 5}),
            ("SubagentStop", {"subagent_name": "tester", "is_error": False, "result": "fine"}),
            ("PreCompact", {"trigger": "auto"}),
            ("Notification", {"message": "Allow Bash: ls?", "notification_type": "permission"}),
        ]
    ]
    assert [(data["decision"], data["error"]) for _, data in told.records] == [(None, None)] * 5


async def test_who_is_not_set_is_not_told() -> None:
    async with stranger(says({})) as server:
        told = one("Stop", server.url)
        assert await told.hooks.prompt_submitted("Hi") == Decision()
        assert await told.hooks.before_tool(CALL) == Decision()
        assert await told.hooks.after_tool(CALL, "x", False, 1) is None
        await told.hooks.before_compact("manual")
    assert (server.connections, told.records) == (0, [])


async def test_headers_of_the_hook_are_laid_over_ours_but_not_over_what_frames_the_message() -> None:
    own = {
        "content-type": "application/vnd.x+json",
        "Authorization": "Bearer k",
        "Cookie": "c=1",
        "Content-Length": "3",
        "Transfer-Encoding": "chunked",
        "connection": "keep-alive",
        "X-Agentd-Signature": "sha256=forged",
    }
    async with stranger(says({})) as server:
        told = one("PreToolUse", server.url, {"headers": own}, secret="s")
        assert await told.hooks.before_tool(CALL) == Decision()
    headers = server.seen[0].headers
    assert (headers["content-type"], headers["authorization"]) == ("application/vnd.x+json", "Bearer k")
    assert (headers["cookie"], headers["connection"]) == ("c=1", "close")
    assert "transfer-encoding" not in headers
    assert headers["content-length"] == str(len(server.seen[0].body))
    assert headers["x-agentd-signature"] != "sha256=forged"


async def test_no_cookie_comes_back_and_no_connection_is_used_twice() -> None:
    answer = b"HTTP/1.1 200 X\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n{}"
    async with stranger(answering(answer)) as server:
        told = one("PreToolUse", server.url)
        for _ in range(2):
            await told.hooks.before_tool(CALL)
    assert (server.connections, ["cookie" in seen.headers for seen in server.seen]) == (2, [False, False])


# --- Signatures ---------------------------------------------------------------------------------------------------


async def test_with_a_secret_the_body_is_signed() -> None:
    before = int(time.time())
    async with stranger(says({})) as server:
        await one("PreToolUse", server.url, secret="geheim").hooks.before_tool(CALL)
    [seen] = server.seen
    stamp = seen.headers["x-agentd-timestamp"]
    assert before <= int(stamp) <= time.time()
    made = hmac.new(b"geheim", stamp.encode() + b"." + seen.body, hashlib.sha256).hexdigest()
    assert seen.headers["x-agentd-signature"] == f"sha256={made}"


async def test_without_a_secret_nothing_is_signed() -> None:
    async with stranger(says({})) as server:
        await one("PreToolUse", server.url).hooks.before_tool(CALL)
    assert not {"x-agentd-timestamp", "x-agentd-signature"} & set(server.seen[0].headers)


def test_a_signature_is_what_other_programs_make_of_it() -> None:
    # printf '1700000000.{}' | openssl dgst -sha256 -hmac key
    assert sign(b"{}", "key", 1700000000) == {
        "X-Agentd-Timestamp": "1700000000",
        "X-Agentd-Signature": "sha256=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae",
    }


# --- What is decided ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        ({}, Decision()),
        ({"decision": None, "reason": None, "modified_input": None}, Decision()),
        ({"decision": "allow"}, Decision("allow")),
        ({"decision": "ask", "reason": "sure?"}, Decision("ask", "sure?")),
        ({"decision": "deny", "reason": "not here"}, Decision("deny", "not here")),
        ({"decision": "deny"}, Decision("deny", "the PreToolUse hook denied it")),
        ({"decision": "deny", "reason": ""}, Decision("deny", "the PreToolUse hook denied it")),
        ({"modified_input": {"command": "pwd"}}, Decision(None, "", {"command": "pwd"})),
        ({"decision": "allow", "modified_input": {}, "other": 1}, Decision("allow", "", {})),
    ],
)
async def test_an_answer_about_a_tool(answer: Any, decision: Decision) -> None:
    async with stranger(says(answer)) as server:
        told = one("PreToolUse", server.url)
        assert await told.hooks.before_tool(CALL) == decision
    assert told.record == {
        "event": "PreToolUse",
        "url": server.url,
        "call": "toolu_1",
        "decision": decision.verdict,
        "reason": decision.reason,
        "error": None,
        "duration_ms": told.record["duration_ms"],
    }


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        ({"decision": "ask"}, Decision("allow")),
        ({"decision": "deny", "reason": "no"}, Decision("deny", "no")),
        ({"modified_input": {"prompt": "Bye", "x": 1}}, Decision(None, "", {"prompt": "Bye"})),
        ({"modified_input": {"x": 1}}, Decision()),
        ({"decision": "deny", "modified_input": {"prompt": 7}}, Decision()),  # fails, and fails open
        ({"modified_input": {"prompt": " "}}, Decision()),
    ],
)
async def test_an_answer_about_a_prompt(answer: Any, decision: Decision) -> None:
    async with stranger(says(answer)) as server:
        assert await one("UserPromptSubmit", server.url).hooks.prompt_submitted("Hi") == decision


@pytest.mark.parametrize(
    ("answer", "feedback"),
    [
        ({"decision": "deny", "reason": "lint failed"}, "lint failed"),
        ({"decision": "allow", "reason": "fine"}, None),
        ({"decision": "ask", "reason": "?"}, None),
        ({"modified_input": {"a": 1}}, None),
    ],
)
async def test_feedback_on_a_result(answer: Any, feedback: str | None) -> None:
    async with stranger(says(answer)) as server:
        assert await one("PostToolUse", server.url).hooks.after_tool(CALL, "x", False, 1) == feedback


async def test_any_other_2xx_will_do_where_nothing_is_decided() -> None:
    async with stranger(once(b"HTTP/1.1 204 X\r\n\r\n")) as server:
        told = one("Stop", server.url)
        await told.hooks.stopped(False, 1)
    assert told.record["error"] is None


# --- Matchers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matcher", "tool", "matches"),
    [
        (None, "Bash", True),
        ("Write", "WriteX", True),
        ("Edit", "MultiEdit", False),
        ("write", "Write", False),
        ("mcp__.*", "mcp__db__query", True),
        ("Bash|Edit", "Edit", True),
        ("", "Bash", True),
    ],
)
def test_a_matcher_is_anchored_at_the_start_only(matcher: str | None, tool: str, matches: bool) -> None:
    made = one("PreToolUse", "http://h", {"matcher": matcher}).hooks
    assert made.wants("PreToolUse", tool) is matches
    assert not made.wants("PostToolUse", tool)


@pytest.mark.parametrize("matcher", ["(", "*", "a{99999999999}", "a(?i)", "(?P<a>x)(?P<a>y)"])
def test_what_is_no_regular_expression_matches_every_tool(matcher: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert one("PreToolUse", "http://h", {"matcher": matcher}).hooks.wants("PreToolUse", "Bash")
    assert "matches every tool" in caplog.text


async def test_a_tool_that_does_not_match_makes_no_call() -> None:
    async with stranger(says({"decision": "deny"})) as server:
        told = hooks({event: Hook(server.url, matcher="Write") for event in ("PreToolUse", "PostToolUse")})
        assert await told.hooks.before_tool(CALL) == Decision()
        assert await told.hooks.after_tool(CALL, "x", False, 1) is None
    assert (server.connections, told.records) == (0, [])


async def test_only_events_of_tools_look_at_the_matcher() -> None:
    async with stranger(says({})) as server:
        await one("Stop", server.url, {"matcher": "Write"}).hooks.stopped(False, 1)
    assert len(server.seen) == 1


# --- Failures -----------------------------------------------------------------------------------------------------


async def all_deciding(url: str, **hook: Any) -> tuple[Told, Decision, Decision, str | None]:
    told = hooks({event: Hook(url, **hook) for event in ("PreToolUse", "UserPromptSubmit", "PostToolUse", "Stop")})
    before = await told.hooks.before_tool(CALL)
    prompt = await told.hooks.prompt_submitted("Hi")
    after = await told.hooks.after_tool(CALL, "x", False, 1)
    await told.hooks.stopped(False, 1)
    return told, before, prompt, after


def is_closed(before: Decision) -> bool:
    said = "the PreToolUse hook could not be asked, so nothing was executed: "
    return before.verdict == "deny" and before.reason.startswith(said) and before.modified_input is None


@pytest.mark.parametrize("body", BAD_ANSWERS, ids=lambda body: body[:40].decode("latin-1"))
async def test_an_answer_that_is_none_refuses_a_tool_and_changes_nothing_else(body: bytes) -> None:
    async with stranger(says(body)) as server:
        told, before, prompt, after = await all_deciding(server.url)
    assert is_closed(before)
    assert (prompt, after) == (Decision(), None)
    assert [bool(data["error"]) for _, data in told.records] == [True, True, True, False]
    assert [data["decision"] for _, data in told.records] == ["deny", None, None, None]


@pytest.mark.parametrize("status", [204, 301, 302, 304, 307, 400, 401, 404, 500, 503])
async def test_a_bad_status_refuses_a_tool_whatever_the_body_says(status: int) -> None:
    body = b"" if status in (204, 304) else b'{"decision": "allow"}'
    async with stranger(
        once(b"HTTP/1.1 %d X\r\nLocation: /b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
    ) as s:
        _, before, prompt, after = await all_deciding(s.url)
    assert is_closed(before)
    assert (prompt, after) == (Decision(), None)
    assert [seen.target for seen in s.seen] == ["/"] * 4  # a redirect leads nowhere


async def test_nobody_there_refuses_a_tool_and_changes_nothing_else() -> None:
    async with stranger(says({})) as server:
        url = server.url
    told, before, prompt, after = await all_deciding(url)
    assert is_closed(before)
    assert (prompt, after) == (Decision(), None)
    assert all("no connection" in data["error"] for _, data in told.records)


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    async def flood(link: Link) -> None:
        await link.request()
        await link.send(b'HTTP/1.1 200 X\r\n\r\n{"decision": "allow", "x": "')
        while True:
            await link.send(b"x" * 65536)

    async with stranger(flood) as server:
        told, before, prompt, _ = await all_deciding(server.url)
    assert is_closed(before)
    assert prompt == Decision()
    assert f"larger than {LONGEST_ANSWER} bytes" in told.records[0][1]["error"]


@pytest.mark.parametrize(
    "bytes_",
    [
        b"",
        b"\0\xff" * 99,
        b"HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\n{}",
        b"HTTP/1.1 200 X\r\n" + b"A: b\r\n" * 20_000,
    ],
    ids=["nothing", "garbage", "cut short", "a head without end"],
)
async def test_what_is_no_http_refuses_a_tool(bytes_: bytes) -> None:
    async with stranger(once(bytes_)) as server:
        assert is_closed(await one("PreToolUse", server.url).hooks.before_tool(CALL))


async def silence(link: Link) -> None:
    await link.request()
    await trio.sleep_forever()


async def slow_body(link: Link) -> None:
    await link.request()
    await link.send(b"HTTP/1.1 200 X\r\nContent-Length: 9999\r\n\r\n")
    await link.drip(b" " * 9999)


async def slow_head(link: Link) -> None:
    await link.request()
    await link.drip(b"HTTP/1.1 200 X\r\n" + b"X: y\r\n" * 999)


async def interim_answers(link: Link) -> None:
    await link.request()
    while True:
        await trio.sleep(1)
        await link.send(b"HTTP/1.1 102 X\r\n\r\n")


@pytest.mark.parametrize("script", [silence, slow_body, slow_head, interim_answers])
async def test_the_timeout_is_that_of_the_whole_call(script: Script, autojump_clock: MockClock) -> None:
    async with stranger(script) as server:
        began = trio.current_time()
        assert is_closed(await one("PreToolUse", server.url, {"timeout": 7}).hooks.before_tool(CALL))
        assert trio.current_time() - began == 7


async def test_a_name_that_is_not_looked_up_in_time_counts_too(autojump_clock: MockClock) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        await trio.sleep_forever()
        return []

    told = one("PreToolUse", "http://slow.test/", {"timeout": 3}, settings=HttpSettings(resolve=resolve))
    assert is_closed(await told.hooks.before_tool(CALL))
    assert trio.current_time() == 3


async def test_what_json_has_no_form_for_is_not_sent() -> None:
    async with stranger(says({})) as server:
        told = one("PreToolUse", server.url)
        assert is_closed(await told.hooks.before_tool(ToolUse("t", "Bash", {"timeout": float("nan")})))
    assert server.connections == 0


async def test_a_header_that_cannot_be_sent_is_named_and_not_told() -> None:
    async with stranger(says({})) as server:
        told = one("PreToolUse", server.url, {"headers": {"X-Key": "geheim\r\nHost: x"}})
        assert is_closed(await told.hooks.before_tool(CALL))
    assert "'X-Key'" in told.record["error"]
    assert "geheim" not in json.dumps(told.records)


async def test_neither_headers_nor_bodies_nor_the_path_are_in_the_record() -> None:
    async with stranger(says({"decision": "allow", "modified_input": {"command": "geheim"}})) as server:
        url = server.url.replace("http://", "http://user:geheim@") + "/geheim?geheim"
        told = one("PreToolUse", url, {"headers": {"X": "geheim"}}, secret="geheim")
        await told.hooks.before_tool(ToolUse("t", "Bash", {"command": "geheim"}))
    assert server.seen[0].headers["authorization"].startswith("Basic ")
    assert "geheim" not in json.dumps(told.records)


async def test_a_delivery_that_is_cancelled_is_in_the_log_too() -> None:
    async with stranger(silence) as server, trio.open_nursery() as nursery:
        told = one("PreToolUse", server.url)
        nursery.start_soon(told.hooks.before_tool, CALL)
        while not server.seen:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert (told.record["decision"], told.record["error"]) == (None, "the run ended before there was an answer")


# --- Where they may be --------------------------------------------------------------------------------------------

REFUSED = "URLs targeting internal resources are not allowed"


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/", "http://0/", "http+unix://%2Ftmp%2Fx/", "ftp://h/", "http://"]
)
async def test_urls_that_nobody_may_name_are_refused(url: str) -> None:
    told = one("PreToolUse", url)
    assert is_closed(await told.hooks.before_tool(CALL))
    assert told.record["error"]


async def test_the_strict_policy_refuses_loopback() -> None:
    async with stranger(says({})) as server:
        told = one("PreToolUse", server.url, policy=UrlPolicy.STRICT)
        assert is_closed(await told.hooks.before_tool(CALL))
    assert (server.connections, told.record["error"]) == (0, REFUSED)


async def test_a_name_is_held_to_the_policy_by_its_addresses() -> None:
    told = one("PreToolUse", "http://evil.test/", settings=names(evil_test="169.254.169.254"))
    assert is_closed(await told.hooks.before_tool(CALL))
    assert told.record["error"] == REFUSED


async def test_the_address_that_was_checked_is_the_one_that_is_used() -> None:
    lookups = iter(["127.0.0.1", "169.254.169.254"])  # DNS rebinding: a second look-up would lead elsewhere

    async def resolve(host: str, port: int) -> list[str]:
        await trio.lowlevel.checkpoint()
        return [next(lookups)]

    async with stranger(says({})) as server:
        told = one("PreToolUse", f"http://evil.test:{server.port}/", settings=HttpSettings(resolve=resolve))
        assert await told.hooks.before_tool(CALL) == Decision()
    assert next(lookups) == "169.254.169.254"


async def test_loopback_is_not_reached_through_a_proxy() -> None:
    proxies = Proxies.from_env({"http_proxy": "http://127.0.0.1:1"})
    async with stranger(says({})) as server:
        told = one("PreToolUse", server.url, settings=HttpSettings(proxies=proxies))
        assert await told.hooks.before_tool(CALL) == Decision()


async def test_a_proxy_does_not_lead_around_the_policy() -> None:
    async with stranger(says({})) as proxy:
        proxies = Proxies.from_env({"http_proxy": proxy.url})
        told = one("PreToolUse", "http://169.254.169.254/", settings=HttpSettings(proxies=proxies))
        assert is_closed(await told.hooks.before_tool(CALL))
    assert (proxy.connections, told.record["error"]) == (0, REFUSED)


async def test_a_webhook_may_speak_tls(tmp_path: Path) -> None:
    authority = Authority(trustme.CA(), tmp_path / "ca.pem")
    authority.ca.cert_pem.write_to_path(str(authority.file))
    settings = attrs.evolve(names(hook_test="127.0.0.1"), trust=authority.trust)
    async with stranger(says({"decision": "allow"}), tls=authority.server("hook.test")) as server:
        told = one("PreToolUse", f"https://hook.test:{server.port}/", settings=settings)
        assert await told.hooks.before_tool(CALL) == Decision("allow")


def test_a_lone_surrogate_in_a_reason_does_not_get_into_the_log() -> None:
    decision = read_decision("PreToolUse", b'{"decision": "deny", "reason": "\\ud800"}')
    assert decision.reason.encode() == "\ufffd".encode()


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.sampled_from(VERDICTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["prompt", "x"]), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.sampled_from(["PreToolUse", "PostToolUse", "UserPromptSubmit"]),
    st.binary(max_size=30)
    | st.fixed_dictionaries({}, optional={"decision": values, "reason": values, "modified_input": values}).map(
        lambda answer: json.dumps(answer).encode()
    ),
)
def test_whatever_a_webhook_says_is_a_decision_or_a_failure(event: str, body: bytes) -> None:
    try:
        decision = read_decision(event, body)
    except HookFailed:
        return
    assert decision.verdict in (None, *VERDICTS)
    assert decision.reason or decision.verdict != "deny"
    if event == "UserPromptSubmit" and decision.modified_input is not None:
        assert set(decision.modified_input) == {"prompt"}
        assert isinstance(decision.modified_input["prompt"], str)
