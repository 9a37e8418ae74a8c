"""`agentd serve` of the built file, as systemd would run it, where there is only Python, git and coreutils."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.request import urlopen

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_the_unit_that_it_prints_runs_it(pyz: Path, run: Run, bare: Mapping[str, str], tmp_path: Path) -> None:
    unit = run(pyz, "systemd-unit", "--user").stdout
    [command] = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    argv = [*shlex.split(command), "--listen", "127.0.0.1:0", "--manager", "127.0.0.1:0", "--agent", "127.0.0.1:0"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        env = {"HOME": bare["HOME"], "PATH": bare["PATH"], "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with subprocess.Popen(
            argv, env=env, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as daemon:
            try:
                told = systemd.recv(1000).decode()
                assert told.startswith("READY=1\n")
                [address] = re.findall(r"http://\S+", told)
                with urlopen(f"{address}/health/ready", timeout=30) as answer:
                    assert answer.status == 200
            finally:
                daemon.terminate()
            assert systemd.recv(1000) == b"STOPPING=1"
            assert daemon.wait(30) == 0
    assert (Path(bare["HOME"]) / ".local/state/agentd/tokens/admin").stat().st_mode & 0o777 == 0o600
