"""What a sandboxed command cannot do, at each level: attacks that are really made, and what of them arrived."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
import trio

import agentd
from agentd.sandbox import rules
from agentd.sandbox.contain import Containment, Finished, Level, run_command
from agentd.sandbox.levels import SandboxLevel, find_means, landlock_abi
from agentd.sandbox.policy import Limits, Network, Policy

if TYPE_CHECKING:
    from tests.witness import Witness

if sys.platform != "linux":
    pytest.skip("the means are Linux's", allow_module_level=True)

ENV = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/", "GIT_CONFIG_GLOBAL": os.devnull}
LEVELS = [SandboxLevel.BWRAP, SandboxLevel.UNSHARE, SandboxLevel.LANDLOCK]
AUTHOR = "-c user.name=a -c user.email=a@b"
SECRET = "this-is-secret"


@attrs.frozen
class Place:
    """A repository with a worktree, what is beside them, and commands in the worktree or the repository."""

    root: Path
    containment: Containment
    level: SandboxLevel

    @property
    def repo(self) -> Path:
        return self.root / "repo"

    @property
    def tree(self) -> Path:
        return self.root / "tree"

    @property
    def outside(self) -> Path:
        return self.root / "outside"

    async def confined(self, workspace: Path, **more: object) -> Containment:
        means = await find_means(self.containment, [self.level])
        if means.level is not self.level:
            pytest.skip(f"{self.level} does not work here")
        policy = Policy(workspace, hidden=(self.root / "hidden",))
        return self.containment.confined(attrs.evolve(policy, **more), means)  # type: ignore[arg-type]

    async def run(self, command: str, *, at: Path | None = None, **more: object) -> tuple[Finished, str]:
        said: list[bytes] = []
        at = at or self.repo
        confined = await self.confined(at, **more)
        with trio.fail_after(60):
            done = await run_command(confined, command, cwd=at, env=ENV, timeout=30, on_output=said.append)
        return done, b"".join(said).decode()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Visible in a sandbox, though it may be in a temporary directory, as those are private."""
    root = tmp_path.resolve()
    monkeypatch.setattr(rules, "KEPT", (root,))
    return root


def shell(script: str, cwd: Path) -> None:
    subprocess.run(["bash", "-ec", script], cwd=cwd, env=ENV, check=True)


@pytest.fixture(params=LEVELS)
def place(request: pytest.FixtureRequest, root: Path, require: Callable[[str], str]) -> Place:
    if request.param is SandboxLevel.BWRAP:
        require("bwrap")
    script = f"""
        git init -q repo && cd repo && echo 1 >file && git add file && git {AUTHOR} commit -q -m first
        git worktree add -q ../tree -b other
        mkdir ../outside ../hidden && echo kept >../outside/kept && echo {SECRET} >../hidden/key
    """
    shell(script, root)
    return Place(root, Containment(Level.SUBREAPER), request.param)


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A process outside, with a secret in its environment."""
    with subprocess.Popen(["sleep", "1000"], env={**ENV, "TOKEN": SECRET}) as process:
        yield process
        process.kill()


@attrs.frozen
class Daemons:
    """What listens outside: on TCP, UDP and two kinds of unix sockets."""

    tcp: int
    udp: int
    path: Path
    abstract: str
    sockets: list[socket.socket]

    def heard(self) -> int:
        heard = 0
        for sock in self.sockets:
            try:
                heard += bool(sock.recv(10) if sock.type == socket.SOCK_DGRAM else sock.accept())
            except BlockingIOError:
                pass
        return heard


@pytest.fixture
def daemons(root: Path) -> Iterator[Daemons]:
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.socket())
        udp = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        path, abstract = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        name = f"agentd-test-{os.getpid()}"
        for sock, address in ((tcp, ("127.0.0.1", 0)), (udp, ("127.0.0.1", 0))):
            sock.bind(address)
        (root / "daemon").mkdir()
        path.bind(str(root / "daemon" / "socket"))
        abstract.bind(f"\0{name}")
        for sock in (tcp, path, abstract):
            sock.listen()
        sockets = [tcp, udp, path, abstract]
        for sock in sockets:
            sock.setblocking(False)
        yield Daemons(tcp.getsockname()[1], udp.getsockname()[1], root / "daemon" / "socket", name, sockets)


def python(code: str) -> str:
    return f"{shlex.quote(sys.executable)} -I -S -c {shlex.quote(code)}"


def call(name: str, number: tuple[int, int], *arguments: int | str) -> str:
    """A shell command that makes a system call, and succeeds if that does."""
    words = ", ".join(str(argument) for argument in arguments)
    chosen = number[os.uname().machine == "aarch64"]
    return python(f"import ctypes; raise SystemExit(ctypes.CDLL(None).syscall({chosen}, {words}) < 0)  # {name}")


# --- Files --------------------------------------------------------------------------------------------------------

WRITES = {
    "a file": "echo x >{outside}/new",
    "over a file": "echo x >{outside}/kept",
    "by a link": "ln -s {outside} link && echo x >link/new",
    "by a hard link": "ln {outside}/kept linked && echo x >linked",
    "by /proc/self/root": "echo x >/proc/self/root{outside}/new",
    "by /proc/1/root": "echo x >/proc/1/root{outside}/new",
    "by /proc/PID/cwd": "echo x >/proc/{pid}/cwd/new",
    "away": "rm -f {outside}/kept",
    "by moving": "mv {outside}/kept .",
    "into another's memory": "echo x >/proc/{pid}/mem",
    "a system setting": "cat /proc/sys/kernel/hostname >/proc/sys/kernel/hostname",
    "a control group": "mkdir /sys/fs/cgroup/agentd-test || mkdir /sys/fs/cgroup/unified/agentd-test",
    "a device file": "mknod device b 8 0 && head -c 1 device",
    "the disk's device": "head -c 1 /dev/sda /dev/vda /dev/nvme0n1 2>/dev/null | grep -q .",
    "a remount": "mount -o remount,rw,bind / && echo x >{outside}/new",
    "a mount": "mount -t tmpfs none {outside}",
    "an unmount": "umount -l .git/hooks",
}


@pytest.mark.parametrize("attack", WRITES.values(), ids=WRITES)
async def test_nothing_outside_can_be_written(place: Place, attack: str) -> None:
    done, said = await place.run(attack.format(outside=place.outside, pid=os.getpid()))
    assert done.exit_code, said
    assert [path.name for path in place.outside.iterdir()] == ["kept"]
    assert (place.outside / "kept").read_text() == "kept\n"


async def test_the_workspace_and_what_is_allowed_can_be_written(place: Place) -> None:
    more = place.root / "more"
    more.mkdir()
    done, said = await place.run(f"echo x >new && mkdir a && mv new a && echo y >{more}/new", writable=(more,))
    assert (done.exit_code, said) == (0, "")
    assert (more / "new").read_text() == "y\n"


async def test_what_is_hidden_cannot_be_read(place: Place) -> None:
    _, said = await place.run(f"cat {place.root}/hidden/key; cat /proc/self/root{place.root}/hidden/key; exit 1")
    assert SECRET not in said


async def test_a_hidden_file_cannot_be_read_and_its_neighbour_can(place: Place) -> None:
    (place.root / "hidden" / "other").write_text("seen\n")
    key = place.root / "hidden" / "key"
    _, said = await place.run(f"cat {key}; cat {place.root}/hidden/other", hidden=(key,))
    assert "seen" in said
    assert SECRET not in said


async def test_a_workspace_in_a_hidden_directory_works(place: Place) -> None:
    inside = place.root / "hidden" / "work" / "space"
    inside.mkdir(parents=True)
    _, said = await place.run(f"echo x >new && cat new; cat {place.root}/hidden/key; true", at=inside)
    assert said.startswith("x\n")
    assert SECRET not in said


@pytest.mark.parametrize("place", LEVELS[:2], indirect=True)
async def test_temporary_directories_are_private(place: Place) -> None:
    names = "/tmp/agentd-test /var/tmp/agentd-test /run/agentd-test /dev/shm/agentd-test"
    done, said = await place.run(f"touch {names} && ls /tmp && touch new")
    assert done.exit_code == 0, said
    assert set(said.split()) <= {"agentd-test", *place.root.parts}
    assert not any(map(os.path.exists, names.split()))


async def test_a_scratch_directory_is_kept_from_one_command_to_the_next(place: Place) -> None:
    scratch = place.root / "scratch"
    scratch.mkdir()
    await place.run("echo hello >$TMPDIR/kept", scratch=scratch)
    assert await place.run("cat $TMPDIR/kept", scratch=scratch) == (Finished(0, timed_out=False), "hello\n")


# --- git ----------------------------------------------------------------------------------------------------------

PLANTS = {
    "a hook": "echo x >.git/hooks/post-commit",
    "a hook by moving": "mv .git/hooks h && mkdir .git/hooks",
    "a repository": "mv .git g && mkdir .git",
    "a setting": "git config core.fsmonitor evil",
    "settings by moving": "cp .git/config c && mv -f c .git/config",
    "attributes": "echo x >.git/info/attributes",
    "settings of a worktree": "echo x >.git/worktrees/tree/commondir",
}
IN_WORKTREE = {
    "a .git file": "echo gitdir: /x >.git",
    "another .git file": "rm -f .git && mkdir .git",
    "a moved .git file": "mv .git g",
    "a commondir": "echo /x >{admin}/commondir",
    "a moved commondir": "rm -f {admin}/commondir",
    "a gitdir": "echo /x >{admin}/gitdir",
    "the repository's settings": "echo x >>{repo}/.git/config",
    "the repository's hooks": "echo x >{repo}/.git/hooks/post-commit",
    "another's HEAD": "echo x >{repo}/.git/HEAD",
}
BEYOND_LANDLOCK = {
    "a .git file",
    "another .git file",
    "a moved .git file",
    "a commondir",
    "a moved commondir",
    "a gitdir",
}


@pytest.mark.parametrize("place", LEVELS[:2], indirect=True)
@pytest.mark.parametrize("attack", PLANTS.values(), ids=PLANTS)
async def test_nothing_is_put_where_git_would_run_it(place: Place, attack: str) -> None:
    done, said = await place.run(attack)
    assert done.exit_code, said


@pytest.mark.parametrize("place", LEVELS[:2], indirect=True)
@pytest.mark.parametrize("name", ["commondir", "config.worktree"])
async def test_what_cannot_be_kept_from_being_made_is_gone_after_the_command(place: Place, name: str) -> None:
    await place.run(f"echo ../evil >.git/{name}")
    assert not (place.repo / ".git" / name).exists()


@pytest.mark.parametrize(
    ("place", "attack"),
    [
        (level, name)
        for level in LEVELS
        for name in IN_WORKTREE
        if level is not LEVELS[-1] or name not in BEYOND_LANDLOCK
    ],
    indirect=["place"],
)
async def test_a_worktree_leads_where_it_did(place: Place, attack: str) -> None:
    admin = place.repo / ".git" / "worktrees" / "tree"
    done, said = await place.run(IN_WORKTREE[attack].format(admin=admin, repo=place.repo), at=place.tree)
    assert done.exit_code, said
    assert (place.tree / ".git").read_text() == f"gitdir: {admin}\n"
    assert (admin / "commondir").read_text() == "../..\n"


@pytest.mark.parametrize("where", ["repo", "tree", "repo/sub"])
async def test_git_works(place: Place, where: str) -> None:
    (place.repo / "sub").mkdir()
    command = f"echo 2 >new && git add . && git {AUTHOR} commit -q -m second && git status --short && git log --oneline"
    done, said = await place.run(command, at=place.root / where)
    assert done.exit_code == 0, said
    assert len(said.splitlines()) == 2


@pytest.mark.parametrize("place", LEVELS[:2], indirect=True)
async def test_nested_repositories_and_submodules_are_protected_too(place: Place) -> None:
    script = f"""
        git init -q nested && git -C nested {AUTHOR} commit -q --allow-empty -m one
        git -c protocol.file.allow=always {AUTHOR} submodule add -q {place.root}/tree deep/down
    """
    shell(script, place.repo)
    for attack in (
        "echo x >nested/.git/hooks/x",
        "mv nested moved",
        "echo x >deep/down/.git",
        "mv deep/down deep/moved",
        "mv deep moved",
        "echo x >.git/modules/deep/down/config",
    ):
        done, said = await place.run(attack)
        assert done.exit_code, (attack, said)


async def test_a_git_file_that_names_a_place_which_does_not_name_it_gives_nothing(place: Place) -> None:
    (place.root / "liar").mkdir()
    (place.root / "liar" / ".git").write_text(f"gitdir: {place.outside}\n")
    done, said = await place.run(f"echo x >{place.outside}/objects", at=place.root / "liar")
    assert done.exit_code, said


MADE = """
    git init -q new && git -C new config a.b c && git clone -q . copy && git worktree add -q -b side side
"""
REMOVED = "rm -rf new copy && git worktree remove side && ! ls -d new copy side"


async def test_what_commands_make_the_next_job_can_remove(place: Place) -> None:
    done, said = await place.run(MADE)
    assert done.exit_code == 0, said
    done, said = await place.run(REMOVED)
    assert done.exit_code == 0, said


@pytest.mark.parametrize("level", [SandboxLevel.BWRAP, SandboxLevel.UNSHARE])
async def test_what_others_make_or_change_between_jobs_is_theirs(
    level: SandboxLevel, root: Path, require: Callable[[str], str]
) -> None:
    if level is SandboxLevel.BWRAP:
        require("bwrap")
    shell("git init -q repo", root)
    place = Place(root, Containment(Level.SUBREAPER), level)
    await place.run("git init -q changed")
    shell("git init -q made && git -C changed config a.b c", place.repo)
    for name in ("made", "changed"):
        done, _ = await place.run(f"echo x >>{name}/.git/config")
        assert done.exit_code != 0


async def test_a_repository_with_worktrees_and_submodules_is_worked_with(place: Place) -> None:
    """It had a worktree and a submodule before: what git runs of those stays as it is."""
    add = f"git -c protocol.file.allow=always submodule --quiet add {place.repo} sub && git {AUTHOR} commit -q -m sub"
    shell(add, place.repo)
    work = f"""
        git worktree add -q -b side side && git worktree remove side && git gc -q && git update-server-info
        cd sub && echo 2 >file && git {AUTHOR} commit -q -a -m second
    """
    done, said = await place.run(f"set -e; {work}")
    assert (done.exit_code, said) == (0, "")


@pytest.mark.parametrize("place", LEVELS[:2], indirect=True)  # with Landlock alone a workspace is writable as a whole
@pytest.mark.parametrize(
    "attack",
    [
        "mv .git/modules .git/moved",
        "mv .git/worktrees .git/moved",
        "mv .git/worktrees/tree .git/moved",
        "mv .git/info .git/moved",
        "echo x >>.git/modules/sub/config",
        "echo x >.git/modules/sub/hooks/post-commit",
        "echo x >.git/worktrees/tree/commondir",
        "echo x >.git/info/attributes",
    ],
)
async def test_what_a_repository_keeps_of_others_leads_where_it_did(place: Place, attack: str) -> None:
    shell(f"git -c protocol.file.allow=always submodule --quiet add {place.repo} sub", place.repo)
    done, _ = await place.run(attack)
    assert done.exit_code != 0


async def test_missing_hooks_cannot_be_made(place: Place) -> None:
    shutil.rmtree(place.repo / ".git" / "hooks")
    await place.confined(place.repo)
    assert (place.repo / ".git" / "hooks").is_dir()


# --- Processes ----------------------------------------------------------------------------------------------------


async def test_no_environment_of_another_process_can_be_read(place: Place, other: subprocess.Popen[bytes]) -> None:
    _, said = await place.run(f"cat /proc/[0-9]*/environ /proc/{other.pid}/environ | tr '\\0' '\\n'; exit 1")
    assert SECRET not in said


@pytest.mark.parametrize("number", [0, 9])
async def test_no_signal_reaches_another_process(place: Place, number: int, other: subprocess.Popen[bytes]) -> None:
    done, said = await place.run(f"kill -{number} {other.pid}")
    if place.level is SandboxLevel.LANDLOCK and landlock_abi() < 6:
        pytest.skip("this Landlock knows no scopes of signals")
    assert done.exit_code, said
    assert other.poll() is None


CALLS = {
    "ptrace": call("PTRACE_TRACEME", (101, 117), 0, 0, 0, 0),
    "keyctl": call("keyctl", (250, 219), 0, -3, 1),
    "add_key": call("add_key", (248, 217), "b'user'", "b'a'", "b'b'", 1, -4),
    "bpf": call("bpf", (321, 280), 0, "b'1' * 128", 128),
    "io_uring": call("io_uring_setup", (425, 425), 1, "bytes(128)"),
    "perf": call("perf_event_open", (298, 241), "bytes(128)", 0, -1, -1, 0),
    "userfaultfd": call("userfaultfd", (323, 282), 0),
    "a user namespace": "unshare --user true",
    "a mount namespace": "unshare --mount true",
    "another's namespaces": "nsenter --target 1 --all true",
    "clone of a namespace": call("clone", (56, 220), 0x10000011, 0, 0, 0, 0),
    "clone3": call("clone3", (435, 435), "bytes(88)", 88),
    "a new root": "chroot / true",
    "host name": "hostname other",
    "the clock": "date -s 2020-01-01",
    "a higher limit": "ulimit -Hn unlimited",
    "another user": python("import os; os.setuid(12345)"),
    "a socket of the virtual machine": python("import socket; socket.socket(40, 1)"),
    "a raw socket": python("import socket; socket.socket(17, 3)"),
    "typing": python("import fcntl, os, pty; fcntl.ioctl(pty.openpty()[1], 0x5412, b'x')"),
}


@pytest.mark.parametrize("attack", CALLS.values(), ids=CALLS)
async def test_no_call_is_answered_that_a_build_does_not_need(place: Place, attack: str) -> None:
    done, said = await place.run(attack)
    assert done.exit_code, said


async def test_no_program_gives_rights(place: Place) -> None:
    _, said = await place.run("grep -E '^(Cap...|NoNewPrivs|Seccomp):' /proc/self/status")
    told = dict(line.split(":\t") for line in said.splitlines())
    assert (told.pop("NoNewPrivs"), told.pop("Seccomp")) == ("1", "2")
    assert {name: int(value, 16) for name, value in told.items() if name != "CapBnd"} == dict.fromkeys(
        ("CapInh", "CapPrm", "CapEff", "CapAmb"), 0
    )
    if os.getuid() == 0:
        assert int(told["CapBnd"], 16) == 0


async def test_libraries_of_the_workspace_are_loaded_inside_only(place: Place) -> None:
    env = {**ENV, "LD_LIBRARY_PATH": str(place.repo), "LD_PRELOAD": f"{place.repo}/not-there.so"}
    said: list[bytes] = []
    with trio.fail_after(60):
        await run_command(
            await place.confined(place.repo),
            "echo $LD_LIBRARY_PATH",
            cwd=place.repo,
            env=env,
            timeout=30,
            on_output=said.append,
        )
    lines = b"".join(said).decode().splitlines()
    assert str(place.repo) in lines
    assert sum("not-there.so" in line for line in lines) == 1  # said by bash's loader, and not by one before it


async def test_everything_ends_with_a_service(place: Place) -> None:
    tree = (await place.confined(place.repo)).service(["cat"], place.repo, ENV)
    with trio.fail_after(30):
        assert tree.child.stdin is not None
        assert tree.child.stdout is not None
        await tree.child.stdin.send_all(b"hello")
        assert await tree.child.stdout.receive_some() == b"hello"
        await tree.end()
    tree.child.close()


@pytest.mark.parametrize(("command", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("no-such-program", 127)])
async def test_the_exit_code_is_the_commands(place: Place, command: str, code: int) -> None:
    done, _ = await place.run(command)
    assert done == Finished(code, timed_out=False)


async def test_processes_are_numbered_as_they_are_shown(place: Place) -> None:
    done, said = await place.run('test "$(readlink /proc/self)" != "" && test -d /proc/$$ && test -e /dev/fd/0')
    assert done.exit_code == 0, said


# --- Network ------------------------------------------------------------------------------------------------------


async def test_no_daemon_hears_anything(place: Place, daemons: Daemons) -> None:
    code = f"""
import socket
for family, kind, address in (
    (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", {daemons.tcp})),
    (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", {daemons.udp})),
    (socket.AF_UNIX, socket.SOCK_STREAM, {str(daemons.path)!r}),
    (socket.AF_UNIX, socket.SOCK_STREAM, "\\0{daemons.abstract}"),
):
    try:
        sock = socket.socket(family, kind)
        sock.connect(address)
        sock.send(b"x")
        print(address)
    except OSError:
        pass
"""
    _, said = await place.run(python(code))
    assert daemons.heard() == 0, said


async def test_with_network_unix_sockets_are_still_out_of_reach(place: Place, daemons: Daemons) -> None:
    code = f"""
import socket
tcp = socket.create_connection(("127.0.0.1", {daemons.tcp}))
for address in ({str(daemons.path)!r}, "\\0{daemons.abstract}"):
    try:
        socket.socket(socket.AF_UNIX).connect(address)
    except OSError:
        continue
    print(address)
"""
    done, said = await place.run(python(code), network=Network.ALL)
    if landlock_abi() < 6 and place.level is not SandboxLevel.LANDLOCK:
        said = said.replace(f"\0{daemons.abstract}\n", "")  # only Landlock keeps from those, from 6 on
    assert (done.exit_code, said) == (0, "")


@pytest.mark.parametrize("place", LEVELS[:2], indirect=True)
async def test_a_loopback_of_its_own_works(place: Place) -> None:
    code = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
"""
    done, said = await place.run(python(code))
    assert done.exit_code == 0, said


# --- Limits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "command"),
    [
        (Limits(file_size=1 << 20), "head -c 2000000 /dev/zero >big"),
        (Limits(open_files=20), python("import os; [os.open('/', 0) for _ in range(30)]")),
        (Limits(data=1 << 27), python("bytearray(1 << 28)")),
        (Limits(address_space=1 << 28), python("bytearray(1 << 29)")),
        (Limits(cpu_seconds=1), "while :; do :; done"),
    ],
)
async def test_a_limit_ends_what_goes_beyond_it(place: Place, limits: Limits, command: str) -> None:
    done, _ = await place.run(command, limits=limits)
    assert done.exit_code
    assert not done.timed_out
    said = (await place.confined(place.repo, limits=limits)).explain(done.exit_code, "MemoryError too many open files")
    assert any("the limit here is" in line for line in said)


# --- Nothing is left ----------------------------------------------------------------------------------------------

EXECUTOR = """
import sys, trio
from pathlib import Path
from agentd.sandbox.contain import Containment, Level, run_command
from agentd.sandbox.levels import SandboxLevel, find_means
from agentd.sandbox.policy import Policy
level, workspace, command, path = sys.argv[1:]
async def main():
    contained = Containment(Level.SUBREAPER)
    means = await find_means(contained, [SandboxLevel(level)])
    confined = contained.confined(Policy(Path(workspace)), means)
    await run_command(confined, command, cwd=Path(workspace), env={"PATH": path}, timeout=None,
                      on_output=lambda text: print("there", flush=True))
trio.run(main)
"""
HOSTILE = """
setsid {sleep} &
(setsid {sleep} &) &
(env -i setsid $(command -v sleep) {number} &)
(trap '' TERM HUP INT; setsid {sleep} &)
"""


def hostile(witness: Witness) -> str:
    return HOSTILE.format(sleep=witness.sleep, number=witness.number)


async def test_what_a_command_leaves_behind_ends_with_it(place: Place, witness: Witness) -> None:
    done, said = await place.run(f"{hostile(witness)}\nexit 3")
    assert done == Finished(3, timed_out=False), said
    assert witness.alive() == []


async def test_a_cancellation_ends_all_of_it(place: Place, witness: Witness) -> None:
    confined = await place.confined(place.repo)
    command = f"{hostile(witness)}\necho it is there; {witness.sleep}"
    with trio.fail_after(60), trio.CancelScope() as scope:
        await run_command(confined, command, cwd=place.repo, env=ENV, timeout=None, on_output=lambda _: scope.cancel())
    assert scope.cancelled_caught
    assert witness.alive() == []


def test_nothing_is_left_two_seconds_after_the_executor_is_killed(place: Place, witness: Witness) -> None:
    if not trio.run(works, place):
        pytest.skip(f"{place.level} does not work here")
    command = f"{hostile(witness)}\necho it is there; {witness.sleep}"
    argv = [sys.executable, "-c", EXECUTOR, place.level, str(place.repo), command, ENV["PATH"]]
    env = {"PYTHONPATH": str(Path(agentd.__path__[0]).parent), **ENV}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=env) as executor:
        assert executor.stdout is not None
        assert executor.stdout.readline() == b"there\n"
        executor.kill()
    assert witness.gone_within(2)


async def works(place: Place) -> bool:
    return (await find_means(place.containment, [place.level])).level is place.level
