"""The tools of chats, for plans that know others: a plan's calls become calls of these, and their results what the plan
expects. An edit becomes a patch, made of what the file holds.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agentd.providers.builtin.chatlook import LOOKS, PAGE_LINES, Look
from agentd.providers.builtin.outputs import read_lines
from agentd.providers.builtin.plan import Answered, Call, Move, Plan, run_calls

MOST_LINES = 20_000  # of a file that is edited
KNOWN = {
    "Bash": "shell",
    "Read": "read_file",
    "Grep": "search",
    "LS": "repo_tree",
    "Write": "apply_patch",
    "Edit": "apply_patch",
    "git_status": "git_status",
}
CHANGING = frozenset({"Bash", "Write", "Edit"})


def is_chat(offered: frozenset[str]) -> bool:
    return "read_file" in offered and "Read" not in offered


def known(offered: frozenset[str]) -> frozenset[str]:
    """By the names that plans use."""
    return frozenset(name for name, tool in KNOWN.items() if tool in offered)


def in_chat(plan: Plan[Move]) -> Plan[Move]:
    """The same plan, by the tools of a chat."""
    look = Look()
    try:
        move = next(plan)
        while True:
            text = yield from look.fetch(move.text, move.calls)
            answered: list[Answered] = []
            for call in move.calls:
                if call.name in LOOKS:
                    answered.append(look.answer(call))
                    continue
                answered.append((yield from _CARRY_OUT.get(call.name, _refuse)(text, call)))
                text = ""
            if any(call.name in CHANGING for call in move.calls):
                look = Look()  # what was seen may be no more
            move = plan.send(answered)
    except StopIteration as end:
        last: Move = end.value
        return last


def _refuse(text: str, call: Call) -> Plan[Answered]:
    yield from ()
    return Answered(call, f"There is no tool {call.name} here.", ok=False)


def _once(text: str, tool: str, call_input: Mapping[str, Any]) -> Plan[Answered]:
    (answered,) = yield from run_calls(text, Call(tool, call_input))
    return answered


def _bash(text: str, call: Call) -> Plan[Answered]:
    answered = yield from _once(text, "shell", {"command": call.input["command"]})
    return Answered(call, _said(answered.text), answered.ok)


def _said(told: str) -> str:
    """What a command printed, as Bash tells it."""
    try:
        ran = json.loads(told)
        lines = [stream.rstrip("\n") for stream in (ran["stdout"], ran["stderr"]) if stream.strip()]
        return "\n".join([*lines, *([f"[exit code {ran['exit_code']}]"] if ran["exit_code"] else [])])
    except (ValueError, LookupError, TypeError, AttributeError):
        return told  # it was not run, or too much was printed to be told whole


def _write(text: str, call: Call) -> Plan[Answered]:
    old = yield from _whole(text, call.input["file_path"])
    return (yield from _patch("", call, old, call.input["content"]))


def _edit(text: str, call: Call) -> Plan[Answered]:
    path, before, after = (call.input[key] for key in ("file_path", "old_string", "new_string"))
    old = yield from _whole(text, path)
    if not before:
        if old is not None:
            return Answered(call, f"{path} exists already", ok=False)
        return (yield from _patch("", call, None, after))
    count = (old or "").count(before)
    if old is None or not count:
        return Answered(call, f"the text is not in {path}" if old is not None else f"{path} cannot be read", ok=False)
    if count > 1 and not call.input.get("replace_all"):
        return Answered(call, f"the text is in {path} {count} times", ok=False)
    return (yield from _patch("", call, old, old.replace(before, after)))


def _whole(text: str, path: str) -> Plan[str | None]:
    """A file; None where there is none that can be read."""
    lines: list[str] = []
    while len(lines) < MOST_LINES:
        at = len(lines) + 1
        wanted = {"path": path, "start_line": at, "end_line": at + PAGE_LINES - 1}
        answered = yield from _once(text if at == 1 else "", "read_file", wanted)
        if not answered.ok:
            return None
        page = read_lines(answered.text)
        lines += [line.text for line in page.lines]
        if not page.cut or not page.lines:
            break
    return "".join(f"{line}\n" for line in lines)


def _patch(text: str, call: Call, old: str | None, new: str) -> Plan[Answered]:
    path = call.input["file_path"]
    answered = yield from _once(text or f"Changing `{path}`.", "apply_patch", {"patch": _diff(path, old, new)})
    if not answered.ok:
        return Answered(call, answered.text, ok=False)
    return Answered(call, f"{'Created' if old is None else 'Changed'} {path}", ok=True)


def _diff(path: str, old: str | None, new: str) -> str:
    before, after = (old or "").splitlines(keepends=True), new.splitlines(keepends=True)
    head = f"diff --git a/{path} b/{path}\n"
    if old is None:
        head += "new file mode 100644\n" + ("" if new else "index 0000000..e69de29\n")
    source = "/dev/null" if old is None else f"a/{path}"
    lines: Sequence[str] = list(difflib.unified_diff(before, after, source, f"b/{path}"))
    ended = (line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
    return head + "".join(ended)


_CARRY_OUT: dict[str, Callable[[str, Call], Plan[Answered]]] = {
    "Bash": _bash,
    "git_status": lambda text, call: _once(text, "git_status", {}),
    "Write": _write,
    "Edit": _edit,
}
