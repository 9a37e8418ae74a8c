"""What can go wrong between a job and an MCP server, whichever way they talk: one table."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.tools.mcp.fake import text, tool

Steps = list[dict[str, Any]]  # of scripts, as mcpserver.py has them
LEGACY, MODERN = ("stdio", "http", "sse"), ("stdio modern", "http modern")
ALL, WEB = (*LEGACY, *MODERN), ("http", "sse", "http modern")
FLOOD = 10_000


class Fault(NamedTuple):
    """*ends*: how a call of a tool of the server ends, "ok", "error", or "failed" where the server is not there at all;
    by way where that makes a difference; "any" where it is a race. *command*: instead of the script's program."""

    ends: str | Mapping[str, str]
    script: Mapping[str, Any] = {}
    ways: tuple[str, ...] = ALL
    connect: float = 5.0
    call: float = 5.0
    command: tuple[str, ...] = ()
    url: str = ""

    def expected(self, way: str) -> str:
        return self.ends if isinstance(self.ends, str) else self.ends.get(way, self.ends.get("else", "error"))


def faults(dice: random.Random) -> dict[str, dict[str, Fault]]:
    """By class and name; *dice* decide where within a message, and when."""
    return {
        "crash": crashes(dice),
        "hang": hangs(),
        "garbage": garbage(),
        "too much": too_much(),
        "slow": slow(dice),
        "lists": lists(),
        "session": sessions(),
        "http": http(dice),
        "stdio": programs(),
    }


def on(*steps: dict[str, Any], message: str = "tools/call", **more: Any) -> dict[str, Any]:
    return {"on": {message: list(steps)}, **more}


def said(method: str, **params: Any) -> dict[str, Any]:
    return {"say": {"jsonrpc": "2.0", "method": method, "params": params}}


def asked(method: str, request_id: Any = "s1", **params: Any) -> dict[str, Any]:
    return {"say": {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}}


DEEP = {"raw": "[" * 1000, "ends": False, "repeat": 50}
DIE, HANG, USUAL = {"die": 1}, {"hang": 1}, {"usual": 1}
PROGRESS = {
    "say": {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "$id", "progress": 1}}
}
FORM = {"message": "Who?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}
SETTING_UP = ("initialize", "notifications/initialized", "tools/list", "tools/list 2")
BEHIND = ("prompts/list", "resources/list")


def crashes(dice: random.Random) -> dict[str, Fault]:
    found: dict[str, Fault] = {}
    pause = {"sleep": dice.uniform(0, 0.02)}
    part = {"part": dice.uniform(0.01, 0.99)}
    for message in ("server/discover", *SETTING_UP, *BEHIND):
        ways = LEGACY if message in SETTING_UP[:2] else MODERN if message == "server/discover" else ALL
        whens: dict[str, Steps] = {"before": [pause], "within": [part, pause], "after": [USUAL, pause]}
        for when, steps in whens.items():
            found[f"{when} {message}"] = Fault(_crashed(message, when), on(*steps, DIE, message=message), ways)
    found["a legacy server dies of server/discover"] = Fault(
        {"stdio": "ok", "http": "failed"}, on(DIE, message="server/discover"), LEGACY[:2]
    )
    elicitation = asked("elicitation/create", **FORM)
    return found | {
        "before notifications/initialized is answered for": Fault(
            "failed", on({"taken": 1}, DIE, message="notifications/initialized"), LEGACY
        ),
        "at logging/setLevel": Fault("error", on(DIE, message="logging/setLevel"), LEGACY),
        "before the progress of a call": Fault("error", on(pause, DIE)),
        "between progress and answer": Fault("error", on(PROGRESS, pause, DIE)),
        "within the progress of a call": Fault("error", on({"raw": '{"jsonrpc":"2.0","meth', "ends": False}, DIE)),
        "within the answer of a call": Fault("error", on(PROGRESS, part, pause, DIE)),
        "behind the answer of a call": Fault("ok", on(USUAL, pause, DIE)),
        "while a person is asked": Fault("error", on(elicitation, {"sleep": 0.05}, DIE), LEGACY),
        "with the end of the job": Fault("ok", {"end": [DIE]}, LEGACY),
    }


def _crashed(message: str, when: str) -> Mapping[str, str]:
    """Without a stream a server is missed only when it is needed; and it hears others while it waits to die."""
    last = (message, when) == ("resources/list", "after")
    over_http = "error" if message in BEHIND else "failed"
    ends = {"else": "error" if last else "failed", "http": over_http, "http modern": over_http}
    return ends | {way: "any" for way in WEB if when == "after"}


def hangs() -> dict[str, Fault]:
    found = {
        "server/discover": Fault("ok", on(HANG, message="server/discover"), ("http",), 2.0),
        "server/discover, for ever": Fault("failed", on(HANG, message="server/discover"), MODERN, 1.0),
        "prompts/list": Fault(
            {"stdio": "error", "stdio modern": "error", "else": "ok"}, on(HANG, message="prompts/list")
        ),
        "logging/setLevel": Fault({"stdio": "error", "else": "ok"}, on(HANG, message="logging/setLevel"), LEGACY),
        "tools/call": Fault("error", on(HANG)),
        "behind progress": Fault("error", on(PROGRESS, HANG)),
        "within the answer": Fault("error", on({"part": 0.5}, HANG)),
        "within a notification": Fault("error", on({"raw": '{"jsonrpc":', "ends": False}, HANG)),
        "at the end of the job": Fault("ok", {"end": [HANG]}, LEGACY),
    }
    for message in SETTING_UP:
        ways = LEGACY if message in SETTING_UP[:2] else ALL
        ends = {"sse": "ok", "else": "failed"} if message == "notifications/initialized" else "failed"
        found[message] = Fault(ends, on(HANG, message=message), ways, 1.0)
    return {name: fault._replace(call=1.0) for name, fault in found.items()}


def garbage() -> dict[str, Fault]:
    """Beside an answer that is as it should be, to every request; and instead of it."""
    other = {"say": {"jsonrpc": "2.0", "id": 4711, "result": text("not for you")}}
    beside: dict[str, Steps] = {
        "what is no JSON": [{"raw": "Server started.\\o/"}],
        "binary": [{"raw": "".join(map(chr, range(256))).replace("\n", "").replace("\r", "")}],
        "empty messages": [{"raw": ""}, {"raw": " "}],
        "answers to nobody": [other, {"say": {**other["say"], "id": "$id$"}}, {"say": {**other["say"], "id": None}}],
        "a text for a number": [{"raw": '{"jsonrpc":"2.0","id":"$id","result":{}}'.replace("$id", "1")}],
        "batches": [{"raw": '[{"jsonrpc":"2.0","id":$id,"result":{}}]'}, {"raw": "[]"}],
        "NaN": [{"raw": '{"jsonrpc":"2.0","id":$id,"result":{"content":NaN}}'}],
        "deep nesting": [{"raw": '{"jsonrpc":"2.0","id":$id,"result":', "ends": False}, DEEP, {"raw": "0"}],
        "deep JSON": [{"raw": '{"jsonrpc":"2.0","id":$id,"result":' + "[" * 900 + "]" * 900 + "}"}],
        "invalid UTF-8": [{"raw": '{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"\xff\xc3"}}'}],
        "a key twice": [{"raw": '{"jsonrpc":"2.0","id":$id,"id":0,"result":{}}'}],
        "result and error": [{"raw": '{"jsonrpc":"2.0","id":$id,"result":{},"error":{"code":1,"message":"x"}}'}],
        "huge numbers": [{"raw": '{"jsonrpc":"2.0","id":%s,"result":{}}' % ("9" * 5000)}],
        "requests that nobody knows": [asked("sampling/createMessage"), asked("roots/list", "s2"), asked("x" * 9999)],
        "notifications that nobody knows": [said("notifications/" + "x" * 9999), said("", a=1)],
        "progress of nothing": [said("notifications/progress", progressToken=4711, progress="x")],
        "cancellations of nothing": [said("notifications/cancelled", requestId=4711), said("notifications/cancelled")],
    }
    messages = ("server/discover", "initialize", "tools/list", "tools/call")
    found = {
        f"{name} before answers": Fault("ok", {"on": {message: [*steps, USUAL] for message in messages}})
        for name, steps in beside.items()
    }
    found["answers twice"] = Fault("ok", {"on": {message: [USUAL, USUAL] for message in messages}})
    answer = json.dumps(text("ok"))
    whole = f'{{"jsonrpc":"2.0","id":$id,"result":{answer}}}'
    for name, raw, ends in (
        ("CRLF", whole + "\r", "ok"),
        ("a byte order mark", "\xef\xbb\xbf" + whole, "ok"),
        ("UTF-16", whole.encode("utf-16-le").decode("latin-1"), "error"),
        (
            "invalid UTF-8 as text",
            whole.replace("ok", "\xff\xfe"),
            {"stdio": "error", "stdio modern": "error", "else": "ok"},
        ),
        ("surrogates", whole.replace("ok", "\\ud800"), "ok"),
        ("an answer that is a batch", f"[{whole}]", "error"),
        ("an answer that is null", whole.replace(answer, "null"), "error"),
        ("an answer that is a list", whole.replace(answer, "[1]"), "error"),
        ("an answer to somebody else", whole.replace("$id", "4711"), "error"),
        ("an answer of no version", whole.replace('"2.0"', '"1.0"'), "error"),
        ("no JSON for an answer", "internal server error", "error"),
        ("an error that is none", '{"jsonrpc":"2.0","id":$id,"error":"no"}', "error"),
        ("content that is none", whole.replace(answer, '{"content":[1,{"type":5},null,{"type":"image"}]}'), "ok"),
    ):
        found[name] = Fault(ends, on({"raw": raw}), call=1.0)
    lies = {"answer": {"tools": 5, "prompts": 5, "resources": "x", "capabilities": 5, "supportedVersions": 5}}
    return found | {
        "lies for a beginning": Fault("failed", {"on": {"server/discover": [lies], "initialize": [lies]}}, connect=2.0),
        "lies for lists": Fault(
            "error", {"on": {f"{kind}/list": [lies] for kind in ("tools", "prompts", "resources")}}
        ),
    }


def too_much() -> dict[str, Fault]:
    message = said("notifications/message", level="error", data="x" * 100)
    head, tail = '{"jsonrpc":"2.0","id":$id,"result":{"content":[{"type":"text","text":"', '"}]}}'
    block = {"raw": "x" * 65_536, "ends": False}

    def answer(mebibytes: int) -> Steps:
        return [{"raw": head, "ends": False}, {**block, "repeat": 16 * mebibytes}, {"raw": tail}]

    changed = said("notifications/tools/list_changed")
    floods: dict[str, dict[str, Any]] = {
        "logs": message,
        "pings": asked("ping"),
        "requests": asked("roots/list"),
        "lines that are no JSON": {"raw": "x" * 50},
        "answers to nobody": {"say": {"jsonrpc": "2.0", "id": 4711, "result": {}}},
        "list changes": changed,
    }
    found = {
        f"{FLOOD} {name}": Fault("error", on({**step, "repeat": FLOOD}, USUAL), call=0.5)
        for name, step in floods.items()
    }
    return found | {
        "17 MiB of an answer": Fault("error", on(*answer(17)), call=8.0),
        "15 MiB of an answer": Fault("ok", on(*answer(15)), call=8.0),
        "a line without end": Fault("error", on({**block, "repeat": 1 << 12}), call=8.0),
        "17 MiB of a list": Fault("failed", on(*answer(17), message="tools/list"), connect=8.0),
        "a line without end for a list": Fault(
            "failed", on({**block, "repeat": 1 << 12}, message="tools/list"), connect=8.0
        ),
    }


def slow(dice: random.Random) -> dict[str, Fault]:
    drip = {"drip": '{"jsonrpc":"2.0","id":1,"result":{"content":[', "pause": dice.uniform(0.2, 1.0)}
    pings = {**asked("ping"), "repeat": FLOOD, "pause": 0.02}
    progress = {
        "raw": '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$id,"progress":7}}'
    }
    return {
        "drips an answer": Fault("error", on(drip), call=1.0),
        "drips a list": Fault("failed", on(drip, message="tools/list"), connect=1.0),
        "pings for ever": Fault("error", on(pings), call=1.0),
        "pings for ever before a list": Fault("failed", on(pings, message="tools/list"), connect=1.0),
        "tells the same progress for ever": Fault("error", on({**progress, "repeat": FLOOD, "pause": 0.02}), call=1.0),
        "answers when nobody waits": Fault("error", on({"sleep": 2.5}, USUAL), call=1.0),
    }


def lists() -> dict[str, Fault]:
    changed = said("notifications/tools/list_changed")
    gone = {"error": {"code": -32602, "message": "Unknown tool: use"}}
    names = ["use", "use", "u" * 2000, "", "ü", "u/u", "u.u", "u u", 5, None, "__proto__"]
    odd = [{"name": name, "inputSchema": {"type": "object"}} for name in names]
    endless = {"answer": {"tools": [tool("use")], "nextCursor": "2", "resultType": "complete"}}
    odd_schemas: tuple[Any, ...] = (5, None, [], {"type": "array"}, {"$ref": "#"})
    schemas = [tool(f"s{number}", inputSchema=each) for number, each in enumerate(odd_schemas)]
    found = {
        "a tool that has gone": Fault("error", on({"set": {"tools": []}}, changed, gone)),
        "a list that changes all the time": Fault("ok", on(USUAL, changed, message="tools/list")),
        "a list that fails when it has changed": Fault(
            "ok", on({"set": {"on": {"tools/list": [{"error": {"code": -32603, "message": "no"}}]}}}, changed, USUAL)
        ),
        "a list that hangs when it has changed": Fault(
            {"stdio": "any", "stdio modern": "any", "else": "ok"},
            on({"set": {"on": {"tools/list": [HANG]}}}, changed, {"sleep": 0.3}, {"answer": text("ok")}),
        ),
        "100,000 tools": Fault("ok", {"many": 100_000}, ("stdio", "http", "sse")),
        "a page for ever": Fault("ok", on(endless, message="tools/list 2")),
        "names that collide": Fault("ok", {"tools": odd, "page": 100}),
        "schemas that are none": Fault("ok", {"tools": [tool("use"), *schemas], "page": 100}),
    }
    return {name: fault._replace(connect=30.0) for name, fault in found.items()}  # many tools take long to read


def answer(status: int, body: str = "", *fields: str, kind: str = "text/plain") -> str:
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines) + f"\r\n\r\n{body}"


def sessions() -> dict[str, Fault]:
    """Of HTTP, where a server can forget one that it has named."""
    lost, ways = {"http": answer(404)}, ("http", "sse")
    return {
        "forgotten once": Fault("ok", on({"set": {"on": {}}}, lost), ways),
        "forgotten for ever": Fault("error", on(lost), ways),
        "forgotten, and nothing anew": Fault("error", on({"set": {"on": {"initialize": [lost]}}}, lost), ways),
        "forgotten within a list": Fault("failed", on(lost, message="tools/list 2"), ways),
        "another one with every answer": Fault("ok", {"session": "another"}, ("http",)),
        "a name that is none": Fault("failed", {"session": "\x80"}, ("http",)),
        "as the official example says it": Fault(
            "ok",
            on({"set": {"on": {}}}, {"http": answer(400, json.dumps(NO_SESSION), kind="application/json")}),
            ("http",),
        ),
        "the stream of events lost": Fault("ok", {"get": "lost"}, ("http",)),
        "the stream of events refused": Fault("ok", {"get": answer(500)}, ("http",)),
        "DELETE refused": Fault("ok", {"delete": [{"http": answer(405)}]}, ("http",)),
        "DELETE hangs": Fault("ok", {"delete": [HANG]}, ("http",)),
        "DELETE reset": Fault("ok", {"delete": [{"http": "", "then": "reset"}]}, ("http",)),
    }


NO_SESSION = {"jsonrpc": "2.0", "error": {"code": -32000, "message": "Bad Request: No valid session ID"}, "id": None}


def http(dice: random.Random) -> dict[str, Fault]:
    """At the beginning, and at a call."""
    head = answer(200, "{}", kind="application/json")
    events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    page, redirect = "<html><h1>502 Bad Gateway</h1></html>", "Location: http://{}/mcp"
    answers: dict[str, dict[str, Any]] = {
        "401": {"http": answer(401, "", 'WWW-Authenticate: Bearer realm="x"')},
        "403": {"http": answer(403, "no")},
        "429": {"http": answer(429, "slow down", "Retry-After: 3600")},
        "500": {"http": answer(500, "x" * 100_000)},
        "502, a page": {"http": answer(502, page, kind="text/html")},
        "200, a page": {"http": answer(200, page, kind="text/html")},
        "a redirect to another origin": {"http": answer(307, "", redirect.format("127.0.0.2:9"))},
        "a redirect to link-local": {"http": answer(307, "", redirect.format("169.254.169.254"))},
        "a redirect that loses the message": {"http": answer(302, "", "Location: /mcp")},
        "redirects for ever": {"http": answer(307, "", "Location: /mcp")},
        "a chunk that breaks off": {"http": events + "Transfer-Encoding: chunked\r\n\r\n400\r\ndata", "then": "close"},
        "no chunk": {"http": events + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "then": "close"},
        "events without a last chunk": {"http": events + "Transfer-Encoding: chunked\r\n\r\n", "then": "close"},
        "a length that is too great": {"http": head.replace(": 2", ": 9"), "then": "close"},
        "no HTTP": {"http": "SSH-2.0-OpenSSH_9.2\r\n\r\n", "then": "close"},
        "a head without end": {"http": "HTTP/1.1 200 OK\r\n" + "X: x\r\n" * 50_000, "then": "hang"},
        "204": {"http": "HTTP/1.1 204 No Content\r\n\r\n"},
        "a reset": {"http": "", "then": "reset"},
        "a reset within the head": {"http": head[: dice.randrange(1, len(head))], "then": "reset"},
        "an end within the head": {"http": head[: dice.randrange(1, len(head) - 2)], "then": "close"},
        "a hang within the head": {"http": head[: dice.randrange(1, len(head) - 4)], "then": "hang"},
    }
    found = {f"{name} at first": Fault("failed", {"first": step}, WEB, 1.5) for name, step in answers.items()}
    found |= {f"{name} for a call": Fault("error", on(step), WEB, call=1.5) for name, step in answers.items()}
    return found | {
        "a stream without end for a call": Fault("error", on({"raw": ": hello", "ends": False}, HANG), WEB, call=1.0),
        "nobody listens": Fault("failed", {}, WEB, url="http://127.0.0.1:9/mcp"),
        "at a link-local address": Fault("failed", {}, WEB, 1.5, url="http://169.254.169.254/mcp"),
        "the end of the stream of events": Fault("error", on({"http": answer(202)}, {"close": 1}), ("sse",), call=1.0),
    }


def programs() -> dict[str, Fault]:
    """Of stdio."""
    stdio = ("stdio", "stdio modern")
    found = {
        "stdin is never read": Fault("failed", {"start": [HANG]}, stdio, 1.0),
        "stdin is not read any more": Fault("error", on(HANG), stdio, call=1.0),
        "stdout is closed": Fault("error", on({"close": 1}, HANG), stdio),
        "stdout is closed at first": Fault("failed", {"start": [{"close": 1}, HANG]}, stdio),
        "1 GB of stderr": Fault("ok", {"start": [{"stderr": 1 << 30}]}, stdio),
        "a grandchild holds the pipes": Fault("failed", {"start": [{"fork": "pipes"}, DIE]}, stdio, 1.0),
        "a grandchild holds the pipes at a call": Fault("error", on({"fork": "pipes"}, DIE), stdio, call=1.0),
        "a grandchild leaves": Fault("ok", on({"fork": "leaves"}, USUAL), stdio),
        "forks and exits": Fault("failed", {"start": [{"fork": "leaves"}, {"exit": 0}]}, stdio),
        "ignores SIGTERM": Fault("ok", {"start": [{"stubborn": 1}], "end": [HANG]}, stdio),
        "ignores SIGTERM and reads nothing": Fault("error", on({"stubborn": 1}, HANG), stdio, call=1.0),
        "forks for ever at the end": Fault("ok", {"end": [{"fork": "leaves"}] * 20}, stdio),
        "its directory is gone": Fault("error", on({"unlink": 1}, DIE), ("stdio",)),
    }
    commands = {
        "exits at once with 0": ("true",),
        "exits at once with 1": ("false",),
        "is no program": ("no-such-program",),
        "is a directory": ("/",),
        "may not be run": ("/etc/passwd",),
        "is a path to nothing": ("/no/such/program",),
        "echoes": ("cat",),
        "yells": ("yes",),
        "has a NUL in its arguments": ("echo", "a\0b"),
    }
    return found | {name: Fault("failed", {}, ("stdio",), 1.0, command=each) for name, each in commands.items()}
