"""Repositories that mean no good: nothing of them is read from elsewhere, held up by, or read without an end."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.errors import ToolFailed
from agentd.workspace.extensions import Extensions
from agentd.workspace.extensions.places import DEEPEST, LARGEST_FILE, MOST_FILES, MOST_PROBLEMS
from tests.workspace.extensions.conftest import Ground

SECRET = "---\nname: secret\ndescription: Is not theirs\n---\nkey"
ALL = {
    ".claude/skills/x/SKILL.md": SECRET,
    ".claude/skills/x.md": SECRET,
    ".claude/commands/x.md": SECRET,
    ".claude/commands/a/x.md": SECRET,
    ".claude/agents/x.md": SECRET,
    ".claude/output-styles/x.md": SECRET,
    "CLAUDE.md": SECRET,
    "AGENTS.md": SECRET,
    ".mcp.json": '{"mcpServers": {"secret": {"command": "x"}}}',
    ".claude/mcp.json": '{"mcpServers": {"secret": {"command": "x"}}}',
}
IN_PLUGIN = {
    "+/.claude-plugin/plugin.json": "{}",
    "+/commands/x.md": SECRET,
    "+/agents/x.md": SECRET,
    "+/skills/x/SKILL.md": SECRET,
    "+/output-styles/x.md": SECRET,
    "+/hooks/hooks.json": '{"hooks": {"Stop": [{"hooks": [{"command": "x"}]}]}}',
    "+/.mcp.json": '{"mcpServers": {"secret": {"command": "x"}}}',
}


def has_nothing(found: Extensions) -> bool:
    several = (found.skills, found.commands, found.agents, found.memory, found.servers, found.hooks)
    return not any(several) and found.styles("x") is None


def outside(ground: Ground, name: str, content: str) -> Path:
    path = ground.workspace.parent / "outside" / name.removeprefix("+/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def at(ground: Ground, name: str) -> Path:
    path = ground.plugin / name[2:] if name.startswith("+/") else ground.workspace / name
    path.parent.mkdir(parents=True, exist_ok=True)
    ground.plugin.mkdir(exist_ok=True)
    return path


@pytest.mark.parametrize("name", [*ALL, *IN_PLUGIN])
def test_a_file_that_is_a_link_out_of_its_place_is_not_followed(ground: Ground, name: str) -> None:
    content = {**ALL, **IN_PLUGIN}[name]
    at(ground, name).symlink_to(outside(ground, name, content))
    found = ground.load(plugin=name.startswith("+/"))
    assert has_nothing(found)
    if name.startswith("+/.claude-plugin"):
        assert "a link leads out" in found.plugin_errors[0][1]
    elif "output-styles" not in name:
        assert any("a link leads out" in problem for problem in found.problems)


@pytest.mark.parametrize("name", [name for name in [*ALL, *IN_PLUGIN] if "/" in name.removeprefix("+/")])
def test_a_directory_that_is_a_link_out_of_its_place_is_not_followed(ground: Ground, name: str) -> None:
    there = outside(ground, name, {**ALL, **IN_PLUGIN}[name])
    directory = at(ground, name).parent
    directory.rmdir()
    directory.symlink_to(there.parent)
    assert has_nothing(ground.load(plugin=name.startswith("+/")))


def test_a_link_within_the_workspace_is_followed(ground: Ground) -> None:
    ground.write({"shared/x/SKILL.md": SECRET, "shared/c.md": "do"})
    at(ground, ".claude/skills").symlink_to("../shared")
    at(ground, ".claude/commands").symlink_to(ground.workspace / "shared")
    found = ground.load(["project"])
    assert (list(found.skills), found.commands["c"].expand("")) == (["secret"], "do")
    assert found.skills["secret"].body() == "key"


def test_the_users_own_links_are_followed(ground: Ground) -> None:
    there = outside(ground, "dotfiles/skills/x/SKILL.md", SECRET).parent.parent
    (ground.home / ".claude").mkdir()
    (ground.home / ".claude/skills").symlink_to(there)
    (ground.home / ".claude/CLAUDE.md").symlink_to(there / "x/SKILL.md")
    found = ground.load()
    assert (list(found.skills), len(found.memory), found.problems) == (["secret"], 1, ())


def test_a_body_that_has_become_a_link_is_not_followed(ground: Ground) -> None:
    ground.write(ALL)
    one = ground.load().skills["secret"]
    one.path.unlink()
    one.path.symlink_to(outside(ground, "key", SECRET))
    with pytest.raises(ToolFailed, match="a link leads out"):
        one.body()


def test_a_directory_that_becomes_a_link_while_it_is_read_is_not_followed(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = outside(ground, "skills/x/SKILL.md", SECRET).parent.parent
    ground.write({"shared/x/SKILL.md": "---\nname: a\ndescription: b\n---\n"})
    shared = ground.workspace / "shared"
    at(ground, ".claude/skills").symlink_to(shared)
    real = os.path.realpath

    def then_swap(path: Path) -> str:
        found = real(path)
        if found == str(shared):
            shared.rename(ground.workspace / "before")
            shared.symlink_to(there)
        return found

    monkeypatch.setattr(os.path, "realpath", then_swap)
    assert ground.load().skills == {}
    assert shared.is_symlink()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket has to be short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


def directory(path: Path) -> None:
    path.mkdir()


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nothing")


def binary(path: Path) -> None:
    path.write_bytes(b"\x7fELF\0\0")


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"---\nname: x\ndescription: x\n---\n")
        file.truncate(1 << 40)


def half_utf16(path: Path) -> None:
    path.write_bytes(b"\xff\xfe-\0-\0-\0\n\0x")


@pytest.mark.parametrize(
    "make", [fifo, listening, directory, link_to_itself, link_to_nothing, binary, huge, half_utf16]
)
@pytest.mark.parametrize("name", [*ALL, *IN_PLUGIN])
def test_what_is_no_readable_file_is_left_out(ground: Ground, name: str, make: Callable[[Path], None]) -> None:
    make(at(ground, name))
    assert has_nothing(ground.load(plugin=name.startswith("+/")))


@pytest.mark.parametrize("name", [*ALL, *IN_PLUGIN])
def test_a_device_in_the_place_of_a_file_is_left_out(ground: Ground, name: str) -> None:
    at(ground, name).symlink_to("/dev/zero")
    assert has_nothing(ground.load(plugin=name.startswith("+/")))


def test_a_device_that_the_user_has_linked_is_left_out(ground: Ground) -> None:
    (ground.home / ".claude/skills/x").mkdir(parents=True)
    for name in (".claude/skills/x/SKILL.md", ".claude/CLAUDE.md", ".claude.json"):
        (ground.home / name).symlink_to("/dev/zero")
    found = ground.load()
    assert has_nothing(found)
    assert len(found.problems) == 3


def test_a_file_that_fails_when_it_is_read_is_left_out_and_told(ground: Ground) -> None:
    (ground.home / ".claude").mkdir()
    for name in (".claude/CLAUDE.md", ".claude.json"):
        (ground.home / name).symlink_to("/proc/self/mem")  # of which the first page is never there
    found = ground.load()
    assert has_nothing(found)
    assert len(found.problems) == 2


def test_a_file_of_the_largest_size_is_read_and_one_byte_more_is_not(ground: Ground) -> None:
    ground.write({".claude/commands/fits.md": "x" * LARGEST_FILE, ".claude/commands/not.md": "x" * (LARGEST_FILE + 1)})
    found = ground.load()
    assert list(found.commands) == ["fits"]
    assert len(found.commands["fits"].expand("")) == LARGEST_FILE
    assert "larger than" in found.problems[0]


def test_ten_thousand_skills_are_bounded_and_told(ground: Ground) -> None:
    ground.write({f".claude/skills/s{n:05}.md": f"---\nname: s{n}\ndescription: x\n---\n" for n in range(10_000)})
    found = ground.load()
    assert list(found.skills) == [f"s{n}" for n in range(MOST_FILES)]
    assert len(found.problems) == 1
    assert "9000 are left out" in found.problems[0]


def test_ten_thousand_commands_in_a_hundred_directories_are_bounded_and_told(ground: Ground) -> None:
    ground.write({f".claude/commands/d{n % 100:03}/c{n}.md": "x" for n in range(10_000)})
    found = ground.load()
    assert 0 < len(found.commands) <= MOST_FILES
    assert any("are left out" in problem for problem in found.problems)


def test_thousands_of_problems_are_bounded(ground: Ground) -> None:
    ground.write({f".claude/skills/s{n}.md": "x" for n in range(500)})
    problems = ground.load().problems
    assert len(problems) == MOST_PROBLEMS + 1
    assert problems[-1] == "and 450 more problems like these"


def test_directories_that_are_too_deep_are_left_out_and_told(ground: Ground) -> None:
    ground.write({".claude/commands/" + "d/" * depth + f"c{depth}.md": "x" for depth in (0, DEEPEST - 1, DEEPEST, 60)})
    found = ground.load()
    assert list(found.commands) == ["c0", f"c{DEEPEST - 1}"]
    assert "directories deep" in found.problems[0]


@pytest.mark.parametrize("target", [".", "..", "../..", "a"])
def test_directories_that_are_in_themselves_are_read_once(ground: Ground, target: str) -> None:
    ground.write({".claude/commands/a/x.md": "x"})
    (ground.workspace / ".claude/commands/a/loop").symlink_to(target)
    found = ground.load()
    assert list(found.commands) == ["x"]


@pytest.mark.parametrize("name", [b"a\nb", b"a\x1b[31m", b"a\xff", "a\u202eb".encode(), b"\x7f"])
def test_names_with_unprintable_characters_are_left_out_and_told(ground: Ground, name: bytes) -> None:
    for directory in (".claude/skills", ".claude/commands", ".claude/agents"):
        at(ground, f"{directory}/x")
        Path(os.fsdecode(os.fsencode(ground.workspace / directory) + b"/" + name + b".md")).write_text(SECRET)
    found = ground.load()
    assert has_nothing(found)
    assert len(found.problems) == 3
    assert all(problem.isprintable() for problem in found.problems)


def test_a_workspace_whose_own_name_is_no_text_is_read(tmp_path: Path) -> None:
    ground = Ground(Path(os.fsdecode(os.fsencode(tmp_path) + b"/w\xff")), tmp_path, tmp_path)
    ground.write({".claude/commands/x.md": "x", ".claude/skills/y.md": "bad"})
    found = ground.load()
    assert found.commands["x"].expand("") == "x"
    found.problems[0].encode()


def test_names_of_everything_may_be_files_where_directories_belong(ground: Ground) -> None:
    ground.write({".claude": "x", "~/.claude": "x", "+/commands": "x", "+/skills": "x", "+/hooks": "x"})
    found = ground.load(plugin=True)
    assert has_nothing(found)
    assert found.plugins == ("p",)


def test_a_workspace_that_is_the_home_directory_is_both(ground: Ground) -> None:
    same = Ground(ground.home, ground.home, ground.plugin)
    same.write({".claude/skills/a.md": SECRET, ".claude/CLAUDE.md": "u", "CLAUDE.md": "p"})
    found = same.load()
    assert found.skills["secret"].location == "project"
    assert [one.text for one in found.memory] == ["u", "p"]


def test_front_matter_that_would_take_for_ever_does_not(ground: Ground) -> None:
    for number, hostile in enumerate(
        ("[" * 60_000, "- " * 30_000, "a: 'x" + "''" * 30_000, "&a " * 20_000, "? " * 9000)
    ):
        ground.write({f".claude/skills/h{number}.md": f"---\n{hostile}\n---\n"})
    found = ground.load()
    assert found.skills == {}
    assert len(found.problems) == 5


def test_a_file_that_may_not_be_read_is_left_out_and_told(ground: Ground) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    ground.write({".claude/skills/x.md": SECRET})
    (ground.workspace / ".claude/skills/x.md").chmod(0)
    found = ground.load()
    assert found.skills == {}
    assert "Permission denied" in found.problems[0]
