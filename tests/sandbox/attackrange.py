"""Where attacks are tried: places and processes that hold secrets, made for it and gone afterwards.

outside/ home/ state/ sockets/ vault/   none of a command's business
main/ tree/                      a repository, and its worktree, which is a workspace
plain/                           a workspace that is a repository, with others in it
bare/                            a workspace that is none
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from tests.sandbox.hostile.program import syscall

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("outside", "home", "state", "main", "tree", "plain", "bare")
HIDDEN = (".ssh/id_ed25519", ".aws/credentials", ".bash_history", ".config/agentd/config.toml")
USER_KEYS = -4
ALL_RIGHTS = 0x3F3F0000
GIT = ("git", "-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main")
USED = {"tree": ("main",), "plain": ("plain/nested", "plain/far/down/deep", "plain/new")}
# What a user does with a workspace when the job is done.
USES = (("status",), ("diff",), ("add", "-A"), ("commit", "-q", "-m", "x", "--allow-empty"), ("log", "-1"))


@attrs.define
class Range:
    base: Path
    secret: str
    victim: subprocess.Popen[str]
    targets: dict[str, str] = attrs.field(factory=dict)

    def restore(self, parts: Collection[str] = PARTS) -> None:
        """Everything as it was before any attack."""
        for part in parts:
            shutil.rmtree(self.base / part, ignore_errors=True)
            shutil.copytree(self.base / "template" / part, self.base / part, symlinks=True)
        if "plain" in parts:
            (self.base / "plain/linked").hardlink_to(self.base / "outside/linked")
        for path in (self.canary, *self.intruders()):
            path.unlink(missing_ok=True)

    @property
    def canary(self) -> Path:
        """There as soon as something planted has been run outside of a sandbox."""
        return self.base / "canary/fired"

    def intruders(self) -> list[Path]:
        """Files that nobody but an attack makes."""
        name = self.targets["NAME"]
        found = [Path(f"/etc/{name}"), Path(f"/usr/local/bin/{name}"), Path(self.targets["SHARED"], "new")]
        return [path for path in found if path.exists()]

    def picture(self) -> dict[str, Any]:
        """All that no command should change."""
        kept = {str(path): _look(path) for part in PARTS[:4] for path in sorted((self.base / part).rglob("*"))}
        git = str(self.base / "main/.git")
        for name in ("objects", "refs", "logs", "worktrees/tree"):  # where a commit in the worktree writes
            kept = {path: seen for path, seen in kept.items() if not path.startswith(f"{git}/{name}")}
        return {**kept, "victim": self.ask_victim(), "intruders": self.intruders()}

    def ask_victim(self) -> Any:
        assert self.victim.stdin is not None
        assert self.victim.stdout is not None
        self.victim.stdin.write("\n")
        self.victim.stdin.flush()
        return json.loads(self.victim.stdout.readline())

    def use_git(self, workspace: str) -> None:
        """As its user does, in everything there that looks like a repository."""
        for name in (*USED.get(workspace, ()), workspace):
            for words in USES if (self.base / name).is_dir() else ():
                command = ["git", "-C", str(self.base / name), *words]
                subprocess.run(command, env=self.env(), stdin=subprocess.DEVNULL, capture_output=True, check=False)

    def env(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.base / "home"), "LC_ALL": "C"}


def _look(path: Path) -> tuple[Any, ...]:
    found = path.lstat()
    held = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    when = () if path.name == "linked" or path.is_dir() else (found.st_mtime_ns, found.st_ctime_ns)
    return (found.st_mode, found.st_uid, found.st_gid, *when, held)


@contextmanager
def open_range() -> Iterator[Range]:
    """Not below /tmp, which sandboxes replace as a whole."""
    top = os.environ.get("AGENTD_ATTACKS", str(Path.home()))
    base = Path(tempfile.mkdtemp(prefix="agentd-attacks-", dir=top))
    name, secret = base.name, os.environ.get("AGENTD_ATTACKS_SECRET") or f"secret-{secrets.token_hex(8)}"
    shared = Path(tempfile.mkdtemp(prefix="agentd-attacks-"))
    try:
        _make_places(base, secret)
        (shared / "secret").write_text(secret)
        Path(f"/dev/shm/{name}").write_text(secret)
        with _victim(base, name, secret) as (victim, told), _key(name, secret):
            yield Range(base, secret, victim, {**_targets(base, name, shared), **told})
    finally:
        for made in (base, shared):
            shutil.rmtree(made, ignore_errors=True)
        Path(f"/dev/shm/{name}").unlink(missing_ok=True)


def _targets(base: Path, name: str, shared: Path) -> dict[str, str]:
    return {
        "NAME": name,
        "OUT": str(base / "outside"),
        "STATE": str(base / "state"),
        "SOCKETS": str(base / "sockets"),
        "MAIN": str(base / "main"),
        "ADMIN": str(base / "main/.git/worktrees/tree"),
        "CANARY": str(base / "canary/fired"),
        "SHARED": str(shared),
        "LISTEN": str(_free_port()),
        "VAULT": str(base / "vault"),
        "HANDLE": _handle(base / "vault/id_ed25519"),
        "SETUID": os.environ.get("AGENTD_ATTACKS_SETUID", ""),
        "EXECUTOR": str(os.getpid()),
    }


def _make_places(base: Path, secret: str) -> None:
    for part in (*PARTS, "canary", "sockets", "home/.local/bin", "state/sessions/other"):
        (base / part).mkdir(parents=True, exist_ok=True)
    for name in (*(f"home/{each}" for each in HIDDEN), "home/notes", "outside/kept", "state/token", "vault/id_ed25519"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(secret)
    (base / "state/sessions/other/log.jsonl").write_text(secret)
    (base / "home/.bashrc").touch()
    (base / "home/.gitconfig").write_text("[user]\n\tname = A\n\temail = a@example.org\n")
    for name in ("linked", "config.worktree", "commondir"):
        (base / "outside" / name).write_text("as it was")
    _make_repositories(base)
    (base / "template").mkdir()
    for part in PARTS:
        (base / part).rename(base / "template" / part)


def _make_repositories(base: Path) -> None:
    def git(directory: str, *words: str) -> None:
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(base / "home")}
        subprocess.run([*GIT, "-C", str(base / directory), *words], env=env, check=True, capture_output=True)

    def make(directory: str) -> None:
        (base / directory).mkdir(parents=True, exist_ok=True)
        git(directory, "init", "-q")
        (base / directory / "a.txt").write_text("a\n")
        git(directory, "add", "a.txt")
        git(directory, "commit", "-q", "-m", "first")

    for directory in ("main", "plain", "plain/nested", "plain/far/down/deep"):
        make(directory)
    (base / "tree").rmdir()
    git("main", "branch", "other")
    git("main", "worktree", "add", "-q", "-b", "job", str(base / "tree"))
    git("plain", "submodule", "add", "-q", str(base / "main"), "sub")
    for directory in ("main", "plain"):
        git(directory, "config", "filter.known.clean", f"touch {base}/canary/fired; cat")
        git(directory, "config", "extensions.worktreeConfig", "true")
    (base / "plain/part").mkdir()
    (base / "plain/part/b.txt").touch()


@contextmanager
def _victim(base: Path, name: str, secret: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    sockets = [f"{base}/vault/executor.sock", f"{base}/sockets/daemon.sock"]
    order = {"name": name, "secret": secret, "sockets": sockets, "directory": f"{base}/vault"}
    shared = secrets.randbelow(1 << 30) + 1
    command = [sys.executable, "-m", "tests.sandbox.attackvictim", secret]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "AGENTD_TOKEN": secret}
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as victim:
        assert victim.stdin is not None
        assert victim.stdout is not None
        try:
            victim.stdin.write(json.dumps({**order, "shm": shared}) + "\n")
            victim.stdin.flush()
            told = {key: str(value) for key, value in json.loads(victim.stdout.readline()).items()}
            yield victim, {**told, "VICTIM": str(victim.pid), "SHM": str(shared)}
        finally:
            victim.stdin.close()


@contextmanager
def _key(name: str, secret: str) -> Iterator[None]:
    """In the keyring of this user, who may do anything with it."""
    with suppress(OSError):
        key = syscall("add_key", b"user", name.encode(), secret.encode(), len(secret), USER_KEYS)
        syscall("keyctl", 5, key, ALL_RIGHTS)
        try:
            yield
        finally:
            syscall("keyctl", 9, key, USER_KEYS)
        return
    yield


def _handle(path: Path) -> str:
    """What the kernel knows a file by, where this disk has that."""
    buffer, mount = ctypes.create_string_buffer(b"\x80", 136), ctypes.c_int()
    try:
        syscall("name_to_handle_at", -100, os.fsencode(path), buffer, ctypes.byref(mount), 0)
    except OSError:
        return ""
    return buffer.raw.hex()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
