"""Hostile programs, each run as a job's command, and whether what they want happened. What happened is looked at from
outside: a secret in what a program says, a file, a process, a terminal that is not what it was; git run by its user.

`python -m tests.sandbox.attacks LEVEL [NAME...]` prints a table as JSON: by name, why it is taken to have worked, or
null. LEVEL is of the sandbox; at `none` programs are run as they are, which shows that they can work.
"""

from __future__ import annotations

import fcntl
import inspect
import json
import os
import pty
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import trio

from agentd.sandbox.contain import Containment, Level, probe, run_command
from agentd.sandbox.enclosure import Means
from agentd.sandbox.levels import find_means
from agentd.sandbox.policy import Limits, Network, Policy, SandboxLevel
from agentd.sandbox.policy import secrets as secret_places
from agentd.workspace.git import git, repository_root, unfiltered
from agentd.workspace.snapshot import Snapshots
from tests.sandbox.attackrange import PARTS, ROOT, Range, open_range
from tests.sandbox.attackvictim import serve
from tests.sandbox.hostile import files, kernel, network, processes, repositories

SECONDS = 30.0
BY_AGENTD = "agentd's own git ran it, or followed it"
SMALL = Limits(data=200 << 20, file_size=1 << 20, processes=64, open_files=64, cpu_seconds=600)
START = (
    "import importlib, sys; sys.path.insert(0, sys.argv[1]); "
    "getattr(importlib.import_module('tests.sandbox.hostile.' + sys.argv[2]), sys.argv[3])()"
)
ALLOWED = frozenset({"abstract_where_network_is_allowed"})
DAEMONS = {
    "unix_made_later": 0.0,
    "unix_made_meanwhile": 0.3,
    "unix_renamed": 0.0,
}  # seconds after which they are started
ELSEWHERE = {
    "write_by_old_hard_link": "plain",
    "have_cleanup_remove": "plain",
    "new_submodule": "plain",
    "new_bare_repository": "plain",
    "new_repository": "bare",
    "repository_above": "plain/part",
}


@attrs.frozen
class Attack:
    module: str
    name: str

    @property
    def workspace(self) -> str:
        of_repository = self.name.startswith(("repository", "submodule", "nested", "deeply"))
        return ELSEWHERE.get(self.name, "plain" if of_repository else "tree")

    @property
    def uses_git(self) -> bool:
        return self.module == "repositories" or self.name == "have_cleanup_remove"


def _attacks(module: ModuleType) -> Iterator[Attack]:
    """All of its functions that take nothing and return nothing."""
    for name, function in inspect.getmembers(module, inspect.isfunction):
        own = function.__module__ == module.__name__ and not name.startswith("_")
        if own and str(inspect.signature(function)) == "() -> 'None'":
            yield Attack(module.__name__.rpartition(".")[2], name)


ATTACKS = tuple(attack for module in (files, repositories, processes, network, kernel) for attack in _attacks(module))


@attrs.define
class Table:
    """What works at one level."""

    range: Range
    level: SandboxLevel
    terminal: Terminal
    containment: Containment
    means: Means
    changed: bool = True
    won: str = attrs.field(factory=lambda: f"won-{secrets.token_hex(8)}")

    async def try_out(self, attack: Attack) -> str | None:
        """Why it is taken to have worked; None: it was stopped."""
        self.range.restore(PARTS if self.changed else ("tree",))
        self.terminal.read()
        workspace = self.range.base / attack.workspace
        before = self.range.picture()
        said = await self._run(attack, workspace)
        why = await self._judge(attack, workspace, before, said)
        self.changed = why is not None or attack.uses_git or attack.workspace != "tree"
        return why

    async def _judge(self, attack: Attack, workspace: Path, before: dict[str, Any], said: str) -> str | None:
        if self.range.secret in said or self.won in said:
            return "it says so"
        if heard := self.terminal.read():
            return f"the terminal has {heard!r}"
        if (own := SEEN.get(attack.name)) is not None and own(self.range, workspace):
            return "seen"
        if attack.uses_git and (who := await self._use_git(attack, workspace, before)):
            return who
        changed = self._changed(before)
        changed = [path for path in changed if "/main/.git" not in path] if attack.uses_git else changed
        return f"changed: {', '.join(changed[:3])}" if changed else None

    async def _use_git(self, attack: Attack, workspace: Path, before: dict[str, Any]) -> str | None:
        """As agentd does, then as a user does; who of them ran something."""
        if "index" not in attack.name:  # which agentd replaces
            await use_own_git(workspace, self.range.base / "scratch")
        if self.range.canary.exists() or any("/outside/" in path for path in self._changed(before)):
            return BY_AGENTD
        self.range.use_git(attack.workspace)
        return "git ran it" if self.range.canary.exists() else None

    def _changed(self, before: dict[str, Any]) -> list[str]:
        after = self.range.picture()
        return [key for key in {**before, **after} if before.get(key) != after.get(key)]

    async def _run(self, attack: Attack, workspace: Path) -> str:
        argv = [sys.executable, "-S", "-E", "-c", START, str(self.range.base / "tools"), attack.module, attack.name]
        env = {**self.range.env(), **self.range.targets, "WON": self.won, "TERMINAL": self.terminal.name}
        env["INSIDE"] = "yes" if self.level in (SandboxLevel.BWRAP, SandboxLevel.UNSHARE) else ""
        directory = workspace
        if attack.name == "read_secret_from_directory":
            directory = workspace / "directory"
            directory.symlink_to(self.range.base / "home/.ssh")
        confined = self._confined(attack, workspace)
        with self._around(attack):
            if confined is None:
                return await trio.to_thread.run_sync(_run_freely, argv, directory, env)
            return await _run_confined(confined, shlex.join(argv), directory, env)

    def _confined(self, attack: Attack, workspace: Path) -> Containment | None:
        """As a job has it; see levels.confine_for()."""
        if self.level is SandboxLevel.NONE:
            return None
        base = self.range.base
        hidden = (*secret_places({"HOME": str(base / "home")}), base / "state", base / "vault", base / "template")
        return self.containment.confined(
            Policy(
                workspace,
                hidden=hidden,
                network=Network.ALL if attack.name in ALLOWED else Network.NONE,
                limits=SMALL if attack.name.startswith("exceed") else Limits(),
            ),
            self.means,
        )

    @contextmanager
    def _around(self, attack: Attack) -> Iterator[None]:
        """What others do while it is tried."""
        if attack.name == "listen":
            done = threading.Event()
            caller = threading.Thread(target=_call, args=(int(self.range.targets["LISTEN"]), done))
            caller.start()
            try:
                yield
            finally:
                done.set()
                caller.join()
        elif attack.name in DAEMONS:
            path = self.range.base / f"sockets/{attack.name}.sock"
            bound = path.with_name("first.sock") if attack.name == "unix_renamed" else path
            with socket.socket(socket.AF_UNIX) as sock:
                daemon = threading.Timer(DAEMONS[attack.name], _listen, (sock, bound, path, self.range.secret.encode()))
                daemon.start()
                if not DAEMONS[attack.name]:
                    daemon.join()
                yield
                daemon.join()
            path.unlink()
        else:
            yield


def _listen(sock: socket.socket, bound: Path, path: Path, secret: bytes) -> None:
    sock.bind(str(bound))
    serve(sock, secret)
    bound.rename(path)


def _call(port: int, done: threading.Event) -> None:
    while not done.wait(0.02):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.1):
            return


async def _run_confined(confined: Containment, command: str, directory: Path, env: dict[str, str]) -> str:
    said: list[bytes] = []
    await run_command(confined, command, cwd=directory, env=env, timeout=SECONDS, on_output=said.append)
    return b"".join(said).decode(errors="replace")


def _run_freely(argv: list[str], directory: Path, env: dict[str, str]) -> str:
    done = subprocess.run(
        argv,
        cwd=directory,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        close_fds=False,
        timeout=SECONDS,
        check=False,
    )
    return done.stdout.decode(errors="replace")


async def use_own_git(workspace: Path, scratch: Path) -> None:
    """As agentd does, before, between and after jobs, where that works."""
    shutil.rmtree(scratch, ignore_errors=True)
    with suppress(Exception):  # a repository that is broken is told to the client
        await repository_root(workspace)
        snapshots = Snapshots(workspace, scratch)
        before = await snapshots.take()
        (workspace / "by-agentd").write_text("x")
        after = await snapshots.take()
        await snapshots.diff(before, after)
        await snapshots.commit(before, after, "x")
    with suppress(Exception):
        await git(workspace, "status", "--porcelain", env=await unfiltered(workspace))


# --- Looked at from outside ---------------------------------------------------------------------------------------


def _is_setuid(_: Range, workspace: Path) -> bool:
    path = workspace / "program"
    return path.exists() and bool(path.stat().st_mode & 0o4000)


def _is_alive(_: Range, workspace: Path) -> bool:
    """Whether somebody holds the lock that it took."""
    with suppress(FileNotFoundError), (workspace / "alive").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


SEEN: dict[str, Callable[[Range, Path], bool]] = {
    "plant_setuid_program": _is_setuid,
    "plant_editor_settings": lambda _, workspace: (workspace / ".vscode/tasks.json").exists(),
    "stay": _is_alive,
    "stay_without_guard": _is_alive,
    "dump_core": lambda _, workspace: any(workspace.glob("core*")),
    "worktree_objects_removed": lambda at, _: not any((at.base / "main/.git/objects").glob("??/*")),
    "worktree_other_branch": lambda at, _: "000000" in (at.base / "main/.git/refs/heads/other").read_text(),
    "worktree_back_link": lambda at, _: "nowhere" in (at.base / "main/.git/worktrees/tree/gitdir").read_text(),
}


@attrs.define
class Terminal:
    """The one of this process, as where a person has started agentd in one."""

    name: str
    master: int

    def read(self) -> bytes:
        """What it shows, or has been typed into it, since the last time."""
        try:
            return os.read(self.master, 1000)
        except BlockingIOError:
            return b""


def open_terminal() -> Terminal:
    master, slave = pty.openpty()
    with suppress(PermissionError):  # it leads a session already
        os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    os.set_blocking(master, False)
    return Terminal(os.ttyname(slave), master)


async def table(level: SandboxLevel, names: list[str]) -> dict[str, str | None] | None:
    """None: this level is not to be had here."""
    base = Level.BWRAP if level is SandboxLevel.BWRAP else Level.SUBREAPER
    containment = await probe([base])
    means = await find_means(containment, [level]) if level is not SandboxLevel.NONE else Means(level)
    if means.level is not level or containment.level is not base:
        return None
    with open_range() as place:
        shutil.copytree(ROOT / "tests/sandbox/hostile", place.base / "tools/tests/sandbox/hostile")
        os.set_inheritable(os.open(place.base / "vault/id_ed25519", os.O_RDONLY), True)
        at = Table(place, level, open_terminal(), containment, means)
        chosen = [attack for attack in ATTACKS if not names or attack.name in names]
        return {attack.name: await at.try_out(attack) for attack in chosen}


def main() -> None:
    level, *names = sys.argv[1:]
    sys.stdout.write(json.dumps(trio.run(table, SandboxLevel(level), names), indent=0) + "\n")


if __name__ == "__main__":
    main()
