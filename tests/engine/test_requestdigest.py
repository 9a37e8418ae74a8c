"""Digests of requests: the same for the same, and told once where nothing changes."""

from __future__ import annotations

import time

from agentd.domain import Message, Text, ToolUse
from agentd.engine.requestdigest import RequestDigest, material_chars
from agentd.providers.protocol import ToolSchema

ASKED, SAID = Message("user", (Text("Is it fine?"),), "1"), Message("assistant", (Text("Yes."),), "2")
READ = ToolSchema("Read", "reads", {"type": "object"})


def test_the_first_request_tells_all_and_the_next_only_what_is_new() -> None:
    digest = RequestDigest()
    first = digest.describe("You help.", [ASKED], [READ], context=1000, material=3)
    assert first.keys() == {"messages", "system", "tools", "context", "material"}
    assert first["tools"].keys() == {"Read"}
    assert digest.describe("You help.", [ASKED, SAID], [READ], context=1000, material=3).keys() == {"messages"}


def test_what_grew_has_the_digest_of_what_was_made_at_once() -> None:
    grown, made = RequestDigest(), RequestDigest()
    grown.describe("", [ASKED], [])
    told = grown.describe("", [ASKED, SAID], [])["messages"]
    assert told == made.describe("", [ASKED, SAID], [])["messages"]


def test_a_conversation_that_was_summed_up_is_digested_anew() -> None:
    digest, other = RequestDigest(), RequestDigest()
    digest.describe("", [ASKED, SAID], [])
    short = Message("user", (Text("summed up"),))
    assert digest.describe("", [short], [])["messages"] == other.describe("", [short], [])["messages"]


def test_ids_of_messages_make_no_difference_and_what_is_in_them_does() -> None:
    def told(message: Message) -> str:
        return str(RequestDigest().describe("", [message], [])["messages"])

    call = ToolUse("c1", "Read", {"file_path": "a"})
    assert told(Message("user", ASKED.content, "other")) == told(ASKED)
    assert len({told(ASKED), told(SAID), told(Message("user", (Text("Is it?"),))), told(Message("user", (call,)))}) == 4


def test_a_tool_that_is_described_otherwise_is_told_by_its_name() -> None:
    digest = RequestDigest()
    before = digest.describe("", [], [READ])["tools"]
    after = digest.describe("", [], [ToolSchema("Read", "reads files", READ.input_schema)])["tools"]
    assert before["Read"] != after["Read"]


def test_what_clients_put_there_is_counted() -> None:
    shown = Message("user", (Text("12345"), *ASKED.content), "1")
    assert material_chars([shown, SAID], [ASKED, SAID]) == 5


def test_a_long_conversation_costs_no_more_with_every_request() -> None:
    messages = [Message("user", (Text("x" * 10_000),)) for _ in range(200)]
    digest = RequestDigest()
    digest.describe("", messages, [])

    def seconds(grown: RequestDigest) -> float:
        began = time.perf_counter()
        grown.describe("", [*messages, SAID], [])
        return time.perf_counter() - began

    assert min(seconds(digest) for _ in range(3)) < min(seconds(RequestDigest()) for _ in range(3))
