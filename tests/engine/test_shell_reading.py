"""Reading command lines: what is found in them, that nothing makes it hang, and that no construct hides a command."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.domain import Rules
from agentd.engine.rules import RuleBook
from agentd.engine.shellcommands import read_command
from agentd.engine.shellwords import DYNAMIC, GLOB, MAX_COMMAND

WORKSPACE = Path("/nowhere/at/all")


def words_in(text: str) -> list[tuple[str, ...]]:
    return [simple.words for simple in read_command(text).commands]


def test_quotes_and_backslashes_are_gone_from_words() -> None:
    assert words_in("""a"b c"'d e'\\ f \\\n g""") == [("ab cd e f", "g")]


def test_what_only_a_shell_knows_is_dynamic() -> None:
    assert words_in('a$X "b$Y" *.c {d,e}f [gh]i ~ {} HEAD@{1}') == [
        (f"a{DYNAMIC}", f"b{DYNAMIC}", f"{GLOB}.c", DYNAMIC, GLOB, "~", "{}", "HEAD@{1}")
    ]


def test_commands_are_found_in_every_part_of_a_structure() -> None:
    text = "if a; then b | c; else (d & e); fi; for x in 1; do f; done; case y in z) g;; esac; h() { i; }"
    assert "".join(words[0] for words in words_in(text) if words) == "abcdefgi"


def test_a_wrapper_and_what_it_runs_are_both_found() -> None:
    assert words_in("sudo -u me nice -n 5 ls x")[-1] == ("ls", "x")
    assert [words[0] for words in words_in("sudo -u me nice -n 5 ls x")] == ["sudo", "nice", "ls"]


def test_redirections_are_told_apart_from_words() -> None:
    (simple,) = read_command("a <in 2>&1 >out 3>>log b").commands
    assert (simple.words, simple.reads, simple.writes) == (("a", "b"), ("in",), ("out", "log"))


def test_a_here_document_is_the_standard_input_of_a_shell() -> None:
    assert ("ls", "x") in words_in("bash <<'E'\nls x\nE\n")


def test_text_in_an_argument_of_an_unknown_program_may_be_a_command() -> None:
    remote = read_command("ssh host 'cd x; ls'").commands
    assert [(simple.words[0], simple.certain) for simple in remote] == [("ssh", True), ("cd", False), ("ls", False)]


def test_text_in_an_argument_of_a_program_that_prints_it_is_none() -> None:
    assert words_in("echo 'cd x; ls'") == [("echo", "cd x; ls")]


HOSTILE = {
    "substitutions": "$(" * 50_000,
    "parentheses": "(" * 100_000,
    "backquotes": "`" * 100_000,
    "escaped backquotes": "`" + "\\`" * 50_000,
    "commands": "a;" * 60_000,
    "words": "a " * 60_000,
    "wrappers": "sudo " * 20_000,
    "evals": "eval " * 20_000,
    "arithmetic": "$((" * 40_000,
    "parameters": "${a:-" * 20_000,
    "cases": "case x in x) " * 9_000,
    "here-documents": "cat <<E\n" * 15_000,
    "here-documents at once": "cat " + "<<E " * 20_000 + "\n" + "E\n" * 20_000,
    "braces": "{a," * 40_000,
    "functions": "f() " * 30_000,
    "scripts in arguments": "ssh " + "'a b' " * 20_000,
    "a sed script": "sed '" + " " * 100_000 + "x'",
    "an awk program": "awk '" + "{" * 100_000 + "'",
    "a megabyte": "x" * 1_000_000,
    "a megabyte of commands": "ls; " * 250_000,
    "NUL": "ls \0",
    "a surrogate": "ls \ud800",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_read_to_an_end(text: str) -> None:
    reading = read_command(text)
    assert len(reading.commands) <= 2000


@pytest.mark.parametrize("text", ["$(" * 50_000, "x" * (MAX_COMMAND + 1), "a;" * 60_000, "sudo " * 20_000, "ls \0"])
def test_what_is_too_much_is_not_known(text: str) -> None:
    reading = read_command(text)
    assert reading.doubts
    assert not reading.whole


@given(st.text(alphabet="ab \n\t'\"\\$`;&|()<>{}[]#*?!=-~EOF", max_size=60))
def test_no_text_makes_it_fail(text: str) -> None:
    read_command(text)


# Constructs. Each takes code and says other code in which it runs.

OF_CODE: list[Callable[[str], str]] = [
    lambda code: f"git status; {code}",
    lambda code: f"git status && {code}",
    lambda code: f"git status || {code}",
    lambda code: f"{code}\ngit status",
    lambda code: f"git status | {code}",
    lambda code: f"({code})",
    lambda code: f"{{ {code}\n}}",
    lambda code: f"! {{ {code}\n}}",
    lambda code: f"if {code}\nthen git status; fi",
    lambda code: f"if git status; then git log; else {code}\nfi",
    lambda code: f"while {code}\ndo git status; done",
    lambda code: f"for x in 1 2; do {code}\ndone",
    lambda code: f"case a in b) git status;; a) {code}\nesac",
    lambda code: f"f() {{ {code}\n}}; f",
    lambda code: f"function f {{ {code}\n}}",
    lambda code: f"echo $({code}\n)",
    lambda code: f'echo "a $({code}\n) b"',
    lambda code: f"x=$({code}\n) git status",
    lambda code: f"cat <({code}\n)",
    lambda code: f"git log > >({code}\n)",
    lambda code: f"echo ${{x:-$({code}\n)}}",
    lambda code: f"cat <<END_OF_IT\n$({code}\n)\nEND_OF_IT\n",
    lambda code: f"bash -c {shlex.quote(code)}",
    lambda code: f"sh -ec {shlex.quote(code)} name",
    lambda code: f"eval {shlex.quote(code)}",
    lambda code: f"trap {shlex.quote(code)} EXIT",
    lambda code: f"timeout 5 bash -c {shlex.quote(code)}",
    lambda code: f"env A=1 sh -c {shlex.quote(code)}",
    lambda code: f"xargs sh -c {shlex.quote(code)}",
    lambda code: f"find . -exec sh -c {shlex.quote(code)} \\;",
    lambda code: f"git -c alias.x={shlex.quote('!' + code)} x",
    lambda code: f"busybox sh -c {shlex.quote(code)}",
]
WRAPPERS = [
    "nice -n 5",
    "timeout -s KILL 5",
    "nohup",
    "env A=1",
    "command",
    "exec",
    "sudo -u x",
    "xargs -n 1",
    "time -p",
]
DENIED = ["rm -rf /", "git push origin", "/bin/rm x", "r'm' x", "\\rm x", "A=1 rm x", ">out rm x", "git -C x push"]

wrapped = st.builds(
    lambda wrappers, code: " ".join([*wrappers, code]),
    st.lists(st.sampled_from(WRAPPERS), max_size=2),
    st.sampled_from(DENIED[:5]),
)
hidden = st.builds(
    lambda code, constructs: reduce(lambda inner, construct: construct(inner), constructs, code),
    wrapped | st.sampled_from(DENIED),
    st.lists(st.sampled_from(OF_CODE), max_size=4),
)
BOOK = RuleBook(Rules(deny=("Bash(rm:*)", "Bash(git push:*)"), allow=("Bash",)))


@settings(max_examples=400)
@given(hidden)
def test_a_denied_command_is_never_allowed_whatever_it_is_put_in(text: str) -> None:
    ruling = BOOK.decide("Bash", {"command": text}, workspace=WORKSPACE)
    assert ruling
    assert ruling.verdict in ("deny", "ask")


SYNTAX = (
    "denied@denied x@x@;@&@|@\n@ @ @ @'@\"@\\@$@(@)@`@{ @; }@#@<@>@$(@\\\n@case x in x)@;;@ esac @if @then @fi@eval "
    "@$'@! @[[ @]]@echo @A=@=@*@-@<<EOF\n@\nEOF\n@<<'EOF'\n@trap ' EXIT @command @${x:-@}@$((@))@<(@&>@>&@<<<@'\\''"
    "@{a,@d''@eni@ed@for i in 1;@do @done@f() {@ f"
)
PIECES = SYNTAX.split("@")


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_what_a_real_shell_runs_is_seen(shell: str, require: Callable[[str], str], tmp_path: Path) -> None:
    program, mark, book = require(shell), tmp_path / "ran", RuleBook(Rules(deny=("Bash(denied:*)",), allow=("Bash",)))
    (tmp_path / "bin").mkdir()
    denied = tmp_path / "bin" / "denied"
    denied.write_text(f"#!/bin/sh\n: > {shlex.quote(str(mark))}\n")
    denied.chmod(0o755)

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(st.lists(st.sampled_from(PIECES), max_size=10).map("".join))
    def seen(text: str) -> None:
        ruling = book.decide("Bash", {"command": text}, workspace=tmp_path)
        if ruling and ruling.verdict == "allow":
            subprocess.run(
                [program, "-c", text],
                cwd=tmp_path / "bin",
                env={"PATH": str(tmp_path / "bin")},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=60,
            )
            assert not mark.exists()

    seen()
