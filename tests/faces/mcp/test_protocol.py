"""What a client says of itself, in both eras of the protocol, and what of it is believed."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.faces.mcp import protocol
from agentd.faces.mcp.protocol import CAPABILITIES_KEY, VERSION_KEY, Client
from agentd.wire.jsonrpc import HEADER_MISMATCH, INVALID_PARAMS, UNSUPPORTED_VERSION, Request, RpcError

META = {VERSION_KEY: "2026-07-28", CAPABILITIES_KEY: {}}


def call(name: str = "search", **meta: Any) -> Request:
    return Request(1, "tools/call", {"name": name, "_meta": META | meta})


@pytest.mark.parametrize("version", protocol.HANDSHAKE)
def test_a_version_that_is_known_is_kept(version: str) -> None:
    assert protocol.initialized({"protocolVersion": version, "capabilities": {}}).version == version


@pytest.mark.parametrize("version", ["2031-01-01", "2026-07-28", ""])
def test_another_version_is_answered_with_the_latest_that_may_be_begun_so(version: str) -> None:
    assert protocol.initialized({"protocolVersion": version, "capabilities": {}}).version == "2025-11-25"


@pytest.mark.parametrize("params", [None, {}, {"protocolVersion": 1}, {"protocolVersion": "x", "capabilities": []}])
def test_who_says_no_version_is_refused(params: dict[str, Any] | None) -> None:
    with pytest.raises(RpcError) as caught:
        protocol.initialized(params)
    assert caught.value.code == INVALID_PARAMS


def test_initialize_begins_the_older_era_whatever_is_beside_it() -> None:
    assert not protocol.is_stateless(Request(1, "initialize", {"_meta": META}))
    assert protocol.is_stateless(call())
    assert not protocol.is_stateless(Request(1, "tools/list", {"_meta": "nothing"}))


def test_a_stateless_request_names_version_and_capabilities() -> None:
    with pytest.raises(RpcError) as caught:
        protocol.stateless(Request(1, "tools/list", {"_meta": {VERSION_KEY: "2026-07-28"}}))
    assert caught.value.code == INVALID_PARAMS
    with pytest.raises(RpcError) as caught:
        protocol.stateless(call(**{VERSION_KEY: "2031-01-01"}))
    assert caught.value.code == UNSUPPORTED_VERSION
    assert caught.value.data == {"supported": list(protocol.VERSIONS), "requested": "2031-01-01"}


@pytest.mark.parametrize("name", ["search", "größe", "two words", " padded ", "=?base64?eA==?=", ""])
def test_headers_that_a_request_is_sent_with_are_those_that_are_asked_for(name: str) -> None:
    request = call(name)
    assert protocol.stateless(request, dict(protocol.headers(request))) == Client("2026-07-28", {})


@pytest.mark.parametrize("field", ["mcp-protocol-version", "mcp-method", "mcp-name"])
@pytest.mark.parametrize("value", [None, "something else", "=?base64?!?=", "=?base64?/w==?="])
def test_a_header_that_is_missing_or_says_something_else_is_refused(field: str, value: str | None) -> None:
    headers = dict(protocol.headers(call()))
    headers = {**headers, field: value} if value is not None else headers
    if value is None:
        del headers[field]
    with pytest.raises(RpcError) as caught:
        protocol.stateless(call(), headers)
    assert caught.value.code == HEADER_MISMATCH


@pytest.mark.parametrize(
    ("elicitation", "takes"), [({}, True), ({"form": {}}, True), ({"url": {}}, False), (None, False), ("yes", False)]
)
def test_forms_are_for_who_says_so(elicitation: Any, takes: bool) -> None:
    assert Client("2025-11-25", {"elicitation": elicitation}).takes_forms is takes


def test_results_of_the_newer_era_say_what_they_are_and_how_long_they_are_good() -> None:
    new, old = Client("2026-07-28"), Client("2025-11-25")
    shaped = protocol.shaped("tools/list", {"tools": []}, new)
    assert (shaped["resultType"], shaped["cacheScope"]) == ("complete", "private")
    assert shaped["ttlMs"] > 0
    assert shaped["_meta"][protocol.SERVER_KEY]["name"] == "agentd"
    assert protocol.shaped("tools/list", {"tools": []}, old) == {"tools": []}
    asked = protocol.shaped("tools/call", {"resultType": "input_required", "inputRequests": {}}, new)
    assert asked["resultType"] == "input_required"
    assert "ttlMs" not in asked


@pytest.mark.parametrize(("token", "known"), [("a", "a"), (0, 0), (1.5, None), (True, None), ({}, None)])
def test_a_progress_token_is_a_text_or_an_integer(token: Any, known: Any) -> None:
    assert protocol.progress_token({"_meta": {"progressToken": token}}) == known
