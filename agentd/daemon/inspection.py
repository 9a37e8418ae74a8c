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
from typing import Any

import attrs
import trio

from agentd.daemon.plaingit import CHECKOUT_SECONDS, PlainGit, Recipe, open_plain, read_recipe
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
# What the index has, and what it does not; both at once, since somebody waits. With a NUL before the first entry:
ENTRIES = ("ls-files", "-z", "-v", "-s", "--cached", "--others", "--exclude-standard")
UNTRACKED = re.compile(rb"\0\? ([^\0]+)")
ASSUMED = re.compile(rb"\0[a-z] [^\t]*\t([^\0]+)")  # somebody told git not to look whether these have changed
SUBMODULE = re.compile(rb"\0[A-Za-z] 160000 [^\t]*\t([^\0]+)")
DAMAGED = re.compile(
    r"\bindex (file|uses|entry|version)|in the index|bad signature|unordered stage"
)  # git's read-cache.c
VISIBLE = {"core.sparseCheckout": "true"}  # then git looks at a file that is there in spite of its skip-worktree bit

logger = logging.getLogger(__name__)


@attrs.frozen
class Administration:
    """The files of the git directory that is a worktree's own."""

    directory: Path
    head: str | None  # a ref or an object, as its HEAD says
    guess: str  # the commit that this is, unless it is kept where only git finds it
    seen: frozenset[str]  # whatever looks like the name of a commit
    index: Path | None
    elsewhere: bool  # somebody moved the worktree, and its files are there


@attrs.frozen
class Commits:
    head: str | None
    tip: str | None  # of the session's branch
    earlier: str | None  # what was rescued before, by a removal that did not come to its end
    lost: tuple[str, ...]  # tips of what no ref has
    branch_needed: bool  # it has commits that no other ref has


@attrs.frozen
class Content:
    plain: PlainGit | None = None  # with a copy of the index, or one that was made from the commit
    there: bool = False  # whether there are files at all; without any, only what is staged counts
    dirty: bool = False
    nested: bool = False  # another repository is in it, whose history no commit of this one can hold


@attrs.frozen
class Inspection:
    """Of one worktree. Made by inspect()."""

    worktree: Worktree
    common: Path
    commits: Commits
    content: Content
    elsewhere: bool


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
    at = HASH.fullmatch(_read(common / (target or "")).strip())
    guess = at[0] if at else worktree.commit
    has_index = index.is_file()
    return Administration(directory, target, guess, seen, index if has_index else None, _moved(directory, worktree))


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
    if tree.is_symlink():  # an agent may have put it there; what it leads to is none of its worktree
        return False
    try:
        with os.scandir(tree) as entries:
            return any(entry.name != ".git" for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False


async def inspect(
    worktree: Worktree, session_id: str, work: Path, *, recipe: Recipe | None = None, content: bool = True
) -> Inspection | None:
    """*work*: where a git directory for this is made. *recipe*: of its checkout, if that is known. *content*: whether
    the files, and what is staged, are looked at.

    None: the repository is gone. Raises GitFailed, OSError: what is there cannot be told."""
    common = await trio.to_thread.run_sync(common_directory, worktree.repo)
    if common is None:
        return None
    own = await trio.to_thread.run_sync(administration, common, worktree)
    if content and not own.elsewhere:
        # Together, since somebody waits: the commit that the files are compared with is a guess until git has answered.
        files, commits = await both(
            partial(_content, worktree, own, own.guess, work, recipe), partial(_commits, worktree, own, session_id)
        )
        if commits.head != own.guess:
            files = await _content(worktree, own, commits.head, work, recipe)
    else:
        files, commits = Content(), await _commits(worktree, own, session_id)
    return Inspection(worktree, common, commits, files, own.elsewhere)


# --- Commits ------------------------------------------------------------------------------------------------------


async def _commits(worktree: Worktree, own: Administration, session_id: str) -> Commits:
    asked = [own.head or "", f"refs/heads/{worktree.branch}", RESCUED + session_id, worktree.commit]
    head, tip, earlier, began = await commits_of(worktree.repo, [name or "0" for name in asked])
    if began is None and tip is None:
        raise GitFailed(f"{worktree.repo} does not have the commits of {worktree.path}: it is another repository")
    if own.head is None:  # it was unregistered already
        head = tip or began
    seen = {name for name in (head, *own.seen) if name}
    lost, branch_needed = await _lost(worktree, began, tip, earlier, RESCUED + session_id, seen)
    return Commits(head, tip, earlier, lost, branch_needed)


async def _lost(
    worktree: Worktree, began: str | None, tip: str | None, earlier: str | None, rescued: str, seen: set[str]
) -> tuple[tuple[str, ...], bool]:
    """The tips of the commits that no ref has, and whether the session's branch is needed.

    It is where it has commits that nothing has but what was rescued in its name (*earlier*, under *rescued*): a removal
    that is done again comes to the same end."""
    candidates = seen | {tip} if tip else seen
    candidates -= {began} if began else set()
    if not candidates:
        return (), False
    asked = [*sorted(candidates), *([earlier] if earlier else []), *([f"^{began}"] if began else [])]
    told = await git(
        *(worktree.repo, "rev-list", "--parents", "--ignore-missing", f"--max-count={COMMITS}", "--stdin", "--not"),
        *(f"--exclude=refs/heads/{worktree.branch}", f"--exclude={rescued}", "--glob=refs/*"),
        input="".join(f"{line}\n" for line in asked).encode(),
    )
    lines = (line.split() for line in told.decode().splitlines())
    parents = {name: above for name, *above in lines}
    on_branch = set(_ancestors(tip, parents)) if tip else set()
    stored = set(_ancestors(earlier, parents)) if earlier else set()
    orphans = {name: above for name, above in parents.items() if name not in on_branch and name not in stored}
    inner = {name for above in orphans.values() for name in above}
    return tuple(sorted(orphans.keys() - inner)), bool(on_branch)


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


async def _content(
    worktree: Worktree, own: Administration, head: str | None, work: Path, recipe: Recipe | None
) -> Content:
    recipe = recipe or await read_recipe(Source(worktree.repo, worktree.commit, None))
    there = await trio.to_thread.run_sync(has_files, worktree.path)
    plain = await trio.to_thread.run_sync(_open, work, recipe, worktree.path if there else None, own.index, head)
    look = _files if there else _staged
    if own.index is not None:
        try:
            return await look(plain, head)
        except GitFailed as exc:
            if not DAMAGED.search(str(exc)):
                raise
            logger.warning("the index of %s cannot be read: %s", worktree.path, exc)
            await trio.to_thread.run_sync(plain.index.unlink)
    if head:
        await plain.git("read-tree", head)
    return await look(plain, head)


def _open(work: Path, recipe: Recipe, tree: Path | None, index: Path | None, head: str | None) -> PlainGit:
    plain = open_plain(work, recipe, tree)
    if head:
        plain.set_head(head)
    if index is not None:
        import shutil  # here: it loads three compressors

        shutil.copy2(index, plain.index)  # with its time: git trusts no entry that is as young as the index itself
        for shared in index.parent.glob("sharedindex.*"):
            (plain.directory / shared.name).symlink_to(shared)
    return plain


async def _staged(plain: PlainGit, head: str | None) -> Content:
    if head is None:
        return Content(plain, dirty=bool(await plain.git("ls-files", "-z")))
    changed = await plain.git("diff-index", "-z", "--cached", "--name-only", "--ignore-submodules=dirty", head)
    return Content(plain, dirty=bool(changed))


async def _files(plain: PlainGit, head: str | None) -> Content:
    # Apart, `status` takes half the time. ignore-submodules: in one, git would run with its own configuration.
    status, entries = await both(
        partial(_look, plain, "status", "--porcelain", "-z", "-uno", "--no-renames", "--ignore-submodules=dirty"),
        partial(_look, plain, *ENTRIES),
    )
    entries = b"\0" + entries
    untracked = UNTRACKED.findall(entries)
    dirty = bool(status) or bool(untracked) or bool(ASSUMED.search(entries))
    submodules = [plain.tree / os.fsdecode(path) / ".git" for path in SUBMODULE.findall(entries)]
    nested = any(path.endswith(b"/") for path in untracked) or any(map(os.path.lexists, submodules))
    return Content(plain, there=True, dirty=dirty, nested=nested)


async def _look(plain: PlainGit, *args: str) -> bytes:
    return await plain.git(*args, settings=VISIBLE, seconds=CHECKOUT_SECONDS)


async def both(*looks: Callable[[], Awaitable[Any]]) -> list[Any]:
    """What they return, all done at the same time. Raises what the first of them that fails does."""
    answers: list[Any] = [None] * len(looks)

    async def ask(number: int) -> None:
        answers[number] = await looks[number]()

    try:
        async with trio.open_nursery() as nursery:
            for number in range(len(looks)):
                nursery.start_soon(ask, number)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return answers
