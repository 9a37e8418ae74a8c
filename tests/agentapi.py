"""The grammar of a run's events, in one place: agent-api.md, 6. Every test that sees a run has it checked by this."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from agentd.providers.assemble import INVALID_INPUT
from agentd.wire import sse

Told = tuple[str, Mapping[str, Any]]  # an event's name and its data

MODES = {"default", "acceptEdits", "plan", "bypassPermissions"}
USAGE = {"input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"}
BLOCK = {"type", "text", "thinking", "id", "name", "input", "tool_use_id", "content", "is_error"}
OF_BLOCK = {  # the keys that are not null
    "text": {"text"},
    "thinking": {"thinking"},
    "tool_use": {"id", "name", "input"},
    "tool_result": {"tool_use_id", "content", "is_error"},
    "image": {"source"},
}
INIT = {"session_id", "model", "tools", "mcp_servers", "plugins", "commands", "permission_mode", "resolved_model"}
MESSAGE = {"type", "role", "content", "model", "uuid", "usage", "parent_tool_use_id"}
PARTIAL = {"type", "index", "content_block", "delta"}
DELTA_TEXT = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
DELTA_OF = {"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}
QUESTION = {
    *("tool_use_id", "question", "session_id", "question_id", "kind", "options", "questions"),
    *("tool_name", "tool_input", "parent_tool_use_id"),
}
RESULT = {
    *("session_id", "is_error", "is_complete", "stop_reason", "duration_ms", "num_turns", "total_cost_usd"),
    *("usage", "model_usage", "result", "structured_output"),
}
STOP_REASONS = {"completed", "max_turns_reached", "max_budget_reached", "interrupted", "error"}


def events_of(stream: bytes) -> list[Told]:
    """The events in the bytes of a stream."""
    return [(event.name, json.loads(event.data)) for event in sse.Decoder().feed(stream)]


def check_run(events: Iterable[Told], *, partials: bool | None = None) -> None:
    """Hold one whole run against the grammar. *partials*: whether it was to have them; None: either is fine."""
    told = list(events)
    names = [name for name, _ in told]
    assert names[0] == "init", names
    assert names[-2:] == ["result", "done"], names
    failed = names[-3] == "error"
    middle = names[1 : -3 if failed else -2]
    assert set(middle) <= {"message", "partial", "question"}, names
    assert partials is not False or "partial" not in middle, names
    grammar = _Grammar(told[0][1], bool(partials))
    grammar.begin()
    for name, data in told[1 : len(middle) + 1]:
        getattr(grammar, name)(data)
    if failed:
        assert set(told[-3][1]) == {"code", "message", "details"}
        assert told[-3][1]["message"]
    grammar.end(told[-2][1], told[-1][1], failed=failed)


@attrs.define
class _Grammar:
    init: Mapping[str, Any]
    partials: bool
    uuids: set[str] = attrs.field(factory=set)
    calls: dict[str | None, list[str]] = attrs.field(factory=dict)  # that wait for results, by conversation
    known_calls: set[str] = attrs.field(factory=set)
    open: set[int] = attrs.field(factory=set)
    blocks: dict[int, tuple[Mapping[str, Any], list[str]]] = attrs.field(factory=dict)  # begun, and their deltas
    turns: int = 0

    def begin(self) -> None:
        assert set(self.init) >= INIT
        assert self.init["permission_mode"] in MODES
        for server in self.init["mcp_servers"]:
            assert set(server) >= {"name", "status", "error"}
            assert server["status"] == ("connected" if server["error"] is None else "failed")
        for command in self.init["commands"]:
            assert set(command) >= {"name", "path"}

    # --- message --------------------------------------------------------------------------------------------------

    def message(self, data: Mapping[str, Any]) -> None:
        assert set(data) == MESSAGE
        assert data["type"] == data["role"]
        assert data["role"] in ("user", "assistant", "system")
        assert data["uuid"] not in self.uuids, "no message is told twice"
        self.uuids.add(data["uuid"])
        for block in data["content"]:
            _check_block(block)
        getattr(self, f"_{data['role']}")(data, data["parent_tool_use_id"])

    def _system(self, data: Mapping[str, Any], parent: str | None) -> None:
        assert [block["type"] for block in data["content"]] == ["text"]
        assert (data["model"], data["usage"]) == (None, None)

    def _assistant(self, data: Mapping[str, Any], parent: str | None) -> None:
        assert not self.calls.get(parent), "every call has its result before the next message"
        assert data["model"]
        assert data["usage"] is None or _is_usage(data["usage"])
        self.calls[parent] = [block["id"] for block in data["content"] if block["type"] == "tool_use"]
        self.known_calls.update(self.calls[parent])
        if parent is None:
            self.turns += 1
            self._match_partials(data)
        else:
            assert parent in self.calls.get(None, ()), "who works for a call does so until that has its result"

    def _user(self, data: Mapping[str, Any], parent: str | None) -> None:
        assert (data["model"], data["usage"]) == (None, None)
        assert parent is None or parent in self.known_calls
        results = [block["tool_use_id"] for block in data["content"] if block["type"] == "tool_result"]
        assert results == self.calls.pop(parent, []), "one result a call, in the order of the calls"

    def question(self, data: Mapping[str, Any]) -> None:
        assert set(data) >= QUESTION
        if data["tool_use_id"] is None:
            assert data["tool_name"].startswith("mcp__"), "a server may ask for itself"
        else:
            assert data["tool_use_id"] in self.known_calls, "the call is told before the question about it"
        assert data["parent_tool_use_id"] in {None, *self.known_calls}
        assert all(isinstance(option, str) for option in data["options"])

    # --- partial --------------------------------------------------------------------------------------------------

    def partial(self, data: Mapping[str, Any]) -> None:
        assert set(data) == PARTIAL
        index = data["index"]
        match data["type"]:
            case "content_block_start":
                if index in self.blocks:  # a reply before this one broke off, and nothing was left of it
                    assert not self.open
                    self.blocks.clear()
                _check_block(data["content_block"])
                assert data["delta"] is None
                self.open.add(index)
                self.blocks[index] = (data["content_block"], [])
            case "content_block_delta":
                self._delta(data["delta"], index)
                assert data["content_block"] is None
            case "content_block_stop":
                assert (data["content_block"], data["delta"]) == (None, None)
                self.open.remove(index)
            case other:
                raise AssertionError(other)

    def _delta(self, delta: Mapping[str, Any], index: int) -> None:
        assert index in self.open
        assert set(delta) == {"type", *DELTA_TEXT.values()}
        block, texts = self.blocks[index]
        assert delta["type"] == DELTA_OF[block["type"]]
        assert [key for key in DELTA_TEXT.values() if delta[key] is not None] == [DELTA_TEXT[delta["type"]]]
        texts.append(delta[DELTA_TEXT[delta["type"]]])

    def _match_partials(self, data: Mapping[str, Any]) -> None:
        assert not self.open, "blocks are stopped before their message"
        content: Sequence[Mapping[str, Any]] = data["content"]
        blocks, self.blocks = self.blocks, {}
        if not blocks and not (self.partials and content):
            return
        if data["usage"] is None:  # it broke off
            said = [_joined(texts) for block, texts in blocks.values() if block["type"] == "text"]
            assert _text(content).startswith("".join(said)[:100])
            return
        assert sorted(blocks) == list(range(len(content)))
        for index, block in enumerate(content):
            _check_streamed(*blocks[index], block)

    # --- end ------------------------------------------------------------------------------------------------------

    def end(self, result: Mapping[str, Any], done: Mapping[str, Any], *, failed: bool) -> None:
        assert not self.open
        assert not any(self.calls.values()), "every call has its result before the end"
        assert set(result) == RESULT
        assert result["session_id"] == self.init["session_id"]
        assert result["stop_reason"] in STOP_REASONS
        assert result["is_complete"] == (result["stop_reason"] == "completed")
        assert result["num_turns"] == self.turns
        assert _is_usage(result["usage"])
        assert all(map(_is_usage, result["model_usage"].values()))
        for key in USAGE:
            assert result["usage"][key] == sum(used[key] for used in result["model_usage"].values())
        assert set(done) == {"reason"}
        assert done["reason"] in ("completed", "interrupted", "error")
        assert failed == result["is_error"] == (done["reason"] == "error") == (result["stop_reason"] == "error")
        assert (done["reason"] == "interrupted") == (result["stop_reason"] == "interrupted")


def _check_block(block: Mapping[str, Any]) -> None:
    given = OF_BLOCK[block["type"]]
    assert set(block) == BLOCK | given
    assert {key for key, value in block.items() if value is not None} == given | {"type"}


def _check_streamed(begun: Mapping[str, Any], texts: Sequence[str], block: Mapping[str, Any]) -> None:
    assert begun["type"] == block["type"]
    joined = _joined(texts)
    if block["type"] != "tool_use":
        assert joined == block[block["type"]]
        return
    assert (begun["id"], begun["name"]) == (block["id"], block["name"])
    if INVALID_INPUT in block["input"]:
        assert joined == block["input"][INVALID_INPUT]["text"]
    else:
        assert json.loads(joined or "{}") == block["input"]


def _joined(texts: Iterable[str]) -> str:
    return "".join(texts)


def _text(content: Iterable[Mapping[str, Any]]) -> str:
    return "".join(block["text"] for block in content if block["type"] == "text")


def _is_usage(value: Any) -> bool:
    return set(value) == USAGE and all(type(count) is int and count >= 0 for count in value.values())
