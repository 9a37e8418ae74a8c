"""What a model is told when a command has failed and the sandbox may be why. A guess from what the command said: only
the command knows what it tried."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from agentd.sandbox.policy import Limits, Network, Policy, Proxy, SandboxLevel

DENIED = re.compile(
    r"(?i)read-only file system|permission denied|operation not permitted|device or resource busy|cross-device link"
    r"|\bE(ROFS|ACCES|PERM|BUSY|XDEV)\b"
)
UNREACHED = re.compile(
    r"(?i)network is unreachable|could not resolve|name resolution|name or service not known|connection refused"
    r"|address family not supported|no route to host|couldn't connect|failed to connect"
    r"|\b(ENETUNREACH|EAI_AGAIN|ENOTFOUND|ECONNREFUSED|EAFNOSUPPORT)\b"
)
AFTER = "No command can change that: work within it, or say in your answer what is needed"
SIGNALS = {128 + signal.SIGXCPU: "cpu_seconds", 128 + signal.SIGXFSZ: "file_size"}
NO_MEMORY = r"cannot allocate memory|memoryerror|out of memory"
LIMITS = {
    "cpu_seconds": (r"cpu time limit exceeded", "seconds of processor time for a process"),
    "file_size": (r"file (size limit exceeded|too large)|\bEFBIG\b", "bytes for a file"),
    "processes": (r"fork.*resource temporarily unavailable|can(not|'t) (fork|start new)", "processes"),
    "open_files": (r"too many open files|\bEMFILE\b", "open files for a process"),
    "data": (NO_MEMORY, "bytes of memory for a process"),
    "address_space": (NO_MEMORY, "bytes of addresses for a process"),
}


def terms(policy: Policy, level: SandboxLevel) -> str:
    """What commands can do, in a sentence for a model."""
    places = [policy.workspace, *policy.writable, *_temporary(policy, level)]
    if isinstance(policy.network, Proxy):
        network = "reach only the hosts that this job names"
    else:
        network = "have no network" if policy.network is Network.NONE else "have the network"
    return (
        f"Commands run in a sandbox: they can write only below {', '.join(map(str, places))}, not to git's hooks and "
        f"configuration, and {network}"
    )


def explain(policy: Policy, level: SandboxLevel, exit_code: int, said: str) -> list[str]:
    """Lines for who sees a command fail: which limit it has met, and what the sandbox forbids; none if neither seems
    to be why."""
    lines = [f"the limit here is {words}" for words in _limits(policy.limits, exit_code, said)]
    if DENIED.search(said) or (policy.network is not Network.ALL and UNREACHED.search(said)):
        lines.append(f"{terms(policy, level)}. {AFTER}")
    return lines


def _limits(limits: Limits, exit_code: int, said: str) -> list[str]:
    return [
        f"{value:,} {unit}"
        for name, (words, unit) in LIMITS.items()
        if (value := getattr(limits, name))
        and (SIGNALS.get(exit_code) == name or re.search(words, said, re.IGNORECASE))
    ]


def _temporary(policy: Policy, level: SandboxLevel) -> list[Path]:
    if level is SandboxLevel.LANDLOCK:
        return [policy.scratch] if policy.scratch else []
    return [Path("/tmp")]  # a private one
