"""What can go wrong between a job and its model, and how the job then ends: one table for both protocols."""

from __future__ import annotations

import gzip
import json
from typing import Any, Literal

import attrs

from agentd.providers import service
from agentd.wire.exchange import Deadlines
from tests.faults.strikes import (
    AUTHORITY,
    HOST,
    STRANGER,
    LookUp,
    breaks,
    certified,
    dripped,
    dripped_slowly,
    greets,
    hang,
    hang_up,
    no_answer,
    nobody,
    repeats,
    reset,
    sends,
    streams,
    tls,
    unframed,
    where_nobody_listens,
)
from tests.modelserver import (
    SPOILT,
    STREAM_HEAD,
    Call,
    Door,
    ProtocolName,
    Strike,
    Turn,
    call,
    compact,
    document,
    error,
    whole,
)

SECRETS = {"key": "sk-test-0123456789abcdef", "header": "gateway-secret-98765", "proxy": "proxy-password-4711"}
DEADLINES = Deadlines(connect=5, first_byte=20, between_bytes=10, total=120)
MANY = 10_000


@attrs.frozen
class Outcome:
    """How a job ends: its error's code, or COMPLETED; after how many calls of the model for one reply; in how many
    seconds, of which it waits all but a few."""

    what: str
    calls: int = 1
    seconds: int = 0

    def __str__(self) -> str:
        return f"{self.what}, {self.calls} call{'s' if self.calls > 1 else ''}, {self.seconds} s"


@attrs.frozen
class Fault:
    """Where it strikes, and how a job ends that meets it *once* or, if that makes a difference, *always*."""

    once: Outcome
    always: Outcome | None = None
    strike: Strike | Turn | None = None
    door: Door | None = None
    look_up: LookUp | None = None  # of the service's name
    way: Literal["http", "https", "proxy"] = "http"
    deadlines: Deadlines = DEADLINES


def done(calls: int = 1, seconds: int = 0) -> Outcome:
    return Outcome("COMPLETED", calls, seconds)


def final(code: str, strike: Strike | Turn | None = None, seconds: int = 0, **more: Any) -> Fault:
    """The job fails at the first call."""
    return Fault(Outcome(code, 1, seconds), strike=strike, **more)


def harmless(strike: Strike | Turn) -> Fault:
    return Fault(done(), strike=strike)


def limited(code: str, strike: Strike, wait: int = 2, in_all: int = 302) -> Fault:
    """2, 4, 8, 16, 32 s, and then a minute each; no shorter than the service says."""
    return Fault(done(2, wait), Outcome(code, 10, in_all), strike)


def broken(strike: Strike | None = None, **more: Any) -> Fault:
    return Fault(done(2, 1), Outcome("PROVIDER_UNREACHABLE", 6, 31), strike, **more)


def failing(strike: Strike) -> Fault:
    return Fault(done(2, 1), Outcome("PROVIDER_SERVER_ERROR", 4, 7), strike)


def late(seconds: int, strike: Strike | None = None, **more: Any) -> Fault:
    """*seconds*: until it is seen."""
    return Fault(done(2, seconds + 1), Outcome("PROVIDER_TIMEOUT", 3, 3 * seconds + 3), strike, **more)


# --- The table ----------------------------------------------------------------------------------------------------


def faults(protocol: ProtocolName) -> dict[str, Fault]:
    return {**statuses(protocol), **streams_of(protocol), **calls(), **framing(protocol), **ways()}


def statuses(protocol: ProtocolName) -> dict[str, Fault]:
    def refused(status: int, kind: str, text: str, **headers: str) -> Strike:
        said = f"{text} Your key is {SECRETS['key']} and x-gateway is {SECRETS['header']}."
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return sends(document(status, error(protocol, kind, said), fields))

    def busy(**headers: str) -> Strike:
        return refused(429, "rate_limit_error", "Rate limit reached.", **headers)

    dates = {"Date": "Sun, 22 Nov 2026 10:00:00 GMT", "Retry_After": "Sun, 22 Nov 2026 10:00:07 GMT"}
    page = b"<html><head><title>502 Bad Gateway</title></head><body><h1>nginx</h1></body></html>"
    limit, auth, bad = "PROVIDER_RATE_LIMITED", "PROVIDER_AUTH_FAILED", "PROVIDER_BAD_REQUEST"
    overflow = {
        "openai": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
        "anthropic": "prompt is too long: 208310 tokens > 200000 maximum",
    }[protocol]
    poor = {
        "openai": refused(429, "insufficient_quota", "You exceeded your current quota."),
        "anthropic": refused(400, "invalid_request_error", "Your credit balance is too low to access the API."),
    }[protocol]
    return {
        "429, Retry-After in seconds": limited(limit, busy(Retry_After="7"), 7, 310),
        "429, Retry-After as a date": limited(limit, busy(**dates), 7, 310),
        "429, Retry-After of a day": final(limit, busy(Retry_After="86400")),
        "429, Retry-After unreadable": limited(limit, busy(Retry_After="soon")),
        "429, no Retry-After": limited(limit, busy()),
        "no credit left": final("PROVIDER_QUOTA", poor),
        "529": limited("PROVIDER_OVERLOADED", refused(529, "overloaded_error", "Overloaded.")),
        "503": limited("PROVIDER_OVERLOADED", refused(503, "api_error", "Not ready.")),
        "500": failing(refused(500, "api_error", "Internal server error.")),
        "500, a body without end": failing(breaks(None, hang, b"HTTP/1.1 500 X\r\n\r\n" + b"x" * 2**20)),
        "502, a page of HTML": failing(sends(whole(502, page, "text/html"))),
        "504": Fault(done(2, 1), Outcome("PROVIDER_TIMEOUT", 3, 3), refused(504, "timeout_error", "Too slow.")),
        "401": final(auth, refused(401, "authentication_error", "invalid x-api-key.")),
        "403": final(auth, refused(403, "permission_error", "Not for you.")),
        "404, no such model": final("MODEL_UNAVAILABLE", refused(404, "not_found_error", "model: test-model")),
        "404, no such path": final(bad, sends(whole(404, b"404 page not found", "text/plain"))),
        "400": final(bad, refused(400, "invalid_request_error", "tools.0: Input should be an object")),
        "400, context overflow": final("CONTEXT_OVERFLOW", refused(400, "invalid_request_error", overflow)),
        "413": final("CONTEXT_OVERFLOW", sends(whole(413, b"Payload Too Large", "text/plain"))),
        "307": final(bad, sends(whole(307, b"", "text/plain", {"Location": "http://model.test/elsewhere"}))),
    }


def streams_of(protocol: ProtocolName) -> dict[str, Fault]:
    """*silent* events begin a reply before anything of it has come; after *begun* something has."""
    openai = protocol == "openai"
    silent, begun = (1, 4) if openai else (3, 7)
    trouble = error(protocol, "overloaded_error", "Overloaded")
    failed = (b"" if openai else b"event: error\n") + b"data: %b\n\n" % compact(trouble)
    ping = b": keep-alive\n\n" if openai else b'event: ping\ndata: {"type": "ping"}\n\n'
    empty = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": []}
    void = b"data: %b\n\ndata: [DONE]\n\n" % compact(empty)
    no_choices = b'data: {"id": "chatcmpl-1", "object": "chat.completion.chunk"}\n\ndata: [DONE]\n\n'
    delta: dict[str, Any] = {"choices": [{"index": 0, "delta": {"content": "la " * 2**18}}]}
    if not openai:
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "la " * 2**18}}
        no_choices, void = b'event: message_stop\ndata: {"type": "message_stop"}\n\n', b""
    unreachable, protocol_error, busy = "PROVIDER_UNREACHABLE", "PROVIDER_PROTOCOL", "PROVIDER_OVERLOADED"
    return {
        "hangs before the head": late(20, breaks(None, hang)),
        "hangs before the first byte": late(20, breaks(0, hang)),
        "hangs before the reply": late(10, breaks(silent, hang)),
        "hangs midway": final("PROVIDER_TIMEOUT", breaks(begun, hang), 10),
        "resets before the head": broken(breaks(None, reset)),
        "resets after the head": broken(breaks(0, reset)),
        "resets before the reply": broken(breaks(silent, reset)),
        "resets midway": final(unreachable, breaks(begun, reset)),
        "ends before the reply": broken(streams(lambda events: events[:silent])),
        "ends midway": final(unreachable, streams(lambda events: events[:begun])),
        "an error event before the reply": limited(busy, streams(lambda events: [*events[:silent], failed])),
        "an error event midway": final(busy, streams(lambda events: [*events[:begun], failed])),
        "an error with status 200": limited(busy, sends(document(200, trouble))),
        "drips byte by byte": harmless(dripped),
        "drips too slowly": late(120, dripped_slowly),
        "pings for ever, with the usual deadlines": final(
            "PROVIDER_TIMEOUT", repeats(ping, 100, 119.0), 7200, deadlines=service.DEADLINES
        ),
        "pings for ever": late(120, repeats(ping, 100, 9.0)),
        "pings 10,000 times": harmless(streams(lambda events: [ping * MANY, *events])),
        "a line of 100 MB": final(protocol_error, repeats(b"data: " + b"x" * 2**20, 100)),
        "a reply without end": final(protocol_error, repeats(b"data: %b\n\n" % compact(delta), 100, begin=silent)),
        "an empty reply": final("EMPTY_REPLY", Turn()),
        "blank text": final("EMPTY_REPLY", Turn(" \n")),
        "thoughts alone": final("EMPTY_REPLY", Turn(thinking="Hm. Hm.")),
        "no choices": final("EMPTY_REPLY", streams(lambda _: [no_choices])),
        "an empty list of choices": final("EMPTY_REPLY", streams(lambda _: [void]))
        if openai
        else broken(streams(lambda _: [])),
        "half a JSON event": final(protocol_error, streams(lambda events: [b'data: {"choices": [{"ind\n\n'])),
    }


def calls() -> dict[str, Fault]:
    """What models write that is no call of a tool; they are told, and go on."""
    big = "x" * 2**21
    twice = Turn(calls=(Call("Read", '{"file_path": "a.txt"}', "same"), Call("Read", '{"file_path": "b.txt"}', "same")))
    return {
        "arguments that are no JSON": harmless(Turn(calls=(Call("Read", "{file_path: a.txt}"),))),
        "half of the arguments": harmless(Turn(calls=(Call("Read", '{"file_path": "a.t'),))),
        "arguments that are a list": harmless(Turn(calls=(Call("Read", '["a.txt"]'),))),
        "arguments of the wrong types": harmless(Turn(calls=(call("Read", file_path=7, offset="x"),))),
        "arguments nested too deeply": harmless(Turn(calls=(Call("Read", '{"file_path": ' + "[" * 100_000),))),
        "no arguments": harmless(Turn(calls=(Call("Read", ""),))),
        "2 MB of arguments": harmless(Turn(calls=(call("Write", file_path="big.txt", content=big),))),
        "a tool that is not there": harmless(Turn(calls=(call("Teleport", to="Mars"),))),
        "a tool without a name": harmless(Turn(calls=(call(""),))),
        "an id for two calls": harmless(twice),
        "an id of an earlier call": harmless(Turn(calls=(Call("Read", '{"file_path": "a.txt"}', "call_1_0"),))),
        "100 calls at once": harmless(
            Turn(calls=tuple(call("Read", file_path="a.txt", limit=n + 1) for n in range(100)))
        ),
    }


def framing(protocol: ProtocolName) -> dict[str, Fault]:
    plain, length = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n", STREAM_HEAD + b"Content-Length: LENGTH\r\n"
    json_type = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    page = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in</body></html>"
    unreachable, protocol_error = "PROVIDER_UNREACHABLE", "PROVIDER_PROTOCOL"

    def no_text(events: list[bytes]) -> list[bytes]:
        return [event.replace(b"look", b"\xff\xfe\xc3") for event in events]

    return {
        "events as application/json": harmless(streams(list, json_type)),
        "events as text/plain": harmless(streams(list, plain)),
        "events without a content type": harmless(streams(list, b"HTTP/1.1 200 OK\r\n")),
        "a JSON document": harmless(sends(document(200, whole_reply(protocol)))),
        "a page to sign in": final(protocol_error, sends(whole(200, page, "text/html"))),
        "bytes that are no UTF-8": harmless(streams(no_text)),
        "gzip that nobody asked for": final(
            protocol_error, unframed(STREAM_HEAD + b"Content-Encoding: gzip\r\n", gzip.compress)
        ),
        "no framing": harmless(unframed(STREAM_HEAD)),
        "a chunk that breaks off": final(unreachable, breaks(8, hang_up, b"400\r\ndata: {")),
        "no last chunk": harmless(breaks(99, hang_up)),
        "a bad chunk size": final(protocol_error, breaks(8, hang_up, b"zz\r\n")),
        "a length that is too great": harmless(unframed(length.replace(b"LENGTH", b"9LENGTH"))),
        "a length that is too small": final(unreachable, unframed(STREAM_HEAD + b"Content-Length: 1200\r\n")),
        "no HTTP": final(protocol_error, door=greets(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")),
        "a head of 1 MB": final(protocol_error, door=greets(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2**20)),
    }


def whole_reply(protocol: ProtocolName) -> dict[str, Any]:
    """What a request without `stream` gets."""
    if protocol == "openai":
        arguments = json.dumps({"file_path": "a.txt"})
        made = {"id": "call_9", "type": "function", "function": {"name": "Read", "arguments": arguments}}
        message = {"role": "assistant", "content": SPOILT.text, "tool_calls": [made]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        counts = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
        return {"id": "chatcmpl-9", "object": "chat.completion", "choices": [choice], "usage": counts}
    made = {"type": "tool_use", "id": "toolu_9", "name": "Read", "input": {"file_path": "a.txt"}}
    content = [{"type": "text", "text": SPOILT.text}, made]
    head = {"id": "msg_9", "type": "message", "role": "assistant", "content": content}
    return head | {"stop_reason": "tool_use", "usage": {"input_tokens": 9, "output_tokens": 9}}


def ways() -> dict[str, Fault]:
    unreachable: dict[str, Any] = {"code": "PROVIDER_UNREACHABLE"}
    plain = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    auth = b'HTTP/1.1 407 X\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n'
    refuses, fails = (b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status for status in (403, 502))
    return {
        "hangs up on connect": broken(door=hang_up),
        "resets on connect": broken(door=reset),
        "connection refused": broken(look_up=where_nobody_listens),
        "no such host": broken(look_up=nobody),
        "a look-up that hangs": late(5, look_up=no_answer),
        "TLS: another name": final(**unreachable, door=tls(certified(AUTHORITY, "other.test")), way="https"),
        "TLS: unknown authority": final(**unreachable, door=tls(certified(STRANGER, HOST)), way="https"),
        "TLS: plain HTTP there": final(**unreachable, door=greets(plain), way="https"),
        "TLS: hangs": late(5, door=hang, way="https"),
        "TLS: hangs up": broken(door=hang_up, way="https"),
        "proxy: refuses": final(**unreachable, door=greets(refuses), way="proxy"),
        "proxy: 407": final(**unreachable, door=greets(auth), way="proxy"),
        "proxy: 502": broken(door=greets(fails), way="proxy"),
        "proxy: no proxy": final(**unreachable, door=greets(b"220 smtp.test ESMTP\r\n\r\n"), way="proxy"),
        "proxy: hangs": late(5, door=hang, way="proxy"),
        "proxy: hangs up": broken(door=hang_up, way="proxy"),
    }
