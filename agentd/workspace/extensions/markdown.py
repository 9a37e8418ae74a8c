"""Skills, commands, agents and output styles: Markdown files with front matter, in the directories of a place.

What is wrong with a file is told, and concerns that file only. The rules: the agent API contract, 18.1, 18.3, 18.4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import TypeVar

from agentd.domain import Agent
from agentd.errors import ToolFailed
from agentd.workspace.extensions.frontmatter import FrontMatter, NoFrontMatter, body_of, read_front_matter
from agentd.workspace.extensions.nouns import PLUGIN_ROOT, AgentFile, Command, Skill, Style
from agentd.workspace.extensions.places import DEEPEST, LARGEST_FILE, MOST_FILES, File, Place, Problems

LONGEST_NAME = 64
LONGEST_DESCRIPTION = 1024
LONGEST_KEPT = 4096  # of a longer description
LONGEST_PROMPT = 50_000  # of an agent, as in a request
HEAD = 128 << 10  # bytes that are read of a file whose body is wanted later, if ever; front matter is shorter
_SKILL_NAME = re.compile(r"[a-z0-9-]+")

T = TypeVar("T", Skill, Command, AgentFile)


class Unusable(Exception):
    """A file is left out, for this reason."""


def read_skills(place: Place, directory: str, problems: Problems, root: Path | None = None) -> dict[str, Skill]:
    """The skills of `<directory>/<name>/SKILL.md` and `<directory>/<name>.md`, by name."""

    def skill(file: File) -> Skill | None:
        if (matter := _matter(file, HEAD)) is None:
            return None
        name, description = _name(matter), matter.text("description")
        if not matter.found or name is None or description is None:
            raise Unusable("a skill needs front matter with `name` and `description`")
        if not _SKILL_NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            matter.problems.append(f"its name is not up to {LONGEST_NAME} of a-z, 0-9 and -")
        if len(description) > LONGEST_DESCRIPTION:
            matter.problems.append(f"its description is longer than {LONGEST_DESCRIPTION} characters")
        found = Skill(
            name=name,
            description=description[:LONGEST_KEPT],
            location=place.location,
            file=file,
            allowed_tools=matter.allowed_tools,
            model=matter.text("model"),
            disable_model_invocation=matter.flag("disable-model-invocation"),
            root=root,
        )
        _tell(matter, file, problems)
        return found

    return _all(_skill_files(place, directory, problems), skill, problems)


def read_commands(place: Place, directory: str, problems: Problems, root: Path | None = None) -> dict[str, Command]:
    """The commands of `<directory>/**/<name>.md`, by name; a directory in between is not part of it."""

    def command(file: File) -> Command | None:
        name = PurePosixPath(file.relative).stem
        if re.search(r"\s", name):
            raise Unusable("there is a space in its name, so nobody could call it")
        if (matter := _matter(file, HEAD, must_be_read=False)) is None:
            return None
        found = Command(
            name=name,
            source=place.location,
            file=file,
            description=(matter.text("description") or _first_line(matter.body))[:LONGEST_KEPT],
            argument_hint=(matter.text("argument-hint") or "")[:LONGEST_KEPT],
            allowed_tools=matter.allowed_tools,
            model=matter.text("model"),
            disable_model_invocation=matter.flag("disable-model-invocation"),
            root=root,
        )
        _tell(matter, file, problems)
        return found

    return _all(_files_below(place, directory, problems), command, problems)


def read_agents(place: Place, directory: str, problems: Problems, root: Path | None = None) -> dict[str, AgentFile]:
    """The agents of `<directory>/**/<name>.md`, by the name that each gives itself."""

    def agent(file: File) -> AgentFile | None:
        if (matter := _matter(file, LARGEST_FILE, ("name", "tools", "model"))) is None:
            return None
        name, description, prompt = _name(matter), matter.text("description"), matter.body.strip()
        if not matter.found or name is None or description is None:
            raise Unusable("an agent needs front matter with `name` and `description`")
        if not 1 <= len(prompt) <= LONGEST_PROMPT:
            raise Unusable(
                f"its prompt, which is all behind the front matter, has not 1 to {LONGEST_PROMPT} characters"
            )
        tools, model = matter.tools("tools"), matter.text("model")
        if tools is not None and "Task" in tools:
            matter.problems.append("Task is none of its tools: agents start no agents")
            tools = tuple(tool for tool in tools if tool != "Task")
        _tell(matter, file, problems)
        prompt = prompt.replace(PLUGIN_ROOT, str(root)) if root is not None else prompt
        found = Agent(description[:LONGEST_KEPT], prompt, tools, None if model == "inherit" else model)
        return AgentFile(name, place.location, file.path, found)

    return _all(_files_below(place, directory, problems), agent, problems)


def read_style(place: Place, directory: str, name: str, problems: Problems) -> Style | None:
    """The output style of `<directory>/<name>.md`."""
    if not name or not name.isprintable() or "/" in name or name.startswith("."):
        return None
    file = File(place, f"{directory}/{name}.md")
    try:
        matter = _matter(file, LARGEST_FILE, must_be_read=False)
        if matter is None:
            return None
        description = matter.text("description") or ""
        _tell(matter, file, problems)
        return Style(name, place.location, file.path, description, matter.body.strip())
    except (Unusable, ToolFailed) as exc:
        problems.add(file.path, f"left out: {exc}")
        return None


# --- Which files there are ----------------------------------------------------------------------------------------


def _skill_files(place: Place, directory: str, problems: Problems) -> Iterator[File]:
    listed, _ = place.listing(directory, problems)
    for name, is_directory in _bounded(listed, place.top / directory, problems):
        if is_directory:
            yield File(place, f"{directory}/{name}/SKILL.md")
        elif name.endswith(".md") and name != "README.md":
            yield File(place, f"{directory}/{name}")


def _files_below(place: Place, directory: str, problems: Problems) -> Iterator[File]:
    """Those of a directory before those of the directories in it, of which none is read twice, however it is linked."""
    seen: set[tuple[int, int]] = set()
    level, left = [directory], MOST_FILES
    for _ in range(DEEPEST):
        inner: list[str] = []
        for each in level:
            listed, identity = place.listing(each, problems)
            if identity in seen:
                continue
            seen.add(identity)
            for name, is_directory in _bounded(listed, place.top / each, problems, left):
                left -= 1
                if is_directory:
                    inner.append(f"{each}/{name}")
                elif name.endswith(".md") and name != "README.md":
                    yield File(place, f"{each}/{name}")
        level = inner
    if level:
        problems.add(place.top / level[0], f"left out: it is more than {DEEPEST} directories deep")


def _bounded(
    listed: list[tuple[str, bool]], directory: Path, problems: Problems, most: int = MOST_FILES
) -> list[tuple[str, bool]]:
    if len(listed) > most:
        problems.add(
            directory, f"of {len(listed)} files the last {len(listed) - most} are left out: {MOST_FILES} is the most"
        )
    return listed[:most]


# --- What they say ------------------------------------------------------------------------------------------------


def _all(files: Iterator[File], read: Callable[[File], T | None], problems: Problems) -> dict[str, T]:
    """What *read* makes of each file, by name; the first of a name counts."""
    found: dict[str, T] = {}
    for file in files:
        try:
            one = read(file)
            if one is not None and found.setdefault(one.name, one) is not one:
                raise Unusable(f"{found[one.name].path} has the name {one.name} too")
        except (Unusable, ToolFailed, NoFrontMatter) as exc:
            problems.add(file.path, f"left out: {exc}")
    return found


def _matter(
    file: File, limit: int, exact: Collection[str] = ("name",), *, must_be_read: bool = True
) -> FrontMatter | None:
    """The front matter of a file; None if there is no such file. With *must_be_read* raises Unusable for what cannot be
    read of it; else that is only told. *exact*: see read_front_matter(). Raises ToolFailed."""
    found = file.place.head(file.relative, limit)
    if found is None:
        return None
    text, size = found
    if size > LARGEST_FILE:
        raise Unusable(f"it is larger than {LARGEST_FILE} bytes")
    try:
        return read_front_matter(text, exact)
    except NoFrontMatter as exc:
        if must_be_read:
            raise Unusable(str(exc)) from exc
        problem = f"{exc}. Nothing of its front matter is used"
        # It may have said that no model is to use it.
        return FrontMatter({"disable-model-invocation": True}, body_of(text), found=False, problems=[problem])


def _name(matter: FrontMatter) -> str | None:
    name = matter.text("name")
    if name is not None and (not name.isprintable() or len(name) > 4 * LONGEST_NAME):
        raise Unusable("its name is too long, or there are unprintable characters in it")
    return name


def _first_line(body: str) -> str:
    """What a command that does not describe itself begins with."""
    return next((line.lstrip("# ").strip() for line in body.split("\n") if line.strip("# ")), "")


def _tell(matter: FrontMatter, file: File, problems: Problems) -> None:
    for problem in matter.problems:
        problems.add(file.path, problem)
