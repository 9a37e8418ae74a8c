"""What the daemon writes about its work, and what it keeps out of it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from agentd.daemon.logs import configure, configure_plain
from agentd.errors import ToolFailed
from agentd.wire.observer import current

SESSION_TOKEN = "eyJzZXNzaW9uSWQiOiJhMzEyYWE0MCJ9.x2Jp0lq9HcVfQhY3cN0q1w5ZyE8"
logger = logging.getLogger("agentd.daemon.pool")


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    root, raising = logging.getLogger(), logging.raiseExceptions
    before, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:], logging.raiseExceptions = before, raising
    root.setLevel(level)


def as_json(logged: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logged.getvalue().splitlines()]


def fail(exc: Exception) -> Exception:
    try:
        raise exc
    except type(exc) as raised:
        return raised


def test_a_line_says_when_how_grave_where_and_what(logged: io.StringIO) -> None:
    configure("text", "info", logged)
    logger.warning("%d executors are dead", 3)
    when, what = logged.getvalue().rstrip("\n").split(" ", 1)
    assert what == "WARNING daemon.pool 3 executors are dead"
    assert len(when) == len("2026-11-22T06:10:02.123Z")


def test_an_executor_says_who_speaks_and_keeps_as_much_to_itself(logged: io.StringIO) -> None:
    configure_plain("agentd executor", "warning", logged)
    logger.info("quiet")
    logger.error("unhandled error", exc_info=fail(KeyError("private")))
    first, *rest = logged.getvalue().splitlines()
    assert first == "agentd executor: ERROR unhandled error"
    assert rest[0] == "    KeyError"
    assert "private" not in logged.getvalue()


def test_json_says_the_same_by_name(logged: io.StringIO) -> None:
    configure("json", "info", logged)
    logger.info("session %s", "a", extra={"fields": {"status": 201}})
    [line] = as_json(logged)
    assert line.pop("time").endswith("Z")
    assert line == {"level": "info", "source": "daemon.pool", "message": "session a", "status": 201}


@pytest.mark.parametrize(("form", "shown"), [("text", "gone, session=a-1\n"), ("json", '"session": "a-1"')])
def test_a_line_says_which_session_it_is_about(logged: io.StringIO, form: str, shown: str) -> None:
    configure(form, "info", logged)
    logger.info("gone", extra={"session": "a-1"})
    assert shown in logged.getvalue()


@pytest.mark.parametrize(("form", "shown"), [("text", " [4f2c-1] "), ("json", '"request": "4f2c-1"')])
def test_a_line_says_which_request_it_is_about(logged: io.StringIO, form: str, shown: str) -> None:
    configure(form, "info", logged)
    token = current.set("4f2c-1")
    logger.info("made a worktree")
    current.reset(token)
    assert shown in logged.getvalue()


def test_what_is_below_the_level_is_not_written(logged: io.StringIO) -> None:
    configure("text", "warning", logged)
    logger.info("quiet")
    assert logged.getvalue() == ""


def test_no_text_can_pass_for_a_line_of_ours_or_move_the_cursor(logged: io.StringIO) -> None:
    configure("text", "info", logged)
    logger.info("exit code 1\n2026-11-22T06:10:02.123Z ERROR forged\x1b[2J\rx")
    assert [line[:4] for line in logged.getvalue().splitlines()][1:] == ["    "]
    assert not {"\x1b", "\r"} & set(logged.getvalue())


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer s3cret-master-token",
        f"token {SESSION_TOKEN} is not valid",
        "cannot reach http://user:s3cret@proxy:8080",
        "Incorrect API key provided: sk-s3cret123456",
        "api_key=s3cret99912",
    ],
)
def test_what_looks_like_a_secret_is_not_written(logged: io.StringIO, form: str, text: str) -> None:
    configure(form, "debug", logged)
    logger.info("%s", text)
    assert "s3cret" not in logged.getvalue()
    assert SESSION_TOKEN not in logged.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
def test_of_a_foreign_error_its_kind_and_place_are_written_and_not_its_text(logged: io.StringIO, form: str) -> None:
    configure(form, "info", logged)
    cause = fail(ValueError("the prompt was: our private plan"))
    exc = ExceptionGroup("several", [fail(KeyError("private too")), fail(ToolFailed("git is missing"))])
    exc.__cause__ = cause
    logger.error("unhandled error", exc_info=exc)
    written = logged.getvalue()
    assert "private" not in written
    for word in ("ExceptionGroup", "KeyError", "ToolFailed: git is missing", "ValueError", "test_logs.py", "fail"):
        assert word in written


def test_of_what_the_system_refused_the_reason_is_written(logged: io.StringIO) -> None:
    configure("text", "info", logged)
    logger.error("cannot", exc_info=fail(OSError(28, "No space left on device")))
    assert "OSError: No space left on device" in logged.getvalue()


def test_errors_that_lead_in_a_circle_end(logged: io.StringIO) -> None:
    configure("text", "info", logged)
    one, two = fail(ValueError()), fail(TypeError())
    one.__cause__, two.__cause__ = two, one
    logger.error("odd", exc_info=one)
    assert logged.getvalue().count("ValueError") == 1


def test_a_reader_that_has_gone_stops_nobody() -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    before, raising, level = root.handlers[:], logging.raiseExceptions, root.level
    configure("text", "info", stream)
    stream.close()
    logger.info("nobody hears this")
    root.handlers[:], logging.raiseExceptions = before, raising
    root.setLevel(level)
