"""What MCP servers cost a query at its start: ten small ones, and ten of which one is never there.

They are connected to side by side, and `init` waits for them, at most for the connect timeout of five seconds.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.bench_agent import Server, agent
from tests.bench.bench_start import tiny_repository
from tests.bench.table import Row
from tests.tools.mcp import fake

SERVERS, ROUNDS = 10, 5
CONNECT_MS = 5000


def rows(peers: str | None) -> Iterator[Row]:
    script = json.dumps({"tools": [fake.tool("look")]})
    small = {"command": sys.executable, "args": ["-I", "-S", str(Path(fake.__file__)), script]}
    ten = {f"s{number}": small for number in range(SERVERS)}
    hanging = {**ten, "s0": {"command": "sleep", "args": ["60"]}}
    gone = {**ten, "s0": {"command": "there-is-no-such-program"}}
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        tiny_repository(place / "repo")
        with agent(place) as server:
            alone = first_ms(server, {}, ROUNDS)
            yield Row(
                "first event of a query with ten MCP servers", first_ms(server, ten, ROUNDS), "ms", "", "none", alone
            )
            yield Row("the same, one is no program", first_ms(server, gone, ROUNDS), "ms", "", "none", alone)
            late = first_ms(server, hanging, 1)
            yield Row("the same, one never answers", late, "ms", f"≤ {CONNECT_MS + 1000}", "none", alone)


def first_ms(server: Server, servers: dict[str, Any], rounds: int) -> float:
    """Median of queries in new sessions."""
    looks = [server.query(mcp_servers=servers) for _ in range(rounds)]
    assert all(stream.count(b'"status":"connected"') >= len(servers) - 1 for _, stream in looks)
    return 1000 * statistics.median(first for first, _ in looks)
