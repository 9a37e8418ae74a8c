"""Launch templates."""

from __future__ import annotations

import pytest

from agentd.daemon.launchers import LOCAL, Launcher
from agentd.errors import InvalidSetting

ARGV = ["python3", "my agentd.pyz", "executor"]


def test_the_local_launcher_is_the_executor_itself() -> None:
    assert LOCAL.command(ARGV, {}) == ARGV
    assert LOCAL.is_local


def test_words_and_values_are_filled_in() -> None:
    launcher = Launcher("srun -N1 '--comment=agentd: {mgr}:{session}:{epoch}' {argv}")
    values = {"mgr": "m", "session": "a b; rm -rf /", "epoch": "3"}
    assert launcher.command(ARGV, values) == ["srun", "-N1", "--comment=agentd: m:a b; rm -rf /:3", *ARGV]
    assert not launcher.is_local


def test_a_remote_shell_gets_one_quoted_word() -> None:
    assert Launcher("ssh -T host {cmd}").command(ARGV, {}) == ["ssh", "-T", "host", "python3 'my agentd.pyz' executor"]
    assert Launcher("ssh -T host 'exec {cmd}'").command(ARGV, {})[-1] == "exec python3 'my agentd.pyz' executor"


def test_a_value_that_looks_like_a_name_is_left_as_it_is() -> None:
    assert Launcher("x {session} {argv}").command(["y"], {"session": "{mgr}"}) == ["x", "{mgr}", "y"]


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("srun", "needs either"),
        ("srun {argv} {cmd}", "needs either"),
        ("srun x{argv}", "needs either"),
        ("srun 'a {argv}", "No closing quotation"),
        ("srun {argv} {node}", "{node} is none of session"),
    ],
)
def test_a_template_that_cannot_work_is_refused(template: str, problem: str) -> None:
    with pytest.raises(InvalidSetting, match=problem):
        Launcher(template)
