"""Who may do what: every route of the table with every credential. A route without a row fails. The contract, 1.1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from agentd.domain import Usage
from agentd.faces.agent.routes import routes
from agentd.providers.protocol import Price
from agentd.providers.scripted import call, reply
from tests.agentserver import KEY, OTHER, Server, first, serving

CREDENTIALS = ("none", "empty", "malformed", "wrong", "in the query", "other", "own", "bearer")
NOBODY = dict.fromkeys(("none", "empty", "malformed", "wrong", "in the query"), 401)
PUBLIC = dict.fromkeys(CREDENTIALS, 200)


def with_a_key(own: int, other: int | None = None) -> dict[str, int]:
    return NOBODY | {"own": own, "bearer": own, "other": own if other is None else other}


OWN = with_a_key(200, 404)  # what another key made is not there
EXPECTED = {
    ("GET", "/"): PUBLIC,
    ("GET", "/health"): PUBLIC,
    ("GET", "/api/v1/health"): PUBLIC,
    ("GET", "/api/v1/query/ws"): NOBODY | {"own": 426, "bearer": 426, "other": 426},
    ("POST", "/api/v1/query"): with_a_key(200),
    ("POST", "/api/v1/query/single"): with_a_key(200),
    ("POST", "/v1/chat/completions"): with_a_key(200),
    ("GET", "/v1/models"): with_a_key(200),
    ("GET", "/v1/models/{name}"): with_a_key(200),
    ("GET", "/api/v1/skills"): with_a_key(200),
    ("GET", "/api/v1/mcp-servers"): with_a_key(200),
    ("GET", "/api/v1/sessions"): with_a_key(200),
    ("GET", "/api/v1/asks"): with_a_key(200),
    ("GET", "/api/v1/sessions/{session_id}"): OWN,
    ("PATCH", "/api/v1/sessions/{session_id}"): OWN,
    ("DELETE", "/api/v1/sessions/{session_id}"): with_a_key(204, 404),
    ("GET", "/api/v1/sessions/{session_id}/events"): OWN,
    ("GET", "/api/v1/sessions/{session_id}/transcript"): OWN,
    ("GET", "/api/v1/sessions/{session_id}/checkpoints"): OWN,
    ("POST", "/api/v1/sessions/{session_id}/rewind"): with_a_key(400, 404),
    ("POST", "/api/v1/sessions/{session_id}/resume"): OWN,
    ("POST", "/api/v1/sessions/{session_id}/fork"): OWN,
    ("POST", "/api/v1/sessions/{session_id}/interrupt"): OWN,
    ("POST", "/api/v1/sessions/{session_id}/answer"): OWN,
    ("POST", "/api/v1/sessions/{session_id}/control"): OWN,
    ("POST", "/api/v1/asks/{ask_id}"): OWN,
}
BODIES: dict[str, Any] = {
    "/v1/chat/completions": {"model": "sonnet", "messages": [{"role": "user", "content": "hi"}]},
    "/api/v1/sessions/{session_id}": {"title": "x"},
    "/api/v1/sessions/{session_id}/rewind": {"checkpoint_id": "x"},
    "/api/v1/sessions/{session_id}/answer": {"answer": "no"},
    "/api/v1/sessions/{session_id}/control": {"type": "permission_mode_change", "permission_mode": "plan"},
    "/api/v1/asks/{ask_id}": {"decision": "deny"},
}
STEERED = (
    "/api/v1/asks/{ask_id}",
    "/api/v1/sessions/{session_id}/interrupt",
    "/api/v1/sessions/{session_id}/answer",
    "/api/v1/sessions/{session_id}/control",
)
ASKING = reply("May I?", call("Write", about="a"))


@attrs.frozen
class Case:
    method: str
    pattern: str
    credential: str

    @property
    def status(self) -> int:
        return EXPECTED[self.method, self.pattern][self.credential]


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    assert {(route.method, route.pattern) for route in routes} == set(EXPECTED)


def headers_of(credential: str) -> list[tuple[str, str]]:
    return {
        "none": [],
        "in the query": [],
        "empty": [("X-API-Key", "")],
        "malformed": [("Authorization", f"Basic {KEY}")],
        "wrong": [("X-API-Key", f"{KEY}x")],
        "other": [("X-API-Key", OTHER)],
        "own": [("X-API-Key", KEY)],
        "bearer": [("Authorization", f"Bearer {KEY}")],
    }[credential]


async def status_of(server: Server, case: Case) -> tuple[int, bytes]:
    """In a session of KEY, whose run asks something where that matters."""
    path, ask = case.pattern, "x"
    if case.pattern in STEERED:
        server.says(ASKING, "Done.")
        async with server.stream(detach=True) as stream:
            session = (await stream.until("question"))["session_id"]
        ask = (await server.get("/api/v1/asks"))["asks"][0]["id"]
    elif "{session_id}" in case.pattern:
        session = await server.session()
    else:
        session = "x"
    server.says("Done.", "Done.")
    path = path.replace("{session_id}", session).replace("{ask_id}", ask).replace("{name}", "sonnet")
    path += "?after=0" if path.endswith("/events") else ""
    if case.credential == "in the query":
        path += f"{'&' if '?' in path else '?'}api_key={KEY}"
    body = json.dumps(BODIES.get(case.pattern, {"prompt": "hi"})).encode() if case.method in ("POST", "PATCH") else b""
    with trio.fail_after(20):
        answer = await server.client.request(case.method, path, headers=headers_of(case.credential), body=body)
    if case.pattern in STEERED:
        await server.ask("POST", f"/api/v1/sessions/{session}/interrupt")
    return answer.status, answer.body


@pytest.mark.parametrize("credential", CREDENTIALS)
async def test_a_credential_opens_what_the_contract_says(tmp_path: Path, credential: str) -> None:
    async with serving(tmp_path) as server:
        wrong = []
        for case in (Case(route.method, route.pattern, credential) for route in routes):
            status, body = await status_of(server, case)
            if status != case.status or (status == 401 and b'"detail":"Invalid or missing API key"' not in body):
                wrong.append((case, status, body))
        assert not wrong


@pytest.mark.parametrize(("headers", "message"), [({}, "Missing API key"), ({"x_api_key": "no"}, "Invalid API key")])
async def test_a_key_that_is_missing_is_told_from_one_that_is_wrong(
    tmp_path: Path, headers: dict[str, str], message: str
) -> None:
    async with serving(tmp_path) as server:
        _, told = await server.ask("GET", "/api/v1/sessions", key=None, **headers)
        error = {"code": "AUTHENTICATION_ERROR", "message": message, "details": {}}
        assert told == {"detail": "Invalid or missing API key", "error": error}


@pytest.mark.parametrize(
    "path", ["/api/v1/nothing", "/api/v1/", "/api/v1", "/%61pi/v1/x", "/v1/threads", "/api/v1/sessions/a/b"]
)
async def test_an_unknown_path_is_401_without_a_key_and_404_with_one(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as server:
        assert (await server.ask("GET", path, key=None))[0] == 401
        status, told = await server.ask("GET", path)
        assert (status, told["detail"], told["error"]["code"]) == (404, "Not Found", "NOT_FOUND")


async def test_checks_come_in_the_order_of_the_contract(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        path = "/api/v1/sessions/unknown/resume"
        assert (await server.ask("POST", path, b"{", key=None))[0] == 401
        answer = await server.answer("PUT", path, b"{")
        assert (answer.status, dict(answer.headers)["Allow"]) == (405, "OPTIONS, POST")
        server.app.stopping = True
        assert (await server.ask("POST", path, b"{"))[0] == 503
        server.app.stopping = False
        assert (await server.ask("POST", path, b"{"))[0] == 422
        assert (await server.ask("POST", path, {"prompt": "x"}))[0] == 404


async def test_what_a_browser_asks_before_is_for_everybody_and_allows_no_other_origin(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        answer = await server.answer("OPTIONS", "/api/v1/query", key=None, origin="https://evil.example")
        assert answer.status == 204
        assert not [name for name, _ in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/api/v1/sessions", "/api/v1/nothing", "/api/v1/sessions/x"])
async def test_every_answer_has_a_correlation_id_and_keeps_the_clients(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as server:
        for key in (None, KEY):
            for given, kept in (("mine-1", True), ("x" * 128, True), ("x" * 129, False), ("a\tb", False), ("", False)):
                answer = await server.answer("GET", path, key=key, x_correlation_id=given)
                [told] = [value for name, value in answer.headers if name == "X-Correlation-ID"]
                assert (told == given) is kept
                assert told


async def test_streams_and_bodies_that_are_too_large_have_one_too(tmp_path: Path) -> None:
    async with serving(tmp_path, max_body_bytes=1000) as server:
        headers = [("X-API-Key", KEY), ("X-Correlation-ID", "mine")]
        for body, status in ((b'{"prompt": "hi"}', 200), (b" " * 1001, 413)):
            server.says("Done.")
            async with server.client.open_stream("POST", "/api/v1/query", headers=headers, body=body) as answer:
                assert (answer.status, answer.headers.get("x-correlation-id")) == (status, "mine")
                async for _ in answer.chunks():
                    continue


# --- Two keys -----------------------------------------------------------------------------------------------------


async def test_neither_of_two_keys_sees_lists_answers_forks_or_rewinds_what_the_other_made(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(ASKING, "Done.")
        async with server.stream(detach=True) as stream:
            mine = (await stream.until("question"))["session_id"]
        [ask] = (await server.get("/api/v1/asks"))["asks"]
        assert await server.get("/api/v1/sessions", key=OTHER) == {
            "sessions": [],
            "total": 0,
            "page": 1,
            "page_size": 50,
        }
        assert await server.get("/api/v1/asks", key=OTHER) == {"asks": []}
        events = await server.run(key=OTHER, session_id=mine, prompt="Tell me.")
        assert first(events, "error")["code"] == "SESSION_NOT_FOUND"
        events = await server.run(key=OTHER, session_id=mine, fork_session=True)
        assert first(events, "error")["code"] == "SESSION_NOT_FOUND"
        for method, path, body in (
            ("POST", f"/sessions/{mine}/fork", {"prompt": "x"}),
            ("POST", f"/sessions/{mine}/rewind", {"checkpoint_id": "x"}),
            ("POST", f"/sessions/{mine}/answer", {"answer": "yes"}),
            ("POST", f"/asks/{ask['id']}", {"decision": "allow"}),
            ("DELETE", f"/sessions/{mine}", None),
        ):
            theirs = await server.answer(method, f"/api/v1{path}", body, key=OTHER)
            nobodys = await server.answer(method, f"/api/v1{path}".replace(mine, "x").replace(ask["id"], "x"), body)
            assert theirs.status == nobodys.status == 404
        assert (await server.record(mine))["status"] == "active"
        assert (await server.get("/api/v1/sessions"))["total"] == 1


# --- Keys that were issued ----------------------------------------------------------------------------------------


async def test_a_key_that_was_issued_opens_the_api_for_its_own_sessions_until_it_is_revoked(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        access = server.app.keys._access
        key, issued = await access.issue(["agent"])
        mine = await server.session(key=key)
        assert (await server.get("/api/v1/sessions", key=key))["total"] == 1
        assert (await server.ask("GET", f"/api/v1/sessions/{mine}"))[0] == 404
        await access.revoke(issued.id)
        assert (await server.ask("GET", f"/api/v1/sessions/{mine}", key=key))[0] == 401


async def test_a_token_that_was_issued_for_something_else_is_no_key(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for scope in (["viewer"], ["manager"], ["admin"]):
            token, _ = await server.app.keys._access.issue(scope)
            assert (await server.ask("GET", "/api/v1/sessions", key=token))[0] == 401


async def test_a_key_for_some_directories_works_nowhere_else(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        (server.workspace / "mine").mkdir()
        key, _ = await server.app.keys._access.issue(["agent"], roots=[str(server.workspace / "mine")])
        session = await server.session(key=key, cwd="mine")
        for path in ("/api/v1/query", f"/api/v1/sessions/{session}/resume"):
            status, told = await server.ask("POST", path, {"prompt": "x", "cwd": str(server.workspace)}, key=key)
            assert (status, told["error"]["code"]) == (403, "FORBIDDEN")
        assert (await server.get("/api/v1/sessions", key=key))["total"] == 1


async def test_a_key_with_a_budget_makes_nothing_more_once_that_is_used_up(tmp_path: Path) -> None:
    async with serving(tmp_path, price=Price(1000.0, 1000.0)) as server:
        key, _ = await server.app.keys._access.issue(["agent"], budget_usd=0.5)
        usage = Usage(input_tokens=300, output_tokens=0)
        session = await server.session(reply("Done.", usage=usage), key=key)
        server.says(reply(call("Read", file_path="x"), usage=usage), "Done.")
        told = await server.run(f"/api/v1/sessions/{session}/resume", key=key)
        assert first(told, "result")["stop_reason"] == "max_budget_reached"  # what was left ended the run
        status, refused = await server.ask("POST", f"/api/v1/sessions/{session}/resume", {"prompt": "x"}, key=key)
        assert (status, refused["error"]["code"]) == (403, "FORBIDDEN")
        assert "0.5 USD" in refused["detail"]
