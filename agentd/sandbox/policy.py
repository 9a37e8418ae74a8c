"""What a sandboxed command may touch, as values. How it is enforced: enclosure.py; by which means: levels.py."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path

import attrs

GIB = 1 << 30
# Below a home directory. Not here, because builds need them: ~/.gitconfig, ~/.m2/settings.xml, ~/.gradle.
SECRETS = (
    *(".ssh", ".gnupg", ".aws", ".azure", ".kube", ".oci", ".config/gcloud", ".config/gh", ".config/hub"),
    *(".config/doctl", ".config/rclone", ".config/op", ".config/sops", ".config/age", ".config/github-copilot"),
    *(".netrc", ".npmrc", ".pypirc", ".git-credentials", ".config/git/credentials", ".docker/config.json"),
    *(".config/containers/auth.json", ".cargo/credentials", ".cargo/credentials.toml", ".gem/credentials"),
    *(".terraform.d/credentials.tfrc.json", ".vault-token", ".databrickscfg", ".s3cfg", ".boto", ".pgpass", ".my.cnf"),
    *(".password-store", ".local/share/keyrings", ".pki", ".Xauthority", ".ICEauthority"),
    *(".bash_history", ".zsh_history", ".python_history", ".node_repl_history", ".psql_history", ".mysql_history"),
    *(".sqlite_history", ".rediscli_history", ".lesshst", ".viminfo", ".local/share/fish/fish_history"),
    *(".mozilla", ".thunderbird", ".config/google-chrome", ".config/chromium", ".config/BraveSoftware"),
    *(".config/microsoft-edge", ".config/vivaldi", ".config/opera", "snap/firefox", "snap/chromium", ".var/app"),
    *(".claude.json", ".claude/.credentials.json", ".codex/auth.json", ".gemini/oauth_creds.json"),
    *(".config/agentd", ".local/share/agentd", ".local/state/agentd"),
)
MACHINE_SECRETS = (
    *("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/sudoers.d"),
    *("/etc/ssl/private", "/etc/krb5.keytab", "/etc/kubernetes", "/etc/rancher", "/etc/agentd"),
    *("/var/lib/docker", "/var/lib/containerd", "/var/lib/kubelet", "/var/spool/cron", "/lost+found"),
)


class SandboxLevel(StrEnum):
    """The means, the strongest first. What each stops: agentd/help/sandbox.md."""

    BWRAP = "bwrap"
    UNSHARE = "unshare+landlock"
    LANDLOCK = "landlock"
    NONE = "none"


class Network(StrEnum):
    NONE = "none"  # a loopback of its own
    ALL = "all"


@attrs.frozen
class Proxy:
    """No network, but for this unix socket of a proxy."""

    socket: Path


@attrs.frozen
class Limits:
    """Of one process, but *processes*: of the user in this sandbox, which the kernel does not apply to root. None: as
    the executor's own. Bytes and seconds. Memory has no limit at first, as Go, Java and sanitizers reserve terabytes
    that they never use; commands are the first that the kernel ends where it runs out."""

    address_space: int | None = None
    data: int | None = None
    file_size: int | None = 64 * GIB
    processes: int | None = 8192
    open_files: int | None = 65536
    cpu_seconds: int | None = 4 * 3600


@attrs.frozen
class Policy:
    """Absolute and resolved paths. Everything is readable but *hidden*, nothing is writable but the workspace,
    *writable*, what git needs of its own files, and private temporary directories."""

    workspace: Path
    writable: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    network: Network | Proxy = Network.NONE
    limits: Limits = Limits()
    scratch: Path | None = None  # what is /tmp inside; None: each command has an empty one


def secrets(env: Mapping[str, str], allowed: Iterable[Path] = ()) -> tuple[Path, ...]:
    """What of this machine no command should read, as far as it exists; not what is *allowed* by its name."""
    named = [home / name for home in _homes(env) for name in SECRETS]
    if config := env.get("XDG_CONFIG_HOME"):
        named += [Path(config, name.removeprefix(".config/")) for name in SECRETS if name.startswith(".config/")]
    named += map(Path, MACHINE_SECRETS)
    named += Path("/etc/ssh").glob("ssh_host_*_key")
    found = dict.fromkeys(Path(os.path.realpath(path)) for path in named if exists(path))
    return tuple(path for path in found if path not in allowed)


def _homes(env: Mapping[str, str]) -> Iterator[Path]:
    """Those of this user; for root, those of everybody."""
    if home := env.get("HOME"):
        yield Path(home)
    for user in pwd.getpwall():
        if user.pw_uid == os.getuid() or (os.getuid() == 0 and user.pw_dir.startswith(("/home/", "/root"))):
            yield Path(user.pw_dir)


def exists(path: Path) -> bool:
    """False also where it cannot be known."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def reachable(path: Path) -> bool:
    """Whether there is a way to *path* for this user without capabilities, which root has none of in a sandbox."""
    return all(_passes(parent) for parent in path.parents)


def _passes(directory: Path) -> bool:
    try:
        found = directory.stat()
    except OSError:
        return False
    mine = 0o100 if found.st_uid == os.getuid() else 0o010 if found.st_gid in (os.getgid(), *os.getgroups()) else 0o001
    return bool(found.st_mode & mine)
