"""Front matter: what a Markdown file says of itself between two lines of `---`, and the fields that it says it in.

How such files are written: https://code.claude.com/docs/en/skills and https://agentskills.io/specification.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import attrs

from agentd.workspace.extensions.yamlsubset import NotUnderstood, read_yaml

LARGEST = 64 << 10  # characters
HINT = "argument-hint"

_OPENING = re.compile(r"---[ \t]*\n")
_CLOSING = re.compile(r"^---[ \t]*$", re.MULTILINE)
_TOOL = re.compile(r"(?:[^\s,()]++|\([^()]*+\)|[()])++")  # a comma or a space in parentheses is part of a rule


class NoFrontMatter(Exception):
    """There is none, or none that can be read. The text says what to do about it."""


@attrs.frozen
class FrontMatter:
    """*body*: what follows it. *found*: whether there was any. *problems*: what was wrong, and could be read anyway."""

    fields: Mapping[Any, Any]
    body: str
    found: bool
    problems: list[str] = attrs.field(factory=list)

    def text(self, key: str) -> str | None:
        """The text that *key* has, without spaces around it; None where it has none."""
        value = self.fields.get(key)
        if isinstance(value, list) and key == HINT:  # `argument-hint: [file]` is meant as it is written
            value = f"[{', '.join(map(str, value))}]"
        if value is None or isinstance(value, str):
            return (value or "").strip() or None
        self.problems.append(f"{key} is no text; put it in quotes")
        return None

    def flag(self, key: str) -> bool:
        """Whether *key* is set; what is neither true nor false sets it too."""
        value = self.fields.get(key)
        if value is not None and not isinstance(value, bool):
            self.problems.append(f"{key} is neither true nor false; it is taken for true")
        return value is not None and value is not False

    @property
    def allowed_tools(self) -> tuple[str, ...]:
        """The tools that need not be asked for; none where that cannot be read."""
        try:
            return self.tools("allowed-tools") or ()
        except NoFrontMatter as exc:
            self.problems.append(str(exc))
            return ()

    def tools(self, key: str) -> tuple[str, ...] | None:
        """The tools that *key* names, in a list, or in a text between commas or spaces. None where it has no value, or
        is `*`. Raises NoFrontMatter for what is neither: which tools there may be is not to be guessed."""
        value = self.fields.get(key)
        if value is None or value == "*":
            return None
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, str) for part in parts):
            raise NoFrontMatter(f"{key} is no list of names; write `{key}: Read, Grep`")
        return tuple(tool for part in parts for tool in _TOOL.findall(part))


def read_front_matter(text: str, exact: Collection[str] = ("name",)) -> FrontMatter:
    """Front matter and body of a file. Raises NoFrontMatter for front matter that cannot be read; none at all is fine.
    Line ends of all kinds become line feeds. *exact*: keys whose values have to be YAML, see read_yaml()."""
    matter, body = split_front_matter(text)
    if matter is None:
        return FrontMatter({}, body, found=False)
    if len(matter) > LARGEST:
        raise NoFrontMatter(f"its front matter is longer than {LARGEST} characters; move what is long behind it")
    try:
        fields, problems = read_yaml(matter, exact=exact)
    except NotUnderstood as exc:
        raise NoFrontMatter(_in_file(exc)) from exc
    if not isinstance(fields, dict | None):
        raise NoFrontMatter("its front matter is no mapping; write lines of `key: value`")
    return FrontMatter(fields or {}, body, found=True, problems=list(map(_in_file, problems)))


def split_front_matter(text: str) -> tuple[str | None, str]:
    """What is between the first line, `---`, and the next one like it, and what follows; None: it does not begin so.
    Raises NoFrontMatter where the second one is missing."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    opening = _OPENING.match(text)
    if opening is None:
        return None, text
    closing = _CLOSING.search(text, opening.end())
    if closing is None:
        raise NoFrontMatter("its front matter is never closed; put a line of `---` behind it")
    return text[opening.end() : closing.start()], text[closing.end() + 1 :]


def body_of(text: str) -> str:
    """What follows the front matter; all of it where that never ends."""
    try:
        return split_front_matter(text)[1].strip()
    except NoFrontMatter:
        return text.strip()


def _in_file(problem: NotUnderstood) -> str:
    return f"line {problem.line + 1}: {problem.what}; {problem.remedy}"  # the first line of the file is the `---`
