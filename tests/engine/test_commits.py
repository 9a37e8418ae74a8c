"""What a job commits of what it changed, and when."""

from __future__ import annotations

import subprocess

import pytest

from agentd.domain import JobState, Mode
from agentd.providers.scripted import Hang, Reply, call, reply
from agentd.tools.registry import FILE_TOOLS
from tests.workshop import Workshop, notices, only, spec, until


def git(workshop: Workshop, *words: str) -> str:
    settings = ("-c", "user.name=A Person", "-c", "user.email=person@example.org")
    done = subprocess.run(["git", "-C", str(workshop.workspace), *settings, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def repository(workshop: Workshop) -> Workshop:
    """A workshop in a repository where a person has edited one file, and made another, without committing."""
    workshop.git, workshop.tools = True, FILE_TOOLS
    for name in ("a.txt", "theirs.txt"):
        (workshop.workspace / name).write_text("as committed\n")
    git(workshop, "init", "-q", "-b", "main")
    git(workshop, "add", "-A")
    git(workshop, "commit", "-qm", "first")
    (workshop.workspace / "theirs.txt").write_text("edited by a person\n")
    (workshop.workspace / "new-theirs.txt").write_text("made by a person\n")
    return workshop


def write(name: str) -> list[Reply | str]:
    """What a planner and its code model say to have a file written."""
    by_hand = reply(call("Write", file_path=name, content=f"{name} by a model\n"))
    return [reply(call("Code", instructions=f"write {name}")), by_hand, "Wrote.", f"{name} is done."]


async def test_each_task_is_a_commit_of_what_it_changed_and_nothing_else(repository: Workshop) -> None:
    two = reply(call("TaskList", tasks=[{"title": "Add one"}, {"title": "Add two"}]))
    repository.says(two, "A plan.", *write("one.txt"), *write("two.txt"))
    job, _ = await repository.do(mode=Mode.LUTZ, auto_commit=True)
    assert job.state is JobState.COMPLETED
    log = git(repository, "log", "--reverse", "--name-only", "--format=%s").split("\n")
    assert [line for line in log if line] == [
        "first",
        "a.txt",
        "theirs.txt",
        "Add one",
        "one.txt",
        "Add two",
        "two.txt",
    ]
    assert git(repository, "status", "--porcelain").split("\n") == [" M theirs.txt", "?? new-theirs.txt", ""]
    assert job.finished is not None
    assert job.finished["diff"]["files"] == 2


@pytest.mark.parametrize("mode", [Mode.CODE, Mode.ARCHITECT])
async def test_a_job_that_succeeds_is_one_commit(repository: Workshop, mode: Mode) -> None:
    replies = write("one.txt")
    repository.says(*(replies if mode is Mode.ARCHITECT else replies[1:3]))
    _, records = await repository.do(prompt="Add one\nand nothing else", mode=mode, auto_commit=True)
    assert [data["message"] for data in only(records, "commit")] == ["Add one"]
    assert git(repository, "show", "--name-only", "--format=%s").split() == ["Add", "one", "one.txt"]


async def test_a_job_that_fails_commits_nothing(repository: Workshop) -> None:
    repository.says(write("one.txt")[1], reply("It does not apply.", stop="failed"))
    job, records = await repository.do(mode=Mode.CODE, auto_commit=True)
    assert job.state is JobState.FAILED
    assert not only(records, "commit")
    assert (repository.workspace / "one.txt").exists()


async def test_a_job_that_changed_nothing_says_that_there_is_nothing_to_commit(repository: Workshop) -> None:
    repository.says("Nothing to do.")
    job, records = await repository.do(mode=Mode.CODE, auto_commit=True)
    assert job.state is JobState.COMPLETED
    assert notices(records) == ["NO_EDIT", "NOTHING_TO_COMMIT"]


async def test_without_a_repository_a_commit_is_not_made_and_no_failure(workshop: Workshop) -> None:
    workshop.says(reply(call("Write", about="a")), "Done.")
    job, records = await workshop.do(mode=Mode.CODE, auto_commit=True)
    assert job.state is JobState.COMPLETED
    assert notices(records) == ["COMMIT_FAILED"]


async def test_the_diff_of_a_job_that_a_kill_cut_short_has_what_it_had_changed(repository: Workshop) -> None:
    repository.says(reply(call("Write", file_path="one.txt", content="half of it\n")), reply("and then", Hang()))
    async with repository.open() as engine:
        accepted = await engine.accept(spec())
        path = accepted.session.dir.log_path
        await until(accepted.session, lambda: b"and then" in path.read_bytes())
        kept = path.read_bytes()
    path.write_bytes(kept)
    async with repository.open() as engine:
        diff = await engine.diff(accepted.job.id)
        assert engine.find_job(accepted.job.id)[1].state is JobState.INTERRUPTED
    assert diff is not None
    assert b"+half of it" in diff
    assert b"theirs" not in diff
