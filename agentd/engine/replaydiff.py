"""What a job did when it was recorded, and what it did when it was played: where the two part. Pure.

Ids that are made anew each time, times, and what services and machines say of themselves make no difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import attrs

from agentd.domain import JobSpec, Mode, Record
from agentd.engine.customs import GENERAL_NAME
from agentd.engine.questions import QUESTION_TOOL
from agentd.store.specrun import STEP_ASK

if TYPE_CHECKING:
    from agentd.engine.replayzip import Recording

TOLD = frozenset(
    {"LOOP", "NO_EDIT", "NO_TASKS", "NO_PLAN", "CUT_SHORT", "VERIFY_SKIPPED"}
)  # notices that the engine decides on
SHOWN_CHARS = 200
DYNAMIC = ("mcp__", "Skill", "SlashCommand", "Task")  # begin names of tools that say what is on a machine


@attrs.frozen
class Difference:
    """*kind*: request, call, decision, result, message, phase, notice, ending, or beyond, where the recording ended.
    *where*: which request, call or phase; *pos*: of the record in the session's log when it was recorded."""

    kind: str
    where: str
    recorded: str
    replayed: str
    pos: int


@attrs.frozen
class Report:
    """*differences*: in the order of the recording; *not_compared*: what it does not hold, so that nothing is said."""

    job: str
    mode: str
    requests: int
    calls: int
    differences: Sequence[Difference]
    not_compared: Sequence[str]

    @property
    def same(self) -> bool:
        return not self.differences


@attrs.define
class _Seen:
    """What is compared of one log."""

    requests: dict[str, list[tuple[int, dict[str, Any]]]] = attrs.field(factory=dict)  # by branch: position, sent
    calls: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    said: dict[str, list[tuple[int, Any]]] = attrs.field(factory=dict)
    phases: list[tuple[int, Any]] = attrs.field(factory=list)
    notices: list[tuple[int, Any]] = attrs.field(factory=list)
    end: Mapping[str, Any] | None = None
    last: int = 0


def compare(recording: Recording, spec: JobSpec, played: Sequence[Record], beyond: Difference | None = None) -> Report:
    """*beyond*: what the played job wanted of a recording that had ended."""
    before, after = _seen(recording.own), _seen(played)
    unknown: dict[str, str] = {}
    found = [
        *_requests(before, after, _unknowable(recording, spec), unknown),
        *_calls(before, after),
        *_pairs("phase", before.phases, after.phases, before.last),
        *_pairs("notice", before.notices, after.notices, before.last),
        *(
            each
            for branch in before.said
            for each in _pairs("message", before.said[branch], after.said.get(branch, []), before.last)
        ),
    ]
    if _was_stopped(before.end):  # in the middle of something
        found = [each for each in found if each.replayed != MISSING]
    elif beyond is None:
        found += _ending(before.end or {}, after.end or {}, before.last)
    if beyond is not None:
        found.append(beyond)
    found.sort(key=lambda each: each.pos)
    count = sum(map(len, before.requests.values()))
    return Report(recording.job, spec.mode, count, len(before.calls), found, list(unknown.values()))


MISSING = "nothing of the kind"


def _seen(records: Iterable[Record]) -> _Seen:
    seen = _Seen()
    names: dict[str, str] = {}  # of steps, whose ids may be made anew
    sent: dict[str, dict[str, Any]] = {}
    for record in records:
        data, branch = record.data, record.parent or ""
        seen.last = record.pos
        match record.type:
            case "usage":
                sent[branch] = {**sent.get(branch, {}), **(data.get("sent") or {})}
                seen.requests.setdefault(branch, []).append((record.pos, sent[branch]))
            case "message" if data["role"] == "user":
                seen.said.setdefault(branch, []).append((record.pos, data["content"]))
            case "message.changed" | "history.compacted":
                told = {name: value for name, value in data.items() if name in ("content", "dropped", "left", "text")}
                seen.said.setdefault(branch, []).append((record.pos, told))
            case "phase":
                if data["name"] == "step":
                    names[data["details"]["id"]] = f"step {data['index']}"
                seen.phases.append((record.pos, [data[name] for name in ("name", "index", "count", "title")]))
            case "notice" if data["code"] in TOLD:
                seen.notices.append((record.pos, data["code"]))
            case "job.finished":
                seen.end = data
            case "ask.opened" if data.get("kind") == "question" and data.get("tool") != QUESTION_TOOL:
                pass  # an MCP server asks, while its tool runs
            case "tool.started" | "tool.finished" | "ask.opened" if data["call"] is not None:
                call = names.get(data["call"], data["call"])
                one = seen.calls.setdefault(call, {"pos": record.pos, "name": data.get("name", data.get("tool"))})
                if record.type != "ask.opened" or "tool.started" not in one:  # else it is the tool that asks
                    one[record.type] = data
    return seen


# --- Requests -----------------------------------------------------------------------------------------------------


def _unknowable(recording: Recording, spec: JobSpec) -> dict[str, str]:
    """Parts of requests that a recording cannot tell, and why."""
    from_disk = "files of the workspace or of the person's settings were part of it"
    found: dict[str, str] = {}
    begin = next((record.data for record in recording.own if record.type == "job.started"), {})
    agents = set(begin.get("agents", ())) - spec.agents.keys() - {GENERAL_NAME}
    connected = [each for each in begin.get("mcp_servers", ()) if each["status"] == "connected"]
    if connected and "instructions" not in begin:
        found["system"] = "an agentd recorded it that did not keep what MCP servers say of their tools"
    if spec.mode is Mode.CHAT or spec.sources or spec.output_style or begin.get("plugins") or agents:
        found["system"] = from_disk
    if spec.mode in (Mode.SPEC_RUN, Mode.SPEC_DRAFT):
        found["messages"] = from_disk
    return found


def _requests(
    before: _Seen, after: _Seen, unknowable: Mapping[str, str], unknown: dict[str, str]
) -> Iterator[Difference]:
    for branch in {**before.requests, **after.requests}:
        pairs = zip_longest(before.requests.get(branch, ()), after.requests.get(branch, ()))
        for number, (recorded, played) in enumerate(pairs, 1):
            where = f"request {number}{f' of the conversation below {branch}' if branch else ''}"
            if recorded is None or played is None:
                pos = recorded[0] if recorded is not None else before.last
                sides = (MISSING, "a request") if recorded is None else ("a request", MISSING)
                yield Difference("request", where, *sides, pos)
                break
            if not recorded[1]:
                unknown["requests"] = "requests: an agentd recorded it that did not keep what it sent"
                continue
            for part, sides in _parts(recorded[1], played[1]):
                name = part.split(" ")[0]
                if part == "a tool from elsewhere":
                    unknown.setdefault(whose := _origin(sides[0]), f"{whose}: what it says is not in the recording")
                elif name in unknowable:
                    unknown.setdefault(name, f"{_NAMES[name]}: {unknowable[name]}")
                else:
                    yield Difference("request", f"{where}: {_NAMES.get(part, part)}", *sides, recorded[0])


def _origin(tool: str) -> str:
    """Who says what *tool* is: many servers have many tools."""
    mcp, *named = tool.split("__", 2)
    if mcp != "mcp":
        return f"the tool {tool}"
    return f"tools of the MCP server {named[0]}" if len(named) == 2 else "tools for resources of MCP servers"


_NAMES = {"system": "the system prompt", "messages": "the messages"}


def _parts(recorded: Mapping[str, Any], played: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    for part in ("system", "messages"):
        if recorded.get(part) != played.get(part):
            yield part, (f"digest {recorded.get(part)}", f"digest {played.get(part)}")
    mine, theirs = played.get("tools", {}), recorded.get("tools", {})
    for name in {**theirs, **mine}:
        if mine.get(name) == theirs.get(name):
            continue
        if name.startswith(DYNAMIC):
            yield "a tool from elsewhere", (name, name)
        elif name not in mine or name not in theirs:
            yield f"the tool {name}", ("on offer", "not on offer") if name in theirs else ("not on offer", "on offer")
        else:
            yield f"the tool {name}", (f"described as {theirs[name]}", f"described as {mine[name]}")


# --- Calls, messages, ends ----------------------------------------------------------------------------------------


def _calls(before: _Seen, after: _Seen) -> Iterator[Difference]:
    for call in {**before.calls, **after.calls}:
        recorded, played = before.calls.get(call), after.calls.get(call)
        if recorded is None or played is None:
            there = recorded or played or {}
            sides = (MISSING, "it was made") if recorded is None else ("it was made", MISSING)
            yield Difference("call", f"{there['name']} ({call})", *sides, there["pos"] if recorded else before.last)
            continue
        where, pos = f"{recorded['name']} ({call})", recorded["pos"]
        if (old := _decision(recorded)) != (new := _decision(played)):
            yield Difference("decision", where, old, new, pos)
        elif (old := _input(recorded)) != (new := _input(played)):
            yield Difference("call", where, shown(old), shown(new), pos)
        elif "tool.finished" in recorded and "tool.finished" in played:
            ends = [[each["tool.finished"][name] for name in ("ok", "content")] for each in (recorded, played)]
            if ends[0] != ends[1]:
                yield Difference("result", where, shown(ends[0][1]), shown(ends[1][1]), pos)


def _decision(call: Mapping[str, Any]) -> str:
    """What was decided about a call before it ran, if it did."""
    asked, finished = call.get("ask.opened"), call.get("tool.finished")
    about = f"asked about ({asked['kind']}), " if asked else ""
    if "tool.started" in call or (asked is not None and asked["kind"] == STEP_ASK):
        return f"{about}run"
    if finished is None:
        return f"{about}not decided"
    return f"{about}not run: {shown(finished['content'])}"


def _input(call: Mapping[str, Any]) -> Any:
    return call["tool.started"]["input"] if "tool.started" in call else None


def _pairs(
    kind: str, before: Sequence[tuple[int, Any]], after: Sequence[tuple[int, Any]], last: int
) -> Iterator[Difference]:
    """The first difference of two sequences: behind it, all are others."""
    for number, (recorded, played) in enumerate(zip_longest(before, after), 1):
        old, new = (MISSING if each is None else shown(each[1]) for each in (recorded, played))
        if recorded is None or played is None or recorded[1] != played[1]:
            yield Difference(kind, f"{kind} {number}", old, new, recorded[0] if recorded is not None else last)
            return


def _was_stopped(end: Mapping[str, Any] | None) -> bool:
    """Whether the job was ended from outside, or has not ended."""
    return end is None or end["outcome"] in ("cancelled", "interrupted") or end["stop_reason"] == "timeout"


def _ending(before: Mapping[str, Any], after: Mapping[str, Any], pos: int) -> Iterator[Difference]:
    for name in ("outcome", "stop_reason", "error", "result", "structured"):
        old, new = _told(before, name), _told(after, name)
        if old != new:
            yield Difference("ending", f"the job's {name.replace('_', ' ')}", shown(old), shown(new), pos)
            return


def _told(end: Mapping[str, Any], name: str) -> Any:
    """Of an error the code: its text may name places."""
    value = end.get(name)
    return value.get("code") if name == "error" and isinstance(value, dict) else value


def shown(value: Any) -> str:
    """On one line, for people; nothing in it moves the cursor of a terminal."""
    if isinstance(value, list) and value and all(isinstance(each, dict) and "text" in each for each in value):
        value = "".join(str(each["text"]) for each in value)
    text = " ".join(str(value).split())
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"
