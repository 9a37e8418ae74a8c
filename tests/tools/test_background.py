"""Commands in the background: Bash starts them, BashOutput shows what they say, KillShell ends them, and so does the
end of their job."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

import agentd
from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.sandbox.contain import Containment, Level, probe
from agentd.sandbox.ring import Ring
from agentd.tools import background, bashoutput
from agentd.tools.background import MAX_RUNNING, Background, open_background
from agentd.tools.base import Tool, ToolContext, ToolOutcome, ToolState
from agentd.tools.bash import OUTPUT_CHARACTERS, Bash
from agentd.tools.bashoutput import BashOutput
from agentd.tools.killshell import KillShell

if TYPE_CHECKING:
    from tests.witness import Witness

ENV = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
HOSTILE = "setsid {sleep} & (setsid {sleep} &) & (trap '' TERM HUP INT; {sleep}) & echo there; {sleep}"


@attrs.define
class Job:
    """A workspace, and the calls of one job in it."""

    workspace: Path
    containment: Containment
    state: ToolState
    kept: dict[str, bytes] = attrs.field(factory=dict)
    background: Background | None = None

    async def outcome(self, tool: Tool, **call_input: Any) -> ToolOutcome:
        context = ToolContext(
            self.workspace,
            self.state,
            ENV,
            (),
            lambda _: None,
            self._keep,
            self.background,
            confine=self.containment,
        )
        with trio.fail_after(60):
            return await tool.run(call_input, context)

    async def text(self, tool: Tool, **call_input: Any) -> str:
        (content,) = (await self.outcome(tool, **call_input)).content
        assert isinstance(content, Text)
        return re.sub(r"running for \d+ s", "running for some time", content.text)

    async def start(self, command: str) -> str:
        """The id of a command that was started."""
        said = await self.text(Bash(), command=command, run_in_background=True)
        return said.removeprefix("Started in the background as ").partition(".")[0]

    async def output(self, shell: str, **more: Any) -> str:
        return await self.text(BashOutput(), bash_id=shell, **more)

    async def end_of(self, shell: str) -> str:
        """All that it says until it has ended, and how it did."""
        lines: list[str] = []
        while True:
            *said, status = (await self.output(shell)).split("\n")
            lines += [line for line in said if line != "[nothing new]"]
            if "has ended" in status:
                return "\n".join([*lines, status])

    async def ended(self, shell: str) -> None:
        """Return when it has ended; nothing of what it says is taken."""
        assert self.background is not None
        await self.background.find(shell).wait()

    async def news_of(self, shell: str) -> None:
        assert self.background is not None
        await self.background.find(shell).wait_for_news(60)

    def go(self) -> None:
        """Let a command go on that reads a line from the pipe `go`."""
        (self.workspace / "go").write_text("\n")

    def _keep(self, path: Path) -> str:
        name = f"artifact-{len(self.kept)}"
        self.kept[name] = path.read_bytes()
        return name


@pytest.fixture
def job(workspace: Path) -> Job:
    os.mkfifo(workspace / "go")
    return Job(workspace, Containment(Level.GROUP), ToolState(workspace))


@pytest.fixture(params=list(Level))
async def job_of_each_level(request: pytest.FixtureRequest, require: Callable[[str], str], job: Job) -> Job:
    if request.param is Level.BWRAP:
        require("bwrap")
    job.containment = await probe([request.param])
    return job


@pytest.fixture
async def working(job: Job) -> AsyncIterator[Job]:
    """A job that is at work until the test ends."""
    async with open_background() as job.background:
        yield job


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bashoutput, "NEWS_SECONDS", 0.0)


def test_the_tools_are_those_of_the_contract() -> None:
    tools: list[Tool] = [BashOutput(), KillShell()]
    assert [(tool.name, tool.tool_class) for tool in tools] == [
        ("BashOutput", ToolClass.READ),
        ("KillShell", ToolClass.EXEC),
    ]
    assert list(BashOutput().input_schema["properties"]) == ["bash_id", "filter"]
    assert (BashOutput().input_schema["required"], KillShell().input_schema["required"]) == (["bash_id"], ["shell_id"])
    assert (BashOutput().subject({"bash_id": "bash_1"}), KillShell().subject({})) == ("bash_1", "")


# --- Start and end ------------------------------------------------------------------------------------------------


async def test_a_command_runs_on_after_its_call_and_no_longer_than_its_job(
    job_of_each_level: Job, witness: Witness
) -> None:
    job = job_of_each_level
    async with open_background() as job.background:
        shell = await job.start(HOSTILE.format(sleep=witness.sleep))
        assert await job.output(shell) == "there\n[bash_1 has been running for some time]"
        assert witness.alive()
    assert witness.alive() == []


async def test_killing_one_ends_all_of_it_and_only_it(job_of_each_level: Job, witness: Witness) -> None:
    job = job_of_each_level
    async with open_background() as job.background:
        shell = await job.start(HOSTILE.format(sleep=witness.sleep))
        other = await job.start("read x < go; echo still here")
        await job.output(shell)
        assert (await job.text(KillShell(), shell_id=shell)).startswith("bash_1 was killed: setsid sleep")
        assert witness.alive() == []
        job.go()
        assert "still here" in await job.end_of(other)


async def test_what_a_killed_command_has_said_can_still_be_read(working: Job) -> None:
    shell = await working.start("echo one; sleep 1000")
    await working.output(shell)
    await working.text(KillShell(), shell_id=shell)
    assert await working.output(shell) == "[nothing new]\n[bash_1 was killed]"


async def test_killing_what_has_ended_says_so(working: Job) -> None:
    shell = await working.start("exit 3")
    await working.end_of(shell)
    assert await working.text(KillShell(), shell_id=shell) == "bash_1 has ended with exit code 3 already: exit 3"


async def test_an_exception_in_the_job_ends_its_commands(job: Job, witness: Witness) -> None:
    with pytest.RaisesGroup(KeyError):
        async with open_background() as job.background:
            await job.start(witness.sleep)
            raise KeyError
    assert witness.alive() == []


EXECUTOR = """
import sys, trio
from pathlib import Path
from agentd.sandbox.contain import Containment, Level
from agentd.tools.background import open_background
level, prefix, command, path = sys.argv[1:]
async def main():
    async with open_background() as background:
        containment = Containment(Level(level), tuple(prefix.split()))
        shell = await background.start(containment, command, Path("/"), {"PATH": path})
        await shell.wait_for_news(60)
        print("there", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


def start_executor(contained: Containment, command: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", EXECUTOR, contained.level, " ".join(contained.prefix), command, ENV["PATH"]]
    env = {"PYTHONPATH": str(Path(agentd.__path__[0]).parent), **ENV}
    return subprocess.Popen(argv, stdout=subprocess.PIPE, env=env)


@pytest.mark.parametrize("level", [Level.BWRAP, Level.SUBREAPER])
async def test_nothing_is_left_two_seconds_after_the_executor_is_killed(
    level: Level, require: Callable[[str], str], witness: Witness
) -> None:
    if level is Level.BWRAP:
        require("bwrap")
    contained = await probe([level])
    with start_executor(contained, HOSTILE.format(sleep=witness.sleep)) as executor:
        assert executor.stdout is not None
        assert executor.stdout.readline() == b"there\n"
        executor.kill()
    assert witness.gone_within(2)


def open_descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


async def test_no_descriptor_is_left_open(job: Job) -> None:
    before = open_descriptors()
    async with open_background() as job.background:
        await job.end_of(await job.start("echo one"))
        await job.start("sleep 1000")
        with pytest.raises(ToolFailed, match="too long"):
            await job.start("echo " + "x" * 200_000)
    assert open_descriptors() == before


async def test_a_command_that_cannot_be_started_says_so_and_the_job_goes_on(working: Job) -> None:
    with pytest.raises(ToolFailed, match=r"could not be started: .* It is too long"):
        await working.start("echo " + "x" * 200_000)
    assert "hi" in await working.end_of(await working.start("echo hi"))


async def test_where_nothing_may_run_on_the_model_is_told(job: Job) -> None:
    with pytest.raises(ToolFailed, match="run the command in the foreground"):
        await job.start("true")
    with pytest.raises(ToolFailed, match="Nothing runs in the background here"):
        await job.output("bash_1")


async def test_a_command_sees_what_one_in_the_foreground_sees(working: Job) -> None:
    (working.workspace / "sub").mkdir()
    working.state.cwd = working.workspace / "sub"
    said = await working.end_of(await working.start("pwd; cd /; env; read x; echo $?"))
    assert said.startswith(f"{working.workspace}/sub\n")
    assert said.endswith("\n1\n[bash_1 has ended with exit code 0]")
    assert working.state.cwd == working.workspace / "sub"


# --- How many -----------------------------------------------------------------------------------------------------


async def test_no_more_than_so_many_run_at_once_and_the_error_names_them(working: Job) -> None:
    shells = [await working.start("sleep 1000") for _ in range(MAX_RUNNING)]
    with pytest.raises(ToolFailed, match=rf"{MAX_RUNNING} commands run in the background already.*: bash_1, bash_2,"):
        await working.start("true")
    await working.text(KillShell(), shell_id=shells[0])
    assert await working.start("sleep 1000") == f"bash_{MAX_RUNNING + 1}"


async def test_of_many_that_have_ended_the_oldest_is_forgotten(working: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "MAX_KEPT", 2)
    await working.start("sleep 1000")
    for _ in range(2):
        await working.end_of(await working.start("true"))
    with pytest.raises(ToolFailed, match="no background command bash_2; there are: bash_1, bash_3"):
        await working.output("bash_2")


async def test_numbers_go_on_where_the_session_was(job: Job) -> None:
    async with open_background(3) as job.background:
        assert await job.start("true") == "bash_4"
        with pytest.raises(ToolFailed, match=r"bash_1; there are: bash_4\. One that was started in an earlier job"):
            await job.output("bash_1")


# --- What it says -------------------------------------------------------------------------------------------------


async def test_each_piece_is_shown_once(working: Job) -> None:
    shell = await working.start("echo one; read x < go; echo two; exit 4")
    assert await working.output(shell) == "one\n[bash_1 has been running for some time]"
    working.go()
    assert await working.end_of(shell) == "two\n[bash_1 has ended with exit code 4]"
    assert await working.output(shell) == "[nothing new]\n[bash_1 has ended with exit code 4]"


@pytest.mark.usefixtures("_impatient")
async def test_a_silent_command_says_nothing_new_and_still_runs(working: Job) -> None:
    shell = await working.start("sleep 1000")
    assert await working.output(shell) == "[nothing new]\n[bash_1 has been running for some time]"
    outcome = await working.outcome(BashOutput(), bash_id=shell)
    assert (outcome.summary[:32], outcome.is_error) == ("0 new lines; it has been running", False)


async def test_who_asks_twice_at_once_gets_it_once(working: Job) -> None:
    shell = await working.start("echo one; read x < go")
    await working.news_of(shell)
    texts: list[str] = []

    async def ask(**more: Any) -> None:
        texts.append(await working.output(shell, **more))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: ask(filter="o"))
        nursery.start_soon(lambda: ask(filter="n"))
        working.go()
    assert sum(text.startswith("one") for text in texts) == 1


async def test_a_filter_shows_lines_that_match_and_passes_over_the_others(working: Job) -> None:
    (working.workspace / "log").write_bytes(b"error: a\r\nfine\nan error")
    shell = await working.start("cat log; read x < go")
    await working.news_of(shell)
    assert (await working.output(shell, filter=r"^error: \w$")).startswith("error: a\r\n[bash_1")
    working.go()
    assert (await working.end_of(shell)).startswith("an error\n[bash_1")


async def test_where_no_line_matches_that_is_said(working: Job) -> None:
    shell = await working.start("echo fine")
    await working.ended(shell)
    assert await working.output(shell, filter="é") == "[nothing new that matches]\n[bash_1 has ended with exit code 0]"


async def test_half_a_character_is_shown_when_it_is_whole(working: Job) -> None:
    shell = await working.start("printf 'caf\\303'; read x < go; printf '\\251\\n'")
    assert (await working.output(shell)).startswith("caf\n[bash_1")
    working.go()
    assert (await working.end_of(shell)).startswith("é\n[bash_1")


async def test_a_filter_that_takes_too_long_is_ended_and_nothing_is_lost(
    working: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bashoutput, "FILTER_SECONDS", 1)
    shell = await working.start(f"echo {'a' * 50}b")
    await working.ended(shell)
    with pytest.raises(ToolFailed, match="took longer than 1 s"):
        await working.output(shell, filter="(a+)+$")
    assert (await working.output(shell)).startswith("aaaa")


@pytest.mark.parametrize(
    ("regex", "says"),
    [
        ("(", r"no regular expression that can be used: missing \), unterminated subpattern"),
        ("a" * 10_001, "longer than 10000"),
        ("\ud800", "filter holds a lone surrogate"),
    ],
)
async def test_a_filter_that_cannot_be_used_says_why(working: Job, regex: str, says: str) -> None:
    shell = await working.start("echo one")
    with pytest.raises(ToolFailed, match=says):
        await working.output(shell, filter=regex)
    assert "one" in await working.end_of(shell)


async def test_output_that_is_too_long_is_cut_in_the_middle_and_kept(working: Job) -> None:
    shell = await working.start("seq 1 20000")
    await working.ended(shell)
    full = "".join(f"{n}\n" for n in range(1, 20001))
    text = await working.output(shell)
    assert f"[{len(full) - OUTPUT_CHARACTERS} characters are cut here; the full output is kept as artifact-0]" in text
    assert text.endswith("\n20000\n[bash_1 has ended with exit code 0]")
    assert working.kept == {"artifact-0": full.encode()}


async def test_of_more_than_is_kept_the_last_is_shown_and_the_loss_is_told(
    working: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "Ring", lambda: Ring(10))
    shell = await working.start("seq 1 100")
    await working.ended(shell)
    assert await working.output(shell) == (
        "[282 bytes before this are lost: it says more than is kept between two calls]\n98\n99\n100\n"
        "[bash_1 has ended with exit code 0]"
    )
