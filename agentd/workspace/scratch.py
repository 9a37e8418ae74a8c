"""A git directory of our own that shows the user's repository, so that nothing of the user's is written or executed.

Its objects are ours with the user's as alternates, its index is a copy, and its configuration is empty except for
what says how files become blobs. So a filter, textconv or hook that the repository (or the user, for other purposes)
configures does not exist here, whatever its attributes ask for: there is no list of dangerous settings to keep.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import attrs

from agentd.errors import GitFailed, NotARepository
from agentd.workspace.git import NOTHING, git, repository_root

# How the file system behaves, what is text, and what is ignored. Nothing here names a program.
KEPT_SETTINGS = (
    "core.(filemode|symlinks|ignorecase|precomposeunicode|trustctime|checkstat|autocrlf|eol|excludesfile|"
    "sparsecheckout|sparsecheckoutcone|bigfilethreshold)"
)
OWN_SETTINGS = {
    "core.safecrlf": "false",  # or it refuses files whose line ends would not survive
    "core.splitIndex": "false",  # the shared half would land in our directory
}
LINKED = ("info/exclude", "info/attributes", "info/sparse-checkout", "shallow")


@attrs.frozen
class Scratch:
    """Made by open_scratch()."""

    directory: Path  # our git directory
    top: Path  # of the user's working tree
    prefix: str  # of the workspace in it: "" or "some/where"
    index: Path  # the user's
    settings: Mapping[str, str]
    no_object: bytes  # the name of none: forty zeros, or sixty-four

    async def git(
        self,
        *args: str,
        input: bytes = b"",  # noqa: A002
        index: Path | None = None,
        ok: Collection[int] = (0,),
    ) -> bytes:
        """Run git here, on the user's files and our index, or *index*. Raises GitFailed."""
        env = {
            "GIT_DIR": str(self.directory),
            "GIT_WORK_TREE": str(self.top),
            "GIT_INDEX_FILE": str(index or self.directory / "index"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        return await git(self.top, *args, input=input, env=env, settings=self.settings, ok=ok)

    async def in_users_repository(
        self,
        *args: str,
        input: bytes = b"",  # noqa: A002
        env: Mapping[str, str] = NOTHING,
        settings: Mapping[str, str] = NOTHING,
        ok: Collection[int] = (0,),
    ) -> bytes:
        """Run git on the user's own repository. For commands that look at no file of the working tree."""
        return await git(self.top, *args, input=input, env=env, settings=settings, ok=ok)

    def unlock(self) -> None:
        """Remove the locks of a git that was killed. For whoever works alone here."""
        for lock in self.directory.glob("*.lock"):
            lock.unlink(missing_ok=True)

    def copy_index(self, to: Path) -> None:
        """A copy of the user's index, with its time: git trusts no entry that is as young as the index itself."""
        half = to.with_name(f"{to.name}.half")  # a crash must not leave half an index where one is expected
        try:
            shutil.copy2(self.index, half)
            half.replace(to)
        except FileNotFoundError:  # nothing was ever added
            to.unlink(missing_ok=True)
        for shared in self.index.parent.glob("sharedindex.*"):
            _link(self.directory / shared.name, shared)


async def open_scratch(workspace: Path, directory: Path) -> Scratch:
    """Make or bring up to date the git directory *directory*. Raises NotARepository, GitFailed."""
    top = await repository_root(workspace)
    if top is None or not workspace.is_relative_to(top):
        raise NotARepository(str(workspace))
    names = ("objects", "index", *LINKED)
    asked = [word for name in names for word in ("--git-path", name)]
    told = os.fsdecode(await git(top, "rev-parse", "--show-object-format", *asked)).split("\n")[:-1]
    paths = {name: Path(top, path) for name, path in zip(names, told[1:], strict=True)}
    no_object = b"0" * (64 if told[0] == "sha256" else 40)
    prefix = workspace.relative_to(top).as_posix()
    settings = await _settings(top)
    scratch = Scratch(directory, top, "" if prefix == "." else prefix, paths["index"], settings, no_object)
    try:
        make_git_directory(directory, told[0], paths)
        if not (directory / "index").exists():  # else it is an earlier snapshot's, and knows the untracked files too
            scratch.copy_index(directory / "index")
    except OSError as exc:
        raise GitFailed(f"{directory} could not be prepared: {exc.strerror}") from exc
    return scratch


def make_git_directory(directory: Path, object_format: str, paths: Mapping[str, Path]) -> None:
    """*paths*: the user's "objects" and what is LINKED, as `git rev-parse --git-path` tells. Raises OSError."""
    for name in ("refs", "objects/info", "info"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    for lock in directory.glob("*.lock"):
        lock.unlink()  # of a git that was killed: nobody else works here
    (directory / "HEAD").write_text("ref: refs/heads/none\n")
    version = "0" if object_format == "sha1" else f"1\n[extensions]\n\tobjectFormat = {object_format}"
    (directory / "config").write_text(f"[core]\n\tbare = false\n\trepositoryFormatVersion = {version}\n")
    (directory / "objects/info/alternates").write_bytes(os.fsencode(paths["objects"]) + b"\n")
    for name in LINKED:
        _link(directory / name, paths[name])


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


async def _settings(top: Path) -> dict[str, str]:
    found = await git(top, "config", "-z", "--get-regexp", f"^{KEPT_SETTINGS}$", ok=(0, 1))  # 1: there is none
    settings = dict(OWN_SETTINGS)
    for entry in os.fsdecode(found).split("\0")[:-1]:
        name, newline, value = entry.partition("\n")
        settings[name] = value if newline else "true"
    return settings
