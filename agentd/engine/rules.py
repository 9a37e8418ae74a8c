"""Permission rules as settings files have them: `Tool` or `Tool(pattern)`, to deny, to ask, to allow, in that order.

- `Bash(git status)`, `Bash(git log:*)`, `Bash(npm run *)`: commands, each one in a command line, wherever it stands.
- `Read(./secrets/**)`, `Edit(//etc/**)`, `Read(~/.ssh/**)`: files. `Read` stands for all tools that read, `Edit` for
  all that write; a command line that touches such a file is asked about.
- `WebFetch(domain:example.com)`, `Task(name)`, `Skill(name)`, `SlashCommand(/name)`; `mcp__server`, `mcp__server__*`.

A command line that is not wholly understood is never allowed by a rule about commands; where there is any rule that
may be meant to keep it from something, it is asked about. Only links and directories are looked up on the disk.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import attrs

from agentd.domain import Rules
from agentd.engine.rulebash import CommandLine
from agentd.engine.rulecommands import CommandPattern, Match, command_pattern
from agentd.engine.rulepaths import PathPattern, Place, path_pattern, place_of
from agentd.engine.shellcommands import read_command
from agentd.wire.urls import InvalidUrl, parse_url
from agentd.workspace.globs import compile_filter

READING = frozenset({"Read", "Grep", "Glob", "LS", "NotebookRead"})
EDITING = frozenset({"Edit", "Write", "MultiEdit", "NotebookEdit"})
_SUBJECTS = {"Task": ("subagent_type",), "Skill": ("skill", "command"), "SlashCommand": ("command",)}
_PLAIN = {"WebSearch", "TodoWrite", "AskUserQuestion", "BashOutput", "KillShell", "ExitPlanMode"}
_SYMBOLS = {"SearchSymbols", "ClassSkeleton", "MethodSource", "FindUsages", "FileSummary", "GitLog"}
TOOLS = READING | EDITING | {"Bash", "WebFetch", *_SUBJECTS, *_PLAIN, *_SYMBOLS}

_RULE = re.compile(r"(mcp__[\w.*-]+|[A-Za-z]\w*)(?:\((.*)\))?", re.DOTALL)

Verdict = Literal["allow", "ask", "deny"]
Pattern = CommandPattern | PathPattern | re.Pattern[str] | None


@attrs.frozen
class Ruling:
    verdict: Verdict
    rule: str  # as it was written
    why: str = ""  # what is not plain from the rule: for people


@attrs.frozen
class Rule:
    text: str
    tool: str
    pattern: Pattern  # None: every call

    def names(self, tool: str) -> bool:
        """Whether it is about *tool*. Read and Edit stand for all tools of their kind."""
        if self.tool.startswith("mcp__"):
            return fnmatchcase(tool, self.tool) or fnmatchcase(tool, f"{self.tool}__*")
        family = {"Read": READING, "Edit": EDITING}.get(self.tool, (self.tool,))
        return tool in family


class RuleBook:
    """Rules, ready to be held against calls. *problems*: what is wrong with those that are left out."""

    def __init__(self, rules: Rules) -> None:
        self.problems: list[str] = []
        self._deny = self._parsed(rules.deny, allowing=False)
        self._ask = self._parsed(rules.ask, allowing=False)
        self._allow = self._parsed(rules.allow, allowing=True)

    def __bool__(self) -> bool:
        return bool(self._deny or self._ask or self._allow)

    def may_deny(self, ruling: Ruling) -> bool:
        """Whether it asks because a rule that denies may be meant."""
        return ruling.verdict == "ask" and any(rule.text == ruling.rule for rule in self._deny)

    def _parsed(self, texts: Sequence[str], *, allowing: bool) -> list[Rule]:
        rules = []
        for text in texts:
            try:
                rules.append(parse_rule(text, allowing=allowing))
            except ValueError as exc:
                self.problems.append(f"the rule {text!r} is left out: it {exc}")
        return rules

    def decide(
        self,
        tool: str,
        call_input: Mapping[str, Any],
        *,
        workspace: Path,
        directories: Sequence[Path] = (),
        cwd: Path | None = None,
    ) -> Ruling | None:
        """None: no rule is about it. Paths are absolute; *cwd* is where commands start, if not in *workspace*."""
        if tool == "Bash":
            place = place_of(workspace, directories, cwd or workspace)
            return self._bash(str(call_input.get("command", "")), place)
        place = place_of(workspace, directories, workspace)
        denying = _denying_test(tool, call_input, place)
        if rule := _first(self._deny, tool, denying):
            return Ruling("deny", rule.text)
        if rule := _first(self._ask, tool, denying):
            return Ruling("ask", rule.text)
        if tool == "Grep" and (rule := self._searched(call_input, place)):
            return Ruling("ask", rule.text, "the search goes through files that the rule is about")
        if rule := _first(self._allow, tool, _allowing_test(call_input, place)):
            return Ruling("allow", rule.text)
        return None

    def _searched(self, call_input: Mapping[str, Any], place: Place) -> Rule | None:
        """A rule that keeps files in the searched directory from being read."""
        paths = place.paths(_text(call_input, "path") or ".")
        wanted = compile_filter(_text(call_input, "glob") or "**")
        for rule in (*self._deny, *self._ask):
            pattern = rule.pattern
            if not rule.names("Grep") or not isinstance(pattern, PathPattern) or not pattern.is_below(paths, place):
                continue
            if pattern.literal is None or wanted.fullmatch(pattern.literal):
                return rule
        return None

    # Command lines

    def _bash(self, command: str, place: Place) -> Ruling | None:
        if not self:
            return None
        line = CommandLine(read_command(command), place)
        return self._denied(line) or self._asked(line) or self._allowed(line)

    def _denied(self, line: CommandLine) -> Ruling | None:
        for rule in self._deny:
            match rule.pattern:
                case None if rule.tool == "Bash":
                    return Ruling("deny", rule.text)
                case CommandPattern() as pattern if line.names(pattern) is Match.YES:
                    return Ruling("deny", rule.text)
                case PathPattern() as pattern if line.redirects(pattern, writing=rule.tool in EDITING):
                    return Ruling("deny", rule.text, "a redirection")
        return None

    def _asked(self, line: CommandLine) -> Ruling | None:
        for rule in (*self._deny, *self._ask):
            match rule.pattern:
                case None if rule.tool == "Bash":
                    return Ruling("ask", rule.text)
                case CommandPattern() as pattern if line.names(pattern):
                    return Ruling("ask", rule.text, "the command, or one that may run in it")
                case PathPattern() as pattern if line.touches(pattern):
                    return Ruling("ask", rule.text, "the command may touch such a file")
                case CommandPattern() | PathPattern() if not line.known:
                    return Ruling("ask", rule.text, f"the command is not understood: {line.reading.doubts[0]}")
        return None

    def _allowed(self, line: CommandLine) -> Ruling | None:
        rules = {rule.pattern: rule.text for rule in self._allow if isinstance(rule.pattern, CommandPattern)}
        for rule in self._allow:
            if rule.tool == "Bash" and (rule.pattern is None or _everything(rule.pattern)):
                return Ruling("allow", rule.text)
        writable = [
            rule.pattern for rule in self._allow if rule.tool in EDITING and isinstance(rule.pattern, PathPattern)
        ]
        covering = line.covered(rules, writable)
        return Ruling("allow", rules[covering]) if covering else None


def _everything(pattern: Pattern) -> bool:
    return isinstance(pattern, CommandPattern) and pattern.everything


def parse_rule(text: str, *, allowing: bool) -> Rule:
    """Raises ValueError, whose text goes on from "the rule"."""
    found = _RULE.fullmatch(text.strip())
    if not found:
        raise ValueError("is neither `Tool` nor `Tool(pattern)`")
    tool, inside = found[1], found[2]
    if tool.startswith("mcp__"):
        if inside is not None and allowing:
            raise ValueError("has a pattern, which rules about MCP tools do not have")
        return Rule(text, tool, None)
    if tool not in TOOLS:
        raise ValueError("is about a tool that there is not")
    return Rule(text, tool, None if inside in (None, "*", "**") else _pattern(tool, inside))


def _pattern(tool: str, inside: str) -> Pattern:
    """Raises ValueError."""
    if tool == "Bash":
        return command_pattern(inside)
    if tool in READING | EDITING:
        return path_pattern(inside)
    if tool == "WebFetch" and inside.startswith("domain:"):
        return _wildcard(inside.removeprefix("domain:").strip().rstrip(".").lower())
    if tool in _SUBJECTS:
        return _wildcard(inside.removesuffix(":*") + "*" if inside.endswith(":*") else inside)
    raise ValueError("has a pattern of a kind that the tool does not have")


def _wildcard(text: str) -> re.Pattern[str]:
    if not text.strip("*"):
        raise ValueError("has an empty pattern")
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)


def _first(rules: Iterable[Rule], tool: str, test: Callable[[Rule], bool]) -> Rule | None:
    return next((rule for rule in rules if rule.names(tool) and (rule.pattern is None or test(rule))), None)


def _text(call_input: Mapping[str, Any], key: str) -> str:
    value = call_input.get(key)
    return value if isinstance(value, str) else ""


def _denying_test(tool: str, call_input: Mapping[str, Any], place: Place) -> Callable[[Rule], bool]:
    raw = _path_of(tool, call_input)
    paths = {path for one in raw for path in place.paths(one)}

    def test(rule: Rule) -> bool:
        if isinstance(rule.pattern, PathPattern):
            return rule.pattern.denies(paths, place)
        if rule.tool == "WebFetch" and isinstance(rule.pattern, re.Pattern):
            host = _host(call_input)
            return any(rule.pattern.fullmatch(host[at:]) for at in _label_starts(host))
        return isinstance(rule.pattern, re.Pattern) and _names_subject(rule, rule.pattern, call_input)

    return test


def _allowing_test(call_input: Mapping[str, Any], place: Place) -> Callable[[Rule], bool]:
    raw = next(filter(None, (_text(call_input, key) for key in ("file_path", "notebook_path", "path"))), ".")

    def test(rule: Rule) -> bool:
        if isinstance(rule.pattern, PathPattern):
            return rule.pattern.allows(raw, place)
        if rule.tool == "WebFetch" and isinstance(rule.pattern, re.Pattern):
            return rule.pattern.fullmatch(_host(call_input)) is not None
        return isinstance(rule.pattern, re.Pattern) and _names_subject(rule, rule.pattern, call_input)

    return test


def _names_subject(rule: Rule, pattern: re.Pattern[str], call_input: Mapping[str, Any]) -> bool:
    return any(pattern.fullmatch(_text(call_input, key)) for key in _SUBJECTS.get(rule.tool, ()))


def _path_of(tool: str, call_input: Mapping[str, Any]) -> list[str]:
    """The paths in a call of a tool for files; where to search, and what for, is one too."""
    given = [_text(call_input, key) for key in ("file_path", "notebook_path", "path")]
    paths = list(filter(None, given)) or ["."]
    if tool == "Glob" and (pattern := _text(call_input, "pattern")):
        paths += [os.path.join(path, pattern.split("*")[0]) for path in paths]  # noqa: PTH118
    return paths


def _host(call_input: Mapping[str, Any]) -> str:
    """ "": it is no URL that would be fetched."""
    try:
        return parse_url(_text(call_input, "url")).host.rstrip(".")
    except InvalidUrl:
        return ""


def _label_starts(host: str) -> list[int]:
    """A domain that is denied is so with all that is below it."""
    return [0, *(found.end() for found in re.finditer(r"\.", host))]
