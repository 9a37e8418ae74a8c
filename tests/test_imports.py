"""Imports point down: DESIGN, Rooms. And what has to start fast imports little."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import agentd

PACKAGE = Path(agentd.__file__).parent
FLOORS = (  # from the ground up; a room may import what is on a lower floor, and itself
    {"bundles"},
    {"__init__", "domain", "errors"},
    {"config"},
    {"wire"},
    {"sandbox", "store"},
    {"providers", "workspace"},
    {"tools"},
    {"daemon", "engine"},
    {"faces"},
    {"cli"},
    {"__main__"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
VENDORED = {"attrs", "cattrs", "h11", "trio", "trio_websocket"}
SLOW = {"trio", "attr", "cattrs", "h11", "argparse", "dataclasses", "asyncio", "ssl", "inspect"}

ONE_API = {"chat": {"runs"}}  # faces that are parts of one API: the first build on what the second have for all of it

MODULES = {path.relative_to(PACKAGE).with_suffix("").parts: path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, at any depth in it. `from a import b` may mean the module a.b."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(imported: str) -> str:
    """The first name below agentd: a room or one of the single modules."""
    name = [*imported.split("."), "__init__"][1]
    return name if name in FLOOR_OF else "__init__"


@pytest.mark.parametrize("parts", MODULES, ids="/".join)
def test_imports_point_down(parts: tuple[str, ...]) -> None:
    room = parts[0]
    ours = {name for name in imports_of(MODULES[parts]) if name.split(".")[0] == "agentd"}
    climbs = {name for name in ours if room_of(name) != room and FLOOR_OF[room_of(name)] >= FLOOR_OF[room]}
    assert not climbs


@pytest.mark.parametrize("parts", [parts for parts in MODULES if parts[0] == "faces" and len(parts) > 2], ids="/".join)
def test_no_face_imports_another(parts: tuple[str, ...]) -> None:
    imported = {name.split(".")[2] for name in imports_of(MODULES[parts]) if name.startswith("agentd.faces.")}
    others = {other[1] for other in MODULES if other[0] == "faces" and len(other) > 2} - {parts[1]}
    assert not imported & others - ONE_API.get(parts[1], set())


@pytest.mark.parametrize("parts", MODULES, ids="/".join)
def test_nothing_is_needed_at_run_time_but_python_and_what_is_vendored(parts: tuple[str, ...]) -> None:
    packages = {name.split(".")[0] for name in imports_of(MODULES[parts])}
    assert packages <= sys.stdlib_module_names | VENDORED | {"agentd"}


@pytest.mark.parametrize("argv", [["--version"], ["help"], ["--help"], ["help", "run"], []], ids=" ".join)
def test_what_needs_no_server_starts_without_its_libraries(argv: list[str]) -> None:
    program = f"import sys; from agentd.cli import main; main({argv}); print(*sys.modules, sep='\\n')"
    command = [sys.executable, "-S", "-c", program]  # -S: what site-packages bring along at every start is not ours
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert not SLOW & set(done.stdout.splitlines())


def test_a_daemon_starts_without_what_looks_into_workspaces() -> None:
    program = "import sys; import agentd.cli.serve; print(*sys.modules, sep='\\n')"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert not set(done.stdout.splitlines()) & {
        "agentd.tools.grep",
        "agentd.workspace.symbols.query",
        "agentd.faces.mcp.tools",
    }
