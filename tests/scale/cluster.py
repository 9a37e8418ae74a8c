"""Slurm on this one machine: munged, slurmctld and a few slurmd, all ours, below one directory, gone with the block.

Each node is a slurmd of its own. Where namespaces can be made it gets some: a network with an address that is not
loopback, and processes that all end when its power is cut. Elsewhere nodes are several slurmd on one host, each with a
port. Debian's Slurm is built for that (--enable-multiple-slurmd).
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import attrs

from tests.launchers.processes import children, kill, processes

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "squeue", "scancel", "sinfo")
UP_SECONDS = 30.0
NODE_CPUS = 2
CONFIG = """\
ClusterName=agentd
SlurmctldHost={host}({head})
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={root}/munge.sock
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/%n.spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout={slurmd_seconds}
KillWait=2
"""


@attrs.frozen
class Node:
    name: str
    address: str
    process: subprocess.Popen[bytes]  # slurmd, or what holds the node's namespaces
    link: str | None  # its network device on our side, if it has a network


@attrs.frozen
class Cluster:
    root: Path
    head: str  # our address, as nodes reach it
    nodes: list[Node]

    @property
    def conf(self) -> Path:
        return self.root / "slurm.conf"

    @property
    def has_networks(self) -> bool:
        return self.nodes[0].link is not None

    def run(self, *argv: str) -> str:
        """What one of Slurm's programs prints. Raises CalledProcessError."""
        env = {**os.environ, "SLURM_CONF": str(self.conf)}
        return subprocess.run(argv, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout

    def jobs(self) -> list[str]:
        """Id, state and comment of every job that has not ended."""
        return self.run("squeue", "-h", "-o", "%A %T %k").splitlines()

    def nodes_in(self, state: str) -> list[str]:
        return self.run("sinfo", "-h", "-N", "-t", state, "-o", "%N").split()

    def node_of(self, job: str) -> Node:
        [name] = self.run("squeue", "-h", "-j", job, "-o", "%N").split()
        return next(node for node in self.nodes if node.name == name)

    def cut_power(self, node: Node) -> None:
        """Its slurmd and all that it started, at once, without a word."""
        jobs = self.run("squeue", "-h", "-w", node.name, "-o", "%A").split()
        steps = [pid for job in jobs for pid in processes(f"slurmstepd: [{job}.")]
        kill(
            [node.process.pid, *children(node.process.pid), *(each for pid in steps for each in [pid, *children(pid)])]
        )

    def cut_network(self, node: Node, *, up: bool = False) -> None:
        assert node.link is not None
        subprocess.run(["ip", "link", "set", node.link, "up" if up else "down"], check=True)


# --- Up and down --------------------------------------------------------------------------------------------------


@contextmanager
def open_cluster(root: Path, count: int = 2, *, slurmd_seconds: int = 10, networks: bool = False) -> Iterator[Cluster]:
    """A cluster whose nodes are idle. As root. Its directory has to have a short path, and be there."""
    root.chmod(0o755)  # munge wants that
    (root / "state").mkdir()
    with ExitStack() as stack:
        link = stack.enter_context(bridge()) if networks else None
        head = "127.0.0.1" if link is None else f"{link}.1"
        names = [f"n{number}" for number in range(1, count + 1)]
        addresses = [head if link is None else f"{link}.{number + 10}" for number in range(1, count + 1)]
        write_config(root, head, names, addresses, slurmd_seconds)
        stack.enter_context(munge(root))
        env = {**os.environ, "SLURM_CONF": str(root / "slurm.conf")}
        stack.enter_context(program(["slurmctld", "-D", "-i"], root, "slurmctld", env))
        nodes = []
        for name, address in zip(names, addresses, strict=True):
            nodes.append(stack.enter_context(node(root, name, address, env, networks=networks)))
        cluster = Cluster(root, head, nodes)
        wait_until_idle(cluster)
        yield cluster


def write_config(root: Path, head: str, names: Sequence[str], addresses: Sequence[str], slurmd_seconds: int) -> None:
    host = socket.gethostname().split(".")[0]  # as slurmctld calls it
    [port, *ports] = free_ports(1 + len(names))
    lines = [CONFIG.format(root=root, host=host, head=head, port=port, slurmd_seconds=slurmd_seconds)]
    for name, address, one in zip(names, addresses, ports, strict=True):
        where = f"NodeHostname={host} NodeAddr={address} Port={one}"
        lines.append(f"NodeName={name} {where} CPUs={NODE_CPUS} RealMemory=8000 State=UNKNOWN\n")
    lines.append("PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n")
    (root / "slurm.conf").write_text("".join(lines))


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("", 0))).getsockname()[1] for _ in range(count)]


@contextmanager
def program(argv: Sequence[str], root: Path, name: str, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Ended with the block, and what it started with it; also if we are killed."""
    with (root / f"{name}.out").open("wb") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *argv],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill([*children(process.pid), process.pid])
        process.wait()


@contextmanager
def munge(root: Path) -> Iterator[None]:
    key = root / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    files = [f"--{name}-file={root}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    argv = ["munged", "--foreground", "--force", f"--socket={root}/munge.sock", *files]
    with program(argv, root, "munged", dict(os.environ)) as process:
        wait(lambda: (root / "munge.sock").exists(), process, root / "munged.out")
        yield


@contextmanager
def node(root: Path, name: str, address: str, env: dict[str, str], *, networks: bool) -> Iterator[Node]:
    slurmd = ["slurmd", "-D", "-N", name]
    if not networks:
        with program(slurmd, root, name, env) as process:
            yield Node(name, address, process, None)
        return
    gate = root / f"{name}.gate"
    os.mkfifo(gate)
    begin = f"read go < {gate} && ip link set lo up && exec {' '.join(slurmd)}"
    isolated = ["unshare", "--net", "--pid", "--ipc", "--mount", "--fork", "--kill-child", "--mount-proc"]
    with (
        program([*isolated, "sh", "-c", begin], root, name, env) as process,
        link(address, process.pid) as device,
    ):
        gate.write_text("go\n")
        yield Node(name, address, process, device)


def wait_until_idle(cluster: Cluster) -> None:
    def is_idle() -> bool:
        with suppress(subprocess.CalledProcessError):
            return len(set(cluster.nodes_in("idle"))) == len(cluster.nodes)
        return False

    wait(is_idle, cluster.nodes[0].process, cluster.root / "n1.log")


def wait(true: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + UP_SECONDS
    while not true():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} is not up:\n{log.read_text() if log.exists() else ''}")
        time.sleep(0.02)


# --- Networks -----------------------------------------------------------------------------------------------------

BRIDGE = "agentdscale"


def can_make_networks() -> bool:
    argv = ["unshare", "--net", "--pid", "--mount", "--fork", "ip", "link", "add", "probe", "type", "veth"]
    try:
        return os.geteuid() == 0 and subprocess.run(argv, stderr=subprocess.DEVNULL).returncode == 0
    except FileNotFoundError:
        return False


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextmanager
def bridge() -> Iterator[str]:
    """The network's first three numbers; we are .1 in it."""
    network = f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(256)}"
    subprocess.run(["ip", "link", "del", BRIDGE], stderr=subprocess.DEVNULL)  # of one that was killed
    ip("link", "add", BRIDGE, "type", "bridge")
    try:
        ip("addr", "add", f"{network}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        yield network
    finally:
        ip("link", "del", BRIDGE)


@contextmanager
def link(address: str, pid: int) -> Iterator[str]:
    """A cable from the bridge to the network of *pid*, which gets *address*. The name of our end."""
    ours, theirs = f"agd{secrets.token_hex(4)}", "eth0"
    wait_for_own_network(pid)
    ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", str(pid))
    try:
        ip("link", "set", ours, "master", BRIDGE, "up")
        for words in (["addr", "add", f"{address}/24", "dev", theirs], ["link", "set", theirs, "up"]):
            subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", *words], check=True)
        yield ours
    finally:
        subprocess.run(["ip", "link", "del", ours], stderr=subprocess.DEVNULL)  # it goes with the namespace too


def wait_for_own_network(pid: int) -> None:
    ours = Path("/proc/self/ns/net").readlink()
    deadline = time.monotonic() + UP_SECONDS
    while Path(f"/proc/{pid}/ns/net").readlink() == ours:
        if time.monotonic() > deadline:
            raise RuntimeError("no network namespace was made")
        time.sleep(0.01)
