"""Launch templates."""

from __future__ import annotations

import pytest

from agentd.daemon.launchers import LOCAL, Launcher, launcher_command, launcher_environment
from agentd.errors import InvalidSetting, NotStarted

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


def test_a_name_without_a_value_is_told() -> None:
    with pytest.raises(NotStarted, match="callback"):
        Launcher("srun {argv} --callback {callback}").command(ARGV, {"session": "s"})


def test_a_launcher_is_looked_for_where_it_will_be_run() -> None:
    with pytest.raises(NotStarted, match="sh could not be started: there is no such program"):
        launcher_command(Launcher("sh -c {cmd}"), ARGV, {}, {"PATH": "/nowhere"})


def test_a_launcher_gets_what_leads_to_its_site_and_no_job_that_we_are_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSH_AUTH_SOCK", "SLURM_CONF", "SLURM_JOB_ID", "SLURM_STEP_ID", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "x")
    found = launcher_environment({"PATH": "/bin", "SLURM_CONF": "mine"})
    assert {name: found.get(name) for name in ("SSH_AUTH_SOCK", "SLURM_CONF", "PATH")} == {
        "SSH_AUTH_SOCK": "x",
        "SLURM_CONF": "mine",
        "PATH": "/bin",
    }
    assert not {"SLURM_JOB_ID", "SLURM_STEP_ID", "OPENAI_API_KEY"} & set(found)
