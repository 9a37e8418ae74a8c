"""Chat completions: requests as queries, and runs as completions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.domain import Message
from agentd.errors import StoreFailed
from agentd.faces.agent import completions
from agentd.faces.agent import requests as queries
from agentd.faces.agent.completion_requests import Completion, Refused, read, refusal_of
from agentd.faces.agent.completions import CompletionFrames, answer_error, completion
from agentd.faces.agent.fields import Unprocessable
from agentd.faces.agent.models import ModelNames
from agentd.faces.agent.streams import Run
from agentd.faces.agent.terms import Terms
from agentd.store.fold import History, SessionState
from agentd.store.home import Home
from agentd.store.view import LogReader
from agentd.wire import sse
from tests.agentlogs import jobs_of, made, tailing
from tests.workshop import Workshop

PIXEL = "iVBORw0KGgo="


def asking(*messages: dict[str, Any], **fields: Any) -> Completion:
    return read(json.dumps({"model": "sonnet", "messages": list(messages) or [user("Hi")], **fields}).encode())


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def refused(body: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        read(body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value


# --- Requests -----------------------------------------------------------------------------------------------------


def test_the_last_message_is_the_prompt_and_system_messages_are_the_system_prompt() -> None:
    asked = asking({"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Be kind."}, user("Hi"))
    assert asked.fields == {"model": "sonnet", "prompt": "Hi", "system_prompt": "Be brief.\n\nBe kind."}
    assert (asked.history, asked.stream, asked.include_usage) == ([], False, False)


def history_of(asked: Completion, tmp_path: Path) -> tuple[Message, ...]:
    """As a model sees it, in a session that begins with it."""
    session = Home(tmp_path / "data").create_session("agent", tmp_path, "s", fill=lambda made: asked.history)
    state = SessionState()
    with LogReader(session.log_path) as reader:
        state.apply_all(reader.records())
    history: History = state.history
    return history.view()


def test_earlier_messages_are_what_its_session_begins_with(tmp_path: Path) -> None:
    function = {"name": "look", "arguments": '{"at": 1}'}
    asked = asking(
        user("One?"),
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c", "content": "found"},
        {"role": "assistant", "content": "One."},
        {"role": "assistant", "content": ""},
        user("Two?"),
    )
    said = history_of(asked, tmp_path)
    assert [(message.role, message.text) for message in said] == [
        ("user", "One?"),
        ("assistant", ""),
        ("user", ""),
        ("assistant", "One."),
    ]
    assert said[1].calls[0].input == {"at": 1}


def test_pictures_go_with_the_prompt() -> None:
    parts = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {"type": "image_url", "image_url": {"url": "http://localhost/a.png"}},
    ]
    fields = asking(user(parts)).fields
    assert fields["prompt"] == "What is it?"
    assert fields["images"] == [
        {"type": "base64", "media_type": "image/png", "data": PIXEL},
        {"type": "url", "media_type": "image/png", "data": "http://localhost/a.png"},
    ]


def test_pictures_of_earlier_messages_stay_where_they_were() -> None:
    parts = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]
    [entry] = asking(user(parts), user("And now?")).history
    assert [(block["type"], block["data"]) for block in entry.data["content"]] == [("image", PIXEL)]


@pytest.mark.parametrize(
    ("wanted", "output"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "json"}),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
            {"type": "json_schema", "schema": {"type": "object"}},
        ),
    ],
)
def test_an_answer_may_have_to_be_json(wanted: Any, output: Any) -> None:
    asked = asking(response_format=wanted)
    assert (asked.fields.get("output_format"), asked.is_structured) == (output, output is not None)


def test_a_header_says_the_permission_mode() -> None:
    body = json.dumps({"model": "opus", "messages": [user("Hi")], "user": "me"}).encode()
    assert read(body, "acceptEdits").fields == {
        "model": "opus",
        "prompt": "Hi",
        "permission_mode": "acceptEdits",
        "user": "me",
    }


def test_what_a_request_becomes_is_a_query(tmp_path: Path) -> None:
    asked = asking({"role": "system", "content": "Be brief."}, user("Hi"), response_format={"type": "json_object"})
    query = queries.prompt(asked.fields, Terms(tmp_path))
    assert (query.prompt, query["system_prompt"], query["output_format"]["type"]) == ("Hi", "Be brief.", "json")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        ([], None),
        ({"messages": [user("Hi")]}, "model"),
        ({"model": 1, "messages": [user("Hi")]}, "model"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": []}, "messages"),
        ({"model": "m", "messages": ["Hi"]}, "messages"),
        ({"model": "m", "messages": [user(None)]}, "messages"),
        ({"model": "m", "messages": [user([{"type": "input_audio"}])]}, "messages"),
        ({"model": "m", "messages": [user("Hi"), {"role": "assistant", "content": "Ho"}]}, "messages"),
        ({"model": "m", "messages": [{"role": "robot", "content": "Ho"}, user("Hi")]}, "messages"),
        ({"model": "m", "messages": [{"role": "assistant", "tool_calls": [1]}, user("Hi")]}, "messages"),
        ({"model": "m", "messages": [{"role": "assistant", "tool_calls": 1}, user("Hi")]}, "messages"),
        ({"model": "m", "messages": [{"role": ["user"], "content": "Hi"}]}, "messages"),
        ({"model": "m", "messages": [user("Hi")], "n": 2}, "n"),
        ({"model": "m", "messages": [user("Hi")], "tool_choice": "required"}, "tool_choice"),
        ({"model": "m", "messages": [user("Hi")], "response_format": {"type": "poem"}}, "response_format"),
    ],
)
def test_what_cannot_be_a_query_is_refused_by_the_field_that_is_wrong(body: Any, param: str | None) -> None:
    problem = refused(body)
    answer = answer_error(problem)
    told = json.loads(answer.body)["error"]
    assert (answer.status, told["param"], told["type"]) == (400, param, "invalid_request_error")


def test_a_model_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(Unprocessable) as caught:
        queries.prompt(asking(model="gpt-9").fields, Terms(tmp_path))
    problem = refusal_of(caught.value)
    assert (problem.status, problem.param, problem.why) == (404, "model", "model_not_found")
    assert json.loads(answer_error(caught.value).body)["error"]["code"] == "model_not_found"


def test_what_else_goes_wrong_is_told_in_the_same_shape() -> None:
    answer = answer_error(StoreFailed("the disk is full"))
    assert (answer.status, json.loads(answer.body)["error"]["type"]) == (503, "server_error")


def test_models_are_listed_and_looked_up() -> None:
    names = ModelNames(configured=("small",))
    listed = completions.models(names)
    assert [each["id"] for each in listed["data"]] == ["sonnet", "opus", "haiku", "small"]
    assert completions.model(names, "small") in listed["data"]
    with pytest.raises(Refused):
        completions.model(names, "gpt-9")


SCALARS = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["user", "assistant", "tool", "auto", "x"])
NAMES = st.sampled_from(
    [
        *("role", "content", "type", "text", "image_url", "url", "tool_calls", "id", "function", "name", "arguments"),
        *("model", "messages", "n", "tool_choice", "response_format", "stream_options", "user"),
    ]
)
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4))
MESSAGES = st.lists(st.dictionaries(NAMES, ANYTHING, max_size=4) | st.just(user("Hi")), max_size=4)


@settings(max_examples=300, deadline=None)
@given(fields=st.dictionaries(NAMES, ANYTHING, max_size=3), messages=MESSAGES)
def test_any_request_is_a_query_or_refused(fields: dict[str, Any], messages: list[Any]) -> None:
    try:
        asked = read(json.dumps({"model": "sonnet", "messages": [*messages, user("Hi")], **fields}).encode())
    except Refused:
        return
    assert asked.fields["prompt"] == "Hi"
    assert all(entry.data["content"] for entry in asked.history)


# --- Runs ---------------------------------------------------------------------------------------------------------


async def told(workshop: Workshop, name: str, asked: Completion) -> tuple[completions.Whole, list[str]]:
    """That run as a whole completion, and what a stream of it says."""
    session, records = await made(workshop, name)
    async with tailing(session) as tail:
        run = Run(session.id, jobs_of(records)[0])
        whole = await completion(tail, run, asked, 1)
        frames, stream, at = CompletionFrames(tail, run, asked), b"", 0
        while (raw := frames.read(at))[0]:
            stream, at = stream + raw[0], raw[1]
        assert frames.ended(at)
        return whole, [event.data for event in sse.Decoder().feed(stream)]


def content_of(stream: list[str]) -> str:
    chunks = [json.loads(each) for each in stream[:-1]]
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


@pytest.mark.parametrize("name", ["answer", "tools", "subagents", "out_of_turns", "two_runs", "builtin"])
async def test_a_stream_says_what_a_whole_completion_does(workshop: Workshop, name: str) -> None:
    whole, stream = await told(workshop, name, asking())
    assert stream[-1] == "[DONE]"
    [choice] = whole.body["choices"]
    assert content_of(stream) == choice["message"]["content"]
    assert json.loads(stream[-2])["choices"][0]["finish_reason"] == choice["finish_reason"]


async def test_an_answer_is_a_completion(workshop: Workshop) -> None:
    whole, stream = await told(workshop, "answer", asking())
    assert (whole.status, whole.body["object"], whole.body["model"]) == (200, "chat.completion", "sonnet")
    [choice] = whole.body["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Hello, world.", "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert whole.body["usage"] == {
        "prompt_tokens": 1200,
        "completion_tokens": 40,
        "total_tokens": 1240,
        "prompt_tokens_details": {"cached_tokens": 1000},
    }
    assert json.loads(stream[0])["choices"][0]["delta"] == {"role": "assistant", "content": ""}


async def test_texts_between_calls_are_parted_by_an_empty_line(workshop: Workshop) -> None:
    whole, _ = await told(workshop, "without_partials", asking())
    assert whole.body["choices"][0]["message"]["content"] == "Let me look.\n\nDone."


async def test_where_json_is_asked_for_the_last_text_is_the_answer(workshop: Workshop) -> None:
    whole, stream = await told(workshop, "without_partials", asking(response_format={"type": "json_object"}))
    assert whole.body["choices"][0]["message"]["content"] == content_of(stream) == "Done."


async def test_a_run_that_is_out_of_turns_was_too_long(workshop: Workshop) -> None:
    whole, _ = await told(workshop, "out_of_turns", asking())
    assert whole.body["choices"][0]["finish_reason"] == "length"


async def test_a_last_chunk_says_what_was_used_where_that_is_asked_for(workshop: Workshop) -> None:
    asked = asking(stream=True, stream_options={"include_usage": True})
    whole, stream = await told(workshop, "answer", asked)
    *others, last = [json.loads(each) for each in stream[:-1]]
    assert (last["choices"], last["usage"]) == ([], whole.body["usage"])
    assert {chunk["usage"] for chunk in others} == {None}


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("no_such_model", 404, "model_not_found"),
        ("breaks_off", 502, "provider_error"),
        ("interrupted", 500, "agent_error"),
    ],
)
async def test_a_run_that_failed_is_an_error_that_is_not_to_be_tried_again(
    workshop: Workshop, name: str, status: int, code: str
) -> None:
    whole, stream = await told(workshop, name, asking())
    assert (whole.status, whole.body["error"]["code"]) == (status, code)
    assert ("x-should-retry", "false") in completions.answer(whole).headers
    assert json.loads(stream[-2]) == whole.body
    assert stream[-1] == "[DONE]"
