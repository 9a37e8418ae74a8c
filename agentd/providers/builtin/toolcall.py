"""A task that names the tool to be used: `Call mcp__demo__echo with {"message": "hi"}`, `Have the tester agent …`.

So tools that nobody here knows, of MCP servers above all, and subagents can be tried without a language model.
"""

from __future__ import annotations

import json
import re

from agentd.providers.builtin.plan import Call, Move, Plan, run_calls

_CALL = re.compile(
    r"(?:please\s+)?(?:call|use)\s+(?:the\s+)?(?:tool\s+)?`?(?P<name>[A-Za-z_][\w-]*)`?(?:\s+tool)?"
    r"(?:\s+with\s+(?P<input>\{.*\}))?[\s.!]*",
    re.IGNORECASE | re.DOTALL,
)
_AGENT = re.compile(
    r"(?:please\s+)?(?:have|use|ask)\s+the\s+`?(?P<agent>[\w:-]+)`?\s+(?:sub)?agent\s*(?:to\b|:)\s*(?P<prompt>\S.*)",
    re.IGNORECASE | re.DOTALL,
)
TITLE_CHARS = 40


def named_call(task: str, offered: frozenset[str]) -> Call | None:
    """The call that *task* spells out, of a tool on offer; None: it is another kind of task."""
    words = task.strip()
    if (said := _AGENT.fullmatch(words)) is not None and "Task" in offered:
        prompt = said["prompt"]
        title = " ".join(prompt.split())[:TITLE_CHARS]
        return Call("Task", {"description": title, "prompt": prompt, "subagent_type": said["agent"]})
    said = _CALL.fullmatch(words)
    if said is None or said["name"] not in offered:
        return None
    try:
        given = json.loads(said["input"] or "{}")
    except (ValueError, RecursionError):
        return None
    return Call(said["name"], given)


def make_call(call: Call) -> Plan[Move]:
    """Make it; what came of it is the answer."""
    [answered] = yield from run_calls(f"Calling {call.name}.", call)
    if answered.ok:
        return Move(answered.text.strip() or f"{call.name} returned nothing.")
    return Move(f"{call.name} did not work:\n{answered.text}", failed=True)
