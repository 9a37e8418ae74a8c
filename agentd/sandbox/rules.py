"""A policy as rules about paths: of those that apply to a path, the one of the deepest directory holds."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import attrs

from agentd.sandbox.gitfiles import GitFiles, git_files
from agentd.sandbox.policy import Network, Policy, Proxy, exists, reachable

ROOT = Path("/")
FRESH = (Path("/tmp"), Path("/var/tmp"), Path("/run"), Path("/var/run"))  # replaced
KEPT = (Path("/run/current-system"), Path("/run/opengl-driver"))  # where NixOS has its programs
RESOLVER = Path("/etc/resolv.conf")
PROXY_SOCKET = Path("/run/agentd-proxy.sock")  # inside


class Access(StrEnum):
    READ = "read"
    WRITE = "write"
    HIDE = "hide"  # a directory is empty, a file cannot be opened
    FRESH = "fresh"  # an empty directory that is writable


@attrs.frozen
class Rule:
    path: Path
    access: Access
    source: Path | None = None  # what is there inside, if it is another path's

    @property
    def depth(self) -> int:
        return len(self.path.parts)


@attrs.frozen
class Rules:
    """*each*: parents before what is below them."""

    each: tuple[Rule, ...]
    git: GitFiles

    def of(self, access: Access) -> tuple[Path, ...]:
        return tuple(rule.path for rule in self.each if rule.access is access)

    def with_sockets(self) -> Rules:
        """These, and one for each unix socket that there is now. A mount that is read-only keeps nobody from connecting
        to one; where commands may write, sockets are theirs."""
        open_to_all = (path for path in _sockets() if self.nearest(path).access is Access.READ and reachable(path))
        return Rules((*self.each, *(Rule(path, Access.HIDE) for path in open_to_all)), self.git)

    def nearest(self, path: Path) -> Rule:
        """The rule that holds for a path."""
        return max((rule for rule in self.each if path.is_relative_to(rule.path)), key=lambda rule: rule.depth)


def rules_of(policy: Policy) -> Rules:
    """To be made once, before the first command of a job: a command that runs may change what is looked at here."""
    writable = tuple(dict.fromkeys(path for path in (policy.workspace, *policy.writable) if exists(path)))
    git = git_files(policy.workspace, writable[1:])
    rules = {ROOT: Rule(ROOT, Access.READ)}
    for rule in (
        *_machine(policy),
        *(Rule(path, Access.WRITE) for path in writable),
        *(Rule(path, Access.WRITE) for path in git.writable),
        *(Rule(path, Access.READ) for path in git.protected),
        *(Rule(path, Access.HIDE) for path in policy.hidden if _is_in_reach(path)),
    ):
        rules[rule.path] = rule
    for path in _pins(rules, git):
        rules.setdefault(path, Rule(path, Access.WRITE))
    each = sorted(rules.values(), key=lambda rule: (rule.depth, rule.path))
    return Rules(tuple(rule for rule in each if not _is_gone(rule, rules)), git)


def _is_in_reach(path: Path) -> bool:
    """What is not cannot be hidden, and need not be."""
    return exists(path) and reachable(path)


def _machine(policy: Policy) -> Iterator[Rule]:
    for path in FRESH:
        if path.is_dir() and not path.is_symlink():
            yield Rule(path, Access.FRESH, policy.scratch if path == FRESH[0] else None)
    for path in KEPT:
        if exists(path):
            yield Rule(path, Access.READ, path)
    if isinstance(policy.network, Proxy):
        yield Rule(PROXY_SOCKET, Access.READ, policy.network.socket)
    resolver = Path(os.path.realpath(RESOLVER))
    if policy.network is Network.ALL and resolver.is_file() and any(path in resolver.parents for path in FRESH):
        yield Rule(resolver, Access.READ, resolver)


def _sockets() -> Iterator[Path]:
    try:
        lines = Path("/proc/net/unix").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return
    for path in {Path(name) for line in lines if (name := line[line.find("/") :]).startswith("/")}:
        if _is_socket(path):
            yield path


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode) and Path(os.path.realpath(path)) == path
    except OSError:
        return False


def _pins(rules: dict[Path, Rule], git: GitFiles) -> set[Path]:
    """The directories between a writable one and a rule below it. A directory that holds a mount can be moved away, and
    another put in its place; one that is a mount cannot."""
    return {
        between
        for path, rule in rules.items()
        if rule.access is not Access.WRITE or path in git.writable
        for between in _between(path, rules)
    }


def _between(path: Path, rules: dict[Path, Rule]) -> list[Path]:
    found: list[Path] = []
    for parent in path.parents:
        if parent in rules:
            return found if rules[parent].access is Access.WRITE else []
        found.append(parent)
    return []


def _is_gone(rule: Rule, rules: dict[Path, Rule]) -> bool:
    """Whether what it would forbid is not there, as a directory above it is empty already."""
    above = next((rules[parent] for parent in rule.path.parents if parent in rules), None)
    return above is not None and above.access in (Access.FRESH, Access.HIDE) and _forbids(rule)


def _forbids(rule: Rule) -> bool:
    return rule.access is Access.HIDE or (rule.access is Access.READ and rule.source is None)
