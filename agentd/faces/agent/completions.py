"""Runs as chat completions, in the shapes of OpenAI's API: whole, or chunk by chunk. And its list of models.

What an assistant says between its calls is part of the answer: texts are parted by an empty line, the same in a stream
and in a whole completion. Where JSON was asked for, the answer is the last text alone. A run that failed is an error:
of a whole completion by its status, in a stream by a chunk {"error": …}. Such a status comes with `x-should-retry:
false`, for what the agent did until then would be done twice.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any, NamedTuple, Self

import attrs

from agentd.daemon.tail import Tail
from agentd.domain import Record
from agentd.errors import StoreFailed
from agentd.faces.agent import answers
from agentd.faces.agent.completion_requests import Completion, Refused, refusal_of
from agentd.faces.agent.dialect import Dialect, Event
from agentd.faces.agent.fields import Unprocessable
from agentd.faces.agent.models import ModelNames
from agentd.faces.agent.streams import Frames, Run, run_events
from agentd.wire.messages import Response, to_json

DONE = "[DONE]"
STATUS = {  # of a run that failed; else 500
    "MODEL_UNAVAILABLE": (404, "model_not_found"),
    "CONTEXT_OVERFLOW": (400, "context_length_exceeded"),
    "IMAGE_FETCH_FAILED": (400, "invalid_image_url"),
    "HOOK_DENIED": (403, "hook_denied"),
    "PROVIDER_AUTH_FAILED": (502, "provider_auth_failed"),
    "PROVIDER_ERROR": (502, "provider_error"),
    "REQUEST_TIMEOUT": (504, "request_timeout"),
}
FINISH = {"max_turns_reached": "length", "max_budget_reached": "length"}  # else stop


# --- Chunks -------------------------------------------------------------------------------------------------------


@attrs.define
class Chunks:
    """Takes the events of a run, partials included, and gives what a stream of chunks says: None is its end."""

    asked: Completion
    run_id: str
    created: int = 0  # epoch seconds
    _said: bool = False  # something, in a block before this one
    _parted: bool = True  # from what was said before

    def take(self, event: Event) -> Iterator[dict[str, Any] | None]:
        match event.name:
            case "init":
                yield self._chunk({"role": "assistant", "content": ""})
            case "partial" if not self.asked.is_structured:
                yield from self._partial(event.data)
            case "error":
                yield error_of(event.data)[1]
            case "result" if not event.data["is_error"]:
                yield from self._result(event.data)
            case "done":
                yield None

    def _partial(self, data: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if data["type"] == "content_block_start" and data["content_block"]["type"] == "text":
            self._parted = not self._said
        elif data["type"] == "content_block_delta" and (text := data["delta"]["text"]):
            yield self._chunk({"content": text if self._parted else f"\n\n{text}"})
            self._said = self._parted = True

    def _result(self, data: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if self.asked.is_structured and data["result"]:
            yield self._chunk({"content": data["result"]})
        yield self._chunk({}, FINISH.get(data["stop_reason"], "stop"))
        if self.asked.include_usage:
            yield {**self._chunk({}), "choices": [], "usage": usage(data["usage"])}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        chunk = {
            "id": f"chatcmpl-{self.run_id}",
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.asked.model,
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        }
        return {**chunk, "usage": None} if self.asked.include_usage else chunk


@attrs.define
class _Told:
    """A fold: records into chunks."""

    dialect: Dialect
    chunks: Chunks

    @property
    def over(self) -> bool:
        return self.dialect.over

    def copy(self) -> Self:
        return type(self)(self.dialect.copy(), copy.copy(self.chunks))

    def apply(self, record: Record) -> list[Event]:
        if record.type == "job.created":
            self.chunks.created = record.ts // 1000
        told = (chunk for event in self.dialect.apply(record) for chunk in self.chunks.take(event))
        return [Event("done" if chunk is None else "chunk", chunk or {}, record.pos) for chunk in told]


def _encode(event: Event, ident: str) -> bytes:
    return b"data: %b\n\n" % (DONE.encode() if event.name == "done" else to_json(event.data))


class CompletionFrames(Frames):
    """The chunks of a run as frames for a feed."""

    def __init__(self, tail: Tail, run: Run, asked: Completion) -> None:
        fold = _Told(Dialect(run.session_id, run.job_id, partials=True), Chunks(asked, run.job_id))
        super().__init__(tail, fold, run.first, _encode)


# --- Whole --------------------------------------------------------------------------------------------------------


class Whole(NamedTuple):
    status: int
    body: dict[str, Any]


@attrs.define
class Gathered:
    """Takes the events of a run, partials included. `whole` is there once `done` was taken: the completion that the run
    came to, or its error."""

    chunks: Chunks
    whole: Whole | None = None
    _texts: list[str] = attrs.field(factory=list)
    _finish: str = "stop"
    _usage: dict[str, Any] = attrs.field(factory=dict)
    _error: Whole | None = None

    def take(self, event: Event) -> None:
        if event.name == "error":
            self._error = Whole(*error_of(event.data))
        if event.name == "result":
            self._usage = usage(event.data["usage"])
        for chunk in self.chunks.take(event):
            if chunk is None:
                self.whole = self._error or Whole(200, self._body())
            for choice in (chunk or {}).get("choices", ()):
                self._texts.append(choice["delta"].get("content", ""))
                self._finish = choice["finish_reason"] or self._finish

    def _body(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": "".join(self._texts), "refusal": None}
        return {
            "id": f"chatcmpl-{self.chunks.run_id}",
            "object": "chat.completion",
            "created": self.chunks.created,
            "model": self.chunks.asked.model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish}],
            "usage": self._usage,
        }


async def completion(tail: Tail, run: Run, asked: Completion, created: int) -> Whole:
    """When the run has ended. *created*: epoch seconds. Raises StoreFailed: also where the server stops before that."""
    gathered = Gathered(Chunks(asked, run.job_id, created))
    async with aclosing(run_events(tail, run, partials=True)) as events:
        async for event in events:
            gathered.take(event)
    if gathered.whole is None:
        raise StoreFailed("the server stopped before the run ended")
    return gathered.whole


def usage(counted: dict[str, int]) -> dict[str, Any]:
    """*counted*: of `result`."""
    cached = counted["cache_read_input_tokens"]
    prompt = counted["input_tokens"] + cached + counted["cache_creation_input_tokens"]
    return {
        "prompt_tokens": prompt,
        "completion_tokens": counted["output_tokens"],
        "total_tokens": prompt + counted["output_tokens"],
        "prompt_tokens_details": {"cached_tokens": cached},
    }


# --- Models -------------------------------------------------------------------------------------------------------


def models(names: ModelNames) -> dict[str, Any]:
    """GET /v1/models."""
    return {"object": "list", "data": [_model(name) for name in names.listed()]}


def model(names: ModelNames, name: str) -> dict[str, Any]:
    """GET /v1/models/{id}. Raises Refused."""
    if names.misfit(name):
        raise Refused(f"The model {name[:100]!r} does not exist", "model", "model_not_found", 404)
    return _model(name)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "agentd"}


# --- Errors -------------------------------------------------------------------------------------------------------


def error_of(told: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The status and the body for an `error` event."""
    status, code = STATUS.get(told["code"], (500, str(told["code"]).lower()))
    return status, _error(status, told["message"], None, code)


def answer(whole: Whole) -> Response:
    headers = () if whole.status == 200 else (("x-should-retry", "false"),)
    return Response(whole.status, to_json(whole.body), answers.JSON_TYPE, headers)


def answer_error(exc: Exception) -> Response:
    """What answers.answer_error() says, in OpenAI's shape."""
    if isinstance(exc, Unprocessable):
        exc = refusal_of(exc)
    if isinstance(exc, Refused):
        return answers.json_answer(exc.status, _error(exc.status, str(exc), exc.param, exc.why))
    plain = answers.answer_error(exc)
    told = json.loads(plain.body)
    code = told.get("error", {}).get("code", "INVALID_REQUEST").lower()
    message = told["detail"] if isinstance(told["detail"], str) else "; ".join(item["msg"] for item in told["detail"])
    return answers.json_answer(plain.status, _error(plain.status, message, None, code), plain.headers)


def _error(status: int, message: str, param: str | None, code: str | None) -> dict[str, Any]:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
