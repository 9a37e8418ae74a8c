"""The data directory: where what is. The layout: DESIGN.md, "Storage". Blocking; no trio here.

Ids of sessions come from clients too. One becomes a part of a path only after it has been seen to be a UUID.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from agentd.domain import Entry
from agentd.errors import SessionNotFound, StoreFailed
from agentd.store.blobs import Blobs
from agentd.store.create import LOG_NAME, create_log
from agentd.store.files import PRIVATE_DIR, FileLock, disk, fsync_dir, remove_tree, sweep, write_atomic
from agentd.store.rootlog import RootLog
from agentd.store.view import LogView

GONE_PREFIX = ".gone-"  # of a session's directory that is being removed
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@attrs.frozen
class SessionDir:
    """One session's directory, `sessions/<id>`."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def log_path(self) -> Path:
        return self.path / LOG_NAME

    @property
    def fold_path(self) -> Path:
        return self.path / "fold.json"

    @property
    def secrets_path(self) -> Path:
        return self.path / "secrets.json"

    @property
    def blobs(self) -> Blobs:
        return Blobs(self.path / "blobs")

    @property
    def transient(self) -> Blobs:
        """What is kept only while the session's state names it: context texts, and the zip that it was imported from.
        They have a place of their own, so that what no state names any more can be told and removed."""
        return Blobs(self.path / "blobs" / "transient")

    def read_secrets(self) -> dict[str, Any]:
        """Empty if there are none. Raises StoreFailed."""
        with disk("read the session's secrets"):
            try:
                secrets = json.loads(self.secrets_path.read_bytes())
            except FileNotFoundError:
                return {}
            except ValueError as exc:
                raise StoreFailed("the session's secrets are damaged") from exc
        if type(secrets) is not dict:
            raise StoreFailed("the session's secrets are damaged")
        return secrets

    def write_secrets(self, secrets: Mapping[str, Any]) -> None:
        """Durably, in the place of those before, readable by the owner only. Raises StoreFailed."""
        with disk("write the session's secrets"):
            write_atomic(self.secrets_path, json.dumps(dict(secrets)).encode())

    def sweep(self) -> None:
        """Remove what processes left that were killed while they wrote a file here. Raises StoreFailed."""
        with disk("tidy up the session"):
            sweep(self.path)
        self.blobs.sweep()
        self.transient.sweep()


@attrs.frozen
class Home:
    """A data directory. It and what is below it is made when the first thing is written, for the owner only."""

    root: Path

    @property
    def root_log(self) -> RootLog:
        return RootLog(self.root / "root.ndjson")

    @property
    def sessions_path(self) -> Path:
        return self.root / "sessions"

    @property
    def tokens_path(self) -> Path:
        return self.root / "tokens"

    def make(self, *, ignored_by_git: bool = False) -> None:
        """The directories, if they are not there; *ignored_by_git* for one inside a repository. Raises StoreFailed."""
        with disk(f"make {self.root}"):
            self.root.parent.mkdir(parents=True, exist_ok=True)
            for directory in (self.root, self.sessions_path, self.tokens_path):
                if not directory.is_dir():
                    directory.mkdir(PRIVATE_DIR, exist_ok=True)
                    fsync_dir(directory.parent)
            ignore = self.root / ".gitignore"
            if ignored_by_git and not ignore.exists():
                write_atomic(ignore, b"*\n")

    def lock(self) -> FileLock:
        """Own the directory until the lock is released. Raises Locked, saying who owns it since when; StoreFailed."""
        self.make()
        return FileLock.acquire(self.root / "lock", f"the data directory {self.root}")

    def sessions(self) -> list[SessionDir]:
        """All sessions, by id. Raises StoreFailed."""
        with disk(f"read {self.sessions_path}"):
            paths = sorted(self.sessions_path.glob(f"*/{LOG_NAME}"))
        return [SessionDir(path.parent) for path in paths if _UUID.fullmatch(path.parent.name)]

    def session(self, session_id: str) -> SessionDir:
        """Raises SessionNotFound, also for what is no UUID."""
        session_id = session_id.lower()
        if not _UUID.fullmatch(session_id):
            raise SessionNotFound(session_id)
        session = SessionDir(self.sessions_path / session_id)
        if not session.log_path.is_file():
            raise SessionNotFound(session_id)
        return session

    def create_session(
        self,
        face: str,
        workspace: Path,
        name: str,
        *,
        isolation: str = "in_place",
        parent: str | None = None,
        session_id: str | None = None,
        fill: Callable[[SessionDir], Sequence[Entry]] | None = None,
    ) -> SessionDir:
        """A new session whose log says so, durably; all of it or nothing. *session_id*: a UUID that no session has yet;
        *fill*: see create_log(). Raises StoreFailed."""
        self.make()
        session = SessionDir(self.sessions_path / (session_id or str(uuid.uuid4())))
        data = {"id": session.id, "face": face, "workspace": str(workspace), "isolation": isolation}
        created = Entry("session.created", data | {"name": name, "parent": parent})
        create_log(session.path, [created], fill=(lambda made: fill(SessionDir(made))) if fill else None)
        return session

    def remove_session(self, session_id: str) -> None:
        """Whatever there is of a session, with its log; nothing happens if there is nothing. Raises StoreFailed."""
        path = self.sessions_path / session_id
        if not _UUID.fullmatch(session_id) or not path.is_dir():
            return
        with disk("remove the session"):
            gone = path.with_name(f"{GONE_PREFIX}{session_id}")  # at once for everybody, and swept if we are killed
            remove_tree(gone)
            path.rename(gone)
            remove_tree(gone)

    def sweep(self) -> None:
        """Remove what processes left, here and in all sessions, that were killed while they made or removed it. What
        others are making stays. Raises StoreFailed."""
        with disk("tidy up the sessions"):
            sweep(self.root)
            sweep(self.sessions_path)
            for gone in self.sessions_path.glob(f"{GONE_PREFIX}*"):
                remove_tree(gone)
        for session in self.sessions():
            session.sweep()


def make_home(path: Path, *, ignored_by_git: bool = False) -> Home:
    """The data directory at *path*, made if it is not there. Raises StoreFailed."""
    home = Home(path)
    home.make(ignored_by_git=ignored_by_git)
    return home


# --- The fold cache -----------------------------------------------------------------------------------------------


@attrs.frozen
class Fold:
    """A session's state as JSON, folded from its log up to *pos*."""

    pos: int
    state_json: str


def write_fold(session: SessionDir, log: LogView, fold: Fold) -> None:
    """Keep a state, so that the log need not be folded from its beginning. A cache: not synced. Raises StoreFailed."""
    state = fold.state_json.encode()
    head = {"pos": fold.pos, "line_sha256": _sha256(log.line(fold.pos)), "state_sha256": _sha256(state)}
    with disk("write the session's state"):
        write_atomic(session.fold_path, json.dumps(head).encode() + b"\n" + state, durable=False)


def read_fold(session: SessionDir, log: LogView) -> Fold | None:
    """None unless the log has, at the state's position, the record it had then, and the file is what was written."""
    try:
        head, _, state = session.fold_path.read_bytes().partition(b"\n")
        fields = json.loads(head)
        pos = int(fields["pos"])
        sound = _sha256(log.line(pos)) == fields["line_sha256"] and _sha256(state) == fields["state_sha256"]
        return Fold(pos, state.decode()) if sound and pos <= log.last_pos else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
