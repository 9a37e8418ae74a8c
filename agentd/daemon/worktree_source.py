"""What a request says a worktree is to be made of: a repository and a ref, looked at and found usable, or refused.

Nothing is written and no program of the repository runs. Refusals name the field and what to do. The rules: contract
manager.md §4 and §6.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import attrs
import trio

from agentd.errors import GitFailed, InvalidRequest
from agentd.workspace.git import git, run_git

NEAR_NAMES = 3  # that an unknown ref is answered with
FOREIGN = "detected dubious ownership"
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
OBJECT_NAME = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@attrs.frozen
class Source:
    """A commit of a repository. Made by check_source()."""

    repo: Path  # resolved: the top of its main working tree; where there is none, its bare or common git directory
    commit: str
    ref: str | None  # as it was asked for; None for HEAD
    at: Path | None = None  # where it was asked for, if that is a linked working tree: HEAD and sparseness are its own

    @property
    def top(self) -> Path:
        return self.at or self.repo


async def check_source(repo_path: str, ref: str | None) -> Source:
    """Raises InvalidRequest, with the field and the remedy."""
    ref = (ref or "").strip() or None
    if ref is not None and (ref.startswith("-") or CONTROL.search(ref)):
        raise _bad_ref('must be the name of a branch, a tag or a commit, and does not start with "-"')
    top = await trio.to_thread.run_sync(_directory, repo_path)
    try:
        common = await _common_directory(top)
        commit = await (_head(top) if ref is None else _resolve(top, ref))
    except GitFailed as exc:  # as where git is missing
        raise _bad_repo(str(exc)) from exc
    repo = await trio.to_thread.run_sync(_home, top, common)
    return Source(repo, commit, ref, None if repo == top else top)


def _bad_repo(what: str) -> InvalidRequest:
    return InvalidRequest([f"{what} @ $.repoPath"])


def _bad_ref(what: str) -> InvalidRequest:
    return InvalidRequest([f"{what} @ $.ref"])


# --- The repository -----------------------------------------------------------------------------------------------


def _directory(repo_path: str) -> Path:
    if CONTROL.search(repo_path):  # git keeps such paths in files of lines
        raise _bad_repo("must not contain control characters")
    if not repo_path.startswith("/"):
        raise _bad_repo("must be an absolute path")
    try:
        path = Path(repo_path).resolve(strict=True)
        if not path.is_dir():
            raise _bad_repo(f"{repo_path} is not a directory")
        os.scandir(path).close()
    except (OSError, RuntimeError, ValueError) as exc:  # RuntimeError: a loop of links; ValueError: a lone surrogate
        reason = exc.strerror if isinstance(exc, OSError) else "not a path"
        raise _bad_repo(f"{_printable(repo_path)} cannot be opened: {reason}") from exc
    return path


def _printable(text: str) -> str:
    return text.encode(errors="replace").decode()


async def _common_directory(top: Path) -> Path:
    """The git directory that all working trees of the repository share."""
    facts = ("--git-common-dir", "--is-bare-repository", "--is-inside-work-tree")
    done = await run_git(top, "rev-parse", *facts, "--show-toplevel")  # this last one fails where there is no tree
    told = os.fsdecode(done.stdout).split("\n")
    if len(told) <= len(facts):
        raise _bad_repo(_refusal(top, done.stderr))
    common, is_bare, is_inside = told[: len(facts)]
    directory = await trio.to_thread.run_sync(Path(top, common).resolve)
    if is_bare == "true" and directory == top:
        return directory
    if is_inside == "true":
        found = await trio.to_thread.run_sync(Path(told[len(facts)]).resolve)
        if found == top:
            return directory
        raise _bad_repo(f"{top} is a directory inside the git repository {found}: give that")
    raise _bad_repo(f"{top} is inside a git directory: give the top of the repository")


def _refusal(top: Path, said: str) -> str:
    if FOREIGN in said:
        return (
            f"{top} belongs to another user, so git does not trust it; if you do, run as the user of agentd: "
            f"git config --global --add safe.directory {top}"
        )
    if "not a git repository" in said:
        return f"{top} is not a git repository; `git init` and a first commit there make it one"
    return f"git cannot use {top}: {said}"


def _home(top: Path, common: Path) -> Path:
    """Where the repository lives when this linked working tree is gone; for any other *top* that itself."""
    if common == top or git_directory(top) == common:
        return top
    return home_of(common)


def home_of(common: Path) -> Path:
    """The main working tree, as far as the place of the git directory tells; else that itself."""
    return common.parent if common.name == ".git" else common


def git_directory(top: Path) -> Path | None:
    """The git directory of a working tree, or of a bare repository. None: there is none."""
    dot = top / ".git"
    try:
        if dot.is_file():
            return (top / dot.read_text().removeprefix("gitdir:").strip()).resolve()
        found = dot.resolve() if dot.is_dir() else top
        return found if (found / "HEAD").exists() or (found / "commondir").exists() else None
    except (OSError, ValueError):
        return None


def common_directory(repo: Path) -> Path | None:
    """The git directory that all working trees of *repo*, a Source's, share. None: the repository is gone."""
    found = git_directory(repo)
    if found is None:
        return None
    try:
        found = (found / (found / "commondir").read_text().strip()).resolve()
    except FileNotFoundError:
        pass  # the usual case: a directory that shares nothing
    except (OSError, ValueError):
        return None
    return found if (found / "objects").is_dir() else None


# --- The ref ------------------------------------------------------------------------------------------------------


async def _head(top: Path) -> str:
    [commit] = await commits_of(top, ["HEAD"])
    if commit is None:
        raise _bad_repo(f"{top} has no commit to start from: make one, or name a ref")
    return commit


async def _resolve(top: Path, ref: str) -> str:
    """A branch before a tag before whatever else git understands before a branch of a single remote."""
    for commit in await commits_of(top, [f"refs/heads/{ref}", f"refs/tags/{ref}", ref]):
        if commit:
            return commit
    remote = await _remote_branches(top, ref)
    if len(remote) > 1:
        raise _bad_ref(f'several remotes have a branch "{ref}"; name one: {", ".join(sorted(remote))}')
    for commit in await commits_of(top, [f"refs/remotes/{name}" for name in remote]):
        if commit:
            return commit
    near = await trio.to_thread.run_sync(_near, ref, await _names(top))
    hint = f"; near: {', '.join(near)}" if near else ""
    raise _bad_ref(f'no branch, tag or commit "{_printable(ref)}"{hint}')


async def commits_of(top: Path, names: Iterable[str]) -> list[str | None]:
    """For each revision the commit that it is, or leads to; None where there is none. Raises GitFailed."""
    asked = [name.encode(errors="surrogateescape") + b"^{commit}\n" for name in names]
    told = await git(top, "cat-file", "--batch-check=%(objectname)", input=b"".join(asked))
    found = (line.decode(errors="replace") for line in told.splitlines())
    return [name if OBJECT_NAME.fullmatch(name) else None for name in found]


async def _remote_branches(top: Path, ref: str) -> list[str]:
    if re.search(r"[*?\[\\]", ref):  # never in a name, and a pattern here
        return []
    told = await git(top, "for-each-ref", "--format=%(refname:lstrip=2)", f"refs/remotes/*/{ref}")
    suffix = f"/{ref}"  # a pattern also matches what is below it
    return [name for name in os.fsdecode(told).splitlines() if name.endswith(suffix)]


async def _names(top: Path) -> list[str]:
    told = await git(
        *(top, "for-each-ref", "--count=10000", "--sort=-creatordate", "--format=%(refname:lstrip=2)"),
        *("refs/heads", "refs/tags", "refs/remotes"),
    )
    return os.fsdecode(told).splitlines()


def _near(ref: str, names: Iterable[str]) -> list[str]:
    import difflib  # here: only mistakes need it

    return difflib.get_close_matches(ref, list(names), NEAR_NAMES)
