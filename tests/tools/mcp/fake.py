"""An MCP server that does what a script says, over whatever carries its messages. As a program: over stdin and stdout.

A script is JSON: {"era": "legacy" (the default), "modern" or "both"; "version"?: of the legacy era; "capabilities"?;
"tools"?, "prompts"?, "resources"?: entries of its lists; "page"?: entries of one page; "on"?: {method or "method name":
steps}, in the place of what it would do by itself}. Each step is an object with one of

    answer, error      the result, or the error, of the request that the steps are for
    say                any message; the text "$id" in it, alone, becomes the id of the request
    raw                text as it is, but for "$id", without a line break behind it; repeat?: so many times
    sleep              seconds
    close              no more is said (of a program: stdout is closed)
    exit               the program ends with this code; stderr?: what it says before
    set                members of the script that are others from now on
    await_reply        the next response that comes to us is, as JSON, the text that answers this request
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

Step = Mapping[str, Any]
MODERN = "2026-07-28"
EMPTY = {"type": "object", "properties": {}}


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "description": f"Does {name}.", "inputSchema": EMPTY, **more}


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": said}], **more}


class FakeServer:
    def __init__(self, script: Mapping[str, Any]) -> None:
        self.script = dict(script)
        self.heard: list[dict[str, Any]] = []
        self._replied: Any = None  # the id of a request that the next response decides

    def steps(self, message: dict[str, Any]) -> Iterator[Step]:
        """What it does about a message, with the ids in it."""
        self.heard.append(message)
        request_id = message.get("id")
        if "method" not in message:
            if self._replied is not None:
                yield _answer(self._replied, text(json.dumps(message)))
            return
        for step in self._chosen(message):
            if "await_reply" in step:
                self._replied = request_id
            elif "set" in step:
                self.script.update(step["set"])
            elif "answer" in step:
                yield _answer(request_id, step["answer"])
            elif "error" in step:
                yield {"say": {"jsonrpc": "2.0", "id": request_id, "error": step["error"]}}
            elif "say" in step:
                yield {"say": _filled(step["say"], request_id)}
            elif "raw" in step:
                yield {**step, "raw": step["raw"].replace("$id", json.dumps(request_id))}
            else:
                yield step

    def _chosen(self, message: Mapping[str, Any]) -> list[Step]:
        method, params = message["method"], message.get("params") or {}
        on = self.script.get("on", {})
        for key in (f"{method} {params.get('name')}", method):
            if key in on:
                return list(on[key])
        return self._by_itself(method, params) if "id" in message else []

    def _by_itself(self, method: str, params: Mapping[str, Any]) -> list[Step]:
        era = self.script.get("era", "legacy")
        if method == "server/discover" and era != "legacy":
            found = {"supportedVersions": [MODERN], "capabilities": self._capabilities(), "resultType": "complete"}
            return [{"answer": found}]
        if method == "initialize" and era != "modern":
            version = self.script.get("version", params["protocolVersion"])
            about = {"serverInfo": {"name": "fake", "version": "1"}, "instructions": "Be careful."}
            return [{"answer": {"protocolVersion": version, "capabilities": self._capabilities(), **about}}]
        lists = {"tools/list": "tools", "prompts/list": "prompts", "resources/list": "resources"}
        if method in lists and lists[method] in self.script:
            return [{"answer": self._page(lists[method], params)}]
        if method == "tools/call":
            return [{"answer": text(json.dumps(params.get("arguments")))}]
        if method in ("ping", "logging/setLevel"):
            return [{"answer": {}}]
        return [{"error": {"code": -32601, "message": "Method not found"}}]

    def _capabilities(self) -> dict[str, Any]:
        lists = {kind: {"listChanged": True} for kind in ("tools", "prompts", "resources") if kind in self.script}
        return {**lists, **self.script.get("capabilities", {})}

    def _page(self, kind: str, params: Mapping[str, Any]) -> dict[str, Any]:
        entries, size = self.script[kind], self.script.get("page", 1 << 30)
        start = int(params.get("cursor", 0))
        more = {"nextCursor": str(start + size)} if start + size < len(entries) else {}
        return {kind: entries[start : start + size], "resultType": "complete", **more}


def _answer(request_id: Any, result: Any) -> dict[str, Any]:
    return {"say": {"jsonrpc": "2.0", "id": request_id, "result": result}}


def _filled(value: Any, request_id: Any) -> Any:
    if value == "$id":
        return request_id
    if isinstance(value, dict):
        return {key: _filled(each, request_id) for key, each in value.items()}
    return [_filled(each, request_id) for each in value] if isinstance(value, list) else value


def main() -> None:
    server = FakeServer(json.loads(sys.argv[1]))
    for line in sys.stdin.buffer:
        for step in server.steps(json.loads(line)):
            _do(step)


def _do(step: Step) -> None:
    if "say" in step:
        _write((json.dumps(step["say"]) + "\n").encode())
    elif "raw" in step:
        data = step["raw"].encode()
        for _ in range(step.get("repeat", 1)):
            _write(data)
    elif "sleep" in step:
        time.sleep(step["sleep"])
    elif "close" in step:
        os.close(1)
    else:
        sys.stderr.write(step.get("stderr", ""))
        sys.stderr.flush()
        os._exit(step["exit"])


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
