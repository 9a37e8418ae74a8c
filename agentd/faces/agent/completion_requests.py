"""Requests for chat completions, as queries; and what is wrong with them, in the shape that OpenAI's clients read.

POST /v1/chat/completions is one query in a session of its own: its history is the messages before the last one, which
is the prompt; `system` and `developer` messages are the system prompt. Tools are the agent's and stay inside of it: the
client's (`tools`, `functions`) are never called, so a request that insists on them is refused. Nobody can be asked.
What only tunes a model (temperature, max_tokens, stop …) has no effect.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import attrs

from agentd.domain import Entry, Image, Text, ToolUse, block_to_json
from agentd.errors import AgentdError
from agentd.faces.agent.fields import Unprocessable
from agentd.providers.assemble import parse_input
from agentd.wire.typed import NotJson, parse

SYSTEM = frozenset({"system", "developer"})
MOST_MESSAGES = 10_000
_DATA_URL = re.compile(r"data:(image/[a-z]+);base64,(.*)", re.DOTALL)
_PARAMS = {"prompt": "messages", "system_prompt": "messages", "images": "messages", "output_format": "response_format"}


class Refused(AgentdError):
    """A request that cannot be a query. *param*: the field of it that is wrong."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param, self.why, self.status = param, code, status


@attrs.frozen
class Completion:
    """*fields*: of the query, for requests.prompt(). *history*: the records that its session begins with."""

    model: str
    fields: Mapping[str, Any] = attrs.field(repr=False)
    history: Sequence[Entry] = attrs.field(default=(), repr=False)
    stream: bool = False
    include_usage: bool = False  # a last chunk of a stream says what it took

    @property
    def is_structured(self) -> bool:
        """Whether its answer is JSON and nothing else."""
        return "output_format" in self.fields


def read(body: bytes, permission_mode: str = "") -> Completion:
    """*permission_mode*: of the header X-Permission-Mode. Raises Refused."""
    try:
        asked = parse(body)
    except NotJson as exc:
        raise Refused("the body of the request is not JSON") from exc
    if not isinstance(asked, dict):
        raise Refused("the body of the request is not a JSON object")
    _check_choices(asked)
    model = _text(asked, "model")
    if not model:
        raise Refused("you must provide a model", "model")
    fields: dict[str, Any] = {"model": model, **_said(_messages(asked)), **_format(asked)}
    fields |= {"permission_mode": permission_mode} if permission_mode else {}
    fields |= {"user": _text(asked, "user")} if asked.get("user") else {}
    history = fields.pop("history")
    options = asked.get("stream_options")
    include_usage = isinstance(options, dict) and options.get("include_usage") is True
    return Completion(model, fields, history, asked.get("stream") is True, include_usage)


def refusal_of(problem: Unprocessable) -> Refused:
    """What is wrong with the query that a request became, by the request's own fields."""
    names = [str(item["loc"][1]) if len(item["loc"]) > 1 else "" for item in problem.items]
    message = "; ".join(str(item["msg"]) for item in problem.items)
    if "model" in names:
        return Refused(message, "model", "model_not_found", 404)
    name = names[0] if names else ""
    return Refused(message, _PARAMS.get(name, name) or None)


def _check_choices(asked: Mapping[str, Any]) -> None:
    if asked.get("n") not in (None, 1):
        raise Refused("there is one answer: n has to be 1", "n")
    for name in ("tool_choice", "function_call"):
        if asked.get(name) not in (None, "none", "auto"):
            raise Refused("the agent calls its own tools, and none of the client's", name, "unsupported_parameter")


def _text(asked: Mapping[str, Any], name: str) -> str:
    value = asked.get(name)
    if value is not None and not isinstance(value, str):
        raise Refused(f"{name} has to be a string", name)
    return value or ""


def _format(asked: Mapping[str, Any]) -> dict[str, Any]:
    wanted = asked.get("response_format")
    match wanted:
        case None | {"type": "text"}:
            return {}
        case {"type": "json_object"}:
            return {"output_format": {"type": "json"}}
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return {"output_format": {"type": "json_schema", "schema": schema}}
    raise Refused("response_format is of no type that there is", "response_format")


# --- Messages -----------------------------------------------------------------------------------------------------


def _messages(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        raise Refused("messages has to be a list of objects, each with a role", "messages")
    if len(messages) > MOST_MESSAGES:
        raise Refused(f"there are more than {MOST_MESSAGES} messages", "messages")
    return messages


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str)


def _said(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of the query: prompt, images, system_prompt; and its history."""
    spoken = [(number, each) for number, each in enumerate(messages) if each.get("role") not in SYSTEM]
    if not spoken or spoken[-1][1].get("role") != "user":
        raise Refused("the last message has to be of role user", "messages")
    system = [_plain(_parts(each, number)) for number, each in enumerate(messages) if each.get("role") in SYSTEM]
    prompt = _parts(spoken[-1][1], spoken[-1][0])
    history = [_entry(each, number) for number, each in spoken[:-1]]
    said: dict[str, Any] = {"prompt": _plain(prompt), "history": [each for each in history if each.data["content"]]}
    said |= {"system_prompt": "\n\n".join(system)} if system else {}
    images = [_asked_image(part) for part in prompt if not isinstance(part, str)]
    return said | ({"images": images} if images else {})


def _entry(message: Mapping[str, Any], number: int) -> Entry:
    """A message of the history as a record of no job."""
    parts = _parts(message, number)
    match message.get("role"):
        case "user":
            return _record("user", [_block(part) for part in parts if part])
        case "assistant":
            calls = [_call(each, number) for each in _list_of_calls(message, number)]
            return _record("assistant", [*(_block(part) for part in parts if part), *calls])
        case "tool":
            return _result(message, parts)
    raise Refused(f"messages[{number}].role is none that there is", "messages")


def _record(role: str, content: list[dict[str, Any]]) -> Entry:
    return Entry("message", {"id": str(uuid.uuid4()), "role": role, "content": content, "model": None, "usage": None})


def _result(message: Mapping[str, Any], parts: Sequence[str | Mapping[str, Any]]) -> Entry:
    told = {"call": str(message.get("tool_call_id")), "name": "", "subject": "", "ok": True, "summary": ""}
    return Entry(
        "tool.finished",
        {**told, "duration_ms": 0, "content": [_block(part) for part in parts or [""]], "artifact": None},
    )


def _list_of_calls(message: Mapping[str, Any], number: int) -> list[Any]:
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise Refused(f"messages[{number}].tool_calls has to be a list", "messages")
    return calls


def _call(call: Any, number: int) -> dict[str, Any]:
    match call:
        case {"id": str(call_id), "function": {"name": str(name), "arguments": str(arguments)}}:
            return block_to_json(ToolUse(call_id, name, parse_input(arguments)))
    raise Refused(f"messages[{number}].tool_calls has one without id, name or arguments", "messages")


def _parts(message: Mapping[str, Any], number: int) -> list[str | Mapping[str, Any]]:
    """Texts, and image_url parts as they came."""
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    if content is None and message.get("role") == "assistant":
        return []
    if not isinstance(content, list):
        raise Refused(f"messages[{number}].content has to be a string or a list of parts", "messages")
    return [_part(part, number) for part in content]


def _part(part: Any, number: int) -> str | Mapping[str, Any]:
    match part:
        case {"type": "text" | "refusal" as kind} if isinstance(part.get(kind), str):
            return cast("str", part[kind])
        case {"type": "image_url", "image_url": {"url": str()}}:
            return cast("Mapping[str, Any]", part)
    raise Refused(f"messages[{number}].content has a part that is neither text nor image_url", "messages")


def _plain(parts: Iterable[str | Mapping[str, Any]]) -> str:
    return "\n".join(part for part in parts if isinstance(part, str))


def _asked_image(part: Mapping[str, Any]) -> dict[str, Any]:
    """As a query has it. The type of one that is fetched is seen when it is there."""
    url = part["image_url"]["url"]
    if found := _DATA_URL.fullmatch(url):
        return {"type": "base64", "media_type": found[1], "data": found[2]}
    return {"type": "url", "media_type": "image/png", "data": url}


def _block(part: str | Mapping[str, Any]) -> dict[str, Any]:
    """As a log has it. An earlier image that would have to be fetched anew is only named."""
    if isinstance(part, str):
        return block_to_json(Text(part))
    image = _asked_image(part)
    if image["type"] == "url":
        return block_to_json(Text(f"[image: {image['data']}]"))
    return block_to_json(Image(image["media_type"], image["data"]))
