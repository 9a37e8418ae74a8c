"""Who may do what: every route of the table with every credential. A route without a row fails. The contract, §3."""

from __future__ import annotations

import uuid
from pathlib import Path

import attrs
import pytest

from agentd.daemon.tokens import SessionTokens
from agentd.faces.manager.routes import routes
from agentd.wire.messages import Request
from agentd.wire.routing import ANY, Route, respond
from tests.managerapi import Manager, head, open_fake_manager, read_answer
from tests.managerpool import MASTER

CREDENTIALS = ("none", "malformed", "wrong", "expired", "other", "own", "master")
NOBODY = {"none": 401, "malformed": 401, "wrong": 401, "expired": 401}
EVERYBODY = dict.fromkeys(CREDENTIALS, 200)
READY = NOBODY | {"other": 200, "own": 200, "master": 200}
CALLS = NOBODY | {"other": 200, "own": 200, "master": 403}  # each token's call goes to its own session
EXPECTED = {
    ("GET", "/health/live"): EVERYBODY,
    ("GET", "/health/ready"): READY,
    ("POST", "/v1/sessions"): NOBODY | {"other": 403, "own": 403, "master": 201},
    ("GET", "/v1/sessions"): NOBODY | {"other": 403, "own": 403, "master": 200},
    ("GET", "/v1/sessions/{session_id}"): NOBODY | {"other": 403, "own": 200, "master": 200},
    ("DELETE", "/v1/sessions/{session_id}"): NOBODY | {"other": 403, "own": 403, "master": 204},
    ("POST", "/v1/sessions/{session_id}/token"): NOBODY | {"other": 403, "own": 403, "master": 200},
    (ANY, "/v1/jobs"): CALLS,
    (ANY, "/v1/jobs/*"): CALLS,
    (ANY, "/v1/context"): CALLS,
    (ANY, "/v1/context/*"): CALLS,
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT")
CODES = {401: "UNAUTHORIZED", 403: "FORBIDDEN"}


@attrs.frozen
class Case:
    method: str
    pattern: str
    credential: str
    status: int


def cases() -> list[Case]:
    return [
        Case(method, route.pattern, credential, EXPECTED[route.method, route.pattern][credential])
        for route in routes
        for method in methods_of(route)
        for credential in CREDENTIALS
    ]


def methods_of(route: Route) -> tuple[str, ...]:
    if route.method == ANY:
        return METHODS
    return ("GET", "HEAD") if route.method == "GET" else (route.method,)


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    assert {(route.method, route.pattern) for route in routes} == set(EXPECTED)


def token_for(credential: str, manager: Manager, own: str, other: str) -> str | None:
    expired = SessionTokens(MASTER, clock=lambda: 1)
    tokens: dict[str, str | None] = {
        "none": None,
        "wrong": SessionTokens("another key").issue(own).text,
        "expired": expired.issue(own).text,
        "other": manager.app.tokens.issue(other).text,
        "own": manager.app.tokens.issue(own).text,
        "master": MASTER,
    }
    return tokens[credential]


async def status_of(manager: Manager, case: Case, own: str, other: str) -> tuple[int, bytes]:
    path = case.pattern.replace("{session_id}", own).replace("*", "a-job/events")
    body = b'{"name": "x", "repoPath": "/repo"}'
    if case.credential == "malformed":
        raw = head(case.method, path, "x", f"Content-Length: {len(body)}").replace(b"Bearer ", b"bearer ")
    else:
        token = token_for(case.credential, manager, own, other)
        raw = head(case.method, path, token or "", f"Content-Length: {len(body)}")
        raw = raw if token else raw.replace(b"Authorization: Bearer \r\n", b"")
    stream = await manager.call(raw + body)
    async with stream:
        status, _, answer = await read_answer(stream, case.method)
    return status, answer


@pytest.mark.parametrize("credential", CREDENTIALS)
async def test_a_credential_opens_what_the_contract_says(tmp_path: Path, credential: str) -> None:
    async with open_fake_manager(tmp_path) as manager:
        manager.pool.size = 1000
        wrong = []
        for case in (case for case in cases() if case.credential == credential):
            own, other = (await manager.create())[0].id, (await manager.create())[0].id
            status, body = await status_of(manager, case, own, other)
            coded = case.method == "HEAD" or status not in CODES or CODES[status].encode() in body
            if status != case.status or not coded:
                wrong.append((case, status, body))
        assert not wrong


@pytest.mark.parametrize(
    "authorization",
    [
        *("", "Bearer", "Bearer ", "Bearer  ", f"bearer {MASTER}", f"BEARER {MASTER}", f"Basic {MASTER}", MASTER),
        *(
            f"Bearer{MASTER}",
            f"Bearer {MASTER}x",
            f"Bearer x{MASTER}",
            f"Bearer {MASTER[:-1]}",
            f"Bearer {MASTER.upper()}",
        ),
        *(f"Bearer {MASTER}, Bearer {MASTER}", f"Bearer\t{MASTER}", "Bearer \xe9", "Bearer .", "Bearer a.b"),
    ],
)
async def test_what_is_no_credential_is_answered_401(manager: Manager, authorization: str) -> None:
    answer = await manager.ask("GET", "/v1/sessions", None, authorization=authorization)
    assert answer.status == 401
    assert ("WWW-Authenticate", "Bearer") in answer.headers


async def test_blanks_around_a_token_are_nothing(manager: Manager) -> None:
    answer = await manager.ask("GET", "/v1/sessions", None, authorization=f"Bearer   {MASTER}  ")
    assert answer.status == 200


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/", "/v1/jobsXYZ", "/v1/sessions/a/b/c", "/v1//jobs", "/%76%31/x"])
async def test_an_unknown_path_below_v1_is_401_without_a_token_and_404_with_one(manager: Manager, path: str) -> None:
    assert (await manager.ask("GET", path, None)).status == 401
    assert (await manager.ask("GET", path)).status == 404
    assert (await manager.ask("GET", path, manager.app.tokens.issue(str(uuid.uuid4())).text)).status == 404


@pytest.mark.parametrize("path", ["/", "/nothing", "/v1", "/V1/sessions", "/health", "/health/x"])
async def test_an_unknown_path_elsewhere_is_404_for_everybody(manager: Manager, path: str) -> None:
    assert (await manager.ask("GET", path, None)).status == 404


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/health/ready/"])
@pytest.mark.parametrize("token", [None, "wrong", MASTER])
async def test_a_wrong_method_on_health_is_405_whoever_asks(manager: Manager, path: str, token: str | None) -> None:
    answer = await manager.ask("POST", path, token)
    assert answer.status == 405
    assert ("Allow", "GET, HEAD, OPTIONS") in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/sessions", "GET, HEAD, OPTIONS, POST"),
        ("PATCH", f"/v1/sessions/{uuid.uuid4()}", "DELETE, GET, HEAD, OPTIONS"),
        ("GET", f"/v1/sessions/{uuid.uuid4()}/token", "OPTIONS, POST"),
    ],
)
async def test_a_wrong_method_elsewhere_is_401_and_then_405(
    manager: Manager, method: str, path: str, allow: str
) -> None:
    assert (await manager.ask(method, path, None)).status == 401
    answer = await manager.ask(method, path)
    assert (answer.status, dict(answer.headers)["Allow"]) == (405, allow)


async def test_a_token_of_a_session_that_is_gone_gets_404_and_not_401(manager: Manager) -> None:
    managed, token = await manager.create()
    await manager.pool.delete(managed.id)
    for path in ("/v1/jobs", "/v1/jobs/x/events", "/v1/context", f"/v1/sessions/{managed.id}"):
        answer = await manager.ask("GET", path, token)
        assert (answer.status, b"SESSION_NOT_FOUND" in answer.body) == (404, True)
    assert (await manager.ask("GET", "/health/ready", token)).status == 200


async def test_who_has_a_mount_under_a_prefix_needs_the_same_tokens(manager: Manager) -> None:

    mounts = [manager.app.mount("/manager")]
    for path, status in (("/manager/v1/sessions", 401), ("/manager/health/live", 200), ("/manager/v1/jobs", 401)):
        assert (await respond(mounts, Request("GET", path))).status == status
    fields = {"authorization": f"Bearer {MASTER}"}
    assert (await respond(mounts, Request("GET", "/manager/v1/sessions", fields))).status == 200
