"""Git on the files of a working tree with none of its repository's configuration: no filter program exists here.

The git directory is ours, the objects are the repository's. What is checked out is what was committed: a file whose
attributes ask for a filter (LFS, git-crypt) is there as the repository stores it, an LFS file as its pointer. A filter
is a program that a configuration names, and the daemon runs no program but git.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path

import attrs
import trio

from agentd.daemon.worktree_source import Source, common_directory
from agentd.errors import GitFailed
from agentd.workspace.git import TIMEOUT_SECONDS, git
from agentd.workspace.scratch import KEPT_SETTINGS, LINKED, OWN_SETTINGS, make_git_directory

CHECKOUT_SECONDS = 600.0  # a large repository on a slow disk; our own files, so that a step of the user's never waits
WORKERS = 8  # writing files waits for the disk more than for a core: 10 000 files took 1.5 s against 4.3 s
OURS = {
    "checkout.workers": str(WORKERS),
    "core.untrackedCache": "false",  # it would name the place where it was made
    "index.version": "2",
}


@attrs.frozen
class Recipe:
    """What, beside the commit, decides which files a checkout makes, and with which content."""

    common: Path  # the repository's git directory
    object_format: str
    paths: Mapping[str, Path]  # "objects" and LINKED, as make_git_directory() wants them
    settings: Mapping[str, str]
    texts: tuple[bytes, ...] = ()  # of the files that LINKED names: attributes and sparse patterns among them

    @property
    def objects(self) -> Path:
        return self.paths["objects"]

    @property
    def no_object(self) -> str:
        return "0" * (64 if self.object_format == "sha256" else 40)


@attrs.frozen
class PlainGit:
    """Git on *tree*, which may be nowhere yet, by *directory*. Made by open_plain()."""

    directory: Path
    tree: Path
    recipe: Recipe

    @property
    def index(self) -> Path:
        return self.directory / "index"

    async def git(
        self,
        *args: str,
        input: bytes = b"",  # noqa: A002
        index: Path | None = None,
        ok: Collection[int] = (0,),
        seconds: float = TIMEOUT_SECONDS,
        env: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        pass_fds: Collection[int] = (),
    ) -> bytes:
        """Raises GitFailed."""
        own = {
            "GIT_DIR": str(self.directory),
            "GIT_WORK_TREE": str(self.tree),
            "GIT_INDEX_FILE": str(index or self.index),
            "GIT_OBJECT_DIRECTORY": str(self.recipe.objects),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        return await git(
            self.tree,
            *args,
            input=input,
            env=own | dict(env or {}),
            settings=dict(self.recipe.settings) | dict(settings or {}),
            ok=ok,
            seconds=seconds,
            pass_fds=pass_fds,
        )

    def set_head(self, commit: str) -> None:
        """What git compares with here as HEAD. Raises OSError."""
        (self.directory / "HEAD").write_text(f"{commit}\n")


async def read_recipe(source: Source) -> Recipe:
    """As the user's git would check this source out, less the programs. Raises GitFailed."""
    common = await trio.to_thread.run_sync(common_directory, source.repo)
    if common is None:
        raise GitFailed(f"the repository {source.repo} is gone")
    names = ("objects", *LINKED)
    asked = [word for name in names for word in ("--git-path", name)]
    told = os.fsdecode(await git(source.top, "rev-parse", "--show-object-format", *asked)).split("\n")
    paths = {name: Path(source.top, path) for name, path in zip(names, told[1:], strict=False)}
    settings = await _settings(source.top)
    sparse = settings.get("core.sparsecheckout", "false").lower() in ("true", "yes", "on", "1")
    texts = await trio.to_thread.run_sync(_texts, [paths["info/attributes"], *[paths["info/sparse-checkout"]][:sparse]])
    return Recipe(common, told[0], paths, settings, texts)


def _texts(paths: list[Path]) -> tuple[bytes, ...]:
    return tuple(path.read_bytes() if path.is_file() else b"" for path in paths)


async def _settings(top: Path) -> dict[str, str]:
    found = await git(top, "config", "-z", "--get-regexp", f"^{KEPT_SETTINGS}$", ok=(0, 1))  # 1: there is none
    settings = OWN_SETTINGS | OURS
    for entry in os.fsdecode(found).split("\0")[:-1]:
        name, newline, value = entry.partition("\n")
        settings[name] = value if newline else "true"
    return settings


def open_plain(work: Path, recipe: Recipe, tree: Path | None = None) -> PlainGit:
    """A new git directory for *tree*, or for an empty one that is made beside it, below *work*. Raises OSError."""
    place = work / str(uuid.uuid4())
    make_git_directory(place / "git", recipe.object_format, recipe.paths)
    if tree is None:
        tree = place / "tree"
        tree.mkdir()
    return PlainGit(place / "git", tree, recipe)
