"""The dialect of the executor API: records in, events and status out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentd.domain import JobState, Record
from agentd.faces.executor.dialect import events_of, state_of, status
from agentd.store.fold import JobView


def record(kind: str, **data: Any) -> Record:
    return Record(7, 1000, "job-1", kind, data)


def plain(kind: str, *, fresh: bool = False, **data: Any) -> list[tuple[str, Any]]:
    events = [event.to_json(1, 0, plain=True) for event in events_of(record(kind, **data), fresh=fresh)]
    return [(event["type"], event["data"]) for event in events]


def test_a_job_begins_with_a_notification_that_names_it() -> None:
    assert plain("job.created") == [("NOTIFICATION", "Job started: job-1")]


def test_text_is_a_string_in_the_array_and_a_structure_elsewhere() -> None:
    [event] = events_of(record("text.delta", message="m", block=0, text="hi"), fresh=True)
    assert event.to_json(3, 5, plain=True) == {"seq": 3, "timestamp": 5, "type": "LLM_TOKEN", "data": "hi"}
    assert event.to_json(3, 5, plain=False)["data"]["isNewMessage"] is True


def test_a_tool_call_carries_its_input_as_json_text() -> None:
    [(kind, data)] = plain("tool.started", call="c", name="Read", input={"file_path": "a"}, subject="a")
    assert (kind, json.loads(data["arguments"]), data["destructive"]) == ("TOOL_CALL", {"file_path": "a"}, False)


def test_a_command_is_also_told_as_one() -> None:
    started = plain("tool.started", call="c", name="Bash", input={"command": "ls"}, subject="ls")
    assert [kind for kind, _ in started] == ["TOOL_CALL", "COMMAND_START"]
    finished: dict[str, Any] = {
        "call": "c",
        "name": "Bash",
        "ok": False,
        "subject": "ls",
        "summary": "",
        "content": [{"type": "text", "text": "x"}],
    }
    told = plain("tool.finished", **finished)
    assert [kind for kind, _ in told] == ["COMMAND_RESULT", "TOOL_OUTPUT"]
    assert told[0][1]["success"] is False


def end(outcome: str, error: dict[str, str] | None = None, files: int = 0) -> dict[str, Any]:
    diff = {"files": files, "added": 1, "removed": 0, "sha256": "0"}
    return {"outcome": outcome, "error": error, "diff": diff, "stop_reason": "error", "result": "text"}


def test_a_failed_job_ends_with_its_error() -> None:
    events = plain("job.finished", **end("failed", {"code": "X", "message": "it broke"}))
    assert events[-1] == ("ERROR", "it broke")


def test_an_interrupted_job_says_that_the_executor_was_restarted() -> None:
    events = plain("job.finished", **end("interrupted", {"code": "INTERRUPTED", "message": "it stopped"}))
    assert events[-1] == ("ERROR", "EXECUTOR_RESTARTED: it stopped")


def test_a_changed_workspace_is_hinted_at() -> None:
    assert ("STATE_HINT", {"name": "workspaceUpdated", "value": True}) in plain(
        "job.finished", **end("completed", files=1)
    )


def job(state: JobState, finished: dict[str, Any] | None = None) -> JobView:
    return JobView("job-1", {}, None, None, 1, 1000, state=state, finished=finished)


def test_a_job_at_work_has_neither_end_nor_result() -> None:
    told = status(job(JobState.RUNNING), "RUNNING", last_seq=0)
    assert (told["state"], told["endTime"], told["result"], told["metadata"]) == ("RUNNING", 0, None, {})


def test_a_cancelled_job_has_neither_error_nor_result() -> None:
    told = status(job(JobState.CANCELLED, end("cancelled")), "CANCELLED", last_seq=9)
    assert (told["state"], told["error"], told["result"]) == ("CANCELLED", None, None)
    assert told["metadata"]["lastSeq"] == "9"


@pytest.mark.parametrize(
    ("state", "at_work", "cancelling", "told"),
    [
        (JobState.RUNNING, True, True, "CANCELLING"),
        (JobState.CANCELLED, True, True, "CANCELLED"),
        (JobState.QUEUED, True, False, "RUNNING"),  # services are still asked for its model
        (JobState.QUEUED, False, False, "QUEUED"),
        (JobState.WAITING, False, False, "RUNNING"),
    ],
)
def test_the_state_of_a_job_is_what_the_executor_does_about_it(
    state: JobState, at_work: bool, cancelling: bool, told: str
) -> None:
    assert state_of(job(state), at_work=at_work, cancelling=cancelling) == told
