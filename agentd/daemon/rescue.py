"""Storing what only a worktree has as a commit under refs/agentd/rescued/, before the worktree is removed.

The commit's tree is the files as they are, untracked ones included, ignored ones not. Its parents are the commit that
was checked out, then what was staged where that is neither, then commits that no ref has. With nothing to store but
one commit, the ref names that.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

import trio

from agentd.daemon.inspection import ASSUMED, VISIBLE, Inspection
from agentd.daemon.plaingit import CHECKOUT_SECONDS, PlainGit
from agentd.daemon.worktree_records import RESCUED
from agentd.workspace.commit import NOBODY
from agentd.workspace.git import git


async def store(found: Inspection, session_id: str, lock: int) -> str | None:
    """The ref under which everything is that would be lost; None when nothing would. Doing it again changes nothing.

    *lock*: a descriptor for git to hold. Raises GitFailed: nothing may be removed then."""
    name = RESCUED + session_id
    commit = await _commit(found, session_id)
    if commit is None or commit == found.earlier:
        return name if found.earlier else None
    await trio.to_thread.run_sync(partial((found.common / f"{name}.lock").unlink, missing_ok=True))  # left by a kill
    with trio.CancelScope(shield=True):  # a git that is killed would leave its lock in the user's repository
        old = found.earlier or "0" * len(commit)
        await git(found.worktree.repo, "update-ref", name, commit, old, pass_fds=(lock,))
    return name


async def _commit(found: Inspection, session_id: str) -> str | None:
    plain = found.plain or found.staged
    if plain is None or not found.dirty:
        return await _commit_of_lost(found, session_id)
    head_tree = await _tree_of(plain, found.head)
    staged = await _write_tree(plain)
    tree = await _tree_of_files(plain) if found.plain else staged
    staged_apart = staged is not None and staged not in (head_tree, tree)
    if tree is None or (tree == head_tree and not staged_apart):  # only times had changed
        return await _commit_of_lost(found, session_id)
    if found.earlier and not found.lost and tree == await _tree_of(plain, found.earlier):
        return found.earlier
    parents = [found.head] if found.head else []
    if staged_apart and staged:
        parents.append(await _commit_tree(plain, staged, parents, f"Staged in session {session_id}"))
    text = f"Rescued from session {session_id}\n\nThe files of {found.worktree.path}, on {found.worktree.branch}"
    return await _commit_tree(plain, tree, [*parents, *found.lost, *_earlier(found)], text)


async def _commit_of_lost(found: Inspection, session_id: str) -> str | None:
    above = [*found.lost, *_earlier(found)]
    if not found.lost or len(above) == 1:
        return above[0] if found.lost else found.earlier
    repo = found.worktree.repo
    words = ("commit-tree", "--no-gpg-sign", *_parents(above), f"{above[0]}^{{tree}}")
    text = f"Commits that no ref had at the end of session {session_id}\n".encode()
    return (await git(repo, *words, input=text, env=NOBODY)).decode().strip()


def _earlier(found: Inspection) -> list[str]:
    return [found.earlier] if found.earlier else []


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


async def _tree_of_files(plain: PlainGit) -> str:
    look = partial(plain.git, settings=VISIBLE, seconds=CHECKOUT_SECONDS)
    assumed = ASSUMED.findall(await look("ls-files", "-v", "-s", "-z"))
    if assumed:
        await look("update-index", "-z", "--no-assume-unchanged", "--stdin", input=_joined(assumed))
    changed = await look("diff-files", "-z", "--name-only", "--ignore-submodules=dirty")
    untracked = await look("ls-files", "-z", "--others", "--exclude-standard")
    words = ("update-index", "-z", "--add", "--remove", "--replace", "--stdin")
    await look(*words, input=changed + untracked)
    return (await look("write-tree", "--missing-ok")).decode().strip()


def _joined(paths: Sequence[bytes]) -> bytes:
    return b"".join(path + b"\0" for path in paths)
