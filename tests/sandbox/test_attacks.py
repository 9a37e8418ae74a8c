"""What hostile commands get at each level, as an ordinary user and as root: exactly what the table says, and no less.

A few of them here; all in tests/faults/test_all_attacks.py. A test that is run by root tries both users, any other
itself. On a machine without a level its tests skip.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources

import pytest

from agentd.sandbox.policy import SandboxLevel
from tests.sandbox.attacking import USERS, attack, differences
from tests.sandbox.attacks import ATTACKS
from tests.sandbox.attacktable import CELLS, CLAIMS, LIMITS, TOLD

LEVELS = [level for level in SandboxLevel if level is not SandboxLevel.NONE]
A_FEW = (
    *("write_outside", "read_ssh_key", "worktree_hooks", "repository_settings", "read_environment", "inherit"),
    *("write_to_terminal", "tcp", "unix_of_executor", "mount"),
)


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("level", LEVELS)
def test_what_some_attacks_get_is_what_the_table_says(
    level: SandboxLevel, user: str, require: Callable[[str], str]
) -> None:
    if level is SandboxLevel.BWRAP:
        require("bwrap")
    assert differences(level, user, attack(level, user, A_FEW)) == []


def test_every_attack_is_in_the_table_and_works_where_nothing_stops_it() -> None:
    assert [each.name for each in ATTACKS] == list(CELLS)
    unproven = [name for name, cells in CELLS.items() if cells[SandboxLevel.NONE, "root"] == "."]
    assert unproven == ["have_cleanup_remove"]  # it is agentd's own cleaning that is attacked, which sandboxes have


def help_text() -> str:
    return (resources.files("agentd.help") / "sandbox.md").read_text()


def help_table() -> dict[str, list[str]]:
    """Rows of the table in `agentd help sandbox`, by what they are about: a cell for each level."""
    header, *rows = help_text().split("## What each level stops")[1].split("```")[1].strip("\n").splitlines()
    starts = [header.index(level) for level in ("bwrap", "unshare+landlock")]
    starts.append(header.index("landlock", starts[1] + len("unshare+landlock")))
    ends = [*starts[1:], None]
    return {row[: starts[0]].strip(): [row[a:b].strip() for a, b in zip(starts, ends, strict=True)] for row in rows}


@pytest.mark.parametrize("about", CLAIMS)
@pytest.mark.parametrize("column", [0, 1, 2])
def test_what_the_help_claims_is_what_the_table_says(about: str, column: int) -> None:
    level = LEVELS[column]
    claimed = not help_table()[about][column].startswith(("no", "only"))
    works = [name for name in CLAIMS[about] if "W" in (CELLS[name][level, "user"], CELLS[name][level, "root"])]
    assert claimed is not bool(works), works


def test_each_attack_is_what_the_help_says_something_about() -> None:
    told = {*TOLD, *LIMITS, *(name for names in CLAIMS.values() for name in names)}
    assert told == set(CELLS)
    assert set(help_table()) - set(CLAIMS) == {"only the hosts that a job names"}  # see test_netproxy.py
    text = " ".join(help_text().split())
    assert [words for words in TOLD.values() if words not in text] == []
