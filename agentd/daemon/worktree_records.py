"""What is known of each worktree from before its first step until after its last: small files beside the trees.

With them a crash at any step is undone, also where there is no tree yet or no more, or the repository is gone.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from agentd.store.files import write_atomic

BRANCH = "agentd/session/"
RESCUED = "refs/agentd/rescued/"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

logger = logging.getLogger(__name__)


@attrs.frozen
class Worktree:
    """A linked git worktree, which belongs to one session."""

    id: str  # a UUID, the name of its directory and the end of its branch's
    path: Path
    repo: Path  # see Source.repo
    branch: str
    commit: str  # where it began

    def to_json(self) -> dict[str, str]:
        return {name: str(value) for name, value in attrs.asdict(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Worktree:
        """Raises ValueError."""
        try:
            given = {field.name: str(value[field.name]) for field in attrs.fields(cls)}
            return cls(given["id"], Path(given["path"]), Path(given["repo"]), given["branch"], given["commit"])
        except (LookupError, TypeError) as exc:
            raise ValueError(f"not a worktree: {value!r}") from exc


@attrs.frozen
class Record:
    worktree: Worktree
    removing: bool = False  # its content is rescued: what is left is to be taken down
    since: float = 0.0  # when this was written, by the clock of the file system


class Records:
    """In one directory, a file each. Every method raises OSError."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, record: Record) -> None:
        """Synced: a branch without a record would stay for ever."""
        self._directory.mkdir(parents=True, exist_ok=True)
        value = record.worktree.to_json() | {"removing": record.removing}
        write_atomic(self._path(record.worktree.id), json.dumps(value).encode(errors="surrogateescape"))

    def mark_removing(self, worktree: Worktree) -> None:
        """Not synced: after a power loss it is looked at again, and found rescued."""
        self._directory.mkdir(parents=True, exist_ok=True)
        value = worktree.to_json() | {"removing": True}
        write_atomic(self._path(worktree.id), json.dumps(value).encode(errors="surrogateescape"), durable=False)

    def read(self, worktree_id: str) -> Record | None:
        """None: there is none that makes sense."""
        try:
            with self._path(worktree_id).open("rb") as file:
                since = os.fstat(file.fileno()).st_mtime
                value = json.load(file)
            return Record(Worktree.from_json(value), value.get("removing") is True, since)
        except FileNotFoundError:
            return None
        except (ValueError, AttributeError) as exc:
            logger.warning("the record of worktree %s is damaged: %s", worktree_id, exc)
            return None

    def all(self) -> list[Record]:
        if not self._directory.is_dir():
            return []
        names = sorted(path.stem for path in self._directory.glob("*.json"))
        return [record for name in names if (record := self.read(name))]

    def forget(self, worktree_id: str) -> None:
        self._path(worktree_id).unlink(missing_ok=True)

    def _path(self, worktree_id: str) -> Path:
        return self._directory / f"{worktree_id}.json"
