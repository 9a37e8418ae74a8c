"""Commands in the background end with their job, however it ends, and the job says so."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import pytest

from agentd.domain import JobState, Limits, Record
from agentd.providers.scripted import Fail, Hang, Reply, call, reply
from agentd.sandbox.contain import Level, probe
from agentd.tools.registry import built_in
from tests.workshop import Workshop, ended, spec, until

if TYPE_CHECKING:
    from tests.witness import Witness


@pytest.fixture
def workshop(workshop: Workshop) -> Workshop:
    """A workshop whose tools are the real ones."""
    workshop.tools = built_in()
    return workshop


def start(command: str) -> Reply:
    return reply(call("Bash", command=command, run_in_background=True))


def notices(records: list[Record]) -> list[str]:
    return [record.data["text"] for record in records if record.data.get("code") == "BACKGROUND_ENDED"]


def results(records: list[Record]) -> list[str]:
    finished = (record.data["content"] for record in records if record.type == "tool.finished")
    return ["".join(block["text"] for block in content) for content in finished]


async def test_a_job_that_is_done_ends_what_runs_in_the_background_and_says_so(
    workshop: Workshop, witness: Witness
) -> None:
    workshop.says(start(f"setsid {witness.sleep} & {witness.sleep}"), start(witness.sleep), "Done.")
    job, records = await workshop.do()
    assert job.state is JobState.COMPLETED
    assert witness.alive() == []
    first, second = f"bash_1 (setsid {witness.sleep} & {witness.sleep})", f"bash_2 ({witness.sleep})"
    assert notices(records) == [f"still running in the background, and ended with the job: {first}, {second}"]
    assert records[-1].type == "job.finished"


async def test_nothing_is_said_of_a_command_that_has_ended_before(workshop: Workshop) -> None:
    os.mkfifo(workshop.workspace / "over")
    workshop.says(
        start("echo one; exec cat over"),
        reply(call("Bash", command="echo two > over")),
        reply(call("BashOutput", bash_id="bash_1", filter="one|two")),
        reply(call("KillShell", shell_id="bash_1")),
        "Done.",
    )
    _, records = await workshop.do()
    assert notices(records) == []
    assert results(records)[0].startswith("Started in the background as bash_1.")


@pytest.mark.parametrize("level", list(Level))
async def test_a_cancelled_job_leaves_nothing_running(
    workshop: Workshop, witness: Witness, level: Level, require: Callable[[str], str]
) -> None:
    if level is Level.BWRAP:
        require("bwrap")
    workshop.tools, workshop.confine = built_in(), await probe([level])
    workshop.says(start(f"(setsid {witness.sleep} &) & {witness.sleep}"), reply("waiting", Hang()))
    async with workshop.open() as engine:
        accepted = await engine.accept(spec())
        await until(accepted.session, lambda: types(accepted.session.view.records()).count("text.delta") == 1)
        assert engine.cancel(accepted.job.id)
        await ended(accepted.session, accepted.job)
        assert witness.alive() == []
        assert accepted.job.state is JobState.CANCELLED
        assert len(notices(list(accepted.session.view.records()))) == 1


async def test_a_job_that_fails_leaves_nothing_running(workshop: Workshop, witness: Witness) -> None:
    workshop.says(start(witness.sleep), reply("half", Fail("the line was cut")))
    job, records = await workshop.do()
    assert job.finished is not None
    assert (job.state, job.finished["error"]["message"]) == (JobState.FAILED, "the line was cut")
    assert (witness.alive(), len(notices(records))) == ([], 1)


async def test_a_job_at_its_limit_leaves_nothing_running(workshop: Workshop, witness: Witness) -> None:
    workshop.says(start(witness.sleep))
    job, records = await workshop.do(limits=Limits(turns=1))
    assert (job.state, witness.alive(), len(notices(records))) == (JobState.COMPLETED, [], 1)


async def test_an_engine_that_closes_leaves_nothing_running(workshop: Workshop, witness: Witness) -> None:
    workshop.says(start(witness.sleep), reply("waiting", Hang()))
    async with workshop.open() as engine:
        accepted = await engine.accept(spec())
        await until(accepted.session, lambda: "text.delta" in types(accepted.session.view.records()))
        assert witness.alive()
    assert witness.alive() == []


async def test_an_id_means_one_command_for_as_long_as_the_session_is(workshop: Workshop) -> None:
    workshop.says(start("true"), "One.", start("true"), reply(call("BashOutput", bash_id="bash_1")), "Two.")
    async with workshop.open() as engine:
        for _ in range(2):
            accepted = await engine.accept(spec())
            await ended(accepted.session, accepted.job)
    said = results(list(accepted.session.view.records()))
    assert [text.partition(".")[0] for text in said[:2]] == [
        "Started in the background as bash_1",
        "Started in the background as bash_2",
    ]
    assert said[2].startswith("There is no background command bash_1; there are: bash_2. One that was started")


def types(records: Iterable[Record]) -> list[str]:
    return [record.type for record in records]
