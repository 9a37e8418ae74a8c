"""An sshd of a test's own on loopback: its own keys, its own configuration, nothing of this machine's."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

START_SECONDS = 20.0
CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {root}/host
AuthorizedKeysFile {root}/user.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
"""


@attrs.frozen
class Sshd:
    root: Path
    port: int

    @property
    def host(self) -> str:
        """How it is reached: the first words of a template, up to the name of the host."""
        key = f"-F none -i {self.root}/user -p {self.port} -l {getpass.getuser()}"
        return (
            f"{key} -oUserKnownHostsFile={self.root}/known -oStrictHostKeyChecking=no -oBatchMode=yes -oLogLevel=ERROR"
        )


@contextmanager
def open_sshd(program: str, root: Path) -> Iterator[Sshd]:
    root.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / name)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (root / "config").write_text(CONFIG.format(root=root, port=port))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # Debian's privilege separation directory; made at boot
    log = root / "log"
    argv = [program, "-D", "-f", str(root / "config"), "-E", str(log)]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as process:
        try:
            wait_for(port, process, log)
            yield Sshd(root, port)
        finally:
            process.terminate()


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"sshd did not start:\n{log.read_text()}") from None
            time.sleep(0.01)
