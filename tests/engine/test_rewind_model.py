"""Jobs and rewinds in any order, against a model that remembers the whole workspace at every checkpoint."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.store.home import make_home
from tests.rewinding import Desk, Job, make_repository, open_desk, shown

EXAMPLES = int(os.environ.get("AGENTD_EXAMPLES", "15"))
NAMES = ("a", "b", "d", "d/x", "d/y", "d/e/z", "line\nbreak", os.fsdecode(b"latin\xe9"))
CONTENTS = ("", "1\n", "2\n", "longer\r\nthan before\n", "\0binary\0")
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


tool_acts = st.tuples(st.just("tool"), names, contents)
acts = st.one_of(
    tool_acts,
    st.tuples(st.sampled_from(("write", "link", "rename")), names, st.one_of(contents, names)),
    st.tuples(st.sampled_from(("remove", "program", "nothing")), names, st.just("")),
)


def stories(act: st.SearchStrategy[tuple[str, str, str]]) -> st.SearchStrategy[list[Work | Back]]:
    work = st.builds(Work, st.lists(act, max_size=6).map(tuple), st.booleans())
    return st.lists(st.one_of(work, work, st.builds(Back, st.integers(0, 20))), min_size=2, max_size=6)


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
    model: list[tuple[str, dict[str, tuple[str, bytes]]]] = []
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


def run(story: list[Work | Back], *, git: bool) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory() as directory:
            top = Path(directory, "top")
            (top / "d").mkdir(parents=True)
            (top / "d/x").write_text("x\n")
            if git:
                make_repository(top, a="a\n")
            async with open_desk(make_home(Path(directory, "home")), top, git=git) as desk:
                await live(story, desk)

    trio.run(main)


@settings(max_examples=EXAMPLES, deadline=None)
@given(stories(acts))
def test_in_a_repository_everything_goes_back_to_what_it_was(story: list[Work | Back]) -> None:
    run(story, git=True)


@settings(max_examples=EXAMPLES, deadline=None)
@given(stories(tool_acts))
def test_without_a_repository_what_tools_changed_goes_back_to_what_it_was(story: list[Work | Back]) -> None:
    run(story, git=False)
