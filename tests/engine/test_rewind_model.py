"""Jobs and rewinds in any order, against a model that remembers the whole workspace at every checkpoint."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.store.home import make_home
from tests.rewinding import Desk, Job, make_repository, open_desk, shown

EXAMPLES = int(os.environ.get("AGENTD_EXAMPLES", "15"))
NAMES = ("a", "b", "d", "d/x", "d/y", "d/e/z", "line\nbreak", os.fsdecode(b"latin\xe9"))
CONTENTS = ("", "1\n", "2\n", "longer\r\nthan before\n", "\0binary\0")
Files = dict[str, tuple[str, bytes]]
IGNORED = ("", "*.log\n", "mine/\n", "*\n", "d/*.log\n!keep.log\n")
THEIRS = ("mine/x", "mine/x.log", "d/mine.log", "keep.log")  # what only a person writes to
names, contents = st.sampled_from(NAMES), st.sampled_from(CONTENTS)


@attrs.frozen
class Work:
    """A job. *acts*: by a tool, or by a command; *dies*: its end is found by the next process."""

    acts: tuple[tuple[str, str, str], ...]
    dies: bool


@attrs.frozen
class Back:
    """A rewind to one of the checkpoints there are, with its number modulo their count."""

    to: int


@attrs.frozen
class Person:
    """Somebody at work between two jobs."""

    name: str
    content: str


tool_acts = st.tuples(st.just("tool"), names, contents)
acts = st.one_of(
    tool_acts,
    st.tuples(st.sampled_from(("write", "link", "rename")), names, st.one_of(contents, names)),
    st.tuples(st.sampled_from(("remove", "program", "nothing")), names, st.just("")),
)


def stories(act: st.SearchStrategy[tuple[str, str, str]]) -> st.SearchStrategy[list[Work | Back]]:
    work = st.builds(Work, st.lists(act, max_size=6).map(tuple), st.booleans())
    return st.lists(st.one_of(work, work, st.builds(Back, st.integers(0, 20))), min_size=2, max_size=6)


def shared_stories() -> st.SearchStrategy[list[Work | Back | Person]]:
    """With a person beside the jobs, who has files that git ignores, for as long as it does."""
    files = st.sampled_from(("a", "d/x", "d/new", "new.log"))
    act = st.one_of(
        st.tuples(st.sampled_from(("tool", "write")), files, contents),
        st.tuples(st.just("remove"), files, st.just("")),
        st.tuples(st.sampled_from(("tool", "write")), st.just(".gitignore"), st.sampled_from(IGNORED)),
    )
    work = st.builds(Work, st.lists(act, max_size=4).map(tuple), st.booleans())
    person = st.one_of(
        st.builds(Person, st.sampled_from((*THEIRS, "a", "d/new")), contents),
        st.builds(Person, st.just(".gitignore"), st.sampled_from(IGNORED)),
    )
    return st.lists(st.one_of(work, person, st.builds(Back, st.integers(0, 20))), min_size=3, max_size=8)


def command(top: Path, act: str, name: str, more: str) -> Callable[[], None]:
    """What may well not work, as commands do."""
    path = top / name

    def work() -> None:
        try:
            match act:
                case "write":
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(more)
                case "link":
                    path.symlink_to(more or "nowhere")
                case "rename":
                    path.rename(top / (more or "renamed"))
                case "remove":
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                case "program":
                    path.chmod(0o755 if path.stat().st_mode & 0o100 == 0 else 0o644)
        except (OSError, ValueError):
            pass

    return work


async def do(job: Job, act: str, name: str, more: str) -> None:
    if act == "tool":
        await job.write(name, more)
    else:
        await job.command(command(job.desk.workspace, act, name, more))


async def live(story: list[Work | Back], desk: Desk) -> None:
    """Raises AssertionError where the workspace is not what the model says."""
    model: list[tuple[str, Files]] = []
    for chapter in story:
        before = shown(desk.workspace)
        if isinstance(chapter, Work):
            job = await desk.begin()
            for act in chapter.acts:
                await do(job, *act)
            await (desk.checkpoints_of(job.id).finish() if chapter.dies else job.end())
            model.append((job.message, before))
        elif model:
            checkpoint, then = model[chapter.to % len(model)]
            told = await desk.rewind(checkpoint, dry_run=True)
            assert shown(desk.workspace) == before
            done = await desk.rewind(checkpoint)
            assert (told.restored, told.deleted, told.failed) == (done.restored, done.deleted, ())
            assert done.failed == ()
            assert shown(desk.workspace) == then
            model.append((done.undo or "", before))


async def live_together(story: list[Work | Back | Person], desk: Desk) -> None:
    """Raises AssertionError where a rewind does other things than it tells, or cannot be undone."""
    checkpoints: list[str] = []
    for name in THEIRS:
        command(desk.workspace, "write", name, "theirs")()
    (desk.workspace / ".gitignore").write_text("*.log\nmine/\n")
    for chapter in story:
        before = shown(desk.workspace)
        if isinstance(chapter, Work):
            job = await desk.begin()
            for act in chapter.acts:
                await do(job, *act)
            await (desk.checkpoints_of(job.id).finish() if chapter.dies else job.end())
            checkpoints.append(job.message)
        elif isinstance(chapter, Person):
            command(desk.workspace, "write", chapter.name, chapter.content)()
        elif checkpoints:
            done = await desk.rewind(checkpoints[chapter.to % len(checkpoints)])
            told = {*done.restored, *done.deleted}
            assert changed(before, shown(desk.workspace)) == told
            assert not told & {*THEIRS}
            await desk.rewind(done.undo or "")
            assert shown(desk.workspace) == before


def changed(before: Files, after: Files) -> set[str]:
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


Chapters = list[Work | Back] | list[Work | Back | Person]


def run(story: Chapters, how: Callable[[Any, Desk], Awaitable[None]], *, git: bool = True) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory() as directory:
            top = Path(directory, "top")
            (top / "d").mkdir(parents=True)
            (top / "d/x").write_text("x\n")
            if git:
                make_repository(top, a="a\n")
            async with open_desk(make_home(Path(directory, "home")), top, git=git) as desk:
                await how(story, desk)

    trio.run(main)


@settings(max_examples=EXAMPLES, deadline=None)
@given(stories(acts))
def test_in_a_repository_everything_goes_back_to_what_it_was(story: list[Work | Back]) -> None:
    run(story, live)


@settings(max_examples=EXAMPLES, deadline=None)
@given(stories(tool_acts))
def test_without_a_repository_what_tools_changed_goes_back_to_what_it_was(story: list[Work | Back]) -> None:
    run(story, live, git=False)


@settings(max_examples=EXAMPLES, deadline=None)
@given(shared_stories())
def test_beside_a_person_a_rewind_does_what_it_tells_and_can_be_undone(story: list[Work | Back | Person]) -> None:
    run(story, live_together)
