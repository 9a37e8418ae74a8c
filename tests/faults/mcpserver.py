"""An MCP server that fails as a script says: over stdio this program, which has the standard library alone; over HTTP
see mcpweb.py. What can fail is in mcpfaults.py.

A script is one of tests/tools/mcp/fake.py, with more steps:

    usual: 1               what it would do by itself
    part: 0.4              so much of that, and no end of the line or the event
    raw: text              a message as it is, byte for byte (latin-1), "$id" but for; ends: no: without its end
    repeat: 9              of say and raw: so often
    drip: text             the beginning of a message, a byte every *pause* seconds
    hang, die, sleep       for ever; all of the server with all its connections; seconds
    taken: 1               over HTTP a message that nothing answers is answered for by now, not behind the steps
    http: text             the whole answer to a request; then: "reset" or "hang" instead of going on
    stubborn, fork, stderr, note, unlink: what a program can do: see do()

"start" are steps before the first message, "end" those when the job has left; "many" is a number of tools. Steps of the
further pages of a list are those of "tools/list 2".
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.tools.mcp.fake import FakeServer, Step, tool

LOST, EACH_PAGE = 300, 3  # seconds that nobody waits for; tools of a page
UNSUPPORTED_VERSION = -32022


class FaultyServer(FakeServer):
    """It has tools on two pages, prompts and resources."""

    def __init__(self, script: Mapping[str, Any]) -> None:
        more = [tool(f"t{number}") for number in range(script.get("many", EACH_PAGE))]
        lists = {"tools": [tool("use"), *more], "prompts": [{"name": "p"}], "resources": [{"uri": "x:y", "name": "r"}]}
        capabilities: dict[str, Any] = {"logging": {}}
        super().__init__({"page": max(EACH_PAGE, len(more) // 2), "capabilities": capabilities, **lists, **script})

    def _chosen(self, message: Mapping[str, Any]) -> list[Step]:
        method, params = message["method"], message.get("params") or {}
        by_itself = self._by_itself(method, params) if "id" in message else []
        if method == "initialize" and self.script.get("era") == "modern":
            by_itself = [{"error": {"code": UNSUPPORTED_VERSION, "message": "Unsupported", "data": {"supported": []}}}]
        steps = self.script.get("on", {}).get(f"{method} 2" if "cursor" in params else method)
        if steps is None:
            return by_itself
        found: list[Step] = []
        for step in steps:
            found += by_itself if "usual" in step else [_part(by_itself, step["part"])] if "part" in step else [step]
        return [_raw(step) if "say" in step else step for step in found]


def _raw(step: Step) -> Step:
    """FakeServer keeps no more of what is said than the message."""
    rest = {name: value for name, value in step.items() if name != "say"}
    return {**rest, "raw": json.dumps(step["say"]).replace('"$id"', "$id")}


def _part(steps: list[Step], share: float) -> Step:
    result = json.dumps(steps[0]["answer"]) if steps and "answer" in steps[0] else '"no answer"'
    whole = f'{{"jsonrpc":"2.0","id":$id,"result":{result}}}'
    return {"raw": whole[: max(1, int(len(whole) * share))], "ends": False}


def main() -> None:
    script = json.loads(sys.argv[1])
    server = FaultyServer(script)
    _do_all(script.get("start", ()))
    for line in sys.stdin.buffer:
        _do_all(server.steps(json.loads(line)))
    _do_all(script.get("end", ()))


def _do_all(steps: Any) -> None:
    for step in steps:
        do(step)


def do(step: Mapping[str, Any]) -> None:
    if "say" in step or "raw" in step:
        data = frame(step) + (b"\n" if step.get("ends", True) else b"")
        for _ in range(step.get("repeat", 1)):
            _write(data)
            time.sleep(step.get("pause", 0))
    elif "drip" in step:
        for byte in step["drip"].encode():
            _write(bytes([byte]))
            time.sleep(step["pause"])
    elif "hang" in step or "sleep" in step:
        time.sleep(step.get("sleep", LOST))
    elif "die" in step or "exit" in step:
        os._exit(step.get("exit", 1))
    elif "close" in step:
        os.close(1)
    elif "stubborn" in step:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif "stderr" in step:
        threading.Thread(target=_yell, args=(step["stderr"],), daemon=True).start()
    elif "note" in step:
        with Path(step["note"]).open("a") as file:
            file.write("x")
    elif "unlink" in step:
        shutil.rmtree(Path.cwd())
    elif "fork" in step:
        _fork(keeps_pipes=step["fork"] == "pipes")


def frame(step: Mapping[str, Any]) -> bytes:
    """The message of a step, as bytes."""
    return json.dumps(step["say"]).encode() if "say" in step else step["raw"].encode("latin-1")


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def _yell(size: int) -> None:
    for _ in range(size // 65_536):
        os.write(2, b"x" * 65_535 + b"\n")


def _fork(*, keeps_pipes: bool) -> None:
    if os.fork():
        return
    if not keeps_pipes:
        os.setsid()
        for fd in range(3):
            os.close(fd)
    time.sleep(LOST)
    os._exit(0)


if __name__ == "__main__":
    main()
