"""Commits, searched and told. git reads them in a directory of ours that shows the user's objects (as scratch.py does):
no configuration of the repository exists there, so nothing that it could name is run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs

from agentd.errors import GitFailed, NotARepository
from agentd.workspace.git import git, repository_root, run_git
from agentd.workspace.scratch import LINKED, make_git_directory

# A commit begins with an empty word; no status and no path is one, and no text has a NUL in it.
_FORMAT = "%x00%h%x00%ad%x00%an%x00%s%x00%b"
_FIELDS = 5
_ALWAYS = (
    *("-z", f"--format=tformat:{_FORMAT}", "--date=short", "--name-status", "-M"),
    *("--no-ext-diff", "--no-textconv", "--no-show-signature", "--no-notes", "--no-color", "--fixed-strings"),
)


@attrs.frozen
class Change:
    status: str  # A added, C copied, D deleted, M modified, R renamed, T became something else
    path: str  # from the repository's top; the new one of a file that was renamed


@attrs.frozen
class Commit:
    sha: str  # abbreviated
    date: str  # of the author: 2025-12-31
    author: str
    subject: str
    body: str
    files: tuple[Change, ...]  # none of a merge


@attrs.frozen
class Asked:
    """Which commits are wanted: those to which all of this applies."""

    path: Path | None = None  # changed; absolute, in the repository, and it need not exist any more
    message: str = ""  # is in it, in whatever case
    changed: str = ""  # some file has more or less of this text than before
    author: str = ""  # whose name or address has this in it, in whatever case
    since: str = ""  # as git reads dates: 2025-12-31, "2 weeks ago"
    until: str = ""


async def commits(workspace: Path, asked: Asked, limit: int, skip: int = 0) -> list[Commit]:
    """The newest first. Of a workspace that is a directory in a repository: those that changed something there. Raises
    NotARepository; GitFailed, also if it takes too long."""
    top = await repository_root(workspace)
    if top is None or not workspace.is_relative_to(top):
        raise NotARepository(str(workspace))
    head = await run_git(top, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if head.code:
        return []  # nothing was ever committed
    names = ("objects", *LINKED)
    asking = [word for name in names for word in ("--git-path", name)]
    told = os.fsdecode(await git(top, "rev-parse", "--show-object-format", *asking)).split("\n")
    path = (asked.path or workspace).relative_to(top).as_posix()
    options = [*_ALWAYS, *_options(asked), f"--max-count={limit}", f"--skip={skip}"]
    below = ["--", path] if path != "." else ["--"]
    with tempfile.TemporaryDirectory(prefix="agentd-log-") as directory:
        try:
            make_git_directory(
                Path(directory), told[0], dict(zip(names, (top / one for one in told[1:]), strict=False))
            )
        except OSError as exc:
            raise GitFailed(f"the history could not be opened: {exc.strerror}") from exc
        env = {"GIT_DIR": directory, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        output = await git(top, "log", *options, head.stdout.decode().strip(), *below, env=env)
    return list(_parse(output.decode("utf-8", "replace").split("\0")))


def _options(asked: Asked) -> Iterator[str]:
    """Each with its value in one word: whatever that is, it is no option."""
    if asked.path is not None and not asked.path.is_dir():
        yield "--follow"
    if asked.message or asked.author:
        yield "--regexp-ignore-case"
    if asked.message:
        yield f"--grep={asked.message}"
    if asked.author:
        yield f"--author={asked.author}"
    if asked.changed:
        yield f"-S{asked.changed}"
    if asked.since:
        yield f"--since={asked.since}"
    if asked.until:
        yield f"--until={asked.until}"


def _parse(words: list[str]) -> Iterator[Commit]:
    at = 0
    while at + _FIELDS < len(words):
        sha, date, author, subject, body = words[at + 1 : at + 1 + _FIELDS]
        at += 1 + _FIELDS
        files = []
        while at < len(words) and (status := words[at].lstrip("\n")):
            at += 3 if status[0] in "CR" else 2
            files.append(Change(status[0], words[at - 1]))
        yield Commit(sha, date, author, subject, body.strip(), tuple(files))
