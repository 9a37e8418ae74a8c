"""What the session manager answers on its own account. The contract: manager.md, §4."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
import trio

from agentd import errors
from agentd.errors import ExecutorFailed, Locked, NotStarted, StoreFailed, WorktreeFailed
from agentd.faces.manager.answers import INTERNAL, SPAWN, STATUS, answer_error
from agentd.wire.failure import HttpFailed
from tests.managerapi import MANAGER_ID, Manager, code, head, read_answer
from tests.managerpool import MASTER, FakeSeat, Gate

NEW = {"name": "My Session", "repoPath": "/home/me/repo", "ref": "main"}


# --- Health -------------------------------------------------------------------------------------------------------


async def test_live_says_who_it_is(manager: Manager) -> None:
    told = json.loads((await manager.ask("GET", "/health/live", None)).body)
    assert set(told) == {"managerId", "version", "protocolVersion", "poolSize"}
    assert (told["managerId"], told["protocolVersion"], told["poolSize"]) == (MANAGER_ID, 1, 2)


async def test_ready_counts_slots(manager: Manager) -> None:
    await manager.create()
    answer = await manager.ask("GET", "/health/ready")
    assert (answer.status, json.loads(answer.body)) == (
        200,
        {"status": "ready", "activeExecutors": 1, "poolSize": 2, "availableCapacity": 1},
    )


async def test_it_is_not_ready_without_a_free_slot_and_says_that_first(manager: Manager) -> None:
    await manager.create()
    await manager.create()
    manager.bench.trees.trouble = "read-only"
    assert code(await manager.ask("GET", "/health/ready")) == (503, "NO_CAPACITY")


async def test_it_is_not_ready_without_a_place_for_worktrees(manager: Manager) -> None:
    manager.bench.trees.trouble = "the base is not writable"
    answer = await manager.ask("GET", "/health/ready")
    assert code(answer) == (503, "PROVISIONER_UNHEALTHY")
    assert json.loads(answer.body)["details"] == "the base is not writable"


# --- Creating -----------------------------------------------------------------------------------------------------


async def test_a_session_is_answered_with_its_token(manager: Manager) -> None:
    answer = await manager.ask("POST", "/v1/sessions", body=NEW)
    told = json.loads(answer.body)
    assert answer.status == 201
    assert set(told) == {"sessionId", "state", "token", "expiresAt", "branch"}
    managed = manager.pool.get(told["sessionId"])
    assert (told["state"], told["branch"]) == ("ready", managed.worktree.branch)
    assert manager.app.tokens.session_of(told["token"]) == managed.id


@pytest.mark.parametrize(
    ("body", "place"),
    [
        *((b"", "$"), (b"{", "$"), (b"[]", "$"), (b'"x"', "$"), (b"\xff", "$"), (b"null", "$")),
        *(({}, "name"), (NEW | {"name": None}, "name"), (NEW | {"name": 7}, "name"), (NEW | {"name": "  "}, "name")),
        *((NEW | {"name": "n" * 201}, "name"), (NEW | {"repoPath": " "}, "repoPath"), ({"name": "x"}, "repoPath")),
        *((NEW | {"repoPath": ["/x"]}, "repoPath"), (NEW | {"repoPath": "x"}, "repoPath"), (NEW | {"ref": 1}, "ref")),
    ],
)
async def test_a_body_that_does_not_say_what_it_has_to_is_400(manager: Manager, body: Any, place: str) -> None:
    answer = await manager.ask("POST", "/v1/sessions", body=body)
    assert code(answer) == (400, "VALIDATION_ERROR")
    assert place in json.loads(answer.body)["message"]
    assert manager.pool.free == 2


async def test_blanks_around_a_name_are_nothing_and_unknown_fields_are_ignored(manager: Manager) -> None:
    name = "n" * 200
    answer = await manager.ask("POST", "/v1/sessions", body=NEW | {"name": f"  {name}\n", "more": {}, "ref": None})
    assert answer.status == 201
    assert [managed.name for managed in manager.pool] == [name]


async def test_a_full_pool_answers_429_even_to_a_bad_body(manager: Manager) -> None:
    await manager.create()
    await manager.create()
    answer = await manager.ask("POST", "/v1/sessions", body=b"{")
    assert code(answer) == (429, "CAPACITY_EXCEEDED")
    assert ("Retry-After", "30") in answer.headers


async def test_a_full_pool_does_not_wait_for_a_body(manager: Manager) -> None:
    await manager.create()
    await manager.create()
    async with await manager.call(head("POST", "/v1/sessions", MASTER, "Content-Length: 100")) as stream:
        assert (await read_answer(stream))[0] == 429


async def test_too_large_a_body_is_413(manager: Manager) -> None:
    assert code(await manager.ask("POST", "/v1/sessions", body=b" " * (1 << 20) + b"{}")) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("failure", [WorktreeFailed, ExecutorFailed, NotStarted])
async def test_a_session_that_cannot_be_started_is_503_with_the_reason(manager: Manager, failure: type) -> None:
    def refuse(seat: FakeSeat) -> None:
        seat.refusal = failure("exit code 3\n  Traceback")

    manager.bench.seats.prepare = refuse
    answer = await manager.ask("POST", "/v1/sessions", body=NEW)
    assert code(answer) == (503, "SPAWN_FAILED")
    assert json.loads(answer.body)["details"] == "exit code 3\n  Traceback"
    assert ("Retry-After", "60") in answer.headers
    assert manager.pool.free == 2


async def test_a_client_that_hangs_up_in_the_middle_of_a_creation_leaves_nothing(manager: Manager) -> None:
    gate, undone = Gate(), trio.Event()

    def hold_up(seat: FakeSeat) -> None:
        seat.before_up = gate

    async def note() -> None:
        undone.set()

    manager.bench.seats.prepare = hold_up
    manager.bench.trees.before_remove = note
    body = json.dumps(NEW).encode()
    stream = await manager.call(head("POST", "/v1/sessions", MASTER, f"Content-Length: {len(body)}") + body)
    await gate.reached.wait()
    assert manager.pool.taken == 1
    await stream.aclose()
    with trio.fail_after(5):
        await undone.wait()
        while manager.pool.taken:  # noqa: ASYNC110  # its directory is removed in a thread
            await trio.sleep(0.001)
    assert not manager.bench.trees.standing
    assert not manager.bench.directories
    assert not manager.bench.records()


# --- Deleting, looking, renewing ----------------------------------------------------------------------------------


async def test_a_delete_is_204_without_a_body_and_then_404(manager: Manager) -> None:
    managed, _ = await manager.create()
    answer = await manager.ask("DELETE", f"/v1/sessions/{managed.id}")
    assert (answer.status, answer.body, answer.content_type) == (204, b"", None)
    assert not manager.bench.trees.standing
    assert code(await manager.ask("DELETE", f"/v1/sessions/{managed.id}")) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/v1/sessions/{uuid.uuid4()}", (404, "NOT_FOUND")),
        ("/v1/sessions/not-a-uuid", (400, "VALIDATION_ERROR")),
        ("/v1/sessions/%2e%2e", (400, "VALIDATION_ERROR")),
        ("/v1/sessions", (400, "BAD_REQUEST")),
        ("/v1/sessions/", (400, "BAD_REQUEST")),
        (f"/v1/sessions/{uuid.uuid4()}/more", (400, "BAD_REQUEST")),
        (f"/v1/sessions/{uuid.uuid4()}/token", (400, "BAD_REQUEST")),
        ("/v1/sessionsX", (404, "NOT_FOUND")),
    ],
)
async def test_a_delete_of_nothing_says_what_is_wrong(manager: Manager, path: str, expected: tuple[int, str]) -> None:
    assert code(await manager.ask("DELETE", path)) == expected


async def test_the_master_sees_every_session(manager: Manager) -> None:
    first, _ = await manager.create("first")
    second, _ = await manager.create("second")
    second.seat.die()  # type: ignore[attr-defined]
    manager.executor.play = lambda talk, asked: talk.answer(200, b'{"job": "j"}')
    told = json.loads((await manager.ask("GET", "/v1/sessions")).body)["sessions"]
    by_id = {each["sessionId"]: each for each in told}
    assert [each["sessionId"] for each in told] == [managed.id for managed in manager.pool]
    assert by_id[first.id] == {
        "sessionId": first.id,
        "name": "first",
        "repoPath": "/repo",
        "branch": first.worktree.branch,
        "commit": first.worktree.commit,
        "worktree": str(first.worktree.path),
        "created": first.created,
        "lastActivity": first.active,
        "executor": "live",
        "crashes": 0,
        "runningJob": "j",
        "problem": None,
    }
    assert (by_id[second.id]["executor"], by_id[second.id]["runningJob"]) == ("absent", None)
    one = json.loads((await manager.ask("GET", f"/v1/sessions/{first.id}")).body)
    assert one == by_id[first.id]


async def test_a_session_whose_executor_says_nonsense_is_listed_with_the_others(manager: Manager) -> None:
    await manager.create()
    manager.executor.play = lambda talk, asked: talk.answer(200, b"nonsense")
    [told] = json.loads((await manager.ask("GET", "/v1/sessions")).body)["sessions"]
    assert (told["runningJob"], told["problem"]) == (None, "not valid JSON @ $")


async def test_the_master_gets_404_for_a_session_that_is_not_there(manager: Manager) -> None:
    for method, path in (("GET", f"/v1/sessions/{uuid.uuid4()}"), ("POST", f"/v1/sessions/{uuid.uuid4()}/token")):
        assert code(await manager.ask(method, path)) == (404, "NOT_FOUND")


async def test_a_token_is_renewed(manager: Manager) -> None:
    managed, _ = await manager.create()
    answer = await manager.ask("POST", f"/v1/sessions/{managed.id.upper()}/token")
    told = json.loads(answer.body)
    assert (answer.status, set(told)) == (200, {"sessionId", "state", "token", "expiresAt"})
    assert manager.app.tokens.session_of(told["token"]) == managed.id


async def test_looking_and_renewing_are_no_activity(manager: Manager) -> None:
    managed, _ = await manager.create()
    before = managed.active
    manager.bench.now += 1000
    await manager.ask("GET", "/v1/sessions")
    await manager.ask("POST", f"/v1/sessions/{managed.id}/token")
    assert managed.active == before


# --- Errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*STATUS, *SPAWN, *INTERNAL])
def test_every_error_has_its_row(kind: type[errors.AgentdError]) -> None:
    made = kind.__new__(kind)
    Exception.__init__(made, "text")
    assert code(answer_error(made))[0] < 600


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (HttpFailed("timeout", "late"), (500, "INTERNAL_ERROR")),
        (StoreFailed("full"), (500, "INTERNAL_ERROR")),
        (Locked("taken"), (500, "INTERNAL_ERROR")),
        (ZeroDivisionError("a secret"), (500, "INTERNAL_ERROR")),
    ],
)
def test_what_goes_wrong_inside_is_told_without_secrets(exc: Exception, expected: tuple[int, str]) -> None:
    answer = answer_error(exc)
    assert code(answer) == expected
    assert b"secret" not in answer.body
