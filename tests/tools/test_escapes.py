"""Paths that lead out of the workspace, tried with every file tool: nothing outside is read or changed, and no call
waits for what never comes. It is the tools that hold to this, so that it is the same in every permission mode."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from agentd.domain import Image
from agentd.errors import ToolFailed
from agentd.tools.base import Tool, ToolContext, ToolState
from agentd.tools.registry import FILE_TOOLS

SECRET = "kept-to-themselves"
NOTEBOOK = (
    '{"cells": [{"cell_type": "code", "id": "c", "metadata": {}, "outputs": [], "execution_count": null, "source": '
)
NOTEBOOK += '"%s"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
SECONDS = 20.0
TURNS = 120  # of a race
TOOLS = {tool.name: tool for tool in FILE_TOOLS}
OF_DIRECTORIES = ("Glob", "Grep", "LS")

# {f} is a file, {out} the directory of it outside; {ws} the workspace, {state} agentd's own; {pid} this process, and
# {dir} and {file} descriptors of it.
LEADING_OUT = (
    *(
        "../outside/{f}",
        "./../outside/{f}",
        "sub/../../outside/{f}",
        "sub/../sub/../../outside/{f}",
        ".//..//outside/{f}",
    ),
    *("nowhere/../../outside/{f}", "{f}/../../outside/{f}", "{ws}/../outside/{f}", "{ws}/sub/../../outside/{f}"),
    *("{out}/{f}", "/{out}/{f}", "///{out}/{f}", "/..{out}/{f}", "/.{out}/{f}", "/tmp/..{out}/{f}", "{out}/./{f}"),
    *("to-out/{f}", "sub/to-out/{f}", "relative/{f}", "chain/{f}", "chain/../outside/{f}", "to-{f}", "chain-to-{f}"),
    *("{ws}/to-out/{f}", "to-parent/outside/{f}", "to-root{out}/{f}", "to-proc{out}/{f}", "to-self/root{out}/{f}"),
    *("/proc/self/root{out}/{f}", "/proc/{pid}/root{out}/{f}", "/proc/thread-self/root{out}/{f}"),
    *(
        "/proc/self/task/{pid}/root{out}/{f}",
        "/proc/self/fd/{dir}/{f}",
        "/dev/fd/{dir}/{f}",
        "/proc/{pid}/fd/{dir}/{f}",
    ),
    *("/proc/self/fd/{file}", "/dev/fd/{file}", "to-descriptor/{f}", "/proc/self/cwd/../../../../../../../..{out}/{f}"),
    *("/proc/1/root{out}/{f}", "/proc/self/root/proc/self/root{out}/{f}", "{state}/{f}", "to-state/{f}", ".agentd/{f}"),
    *(".agentd/../.agentd/{f}", "sub/../.agentd/{f}", "hidden/{f}", "{ws}/.agentd/{f}"),
)
# Those are no way out by how names are read; nothing is there, or something that is not outside.
READ_OTHERWISE = (
    *("~/outside/{f}", "~root/{f}", "$HOME/{f}", "${{HOME}}/{f}", "..\\outside\\{f}", "%2e%2e/outside/{f}"),
    *(
        "file://{out}/{f}",
        "\uff0e\uff0e/outside/{f}",
        "\u2025/outside/{f}",
        "\u2024\u2024/outside/{f}",
        ".. /outside/{f}",
    ),
    *(
        "..\u200b/outside/{f}",
        "../OUTSIDE/{f}",
        "TO-OUT/{f}",
        "..\n/outside/{f}",
        "\u202e../outside/{f}",
        "..;/outside/{f}",
    ),
    *("a\0/../../outside/{f}", "../outside/{f}\0", "sub\ud800/../../outside/{f}", "../outside/{f} ", " ../outside/{f}"),
    *("*/../outside/{f}", "...//outside/{f}", "....//outside/{f}", "", " ", ".", "..", "/", "//", "../", "sub/.."),
)
# What never ends, or never begins.
NO_FILES = (
    *(
        "pipe",
        "sub/pipe",
        "to-pipe",
        "socket",
        "loop",
        "loop/{f}",
        "loop-one/{f}",
        "/dev/zero",
        "/dev/random",
        "/dev/tty",
    ),
    *(
        "/dev/stdin",
        "/dev/fd/0",
        "/dev/full",
        "/dev/ptmx",
        "/proc/kmsg",
        "/proc/self/mem",
        "/proc/self/environ",
        "/proc/self/maps",
    ),
    *("to-zero", "to-tty", "pipe/{f}", "/proc/self/fd", "/proc/self/cwd", "/sys/kernel/{f}", "to-environment"),
)
LONG = (
    "./" * 1500 + "../outside/{f}",
    "sub/../" * 400 + "../outside/{f}",
    "sub/../" * 700 + "../outside/{f}",
    "n" * 300 + "/../../outside/{f}",
    "../" * 1000 + "{out}/{f}",
    "../" * 40 + "{out}/{f}",
    "to-self/cwd/" * 30 + "{f}",
)
PATHS = (*LEADING_OUT, *READ_OTHERWISE, *NO_FILES, *LONG)
GLOBS = (
    *(
        "../*",
        "../**/*",
        "../outside/*",
        "sub/../../outside/*",
        "{out}/*",
        "{out}/**",
        "/**/{f}",
        "//{out}/*",
        "to-out/*",
    ),
    *(
        "to-out/**",
        "*/../../outside/*",
        "**/to-out/*",
        "{{..,sub}}/outside/*",
        "[.][.]/outside/*",
        ".*/outside/*",
        "?.?/*",
    ),
    *(
        "to-root/**/{f}",
        "/proc/self/root{out}/*",
        "./../outside/{f}",
        ".agentd/*",
        "**/.agentd/*",
        "to-state/*",
        "{state}/**",
    ),
)


@attrs.frozen
class Scene:
    """A workspace full of ways out, and what is outside."""

    workspace: Path
    outside: Path
    names: Mapping[str, str]

    def path(self, template: str, name: str) -> str:
        return template.format(f=name, **self.names)

    def picture(self) -> dict[str, tuple[Any, ...]]:
        places = (self.outside, self.workspace / ".agentd", Path(self.names["state"]))
        return {str(path): _look(path) for place in places for path in (place, *sorted(place.rglob("*")))}


def _look(path: Path) -> tuple[Any, ...]:
    found = path.lstat()
    return (found.st_mode, found.st_mtime_ns, path.read_bytes() if path.is_file() else b"")


def _fill(place: Path) -> None:
    place.mkdir(exist_ok=True)
    (place / "secret.txt").write_text(f"{SECRET}\n")
    (place / "secret.ipynb").write_text(NOTEBOOK % SECRET)
    (place / f"name-{SECRET}.txt").write_text("x\n")


LINKS = (
    *(("relative", "../outside"), ("chain", "chain-2"), ("chain-2", "to-out"), ("to-parent", ".."), ("to-root", "/")),
    *(("to-proc", "/proc/self/root"), ("to-self", "/proc/self"), ("hidden", ".agentd"), ("to-pipe", "pipe")),
    *(("loop", "loop"), ("loop-one", "loop-two"), ("loop-two", "loop-one"), ("to-zero", "/dev/zero")),
    *(("to-tty", "/dev/tty"), ("to-environment", "/proc/self/environ")),
    *(("chain-to-secret.txt", "to-secret.txt"), ("chain-to-secret.ipynb", "to-secret.ipynb")),
)


def _links_to(outside: Path, state: Path) -> Iterator[tuple[str, str]]:
    for name in ("secret.txt", "secret.ipynb"):
        yield f"to-{name}", str(outside / name)
    yield from (("to-out", str(outside)), ("sub/to-out", str(outside)), ("to-state", str(state)))


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    base = tmp_path.resolve()
    workspace, outside, state = base / "workspace", base / "outside", base / "state"
    for place in (workspace, workspace / "sub"):
        place.mkdir()
    for place in (outside, state, workspace / ".agentd"):
        _fill(place)
    for name, target in (*LINKS, *_links_to(outside, state)):
        (workspace / name).symlink_to(target)
    os.mkfifo(workspace / "pipe")
    os.mkfifo(workspace / "sub/pipe")
    directory, file = os.open(outside, os.O_RDONLY), os.open(outside / "secret.txt", os.O_RDONLY)
    (workspace / "to-descriptor").symlink_to(f"/proc/self/fd/{directory}")
    monkeypatch.setenv("HOME", str(base))
    monkeypatch.chdir(base)
    names = {"ws": workspace, "out": outside, "state": state, "pid": os.getpid(), "dir": directory, "file": file}
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.bind(str(workspace / "socket"))
        yield Scene(workspace, outside, {key: str(value) for key, value in names.items()})
    os.close(directory)
    os.close(file)


def around(scene: Scene, *beside: Path) -> ToolContext:
    state = Path(scene.names["state"])
    here, no_output = ToolState(scene.workspace), (lambda _: None)
    off_limits = (state, scene.workspace / ".agentd")
    return ToolContext(scene.workspace, here, {}, off_limits, no_output, str, beside=beside)


def inputs(tool: str, path: str) -> list[dict[str, Any]]:
    """Calls of a tool about a path."""
    match tool:
        case "Write":
            return [{"file_path": path, "content": "attacked"}]
        case "Edit":
            new = {"file_path": path, "old_string": "", "new_string": "attacked"}
            return [{"file_path": path, "old_string": SECRET, "new_string": "attacked"}, new]
        case "MultiEdit":
            return [{"file_path": path, "edits": [{"old_string": SECRET, "new_string": "attacked"}]}]
        case "NotebookEdit":
            return [{"notebook_path": path, "cell_id": "1", "new_source": "attacked"}]
        case "NotebookRead":
            return [{"notebook_path": path}]
        case "Glob":
            return [{"pattern": "**/*", "path": path}]
        case "Grep":
            return [{"pattern": ".", "path": path, "output_mode": "content"}]
        case "LS":
            return [{"path": path}]
    return [{"file_path": path}]


async def told(tool: Tool, call_input: Mapping[str, Any], context: ToolContext) -> str:
    """All that the model is told, but for the path that it named itself."""
    with trio.fail_after(SECONDS):
        try:
            outcome = await tool.run(call_input, context)
        except (ToolFailed, OSError) as exc:  # an OSError is told as a failure, too
            return str(exc)
    parts = [part.data if isinstance(part, Image) else part.text for part in outcome.content]
    return "\n".join([*parts, outcome.summary])


@pytest.mark.parametrize("path", PATHS)
async def test_no_path_leads_out(scene: Scene, path: str) -> None:
    before = scene.picture()
    for name, tool in TOOLS.items():
        file = "secret.ipynb" if name.startswith("Notebook") else "secret.txt"
        templates = {path, path.removesuffix("/{f}")} if name in OF_DIRECTORIES else {path}
        for template, context in itertools.product(templates, (around(scene), around(scene, scene.workspace / "sub"))):
            for call_input in inputs(name, scene.path(template, file)):
                assert SECRET not in await told(tool, call_input, context), name
        assert scene.picture() == before, name


@pytest.mark.parametrize("glob", GLOBS)
@pytest.mark.parametrize("where", [None, ".", "sub"])
async def test_no_pattern_leads_out(scene: Scene, glob: str, where: str | None) -> None:
    pattern, at = scene.path(glob, "secret.txt"), {} if where is None else {"path": where}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("Glob", {"pattern": pattern, **at}),
        ("Grep", {"pattern": ".", "glob": pattern, "output_mode": "content", **at}),
        ("Grep", {"pattern": ".", "glob": pattern, **at}),
        ("LS", {"path": where or ".", "ignore": [pattern]}),
    ]
    for name, call_input in calls:
        said = await told(TOOLS[name], call_input, around(scene))
        assert SECRET not in said
        assert "secret.txt" not in said.replace(pattern, "").replace("to-secret.txt", "")


GIT_PATHS = (
    *(".git", ".git/config", ".git/hooks/post-commit", ".GIT/config", ".Git", "sub/.git", "sub/.git/config", "./.git"),
    *("sub/../.git", "{ws}/.git", "to-git", "to-git-directory/config", "sub/.git/hooks/x", "new/.git/config"),
)


@pytest.mark.parametrize("path", GIT_PATHS)
@pytest.mark.parametrize("name", ["Write", "Edit", "MultiEdit", "NotebookEdit"])
@pytest.mark.parametrize("is_worktree", [True, False])
async def test_gits_own_files_are_not_written(scene: Scene, name: str, path: str, is_worktree: bool) -> None:
    git = scene.workspace / ".git"
    if is_worktree:
        git.write_text(f"gitdir: {SECRET}\n")
    else:
        git.mkdir()
        (git / "config").write_text(SECRET)
    (scene.workspace / "to-git").symlink_to(".git" if is_worktree else ".git/config")
    (scene.workspace / "to-git-directory").symlink_to(".git")
    before = {each: _look(each) for each in sorted(scene.workspace.rglob(".git*"))}
    for call_input in inputs(name, scene.path(path, "")):
        await told(TOOLS[name], call_input, around(scene))
    assert {each: _look(each) for each in sorted(scene.workspace.rglob(".git*"))} == before
    assert not any((scene.workspace / each).exists() for each in ("sub/.git", "new/.git", ".GIT", ".Git"))


@pytest.mark.parametrize("name", ["Write", "Edit", "MultiEdit", "NotebookEdit"])
async def test_a_file_that_has_a_name_outside_is_not_changed_there(scene: Scene, name: str) -> None:
    file = "secret.ipynb" if name.startswith("Notebook") else "secret.txt"
    (scene.workspace / file).hardlink_to(scene.outside / file)
    before = (scene.outside / file).read_bytes()
    await told(TOOLS[name], inputs(name, file)[0], around(scene))
    assert b"attacked" in (scene.workspace / file).read_bytes()
    assert (scene.outside / file).read_bytes() == before


@pytest.mark.parametrize("name", ["Write", "Edit", "Read", "NotebookRead"])
async def test_what_is_beside_the_workspace_is_reached_and_nothing_beyond(scene: Scene, name: str) -> None:
    beside = scene.outside.parent / "beside"
    _fill(beside)
    (beside / "to-out").symlink_to(scene.outside)
    before, context = scene.picture(), around(scene, beside)
    file = "secret.ipynb" if name.startswith("Notebook") else "secret.txt"
    assert "outside the workspace" not in await told(TOOLS[name], inputs(name, f"{beside}/{file}")[0], context)
    for path in (f"{beside}/to-out/{file}", f"{beside}/../outside/{file}", f"{beside}-2/{file}", f"../besid/{file}"):
        assert "outside the workspace" in await told(TOOLS[name], inputs(name, path)[0], context)
    assert scene.picture() == before


@pytest.mark.parametrize("name", TOOLS)
async def test_agentds_own_state_is_not_reached_where_it_is_allowed(scene: Scene, name: str) -> None:
    state = Path(scene.names["state"])
    (state / "sessions").mkdir()
    _fill(state / "sessions")
    before, context = scene.picture(), around(scene, state, state / "sessions")
    file = "secret.ipynb" if name.startswith("Notebook") else "secret.txt"
    for path in (f"{state}/{file}", f"{state}/sessions/{file}", f"to-state/sessions/{file}", str(state / "sessions")):
        for call_input in inputs(name, path):
            assert SECRET not in await told(TOOLS[name], call_input, context)
    assert scene.picture() == before


# --- Races: names that change what they are while a tool is at work ------------------------------------------------


def swapping(scene: Scene, ends: threading.Event, kinds: tuple[str, str], name: str) -> Callable[[], None]:
    """*name* is one, then the other, over and over."""

    def swap() -> None:
        top = scene.workspace
        while not ends.is_set():
            for kind in kinds:
                with suppress(OSError):
                    (top / kind).rename(top / name)
                    (top / name).rename(top / kind)

    return swap


@pytest.mark.parametrize("what", ["directory", "file"])
@pytest.mark.parametrize("name", TOOLS)
async def test_a_name_that_is_swapped_for_a_link_leads_nowhere(scene: Scene, name: str, what: str) -> None:
    file = "secret.ipynb" if name.startswith("Notebook") else "secret.txt"
    (scene.workspace / "real").mkdir()
    (scene.workspace / "real" / file).write_text(NOTEBOOK % "harmless" if file.endswith("ipynb") else "harmless\n")
    (scene.workspace / "real.txt").write_text("harmless\n")
    (scene.workspace / "link").symlink_to(scene.outside)
    (scene.workspace / "link.txt").symlink_to(scene.outside / file)
    before, ends = scene.picture(), threading.Event()
    kinds, swapped = (("real", "link"), "swapped") if what == "directory" else (("real.txt", "link.txt"), "swapped.txt")
    thread = threading.Thread(target=swapping(scene, ends, kinds, swapped))
    thread.start()
    try:
        for turn in range(TURNS):
            at = swapped if name in OF_DIRECTORIES or what == "file" else f"{swapped}/{file}"
            if name in OF_DIRECTORIES and turn % 2:
                at = "."
            for call_input in inputs(name, at):
                assert SECRET not in await told(TOOLS[name], call_input, around(scene))
    finally:
        ends.set()
        thread.join()
    assert scene.picture() == before


# --- What is looked at beside the files themselves ----------------------------------------------------------------


@pytest.mark.parametrize(
    "made", [".git", ".gitignore", "sub/.git", ".git/commondir", ".git/info/exclude", "sub/.gitignore"]
)
@pytest.mark.parametrize("name", OF_DIRECTORIES)
async def test_a_pipe_in_the_place_of_gits_files_holds_nobody_up(scene: Scene, name: str, made: str) -> None:
    (scene.workspace / made).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(scene.workspace / made)
    for path in (".", "sub"):
        await told(TOOLS[name], inputs(name, path)[0], around(scene))
