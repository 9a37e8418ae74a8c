"""One whole job of one tool call with a model that answers at once: what agentd itself adds to a model's time.

Everything is cold: no process of ours runs before, and each run makes a session of its own. The model is a service on
loopback in this process, on the other core. Beside it, for scale, is what a Python does that imports trio and ends.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.bench_start import MIB, PYTHON, PYZ, medians, peak_memory, run, tiny_repository
from tests.bench.table import Row
from tests.modelserver import PROTOCOLS, ModelServer, ProtocolName, Turn, call, model_server

ROUNDS = 64  # more than are measured
MEMORY_RUNS = 5
IMPORT = "import sys; sys.path.insert(0, sys.argv[1]); import agentd, trio"
LOOK = Turn("I will look.", calls=(call("Read", file_path="hello.py"),))
ANSWER = Turn("greet() is defined at hello.py:1.")


def rows(peers: str | None) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        repo = tiny_repository(Path(scratch, "repo"))
        for protocol in PROTOCOLS:
            yield from job_rows(protocol, repo, Path(scratch, protocol))


def job_rows(protocol: ProtocolName, repo: Path, data: Path) -> Iterator[Row]:
    what = f"one-tool job, {'Chat Completions' if protocol == 'openai' else 'Messages'}"
    command = (PYTHON, PYZ, "run", "--repo", str(repo), "Where is greet() defined?")
    trio = (PYTHON, "-c", IMPORT, PYZ)
    with model_server(protocol, *(LOOK, ANSWER) * ROUNDS) as server:
        env = environment(server, data)
        ours, theirs = medians(lambda: run(*command, env=env), lambda: run(*trio))
        peak = min(peak_memory(command, env) for _ in range(MEMORY_RUNS))
    yield Row(f"{what}, wall", ours * 1000, "ms", "≤ 300", "python3, import trio", theirs * 1000)
    yield Row(f"{what}, all processes at their peak", peak / MIB, "MiB", "≤ 60")


def environment(server: ModelServer, data: Path) -> dict[str, str]:
    """Of a user who has set this service, and no other."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    variables = {"BASE_URL": server.base_url, "API_KEY": "sk-bench"}
    ours = {f"{server.protocol.upper()}_{name}": value for name, value in variables.items()}
    return {**kept, **ours, "AGENTD_DATA_DIR": str(data)}
