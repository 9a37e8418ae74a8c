"""Storing what only a worktree has as a commit under refs/agentd/rescued/, before the worktree is removed.

The commit's tree is the files as they are, untracked ones included, ignored ones not. Its parents are the commit that
was checked out, then what was staged where that is neither, then commits that no ref has. With nothing to store but
one commit, the ref names that.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

import attrs
import trio

from agentd.daemon.inspection import ASSUMED, ENTRIES, UNTRACKED, VISIBLE, Inspection
from agentd.daemon.plaingit import CHECKOUT_SECONDS, PlainGit
from agentd.daemon.worktree_files import update_ref
from agentd.daemon.worktree_records import RESCUED
from agentd.daemon.worktree_source import commits_of
from agentd.errors import GitFailed
from agentd.workspace.commit import NOBODY
from agentd.workspace.git import git


async def store(found: Inspection, session_id: str, lock: int) -> str | None:
    """The ref under which everything is that would be lost; None when nothing would. Doing it again changes nothing.

    *lock*: a descriptor for git to hold. Raises GitFailed: nothing may be removed then."""
    name = RESCUED + session_id
    earlier = found.commits.earlier
    commit = await _commit(found, session_id)
    if commit is None or commit == earlier:
        return name if earlier else None
    with trio.CancelScope(shield=True):  # a git that is killed would leave its lock in the user's repository
        words = (name, commit, earlier or "0" * len(commit))
        try:
            await update_ref(found.common, found.worktree.repo, name, *words, lock=lock)
        except GitFailed:
            if await commits_of(found.worktree.repo, [name]) != [commit]:  # else it was done before git was killed
                raise
    return name


async def _commit(found: Inspection, session_id: str) -> str | None:
    """None: there is nothing to store, or it is stored already."""
    commits, plain = found.commits, found.content.plain
    files = await _files(plain, commits.head, found.content.there) if plain and found.content.dirty else None
    if plain is None or files is None:
        return await _commit_of_lost(found, session_id)
    above = [*commits.lost, *([commits.earlier] if commits.earlier else [])]
    if above == [commits.earlier] and files.tree == await _tree_of(plain, commits.earlier):
        return commits.earlier
    parents = [commits.head] if commits.head else []
    if files.staged:
        parents.append(await _commit_tree(plain, files.staged, parents, f"Staged in session {session_id}"))
    text = f"Rescued from session {session_id}\n\nThe files of {found.worktree.path}, on {found.worktree.branch}"
    return await _commit_tree(plain, files.tree, [*parents, *above], text)


async def _commit_of_lost(found: Inspection, session_id: str) -> str | None:
    lost, earlier = found.commits.lost, found.commits.earlier
    if len(lost) <= 1 and not (lost and earlier):
        return lost[0] if lost else None
    above = [*lost, *([earlier] if earlier else [])]
    text = f"Commits that no ref had at the end of session {session_id}\n".encode()
    words = ("commit-tree", "--no-gpg-sign", *_parents(above), f"{above[0]}^{{tree}}")
    return (await git(found.worktree.repo, *words, input=text, env=NOBODY)).decode().strip()


def _parents(commits: Sequence[str]) -> list[str]:
    return [word for commit in dict.fromkeys(commits) for word in ("-p", commit)]


async def _commit_tree(plain: PlainGit, tree: str, parents: Sequence[str], text: str) -> str:
    message = os.fsencode(text + "\n")
    return (await plain.git("commit-tree", *_parents(parents), tree, input=message, env=NOBODY)).decode().strip()


async def _tree_of(plain: PlainGit, commit: str | None) -> str:
    words = ("rev-parse", "--verify", f"{commit}^{{tree}}") if commit else ("mktree",)
    return (await plain.git(*words)).decode().strip()


async def _write_tree(plain: PlainGit) -> str | None:
    """None: there are conflicts in the index. What they are of is in the commits that clash, and in the files."""
    return (await plain.git("write-tree", "--missing-ok", ok=(0, 128))).decode().strip() or None


@attrs.frozen
class Files:
    """As trees."""

    tree: str
    staged: str | None  # the index, where it is neither what was checked out nor what the files are


async def _files(plain: PlainGit, head: str | None, there: bool) -> Files | None:
    """None: only times had changed."""
    before = await _tree_of(plain, head)
    staged = await _write_tree(plain)
    tree = await _tree_of_files(plain) if there else staged
    if tree is None:  # nothing but conflicts
        return None
    apart = staged if staged not in (before, tree) else None
    return Files(tree, apart) if apart or tree != before else None


async def _tree_of_files(plain: PlainGit) -> str:
    look = partial(plain.git, settings=VISIBLE, seconds=CHECKOUT_SECONDS)
    entries = b"\0" + await look(*ENTRIES)
    if assumed := ASSUMED.findall(entries):
        await look("update-index", "-z", "--no-assume-unchanged", "--stdin", input=_joined(assumed))
    changed = await look("diff-files", "-z", "--name-only", "--ignore-submodules=dirty")
    words = ("update-index", "-z", "--add", "--remove", "--replace", "--stdin")
    await look(*words, input=changed + _joined(UNTRACKED.findall(entries)))
    return (await look("write-tree", "--missing-ok")).decode().strip()


def _joined(paths: Sequence[bytes]) -> bytes:
    return b"".join(path + b"\0" for path in paths)
