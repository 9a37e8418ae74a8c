"""A workspace and a home directory with nothing in them, and a short way of filling them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import attrs
import pytest

from agentd.domain import Plugin
from agentd.workspace.extensions import Extensions, load


@attrs.frozen
class Ground:
    workspace: Path
    home: Path
    plugin: Path

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Files by their path: below the workspace, or, from `~/` on, below the home directory, from `+/` on below the
        plugin's."""
        for name, content in files.items():
            top = {"~": self.home, "+": self.plugin}.get(name[0], self.workspace)
            path = top / name.removeprefix("~/").removeprefix("+/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def load(self, sources: Collection[str] = ("user", "project"), *, plugin: bool = False) -> Extensions:
        return load(self.workspace, self.home, sources, [Plugin("p", str(self.plugin))] if plugin else [])


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    ground = Ground(tmp_path / "workspace", tmp_path / "home", tmp_path / "plugin")
    ground.workspace.mkdir()
    ground.home.mkdir()
    return ground
