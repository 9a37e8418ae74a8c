"""`agentd VERB`: what is called, and what is said when nothing can be."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from agentd import __version__
from agentd.cli import VERBS, main


def add_verb(monkeypatch: pytest.MonkeyPatch, action: object) -> None:
    monkeypatch.setitem(VERBS, "fake", "a verb of this test")
    monkeypatch.setitem(sys.modules, "agentd.cli.fake", SimpleNamespace(main=action))


def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"agentd {__version__}\n"


def test_without_a_verb_the_usage_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("usage: agentd run")


@pytest.mark.parametrize(("typed", "meant"), [("rnu", "run"), ("exectuor", "executor"), ("docter", "doctor")])
def test_a_misspelt_verb_is_told_the_nearest_one(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([typed]) == 2
    assert capsys.readouterr().err == f"agentd: no such command: {typed}; did you mean `agentd {meant}`?\n"


def test_a_word_like_no_verb_is_told_where_the_verbs_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["xyzzy"]) == 2
    assert "`agentd help` lists" in capsys.readouterr().err


def test_a_verb_gets_the_words_after_it_and_gives_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    add_verb(monkeypatch, lambda argv: {"--flag word": 5}[" ".join(argv)])
    assert main(["fake", "--flag", "word"]) == 5


def test_an_interrupt_that_a_verb_does_not_handle_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(argv: list[str]) -> int:
        raise KeyboardInterrupt

    add_verb(monkeypatch, interrupted)
    assert main(["fake"]) == 130


def test_a_reader_that_has_hung_up_gets_no_trace() -> None:
    program = "import sys; from agentd.cli import main; sys.exit(main(['help']))"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer) as output:
        done = subprocess.run([sys.executable, "-c", program], stdout=output, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"")
