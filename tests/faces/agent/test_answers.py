"""The agent API's errors: the table of the contract, 1.2."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentd import errors
from agentd.faces.agent import answers
from agentd.faces.agent.answers import answer_error
from agentd.faces.agent.fields import Unprocessable
from agentd.wire.jsonschema import compile_schema
from agentd.wire.messages import Request, Response, to_json

ID = "4f0c"
REQUEST = Request("GET", "/nowhere")
ROWS: list[tuple[Response, int, str, str, dict[str, Any]]] = [
    (
        answer_error(errors.InvalidCheckpoint("c1")),
        400,
        "INVALID_CHECKPOINT",
        "Checkpoint 'c1' is not valid for session",
        {"checkpoint_id": "c1"},
    ),
    (answers.unauthorized(missing=True), 401, "AUTHENTICATION_ERROR", "Invalid or missing API key", {}),
    (answers.unauthorized(missing=False), 401, "AUTHENTICATION_ERROR", "Invalid or missing API key", {}),
    (answers.not_found(REQUEST), 404, "NOT_FOUND", "Not Found", {}),
    (answer_error(errors.SessionNotFound(ID)), 404, "SESSION_NOT_FOUND", "Session 4f0c not found", {"session_id": ID}),
    (answers.method_not_allowed(REQUEST), 405, "METHOD_NOT_ALLOWED", "Method Not Allowed", {}),
    (answer_error(answers.SessionLocked(ID)), 409, "SESSION_LOCKED", "Session '4f0c' is currently in use", {}),
    (answer_error(errors.PayloadTooLarge(9)), 413, "PAYLOAD_TOO_LARGE", "Request body too large", {}),
    (
        answer_error(answers.RateLimited(10, 7)),
        429,
        "RATE_LIMIT_EXCEEDED",
        "Rate limit exceeded: 10 per 1 minute",
        {"retry_after": 7},
    ),
    (answer_error(ValueError("secret")), 500, "INTERNAL_ERROR", "An unexpected error occurred", {}),
    (
        answer_error(answers.ShuttingDown()),
        503,
        "SERVICE_UNAVAILABLE",
        "Service is shutting down, not accepting new requests",
        {"retry_after": 30},
    ),
    (answer_error(answers.TimedOut()), 504, "REQUEST_TIMEOUT", "Request timed out", {}),
]


def told(answer: Response) -> Any:
    assert answer.content_type == "application/json"
    return json.loads(answer.body)


@pytest.mark.parametrize(("answer", "status", "code", "detail", "details"), ROWS, ids=lambda value: str(value)[:20])
def test_an_error_is_told_in_both_shapes(
    answer: Response, status: int, code: str, detail: str, details: dict[str, Any]
) -> None:
    found = told(answer)
    message = found["error"].pop("message")
    assert (answer.status, found) == (status, {"detail": detail, "error": {"code": code, "details": details}})
    assert message == detail or status == 401


def test_whether_a_key_is_missing_or_wrong_is_in_the_message() -> None:
    assert told(answers.unauthorized(missing=True))["error"]["message"] == "Missing API key"
    assert told(answers.unauthorized(missing=False))["error"]["message"] == "Invalid API key"


def test_an_id_is_told_as_it_was_sent() -> None:
    found = told(answer_error(errors.SessionNotFound("nonexistent-session-id")))
    assert found["detail"] == "Session nonexistent-session-id not found"


@pytest.mark.parametrize("exc", [answers.SessionLocked(ID), errors.JobInProgress("RUNNING"), errors.Busy(8)])
def test_what_passes_says_when_to_come_back(exc: errors.AgentdError) -> None:
    assert dict(answer_error(exc).headers) == {"Retry-After": "5"}


def test_at_a_limit_that_is_when_its_minute_is_over() -> None:
    assert dict(answer_error(answers.RateLimited(10, 7)).headers) == {"Retry-After": "7"}


def test_at_shutdown_that_is_half_a_minute() -> None:
    assert dict(answer_error(answers.ShuttingDown()).headers) == {"Retry-After": "30"}


def test_what_is_wrong_with_a_request_is_a_list() -> None:
    items = [{"type": "missing", "loc": ["body", "prompt"], "msg": "Field required"}]
    answer = answer_error(Unprocessable(items))
    assert (answer.status, told(answer)) == (422, {"detail": items})


def test_a_refusal_of_the_rooms_below_is_a_422_too() -> None:
    answer = answer_error(errors.InvalidRequest(["this is no cursor @ $.after"]))
    [item] = told(answer)["detail"]
    assert answer.status == 422
    assert item == {
        "type": "value_error",
        "loc": ["body"],
        "msg": "this is no cursor @ $.after",
        "ctx": {"error": "this is no cursor @ $.after"},
    }


def test_errors_are_what_their_schema_says() -> None:
    schemas = answers.schemas()
    for answer, *_ in ROWS:
        assert compile_schema(schemas["Error"]).errors(told(answer)) == []
    refused = answer_error(Unprocessable([{"type": "missing", "loc": ["body", 3], "msg": "Field required"}]))
    assert compile_schema(schemas["ValidationError"]).errors(told(refused)) == []


def test_a_bug_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    assert b"secret" not in to_json(told(answer_error(ValueError("secret"))))
    assert "secret" in caplog.text
