"""A containment whose commands are in a sandbox: a policy made into what each level's means take.

What the rules are is looked up once, when it is made. A command that runs may rename directories and put links in
their place, so nothing that it could reach is looked at for the next one.
"""

from __future__ import annotations

import marshal
import os
import resource
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from types import CodeType, ModuleType

import attrs

from agentd.errors import ToolFailed
from agentd.sandbox import confine, guard, landlock
from agentd.sandbox.child import Child
from agentd.sandbox.contain import Containment, Level
from agentd.sandbox.explain import explain
from agentd.sandbox.gitfiles import GitFiles, clean
from agentd.sandbox.policy import Limits, Network, Policy, Proxy, SandboxLevel
from agentd.sandbox.rules import PROXY_SOCKET, Access, Rule, Rules, rules_of
from agentd.sandbox.seccomp import INET, INET6, NETLINK, ORDINARY, make_filter
from agentd.sandbox.trees import GUARD_SECONDS, Namespace, Program, Tree

TMP = "/tmp"  # a private one
LOADED = {"GCONV_PATH", "GLIBC_TUNABLES", "LOCPATH", "OPENSSL_CONF", "OPENSSL_MODULES"}  # and LD_*
LIMITS = (  # of ulimit: its letter and unit; of Limits; of resource
    ("v", 1024, "address_space", "RLIMIT_AS"),
    ("d", 1024, "data", "RLIMIT_DATA"),
    ("f", 1024, "file_size", "RLIMIT_FSIZE"),
    ("u", 1, "processes", "RLIMIT_NPROC"),
    ("n", 1, "open_files", "RLIMIT_NOFILE"),
    ("t", 1, "cpu_seconds", "RLIMIT_CPU"),
)


@attrs.frozen
class Means:
    """By what commands are put into a sandbox here. From levels.find_means()."""

    level: SandboxLevel
    prefix: tuple[str, ...] = ()  # bwrap and what does not depend on the policy
    special: tuple[str, ...] = ()  # its /dev and /proc
    abi: int = 0  # of Landlock


@attrs.frozen
class Confined(Containment):
    """See Containment.confined()."""

    policy: Policy = attrs.field(kw_only=True)
    means: Means = attrs.field(kw_only=True)
    rules: Rules = attrs.field(kw_only=True)

    @property
    def sandbox(self) -> SandboxLevel:
        return self.means.level

    def explain(self, exit_code: int, said: str) -> list[str]:
        return explain(self.policy, self.means.level, exit_code, said)

    def _start(self, program: Program) -> Tree:
        program = self._with_tmp(program)
        if isinstance(self.policy.network, Proxy) and self.means.level is not SandboxLevel.LANDLOCK:
            program = _behind_proxy(program)
        tree = self._in_bwrap(program) if self.means.level is SandboxLevel.BWRAP else self._by_confine(program)
        return Cleaned(tree, self.rules.git)

    def _with_tmp(self, program: Program) -> Program:
        """Where temporary files can be made; with Landlock alone nothing is put in the place of another."""
        if self.means.level is not SandboxLevel.LANDLOCK:
            return attrs.evolve(program, env={**program.env, "TMPDIR": TMP})
        return attrs.evolve(program, env={**program.env, "TMPDIR": str(self.policy.scratch or self.policy.workspace)})

    def _in_bwrap(self, program: Program) -> Tree:
        env, loaded = _split(program.env)
        program = attrs.evolve(program, env=env, first=_ulimit(self.policy.limits))
        told = [*self._bwrap(), *(word for item in loaded.items() for word in ("--setenv", *item))]
        words = ["--args", "{}"]
        with ExitStack() as files:
            fds = [_file("policy", os.fsencode("\0".join(told)), files)]
            if code := make_filter():
                fds.append(_file("seccomp", code, files))
                words += ["--seccomp", "{}"]
            prefix = " ".join(words).format(*fds).split()  # a long argv would be what `ps` shows inside
            if self.policy.network is Network.ALL and self.means.abi >= landlock.SCOPED:
                program = through_confine(program, ONLY_SCOPED, files)
            program = attrs.evolve(program, fds=(*program.fds, *fds))
            return Namespace((self.means.prefix[0], *prefix), program)

    def _bwrap(self) -> list[str]:
        """Its words. What has gone since the rules were made is left out."""
        network = () if self.policy.network is Network.ALL else ("--unshare-net",)
        root, *others = self.rules.with_sockets().each
        words = [*self.means.prefix[1:], *network, *_bind(root), *self.means.special]
        hidden = []
        for rule in others:
            words += _bind(rule)
            if rule.access is Access.HIDE and rule.path.is_dir():
                hidden += ["--remount-ro", str(rule.path)]
        return words + hidden

    def _by_confine(self, program: Program) -> Tree:
        order = self._order()
        with ExitStack() as files:
            if self.means.level is SandboxLevel.UNSHARE:  # it keeps all together by itself
                return Helped(through_confine(program, {**order, "parent": os.getpid()}, files))
            if self.level is Level.SUBREAPER:
                return Helped(through_confine(program, order, files, guarded=True))
            return super()._start(through_confine(program, order, files))

    def _order(self) -> dict[str, object]:
        alone = self.means.level is SandboxLevel.LANDLOCK
        network = self.policy.network is Network.ALL
        if alone:  # a socket's name cannot be looked at, and a machine's daemons listen on some
            families: tuple[int, ...] = (INET, INET6, NETLINK) if network else ()
        else:
            families = ORDINARY
        namespaces = 0 if alone else REST | (0 if network else confine.NEWNET)
        return {
            "parent": 0,
            "namespaces": namespaces,
            "mounts": None if alone else [_as_words(rule) for rule in self.rules.with_sockets().each],
            "limits": [("RLIMIT_CORE", 0)]
            + [(name, value) for _, _, field, name in LIMITS if (value := getattr(self.policy.limits, field))],
            "drop": True,
            "landlock": landlock.order(self.means.abi, self.rules, self.policy, alone=alone),
            "filter": make_filter(families, shared=not alone) or b"",
        }


def confined(containment: Containment, policy: Policy, means: Means) -> Confined:
    return Confined(containment.level, containment.prefix, policy=policy, means=means, rules=rules_of(policy))


REST = confine.NEWNS | confine.NEWCGROUP | confine.NEWUTS | confine.NEWIPC | confine.NEWPID


ONLY_SCOPED = {  # where the network is not its own, abstract unix sockets are everybody's
    "parent": 0,
    "namespaces": 0,
    "limits": [],
    "drop": False,
    "landlock": landlock.only_scoped(),
    "filter": b"",
}
START = """
import marshal, os, sys
with open(int(sys.argv[1]), "rb") as file:
    confine, guard, order, parent = marshal.load(file)
module = {"__name__": "confine"}
exec(confine, module)
become = lambda argv: module["run"](order, argv)
if guard:
    keeper = {"__name__": "guard"}
    exec(guard, keeper)
    os._exit(keeper["main"](parent, sys.argv[2:], become))
become(sys.argv[2:])
"""


def through_confine(
    program: Program, order: Mapping[str, object], files: ExitStack, *, guarded: bool = False
) -> Program:
    """*program*, which confine.py becomes when it has done what the order says, below a guard if it is to be *guarded*.
    *files* are to be closed once it has started."""
    env, loaded = _split(program.env)
    told = (_code(confine), _code(guard) if guarded else None, {**order, "env": loaded}, os.getpid())
    descriptor = _file("order", marshal.dumps(told), files)
    argv = (sys.executable, "-I", "-S", "-c", START, str(descriptor), *program.argv)
    return attrs.evolve(program, argv=argv, env=env, command="", fds=(*program.fds, descriptor))


@cache
def _code(module: ModuleType) -> CodeType:
    assert module.__spec__ is not None
    return module.__spec__.loader.get_code(module.__name__)  # type: ignore[no-any-return, union-attr]  # files and zips do


def _file(name: str, data: bytes, files: ExitStack) -> int:
    """One without a name on any disk, to be read from its beginning."""
    descriptor = os.memfd_create(name)
    files.callback(os.close, descriptor)
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _split(env: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What the means may have in their environment, and what only the command has: names of files that are loaded into
    a program, perhaps from the workspace. They would run outside of the sandbox."""
    loaded = {name: value for name, value in env.items() if name.startswith("LD_") or name in LOADED}
    return {name: value for name, value in env.items() if name not in loaded}, loaded


def _bind(rule: Rule) -> list[str]:
    path, source = str(rule.path), str(rule.source or rule.path)
    match rule.access:
        case Access.READ:
            return ["--ro-bind-try", source, path]
        case Access.WRITE:
            return ["--bind-try", source, path]
        case Access.FRESH:
            return ["--bind", source, path] if rule.source else ["--tmpfs", path]
        case Access.HIDE:
            if rule.path.is_dir():
                return ["--tmpfs", path]
            return ["--ro-bind", os.devnull, path] if rule.path.exists() else []


def _as_words(rule: Rule) -> tuple[str, str, str]:
    return str(rule.path), rule.access.value, str(rule.source or "")


def _ulimit(limits: Limits) -> str:
    """What bash is to do first. Not above what holds for this process already."""
    words = ["ulimit -c 0"]
    for letter, unit, field, name in LIMITS:
        wanted, (_, hard) = getattr(limits, field), resource.getrlimit(getattr(resource, name))
        if wanted is not None:
            value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            words.append(f"ulimit -{letter} {value // unit}")
    words.append("echo 500 >/proc/self/oom_score_adj")  # ended before agentd is, where memory runs out
    return f"{{ {'; '.join(words)}; }} 2>/dev/null; "


def _behind_proxy(program: Program) -> Program:
    from agentd.sandbox.netproxy import forwarder_argv

    return attrs.evolve(program, argv=tuple(forwarder_argv(str(PROXY_SOCKET), program.argv)), command="")


class Helped:
    """A tree that a process of ours keeps together, and ends when it is asked to and when the executor dies."""

    def __init__(self, program: Program) -> None:
        self.child = program.spawn([*program.argv])

    async def end(self) -> None:
        self.child.signal(signal.SIGCONT)  # in case the command stopped it
        await self.child.end(GUARD_SECONDS)


class Cleaned:
    """A tree after which is removed what git would run, and nobody could keep it from making."""

    def __init__(self, tree: Tree, git: GitFiles) -> None:
        self.child: Child = tree.child
        self._tree, self._git = tree, git

    async def end(self) -> None:
        await self._tree.end()
        clean(self._git)


@attrs.frozen
class Refused(Containment):
    """Where commands have to be in a sandbox and there is none: each is refused with *why*, a ToolFailed."""

    why: str = attrs.field(kw_only=True, default="")

    def _start(self, program: Program) -> Tree:
        raise ToolFailed(self.why)
