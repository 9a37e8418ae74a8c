"""What a job changes in its workspace: looked at before and after, kept as a diff, committed where that is wanted."""

from __future__ import annotations

from typing import Any

import attrs

from agentd.engine.branch import Branch
from agentd.errors import AgentdError
from agentd.workspace.snapshot import DiffStat, Snapshots

SUBJECT_CHARS = 72


@attrs.frozen
class Changes:
    """*snapshots*: None where the workspace is in no repository; then nothing is known of what changes."""

    branch: Branch
    snapshots: Snapshots | None

    async def begin(self, part: str) -> None:
        """Remember what the workspace is now, before *part* of the job. Raises AgentdError."""
        if self.snapshots is not None:
            self.branch.append("checkpoint", id=part, tree=await self.snapshots.take())

    async def commit(self, about: str) -> None:
        """Commit what has changed since the last begin(). That it cannot be done is told, and no failure."""
        if self.snapshots is None or self.branch.job.tree is None:
            self.branch.notice("warning", "COMMIT_FAILED", "nothing is committed: this is no git repository")
            return
        subject = about.strip().split("\n", 1)[0][:SUBJECT_CHARS]
        try:
            commit = await self.snapshots.commit(self.branch.job.tree, await self.snapshots.take(), subject)
        except (AgentdError, OSError) as exc:
            self.branch.notice("warning", "COMMIT_FAILED", f"the changes were not committed: {exc}")
            return
        if commit is None:
            self.branch.notice("info", "NOTHING_TO_COMMIT", "nothing to commit")
            return
        self.branch.append("commit", sha=commit.sha, files=list(commit.files), message=subject)
        if commit.left_out:
            text = f"not committed, because your own changes touch the same lines: {', '.join(commit.left_out)}"
            self.branch.notice("warning", "LEFT_OUT", text)

    async def diff(self) -> dict[str, Any] | None:
        """What the whole job has changed, kept as a blob: what `diff` of job.finished holds."""
        start = self.branch.job.start_tree
        if self.snapshots is None or start is None:
            return None
        try:
            end = await self.snapshots.take()
            changed = start != end  # if not, git need not be asked twice, which is what an answer would wait for
            stat = await self.snapshots.stat(start, end) if changed else DiffStat(0, 0, 0)
            sha256 = self.branch.session.dir.blobs.put(await self.snapshots.diff(start, end) if changed else b"")
        except (AgentdError, OSError) as exc:
            self.branch.notice("warning", "NO_DIFF", f"the job's changes could not be read: {exc}")
            return None
        return attrs.asdict(stat) | {"sha256": sha256, "tree": end}
