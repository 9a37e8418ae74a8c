"""Command lines against rules: permission_corpus.txt says what is to come of each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from agentd.domain import Rules
from agentd.engine.rules import RuleBook

CORPUS = Path(__file__).with_name("permission_corpus.txt")
RULE = re.compile(r"[A-Za-z]+(\(.*\))?")


class Case(NamedTuple):
    section: str
    rules: Rules
    verdict: str
    command: str


def rules_of(line: str) -> tuple[str, ...]:
    """A rule that is not about another tool is one about a command."""
    texts = (text.strip() for text in line.split(" ; "))
    return tuple(text if RULE.fullmatch(text) and text[0].isupper() else f"Bash({text})" for text in texts)


def read_corpus() -> Iterator[Case]:
    section, rules = "", dict[str, tuple[str, ...]]()
    for line in CORPUS.read_text().splitlines():
        if line.startswith("["):
            section, rules = line.strip("[]"), {}
        elif found := re.match(r"(deny|ask|allow) = (.*)", line):
            rules[found[1]] = rules_of(found[2])
        elif line and not line.startswith("#"):
            verdict, command = re.split(r" +", line, maxsplit=1)
            yield Case(section, Rules(**rules), verdict, command.replace("⏎", "\n").replace("⇥", "\t"))


CASES = list(read_corpus())


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp_path = tmp_path_factory.mktemp("workspace")
    for directory in ("src", "secrets", "sub", "out"):
        (tmp_path / directory).mkdir()
    (tmp_path / ".env").write_text("KEY=1\n")
    (tmp_path / "src" / "a.py").write_text("")
    (tmp_path / "src" / "dir").mkdir()
    (tmp_path / "src" / "dir" / "b.py").write_text("")
    (tmp_path / "sub" / "innocent").symlink_to("../.env")
    return tmp_path


@pytest.mark.parametrize("case", CASES, ids=[f"{case.section}: {case.command[:60]!r}" for case in CASES])
def test_the_rules_say_of_a_command_what_the_corpus_says(case: Case, workspace: Path) -> None:
    book = RuleBook(case.rules)
    ruling = book.decide("Bash", {"command": case.command}, workspace=workspace)
    assert (ruling.verdict if ruling else "none", book.problems) == (case.verdict, [])


def test_the_corpus_is_large_and_each_verdict_is_well_represented() -> None:
    verdicts = Counter(case.verdict for case in CASES)
    assert sum(verdicts.values()) >= 300
    assert min(verdicts[verdict] for verdict in ("allow", "ask", "deny", "none")) >= 50
