"""What Landlock is asked for: rights to paths, which hold for all that is below them and cannot be taken back there.

So to hide a file is to allow all of its neighbours one by one, and what is below a writable directory is writable.
The rules of the kernel: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from agentd.sandbox.policy import Network, Policy
from agentd.sandbox.rules import ROOT, Access, Rules

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
FILES = (0, (1 << 13) - 1, (1 << 14) - 1, (1 << 15) - 1, (1 << 15) - 1, (1 << 16) - 1)  # by ABI; the last for all above
TCP, SCOPES = 3, 3  # bind and connect; abstract sockets and signals
NET, SCOPED = 4, 6  # the ABI from which they are known
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
READ = EXECUTE | READ_FILE | READ_DIR
DEVICES = tuple(
    f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "fd")
)  # not pts: terminals of others
DEV = Path("/dev")
MAX_ENTRIES = 20_000


def order(abi: int, rules: Rules, policy: Policy, *, alone: bool) -> dict[str, object] | None:
    """For confine.restrict(). *alone*: there are no mounts that hide anything."""
    if abi == 0:
        return None
    files = FILES[min(abi, len(FILES) - 1)]
    net = TCP if abi >= NET and alone and policy.network is not Network.ALL else 0
    rights = dict.fromkeys(("/",), READ_DIR if alone else READ)
    for path in readable(rules) if alone else ():
        rights[path] = READ
    for path in written(rules, policy, alone=alone):
        rights[path] = files
    paths = [(path, right & files, right & files & OF_FILES) for path, right in rights.items()]
    scoped = SCOPES if abi >= SCOPED else 0
    size = 24 if abi >= SCOPED else 16 if abi >= NET else 8
    return {"files": files, "net": net, "scoped": scoped, "size": size, "paths": paths}


def only_scoped() -> dict[str, object]:
    return {"files": 0, "net": 0, "scoped": SCOPES, "size": 24, "paths": []}


def readable(rules: Rules) -> Iterator[str]:
    """All there is but what is hidden: the neighbours of each directory on the way to that."""
    hidden = {*rules.of(Access.HIDE), *rules.of(Access.FRESH), DEV}
    on_the_way = {ROOT, *(parent for path in hidden for parent in path.parents)}
    for directory in on_the_way:
        if rules.nearest(directory).access is Access.READ:
            yield from (str(path) for path in _entries(directory) if path not in on_the_way | hidden)
    for rule in rules.each:
        is_kept = rule.access is Access.READ and rule.source == rule.path and rule.path not in on_the_way
        if is_kept or rule.access is Access.WRITE:
            yield str(rule.path)
    yield from DEVICES


def written(rules: Rules, policy: Policy, *, alone: bool) -> Iterable[str]:
    paths = list(map(str, rules.of(Access.WRITE)))
    if alone:
        return [*paths, *([str(policy.scratch)] if policy.scratch else []), *DEVICES]
    return [*paths, *map(str, rules.of(Access.FRESH)), "/dev", "/proc"]


def _entries(directory: Path) -> Iterator[Path]:
    try:
        with os.scandir(directory) as entries:
            for _, entry in zip(range(MAX_ENTRIES), entries, strict=False):
                if not entry.is_symlink():  # where it leads to has a right of its own
                    yield directory / entry.name
    except OSError:
        return
