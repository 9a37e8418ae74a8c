"""What a worktree holds that nothing else has: edits, staged content, commits. Nothing is written where the user is.

The repository is asked only about its objects and refs; the files are looked at by plaingit.py. What the files of a
worktree say about themselves (.git, HEAD, logs) was in an agent's reach, so it is text: only names that git then finds
to be commits count.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import attrs
import trio

from agentd.daemon.plaingit import CHECKOUT_SECONDS, PlainGit, open_plain, read_recipe
from agentd.daemon.worktree_records import RESCUED, Worktree
from agentd.daemon.worktree_source import Source, commits_of, common_directory
from agentd.errors import GitFailed
from agentd.workspace.git import git

# Beside HEAD, where a worktree's own git directory names commits: of a merge or rebase under way, of days gone by.
NAMING = (
    *("ORIG_HEAD", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "BISECT_HEAD"),
    *("logs/HEAD", "rebase-merge/autostash", "rebase-apply/autostash", "MERGE_AUTOSTASH"),
)
NAMING_BYTES = 16 << 20  # read of each
COMMITS = 100_000  # that a session may have made
HASH = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{40})\b")
REFERENCE = re.compile(r"ref: (refs/[^\x00-\x20\x7f]+)\n?")
ASSUMED = re.compile(rb"(?:^|\0)[a-z] [^\t]*\t([^\0]+)")  # of `ls-files -v`: somebody said not to look at these
SUBMODULE = re.compile(rb"(?:^|\0)\S 160000 [^\t]*\t([^\0]+)")
VISIBLE = {"core.sparseCheckout": "true"}  # then git looks at a file that is there in spite of its skip-worktree bit

logger = logging.getLogger(__name__)


@attrs.frozen
class Administration:
    """The files of the git directory that is a worktree's own."""

    directory: Path
    head: str | None  # a ref or an object, as its HEAD says
    seen: frozenset[str]  # whatever looks like the name of a commit
    index: Path | None
    elsewhere: bool  # somebody moved the worktree, and its files are there


@attrs.frozen
class Inspection:
    """Of one worktree. Made by inspect()."""

    worktree: Worktree
    common: Path
    head: str | None
    tip: str | None  # of the session's branch
    earlier: str | None  # what was rescued before, by a removal that did not come to its end
    dirty: bool
    nested: bool  # another repository is in it, whose history no commit of this one can hold
    lost: tuple[str, ...]  # tips of what no ref has
    branch_needed: bool  # it has commits that no other ref has
    elsewhere: bool
    plain: PlainGit | None  # the files, with an index that knows them; None where there are none
    staged: PlainGit | None  # an index without files


def administration(common: Path, worktree: Worktree) -> Administration:
    """Raises OSError other than that something is not there."""
    directory = common / "worktrees" / worktree.id
    head = _read(directory / "HEAD")
    reference = REFERENCE.fullmatch(head)
    target = reference[1] if reference else (HASH.fullmatch(head.strip()) or [None])[0]
    texts = [_read(directory / name) for name in NAMING]
    own_refs = (_read(path) for path in sorted((directory / "refs").rglob("*")) if path.is_file())
    seen = frozenset(name for text in (*texts, *own_refs) for name in HASH.findall(text) if name.strip("0"))
    index = directory / "index"
    return Administration(directory, target, seen, index if index.is_file() else None, _moved(directory, worktree))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(NAMING_BYTES).decode("ascii", errors="replace")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""


def _moved(directory: Path, worktree: Worktree) -> bool:
    try:
        dot = Path(os.fsdecode((directory / "gitdir").read_bytes().strip()))
        return dot != worktree.path / ".git" and dot.parent != worktree.path and dot.is_file()
    except (OSError, ValueError):
        return False


def has_files(tree: Path) -> bool:
    """Whether anything but git's own link is there. Raises OSError other than that there is nothing."""
    try:
        with os.scandir(tree) as entries:
            return any(entry.name != ".git" for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False


async def inspect(worktree: Worktree, session_id: str, work: Path, *, content: bool = True) -> Inspection | None:
    """*work*: where a git directory for this is made. *content*: whether the files and what is staged are looked at.

    None: the repository is gone. Raises GitFailed, OSError: what is there cannot be told."""
    common = await trio.to_thread.run_sync(common_directory, worktree.repo)
    if common is None:
        return None
    own = await trio.to_thread.run_sync(administration, common, worktree)
    asked = [own.head or "", f"refs/heads/{worktree.branch}", RESCUED + session_id, worktree.commit]
    head, tip, earlier, began = await commits_of(worktree.repo, [name or "0" for name in asked])
    if began is None and tip is None:
        raise GitFailed(f"{worktree.repo} does not have the commits of {worktree.path}: it is another repository")
    if own.head is None:  # it was unregistered already
        head = tip or began
    lost, branch_needed = await _lost(worktree, began, tip, {name for name in (head, *own.seen) if name})
    found = await _content(worktree, own, head, work) if content and not own.elsewhere else Content()
    return Inspection(
        worktree=worktree,
        common=common,
        head=head,
        tip=tip,
        earlier=earlier,
        dirty=found.dirty,
        nested=found.nested,
        lost=lost,
        branch_needed=branch_needed,
        elsewhere=own.elsewhere,
        plain=found.plain,
        staged=found.staged,
    )


# --- Commits ------------------------------------------------------------------------------------------------------


async def _lost(worktree: Worktree, began: str | None, tip: str | None, seen: set[str]) -> tuple[tuple[str, ...], bool]:
    """The tips of the commits that no ref has, and whether the session's branch is what keeps others."""
    candidates = seen | {tip} if tip else seen
    candidates -= {began} if began else set()
    if not candidates:
        return (), False
    asked = "".join(f"{name}\n" for name in sorted(candidates)) + (f"^{began}\n" if began else "")
    told = await git(
        *(worktree.repo, "rev-list", "--parents", "--ignore-missing", f"--max-count={COMMITS}", "--stdin"),
        *("--not", f"--exclude=refs/heads/{worktree.branch}", "--glob=refs/*"),
        input=asked.encode(),
    )
    lines = (line.split() for line in told.decode().splitlines())
    parents = {name: above for name, *above in lines}
    kept = set(_ancestors(tip, parents)) if tip else set()
    orphans = {name: above for name, above in parents.items() if name not in kept}
    inner = {name for above in orphans.values() for name in above}
    return tuple(sorted(orphans.keys() - inner)), bool(kept)


def _ancestors(tip: str, parents: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Those that are among *parents*, *tip* with them."""
    waiting, seen = [tip], {tip}
    while waiting:
        name = waiting.pop()
        if name in parents:
            yield name
            new = [above for above in parents[name] if above not in seen]
            seen.update(new)
            waiting += new


# --- Files --------------------------------------------------------------------------------------------------------


@attrs.frozen
class Content:
    plain: PlainGit | None = None
    staged: PlainGit | None = None
    dirty: bool = False
    nested: bool = False


async def _content(worktree: Worktree, own: Administration, head: str | None, work: Path) -> Content:
    recipe = await read_recipe(Source(worktree.repo, worktree.commit, None))
    there = await trio.to_thread.run_sync(has_files, worktree.path)
    plain = await trio.to_thread.run_sync(open_plain, work, recipe, worktree.path if there else None)
    if head:
        plain.set_head(head)
    look = _files if there else _staged
    if own.index is not None:
        try:
            await trio.to_thread.run_sync(_copy_index, own.index, plain)
            return await look(plain, head)
        except GitFailed as exc:
            logger.warning("the index of %s cannot be read: %s", worktree.path, exc)
            plain.index.unlink()
    if head:
        await plain.git("read-tree", head)
    return await look(plain, head)


def _copy_index(index: Path, plain: PlainGit) -> None:
    """With its time: git trusts no entry that is as young as the index itself."""
    import shutil  # here: it loads three compressors

    shutil.copy2(index, plain.index)
    for shared in index.parent.glob("sharedindex.*"):
        (plain.directory / shared.name).symlink_to(shared)


async def _staged(plain: PlainGit, head: str | None) -> Content:
    if head is None:
        return Content(staged=plain, dirty=bool(await plain.git("ls-files", "-z")))
    changed = await plain.git("diff-index", "-z", "--cached", "--name-only", "--ignore-submodules=dirty", head)
    return Content(staged=plain, dirty=bool(changed))


async def _files(plain: PlainGit, head: str | None) -> Content:
    # ignore-submodules: looking whether one is dirty would run git in it, with its own configuration.
    status, index = await _both(
        partial(_look, plain, "status", "--porcelain", "-z", "--no-renames", "--ignore-submodules=dirty"),
        partial(_look, plain, "ls-files", "-v", "-s", "-z"),
    )
    dirty = bool(status) or bool(ASSUMED.search(index))
    return Content(plain, None, dirty, await _has_repositories(plain, dirty, SUBMODULE.findall(index)))


async def _look(plain: PlainGit, *args: str) -> bytes:
    return await plain.git(*args, settings=VISIBLE, seconds=CHECKOUT_SECONDS)


async def _both(*looks: Callable[[], Awaitable[bytes]]) -> list[bytes]:
    """At the same time: each waits for the file system. Raises what the first of them that fails does."""
    answers = [b""] * len(looks)

    async def ask(number: int) -> None:
        answers[number] = await looks[number]()

    try:
        async with trio.open_nursery() as nursery:
            for number in range(len(looks)):
                nursery.start_soon(ask, number)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return answers


async def _has_repositories(plain: PlainGit, dirty: bool, submodules: Iterable[bytes]) -> bool:
    links = [plain.tree / os.fsdecode(path) / ".git" for path in submodules]
    if any(link.is_symlink() or link.exists() for link in links):  # noqa: ASYNC240  # a few looks at a local directory
        return True
    if not dirty:
        return False
    untracked = await _look(plain, "ls-files", "-z", "--others", "--exclude-standard")
    return any(path.endswith(b"/") for path in untracked.split(b"\0"))
