"""The plan of a run, from a spec that spells out its steps: commands, patches, files, edits. Pure.

What is spelled out becomes a step, to the letter and in the order of the spec; a fenced script and a list item that is
nothing but a command count as spelled out too, unless they stand where a spec says what not to do. Everything else is
prose that a person, or a language model, would have to think about: it makes no step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from shlex import quote
from typing import Any

from agentd.providers.builtin.cite import counted
from agentd.providers.builtin.grammar import ApplyDiff, ChangeTree, Create, CreateEmpty, EditLines, Replace, Run, Step
from agentd.providers.builtin.literals import mask
from agentd.providers.builtin.task import parse

ASKED = "Plan the run of the spec below."  # as engine/specrunplan.py begins it; a test holds the two together
SPEC_BEGINS = "The spec:\n\n"
TITLE_CHARS = 80
SHELLS = frozenset({"bash", "sh", "shell", "zsh", "console", "shell-session"})
_FRONT = re.compile(r"\A---\n.*?\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_HEADING = re.compile(r"^#{1,6}[ \t]+(?P<title>[^\n]*)$", re.MULTILINE)
_CHECKS = re.compile(r"\b(?:tests?|verif\w+|checks?|acceptance)\b", re.IGNORECASE)
_ASIDE = re.compile(
    r"\b(?:constraints?|notes?|nuances|never|not|avoid|without|non-goals?|out of scope|forbidden|background|context)\b",
    re.IGNORECASE,
)
_WARNS = re.compile(
    r"\b(?:never|not|don't|avoid|without|instead of)\b[^\n.]{0,200}:[ \t]*$", re.IGNORECASE | re.MULTILINE
)
_PASSES = re.compile(
    r"\s*(?:succeeds|passes|works|is (?:ok|green|clean)|exits? (?:with )?(?:status |code )?0|"
    r"ends with (?:status|exit code) 0)?\s*[.;]?\s*",
    re.IGNORECASE,
)
_FENCE = re.compile(
    r"\A\s*(?:```+|~~~+)[ \t]*(?P<info>[\w-]+)[^\n]*\n(?P<text>.*?)\n[ \t]*(?:```+|~~~+)\s*\Z", re.DOTALL
)
_CODE = re.compile(r"\A(?:\[[ xX]\][ \t]*)?`(?P<code>[^`\n]+)`(?P<rest>[^`]*)\Z", re.DOTALL)
_MARK = re.compile(r"\A(?:[-*•+]|\(?\d{1,3}[.)])[ \t]+")  # of the only item of a list
_PROMPT = re.compile(r"^\$ ", re.MULTILINE)


def asks_run_plan(task: str) -> bool:
    return task.startswith(ASKED)


def plan_run(task: str) -> str:
    """The plan as the JSON that is asked for."""
    steps = list(_steps(task.partition(SPEC_BEGINS)[2]))
    if not steps:
        title = "Nothing was done: this spec spells out no step, and the built-in model invents none"
        steps = [{"title": title, "type": "note"}]
    numbered = [{"id": f"step-{number}", "needs_approval": False, **step} for number, step in enumerate(steps, 1)]
    return json.dumps({"steps": numbered}, ensure_ascii=False, indent=1)


def _steps(spec: str) -> Iterator[dict[str, Any]]:
    for heading, text in _sections(_without_comments(_FRONT.sub("", spec))):
        aside = bool(_ASIDE.search(heading) or _WARNS.search(mask(text).text))
        for item in parse(text) if text.strip() else ():
            if isinstance(item.what, tuple):
                for step in item.what:
                    yield from _of_step(step)
            elif not aside:
                yield from _of_code(_MARK.sub("", item.text.strip()), checks=bool(_CHECKS.search(heading)))


def _without_comments(spec: str) -> str:
    """In one pass, however many there are that do not end."""
    first, *rest = spec.split("<!--")
    parts = (part.partition("-->") for part in rest)
    return first + "".join(behind if end else f"<!--{said}" for said, end, behind in parts)


def _sections(spec: str) -> Iterator[tuple[str, str]]:
    """The texts between headings, each with the one above it. What is quoted has no headings."""
    masked = mask(spec)
    heading, start = "", 0
    for found in _HEADING.finditer(masked.text):
        yield heading, masked.restore(masked.text[start : found.start()])
        heading, start = masked.restore(found["title"]), found.end()
    yield heading, masked.restore(masked.text[start:])


def _of_code(text: str, *, checks: bool) -> Iterator[dict[str, Any]]:
    """What is nothing but a script or a command. A single word may be a name: it is a command where tests are told."""
    if fence := _FENCE.match(text):
        if fence["info"].lower() in SHELLS:
            script = _PROMPT.sub("", fence["text"]).strip()
            yield _command(
                f"set -e\n{script}" if "\n" in script else script, _title(script)
            )  # as steps: the first ends it
    elif (code := _CODE.match(text)) and _PASSES.fullmatch(code["rest"]):
        command = code["code"].strip()
        if checks or " " in command:
            yield _command(command)


def _of_step(step: Step) -> Iterator[dict[str, Any]]:
    match step:
        case Run(command) | ChangeTree(command):
            yield _command(command)
        case ApplyDiff(diff):
            yield {"title": f"Apply the patch to {_patched(diff)}", "type": "patch", "patch": diff}
        case Create(path, content):
            yield _command(_written(">", path, content), f"Write {path}")
        case CreateEmpty(path):
            yield _command(f"{_made(path)}touch -- {quote(path)}", f"Create {path}")
        case EditLines(path, (), new):
            yield _command(_written(">>", path, "".join(f"{line}\n" for line in new)), f"Append to {path}")
        case Replace(path, old, new) if "\n" not in old + new and old:
            yield _command(_replaced(path, old, new), f"Replace in {path}")
        case Replace(path) | EditLines(path):
            text = f"Not done: {path} is to be changed in a way that takes a patch; put a diff into the spec"
            yield {"title": text, "type": "note"}


def _command(command: str, title: str = "") -> dict[str, Any]:
    return {"title": title or _title(command), "type": "command", "command": command}


def _title(command: str) -> str:
    first, *rest = command.strip().split("\n")
    shown = first if len(first) <= TITLE_CHARS else f"{first[: TITLE_CHARS - 1]}…"
    return f"{shown} (and {counted(len(rest), 'more line')})" if rest else shown


def _made(path: str) -> str:
    directory = path.rpartition("/")[0]
    return f"mkdir -p -- {quote(directory)} && " if directory else ""


def _written(how: str, path: str, content: str) -> str:
    """A here-document takes every text to the letter, but for one that has its mark in it, and ends with a line."""
    if not content.endswith("\n"):
        return f"{_made(path)}printf %s {quote(content)} {how} {quote(path)}"
    mark = "END_OF_FILE"
    while f"\n{mark}\n" in f"\n{content}":
        mark += "_"
    return f"{_made(path)}cat {how} {quote(path)} <<'{mark}'\n{content}{mark}"


def _replaced(path: str, old: str, new: str) -> str:
    """Every occurrence; it fails where there is none."""
    pattern = re.sub(r"([][\\.*^$/])", r"\\\1", old)
    text = re.sub(r"([\\&/])", r"\\\1", new)
    name = quote(path)
    changed = f"sed -e {quote(f's/{pattern}/{text}/g')} -- {name} > {name}.agentd && cat -- {name}.agentd > {name}"
    return f"grep -qF -e {quote(old)} -- {name} && {changed} && rm -- {name}.agentd"


def _patched(diff: str) -> str:
    files: Sequence[str] = re.findall(r"^\+\+\+ (?:b/)?([^\t\n]+)", diff, re.MULTILINE)
    return ", ".join(files[:3]) + ("…" if len(files) > 3 else "")
