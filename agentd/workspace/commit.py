"""Committing what a job changed, and nothing else, onto HEAD.

Three trees meet: *before*, the working tree when the job began, with whatever the user had not committed then; *after*,
the working tree at its end; and HEAD. For every path that the job changed:

- the user had no uncommitted edits in it: the commit gets the file as it is *after*;
- the user had some, elsewhere in the file: the job's lines alone are merged onto HEAD's version, the user's edits stay
  uncommitted;
- they touch the same lines, or the file is not text, or it is a file that the user never committed: it is left out,
  and the caller is told. A file that the job made or deleted is committed as made or deleted.

The index keeps what the user had staged, in the same way. The working tree is not touched. No hook runs, nothing is
signed. HEAD moves only from where it was looked at, and index and HEAD change together or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from agentd.errors import GitFailed
from agentd.workspace.git import run_git
from agentd.workspace.scratch import Scratch

TRIES = 3  # when the user's own git writes the index at the same moment
UNDER_WAY = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply")
NOBODY = {
    "GIT_AUTHOR_NAME": "agentd",
    "GIT_AUTHOR_EMAIL": "agentd@localhost",
    "GIT_COMMITTER_NAME": "agentd",
    "GIT_COMMITTER_EMAIL": "agentd@localhost",
}


@attrs.frozen
class Commit:
    sha: str
    files: tuple[str, ...]  # paths from the repository's top
    left_out: tuple[str, ...]  # changed by the job, but not to be told from the user's own uncommitted edits


@attrs.frozen
class Entry:
    """What a tree or an index has at a path."""

    mode: bytes
    blob: bytes

    @property
    def is_file(self) -> bool:
        return self.mode in (b"100644", b"100755")


@attrs.frozen
class Change:
    old: Entry | None
    new: Entry | None


Changes = Mapping[bytes, Change]


@attrs.define
class Plan:
    """What is to be at the paths of a tree that a change is brought to."""

    entries: dict[bytes, Entry | None] = attrs.field(factory=dict)
    clashes: list[bytes] = attrs.field(factory=list)  # cannot be brought there


@attrs.frozen
class Draft:
    """A commit that is written, and not yet anybody's."""

    head: str | None  # its parent
    base: str  # the parent, or before the first commit the empty tree
    tree: str
    sha: str
    subject: str
    identity: Mapping[str, str]


async def commit_changes(scratch: Scratch, before: str, after: str, message: str) -> Commit | None:
    """None: HEAD has it all already. Raises GitFailed, and then nothing has changed: also when everything that the job
    changed is mixed with the user's edits, when a merge or rebase is under way, and when HEAD or index do not hold
    still."""
    await _refuse_while_under_way(scratch)
    head = await _head(scratch)
    base = head or (await scratch.git("mktree")).decode().strip()
    plan = await _bring(scratch, await _changes(scratch, before, after), await _changes(scratch, before, base))
    if not plan.entries:
        if plan.clashes:
            raise GitFailed(f"the changes are mixed with edits from before the job, in {_names(plan.clashes)}")
        return None
    draft = await _write_commit(scratch, head, base, plan, message)
    for _ in range(TRIES):
        if await _publish(scratch, draft):
            return Commit(draft.sha, tuple(map(os.fsdecode, plan.entries)), tuple(map(os.fsdecode, plan.clashes)))
    raise GitFailed("another program kept writing the index; nothing was committed")


# --- What there is ------------------------------------------------------------------------------------------------


async def _refuse_while_under_way(scratch: Scratch) -> None:
    asked = [word for name in UNDER_WAY for word in ("--git-path", name)]
    told = os.fsdecode(await scratch.in_users_repository("rev-parse", *asked)).split("\n")[:-1]
    if any(Path(scratch.top, path).exists() for path in told):  # noqa: ASYNC240  # five looks at a local directory
        raise GitFailed("a merge, rebase, cherry-pick or revert is under way; finish it first")


async def _head(scratch: Scratch) -> str | None:
    told = await scratch.in_users_repository("rev-parse", "--verify", "--quiet", "HEAD^{commit}", ok=(0, 1))
    return told.decode().strip() or None


async def _changes(scratch: Scratch, old: str, new: str) -> dict[bytes, Change]:
    return parse_changes(await scratch.git("diff-tree", "-r", "-z", "--raw", "--no-renames", old, new))


def parse_changes(raw: bytes) -> dict[bytes, Change]:
    """By path, from git's raw diff format with -z: `:mode mode blob blob status`, NUL, path, NUL."""
    changes = {}
    words = iter(raw.split(b"\0")[:-1])
    for facts, path in zip(words, words, strict=True):
        old_mode, new_mode, old_blob, new_blob, _ = facts.removeprefix(b":").split(b" ")
        changes[path] = Change(_entry(old_mode, old_blob), _entry(new_mode, new_blob))
    return changes


def _entry(mode: bytes, blob: bytes) -> Entry | None:
    return Entry(mode, blob) if mode != b"000000" else None


# --- Bringing a change to another version -------------------------------------------------------------------------


async def _bring(scratch: Scratch, changes: Changes, elsewhere: Changes) -> Plan:
    """Bring *changes* to a tree that differs from where they start by *elsewhere*."""
    plan = Plan()
    for path, change in changes.items():
        there = elsewhere[path].new if path in elsewhere else change.old
        if there == change.new:
            continue
        try:
            merged = await _merge(scratch, change, there)
        except Clash:
            plan.clashes.append(path)
            continue
        if merged != there:
            plan.entries[path] = merged
    return plan


class Clash(Exception):
    """A change and another version of its file cannot be brought together."""


async def _merge(scratch: Scratch, change: Change, there: Entry | None) -> Entry | None:
    """What *there* is with the change made. Raises Clash."""
    old, new = change.old, change.new
    if there == old or old is None or new is None:
        return new
    if there is None or not (old.is_file and new.is_file and there.is_file):
        raise Clash
    blob = await _merge_texts(scratch, there.blob, old.blob, new.blob)
    return Entry(there.mode if new.mode == old.mode else new.mode, blob)


async def _merge_texts(scratch: Scratch, *blobs: bytes) -> bytes:
    """The blob that three others make: ours, base, theirs. Raises Clash."""
    if len(set(blobs[1:])) == 1:  # only the mode was changed
        return blobs[0]
    paths = [scratch.directory / f"merge-{side}" for side in ("ours", "base", "theirs")]
    for path, blob in zip(paths, blobs, strict=True):
        path.write_bytes(await scratch.git("cat-file", "blob", blob.decode()))
    done = await run_git(scratch.directory, "merge-file", "-p", *map(str, paths))
    if done.code != 0:  # the number of conflicts, or 255 for what is not text
        raise Clash
    return (await scratch.git("hash-object", "-w", "--stdin", input=done.stdout)).strip()


# --- Writing ------------------------------------------------------------------------------------------------------


async def _write_commit(scratch: Scratch, head: str | None, base: str, plan: Plan, message: str) -> Draft:
    index = scratch.directory / "index.commit"
    await scratch.git("read-tree", base, index=index)
    await _write_entries(scratch, index, plan)
    tree = (await scratch.git("write-tree", "--missing-ok", index=index)).decode().strip()
    await _hand_over(scratch, [tree], base)
    identity = await _identity(scratch)
    parent = ("-p", head) if head else ()
    text = message.strip() + "\n"
    told = await scratch.in_users_repository(
        *("commit-tree", "--no-gpg-sign", *parent, "-F", "-", tree),
        input=text.encode(errors="replace"),
        env=identity,
        settings={"i18n.commitEncoding": "UTF-8"},
    )
    return Draft(head, base, tree, told.decode().strip(), text.split("\n", 1)[0], identity)


async def _write_entries(scratch: Scratch, index: Path, plan: Plan) -> None:
    """Removals first, so that a file can take the place of a directory."""
    ordered = sorted(plan.entries.items(), key=lambda item: item[1] is not None)
    lines = [
        b"%b %b\t%b\0" % (entry.mode, entry.blob, path) if entry else b"0 %b\t%b\0" % (scratch.no_object, path)
        for path, entry in ordered
    ]
    await scratch.git("update-index", "--replace", "-z", "--index-info", input=b"".join(lines), index=index)


async def _hand_over(scratch: Scratch, objects: Sequence[str], base: str) -> None:
    """Copy what the user's repository lacks of these objects into it."""
    wanted = "\n".join([*objects, f"^{base}^{{tree}}", ""]).encode()
    pack = await scratch.git("pack-objects", "--revs", "--stdout", "-q", input=wanted)
    await scratch.in_users_repository("unpack-objects", "-q", input=pack)


async def _identity(scratch: Scratch) -> dict[str, str]:
    """Ours, where the user has told git neither name nor address, or only one of them."""
    for name in ("user.name", "user.email"):
        if not (await scratch.in_users_repository("config", name, ok=(0, 1))).strip():
            return NOBODY
    return {}


async def _publish(scratch: Scratch, draft: Draft) -> bool:
    """Move index and HEAD. False, and nothing is moved: the index was written meanwhile. Raises GitFailed."""
    seen = _stamp(scratch.index)
    index = scratch.directory / "index.new"
    scratch.copy_index(index)
    await _follow(scratch, index, draft)
    lock = scratch.index.with_name(f"{scratch.index.name}.lock")  # git's own protocol: who makes it may write the index
    try:
        descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        raise GitFailed(f"the index is in use by another program, or was left locked by one: {lock}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(index.read_bytes())
        if _stamp(scratch.index) != seen:
            return False
        await _move_head(scratch, draft)
        lock.replace(scratch.index)
    finally:
        lock.unlink(missing_ok=True)
    return True


async def _move_head(scratch: Scratch, draft: Draft) -> None:
    """Raises GitFailed if it is not where it was when the commit was planned."""
    await _refuse_links(scratch)
    there = draft.head or scratch.no_object.decode()
    reason = f"commit: {draft.subject}"
    await scratch.in_users_repository("update-ref", "-m", reason, "HEAD", draft.sha, there, env=draft.identity)


async def _refuse_links(scratch: Scratch) -> None:
    """Git writes a line to a reflog, wherever links lead; a command may have put one there, and the line says what a
    model has chosen. Raises GitFailed."""
    branch = (await scratch.in_users_repository("symbolic-ref", "-q", "HEAD", ok=(0, 1))).decode().strip()
    for name in filter(None, ("HEAD", branch)):
        told = await scratch.in_users_repository("rev-parse", "--git-path", f"logs/{name}")
        path = scratch.top / os.fsdecode(told.removesuffix(b"\n"))
        parts = [path, *path.parents][: name.count("/") + 2]
        if any(part.is_symlink() for part in parts):
            raise GitFailed(f"{path} is, or is behind, a symbolic link: git would write where that leads; remove it")


async def _follow(scratch: Scratch, index: Path, draft: Draft) -> None:
    """Bring the commit to the copy of the user's index, as far as it does not clash with what is staged there."""
    staged = parse_changes(
        await scratch.git("diff-index", "-z", "--raw", "--no-renames", "--cached", draft.base, index=index)
    )
    plan = await _bring(scratch, await _changes(scratch, draft.base, draft.tree), staged)
    if plan.entries:
        blobs = [entry.blob.decode() for entry in plan.entries.values() if entry is not None and entry.is_file]
        await _hand_over(scratch, blobs, draft.base)
        await _write_entries(scratch, index, plan)


def _stamp(index: Path) -> tuple[int, int, int] | None:
    try:
        found = index.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _names(paths: Sequence[bytes]) -> str:
    shown = ", ".join(map(os.fsdecode, paths[:5]))
    return shown if len(paths) <= 5 else f"{shown} and {len(paths) - 5} more"
