"""`agentd systemd-unit`: a unit that systemd understands, and that runs this program."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Sequence
from configparser import RawConfigParser
from pathlib import Path

import pytest

from agentd.cli import main
from agentd.cli.systemd_unit import quoted, unit
from agentd.sandbox.reexec import own_argv

ODD = ["/opt/a b/python", "-c", "print('50%'); x = \"$HOME\\n\"", "serve"]


def parsed(text: str) -> RawConfigParser:
    parser = RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


def unescaped(line: str) -> list[str]:
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line)]


@pytest.mark.parametrize("argv", [own_argv("serve"), ODD])
@pytest.mark.parametrize("user", [True, False])
def test_it_starts_these_very_words(argv: Sequence[str], user: bool) -> None:
    assert unescaped(parsed(unit(argv, user=user, name="a"))["Service"]["ExecStart"]) == list(argv)


def test_the_program_is_named_by_an_absolute_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["systemd-unit"]) == 0
    assert Path(unescaped(parsed(capsys.readouterr().out)["Service"]["ExecStart"])[0]).is_absolute()


def test_systemd_waits_for_its_word_and_signals_it_alone() -> None:
    service = parsed(unit(["/x"], user=False, name="ada"))["Service"]
    assert (service["Type"], service["KillMode"], service["User"]) == ("notify", "mixed", "ada")
    assert service["OOMPolicy"] == "continue"


@pytest.mark.parametrize("user", [True, False])
def test_nothing_in_it_keeps_bwrap_or_git_from_working(user: bool) -> None:
    hindering = ("PrivateTmp", "Protect", "Restrict", "SystemCall", "PrivateUsers", "ReadOnly", "Inaccessible", "UMask")
    harmless = {"ProtectSystem", "RestrictRealtime", "RestrictAddressFamilies"}
    service = parsed(unit(["/x"], user=user, name="a"))["Service"]
    assert not [key for key in service if key.startswith(hindering) and key not in harmless]
    assert service.get("ProtectSystem", "full") == "full"  # not strict: repositories are anywhere


def test_a_users_unit_has_no_user_and_starts_with_the_session() -> None:
    made = parsed(unit(["/x"], user=True, name="ada"))
    assert "User" not in made["Service"]
    assert made["Install"]["WantedBy"] == "default.target"


@pytest.mark.parametrize("flags", [[], ["--user"]])
@pytest.mark.parametrize("argv", [own_argv("serve"), ["/bin/sh", *ODD[1:]]], ids=["own", "odd"])
def test_systemd_finds_no_fault_with_it(
    flags: list[str], argv: list[str], tmp_path: Path, require: Callable[[str], str]
) -> None:
    file = tmp_path / "agentd.service"
    file.write_text(unit(argv, user=bool(flags), name="root"))
    command = [require("systemd-analyze"), "verify", "--man=no", *flags, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env={"XDG_RUNTIME_DIR": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")


def test_an_empty_word_is_a_word() -> None:
    assert quoted("") == '""'


def test_an_unknown_flag_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["systemd-unit", "--system"]) == 2
    assert "unknown argument: --system" in capsys.readouterr().err
