"""The page of the manual on extensions shows files that work."""

from __future__ import annotations

import re

from agentd.cli.help import page
from agentd.workspace.extensions.frontmatter import LARGEST
from agentd.workspace.extensions.loading import LONGEST_MEMORY
from agentd.workspace.extensions.places import LARGEST_FILE, MOST_FILES
from tests.workspace.extensions.conftest import Ground

PAGE = page("extensions")


def test_the_files_that_the_manual_shows_are_read_without_a_word(ground: Ground) -> None:
    shown = dict(re.findall(r"`([a-z./-]+\.(?:md|json))`:\n\n```\n(.*?)```", PAGE, re.DOTALL | re.IGNORECASE))
    assert len(shown) == 5
    ground.write({f"+/{name}" if name.startswith("hooks") else name: text for name, text in shown.items()})
    found = ground.load(["project"], plugin=True)
    assert found.problems == ()
    assert found.skills["release-notes"].allowed_tools == ("Bash(git log:*)", "Read")
    assert found.commands["fix-issue"].expand("7 high").endswith("7 with priority high. All that was said: 7 high")
    assert found.agents["reviewer"].agent.tools == ("Read", "Grep", "Bash")
    assert found.hooks[0].timeout == 10
    style = found.styles("terse")
    assert style is not None
    assert style.text.startswith("Answer in one sentence")


def test_the_manual_says_where_each_thing_is(ground: Ground) -> None:
    matter = "---\nname: NAME\ndescription: x\n---\nx"
    for column, prefix in ((1, ""), (2, ""), (3, "+/")):
        rows = re.findall(r"^(?:skills|commands|agents|output styles|memory) .*$", PAGE, re.MULTILINE)
        for cells in (re.split(r"  +", row) for row in rows):
            for path in cells[column].split(", else ") if column < len(cells) else ():
                ground.write({prefix + path: matter})
    found = ground.load(plugin=True)
    assert list(found.skills) == ["NAME", "p:NAME"]
    assert list(found.commands) == ["NAME", "p:NAME"]
    assert list(found.agents) == ["NAME", "p:NAME"]
    assert [one.source for one in found.memory] == ["user", "project"]
    assert found.styles("NAME") is not None


def test_the_manual_says_how_large_things_may_be() -> None:
    assert f"{LONGEST_MEMORY} bytes" in PAGE
    assert f"first {MOST_FILES} of a kind" in PAGE
    assert f"larger than {LARGEST_FILE >> 20} MiB" in PAGE
    assert LARGEST < LARGEST_FILE
