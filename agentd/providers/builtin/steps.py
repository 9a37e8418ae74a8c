"""Carrying out one step that is spelled out. What a tool says is passed on as it is; what failed is not tried again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from typing import Literal as OneOf

import attrs

from agentd.providers.builtin.cite import fenced
from agentd.providers.builtin.grammar import (
    ApplyDiff,
    ChangeTree,
    Create,
    CreateEmpty,
    Edit,
    EditLines,
    ListFiles,
    Replace,
    Run,
    Say,
    Show,
    Step,
)
from agentd.providers.builtin.outputs import read_lines
from agentd.providers.builtin.patch import FilePatch, Hunk, find, parse_diff, replacement
from agentd.providers.builtin.plan import Answered, Call, Plan, run_calls

OUTPUT_CHARS = 4000  # of a tool's text in an answer; people see the whole of it in the tool's own event
REFUSED = " was not executed: "  # how the engine tells of a call that was not permitted
SLACK_LINES = 200  # how far from where it says a hunk's lines are looked for


@attrs.frozen
class Outcome:
    """*declined*: not tried, because a tool is not offered, or because it would need invention.

    *broken*: an edit that was spelled out did not apply. A command that fails has run all the same, and says something;
    and where a person refuses an edit, that is what they want.
    """

    state: OneOf["done", "failed", "declined"]
    text: str
    broken: bool = False


def carry_out(step: Step, offered: frozenset[str]) -> Plan[Outcome]:
    """Do a step with the tools on offer."""
    missing = [name for name in _NEEDS[type(step)] if name not in offered]
    if missing:
        return Outcome("declined", _not_offered(missing, offered))
    outcome = yield from _CARRY_OUT[type(step)](step, offered)
    broken = outcome.state == "failed" and isinstance(step, Edit) and REFUSED not in outcome.text
    return attrs.evolve(outcome, broken=broken)


def _not_offered(missing: Sequence[str], offered: frozenset[str]) -> str:
    there_are = f"Offered are: {', '.join(sorted(offered))}" if offered else "No tool is offered"
    changes = (
        " A mode that may change files (`--mode code`) offers it." if {"Write", "Edit", "Bash"} & set(missing) else ""
    )
    return f"This needs the tool {' and '.join(missing)}, which is not offered here. {there_are}.{changes}"


def _run(step: Run | ChangeTree, offered: frozenset[str]) -> Plan[Outcome]:
    (answered,) = yield from run_calls(f"Running `{step.command}`.", Call("Bash", {"command": step.command}))
    output = shown(answered.text)
    if answered.ok:
        said = f"and printed:\n{output}" if output else "and printed nothing."
        return Outcome("done", f"`{step.command}` ran {said}")
    return Outcome("failed", f"`{step.command}` did not succeed:\n{output}")


def _create(step: Create, offered: frozenset[str]) -> Plan[Outcome]:
    (answered,) = yield from run_calls(
        f"Writing `{step.path}`.", Call("Write", {"file_path": step.path, "content": step.content})
    )
    return _edited(answered, step.path)


def _create_empty(step: CreateEmpty, offered: frozenset[str]) -> Plan[Outcome]:
    (answered,) = yield from run_calls(f"Creating `{step.path}`.", Call("Edit", _edit(step.path, "", "")))
    return _edited(answered, step.path)


def _replace(step: Replace, offered: frozenset[str]) -> Plan[Outcome]:
    call = Call("Edit", _edit(step.path, step.old, step.new) | {"replace_all": True})
    (answered,) = yield from run_calls(f"Replacing every occurrence in `{step.path}`.", call)
    return _edited(answered, step.path)


def _edit_lines(step: EditLines, offered: frozenset[str]) -> Plan[Outcome]:
    (read,) = yield from run_calls(f"Reading `{step.path}`.", Call("Read", {"file_path": step.path}))
    if not read.ok:
        return Outcome("failed", f"`{step.path}` was not changed: {shown(read.text)}")
    page = read_lines(read.text)
    lines = [line.text for line in page.lines]
    if not step.old:
        return (yield from _append(step, lines, page.cut))
    places = [number for number, line in enumerate(lines) if line.strip() == step.old[0].strip()]
    hunks = [Hunk(tuple(lines[at : at + len(step.old)]), _kept(step, lines, at), at + 1) for at in places]
    hunks = [hunk for hunk in hunks if [line.strip() for line in hunk.old] == [line.strip() for line in step.old]]
    if len(hunks) != 1:
        where = f"{len(hunks)} times, so it does not say which is meant" if hunks else "not there as whole lines"
        return Outcome("failed", f"`{step.path}` was not changed: the line `{step.old[0]}` is {where}.")
    return (yield from _replace_lines(step.path, hunks[0], lines))


def _kept(step: EditLines, lines: Sequence[str], at: int) -> tuple[str, ...]:
    """The new lines; those that stand in the file already keep the indentation they have there."""
    there = dict(zip(step.old, lines[at : at + len(step.old)], strict=False))
    return tuple(there.get(line, line) for line in step.new)


def _append(step: EditLines, lines: Sequence[str], cut: bool) -> Plan[Outcome]:
    if cut:
        return Outcome("failed", f"`{step.path}` was not changed: it is too long for me to see its end.")
    if not lines:
        return (yield from _create(Create(step.path, "\n".join(step.new) + "\n"), frozenset()))
    return (yield from _replace_lines(step.path, Hunk((), step.new, len(lines)), lines))


def _replace_lines(path: str, hunk: Hunk, lines: Sequence[str]) -> Plan[Outcome]:
    edit = replacement(hunk, lines, hunk.at if not hunk.old else hunk.at - 1)
    (answered,) = yield from run_calls(f"Editing `{path}`.", Call("Edit", _edit(path, edit.old, edit.new)))
    return _edited(answered, path)


def _show(step: Show, offered: frozenset[str]) -> Plan[Outcome]:
    (answered,) = yield from run_calls(f"Reading `{step.path}`.", Call("Read", {"file_path": step.path}))
    if not answered.ok:
        return Outcome("failed", f"`{step.path}` could not be read: {shown(answered.text)}")
    return Outcome("done", f"`{step.path}`:\n{fenced(shown(answered.text).split(chr(10)))}")


def _list(step: ListFiles, offered: frozenset[str]) -> Plan[Outcome]:
    (answered,) = yield from run_calls(f"Listing `{step.path}`.", Call("LS", {"path": step.path}))
    return Outcome("done" if answered.ok else "failed", shown(answered.text))


def _say(step: Say, offered: frozenset[str]) -> Plan[Outcome]:
    yield from ()
    return Outcome("done", step.text)


def _edited(answered: Answered, path: str) -> Outcome:
    if answered.ok:
        return Outcome("done", shown(answered.text.strip().split("\n")[0]))
    return Outcome("failed", f"`{path}` was not changed: {shown(answered.text)}")


def _edit(path: str, old: str, new: str) -> dict[str, Any]:
    return {"file_path": path, "old_string": old, "new_string": new}


# --- Diffs: every file is read where the hunks say, then all that fits is edited --------------------------------------


def _apply(step: ApplyDiff, offered: frozenset[str]) -> Plan[Outcome]:
    patches = parse_diff(step.diff)
    if not any(patch.hunks for patch in patches):
        return Outcome("failed", "The diff has no hunk that I can read.")
    places = [(patch, hunk) for patch in patches if patch.old and patch.new for hunk in patch.hunks]
    reads = yield from run_calls("Looking where the hunks belong.", *(_window(patch, hunk) for patch, hunk in places))
    edits, problems = _place(places, reads)
    whole = [_whole_file(patch, offered) for patch in patches if not (patch.old and patch.new)]
    calls = [call for call in (*edits, *whole) if isinstance(call, Call)]
    problems += [problem for problem in whole if isinstance(problem, str)]
    answers = yield from run_calls(f"Applying {len(calls)} changes.", *calls)
    return _applied(answers, problems)


def _window(patch: FilePatch, hunk: Hunk) -> Call:
    first = max(1, hunk.at - SLACK_LINES)
    limit = len(hunk.old) + 2 * SLACK_LINES
    return Call("Read", {"file_path": patch.old, "offset": first, "limit": limit})


def _place(places: Sequence[tuple[FilePatch, Hunk]], reads: Sequence[Answered]) -> tuple[list[Call], list[str]]:
    calls: list[Call] = []
    problems: list[str] = []
    for (patch, hunk), read in zip(places, reads, strict=True):
        page = read_lines(read.text)
        lines = [line.text for line in page.lines]
        first = page.lines[0].number if page.lines else 1
        if not read.ok:
            problems.append(f"{patch.old}: {shown(read.text)}")
        elif (place := find(hunk, lines, first)) is None:
            problems.append(f"{patch.old}: the hunk at line {hunk.at} does not fit: its old lines are not near there.")
        else:
            edit = replacement(hunk, lines, place)
            calls.append(Call("Edit", _edit(str(patch.old), edit.old, edit.new)))
    return calls, problems


def _whole_file(patch: FilePatch, offered: frozenset[str]) -> Call | str:
    """A file that the diff makes or takes away."""
    if patch.new is not None:
        content = "".join(f"{line}\n" for hunk in patch.hunks for line in hunk.new)
        return Call("Write", {"file_path": patch.new, "content": content})
    if "Bash" not in offered:
        return f"{patch.old}: deleting a file needs the tool Bash, which is not offered here."
    from shlex import quote

    return Call("Bash", {"command": f"rm -- {quote(str(patch.old))}"})


def _applied(answers: Sequence[Answered], problems: Sequence[str]) -> Outcome:
    done = [answered for answered in answers if answered.ok]
    failed = [f"{_file_of(each)}: {shown(each.text)}" for each in answers if not each.ok]
    failed = [*problems, *failed]
    lines = [f"- applied: {shown(each.text.strip().split(chr(10))[0]) or _file_of(each)}" for each in done]
    lines += [f"- not applied: {text}" for text in failed]
    total = len(done) + len(failed)
    head = f"All {total} changes were applied:"
    if failed:
        head = f"{len(done)} of {total} changes of the diff were applied; not this: {failed[0]}"
    return Outcome("failed" if failed else "done", "\n".join([head, *lines]))


def _file_of(answered: Answered) -> str:
    return str(answered.call.input.get("file_path") or answered.call.input.get("command"))


# --- Texts ----------------------------------------------------------------------------------------------------------


def shown(text: str) -> str:
    """A tool's text, cut in its middle if it is long."""
    text = text.strip("\n")
    if len(text) <= OUTPUT_CHARS:
        return text
    half = OUTPUT_CHARS // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"


_CARRY_OUT: dict[type[Step], Callable[[Any, frozenset[str]], Plan[Outcome]]] = {
    Run: _run,
    Create: _create,
    CreateEmpty: _create_empty,
    Replace: _replace,
    EditLines: _edit_lines,
    ApplyDiff: _apply,
    Show: _show,
    ChangeTree: _run,
    ListFiles: _list,
    Say: _say,
}
_NEEDS: dict[type[Step], tuple[str, ...]] = {
    Run: ("Bash",),
    Create: ("Write",),
    CreateEmpty: ("Edit",),
    Replace: ("Edit",),
    EditLines: ("Read", "Edit"),
    ApplyDiff: ("Read", "Edit"),
    Show: ("Read",),
    ChangeTree: ("Bash",),
    ListFiles: ("LS",),
    Say: (),
}
