"""What a job gets that asks for a sandbox, or does not, on a machine that has one, or has none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from agentd.domain import Sandbox
from agentd.errors import ToolFailed
from agentd.sandbox import levels
from agentd.sandbox.contain import GROUP, Containment, Level, probe, run_command
from agentd.sandbox.enclosure import Confined, Means
from agentd.sandbox.levels import Confinement, SandboxLevel, confine_for, find_means, offline
from agentd.sandbox.policy import Network, Proxy

ENV = {"PATH": os.environ.get("PATH", os.defpath)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path.resolve()


@pytest.fixture
def have(monkeypatch: pytest.MonkeyPatch) -> Callable[[SandboxLevel], None]:
    """Say what this machine has."""

    def say(level: SandboxLevel) -> None:
        async def find(_: Containment) -> Means:
            return Means(level, ("bwrap",))

        monkeypatch.setattr(levels, "find_means", find)

    return say


async def test_a_site_without_a_sandbox_probes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "find_means", None)  # which cannot be called
    assert await confine_for(GROUP, None, "off", tmp_path) == Confinement(GROUP)
    assert await confine_for(GROUP, Sandbox(enabled=False), "require", tmp_path) == Confinement(GROUP)


@pytest.mark.parametrize(
    ("asked", "mode", "refused"),
    [
        (None, "best-effort", False),
        (None, "require", True),
        (Sandbox(), "off", True),
        (Sandbox(), "best-effort", True),
    ],
)
async def test_where_there_is_none_who_requires_one_has_commands_refused(
    tmp_path: Path, have: Callable[[SandboxLevel], None], asked: Sandbox | None, mode: str, refused: bool
) -> None:
    have(SandboxLevel.NONE)
    made = await confine_for(GROUP, asked, mode, tmp_path)  # type: ignore[arg-type]
    assert (made.level, made.active, bool(made.refusal)) == (SandboxLevel.NONE, True, refused)
    if not refused:
        assert made.containment == GROUP
        return
    with pytest.raises(ToolFailed, match="No command can be run"):
        made.containment.start("true", tmp_path, ENV)
    with pytest.raises(ToolFailed, match="No command can be run"):
        made.containment.service(["true"], tmp_path, ENV)


@pytest.mark.parametrize("mode", ["best-effort", "require"])
async def test_where_there_is_one_it_is_used(tmp_path: Path, have: Callable[[SandboxLevel], None], mode: str) -> None:
    have(SandboxLevel.LANDLOCK)
    made = await confine_for(GROUP, None, mode, tmp_path)  # type: ignore[arg-type]
    assert (made.level, made.active, made.refusal) == (SandboxLevel.LANDLOCK, True, "")
    assert made.containment.sandbox is SandboxLevel.LANDLOCK


@pytest.mark.parametrize(
    ("asked", "proxy", "network"),
    [
        (Sandbox(), None, Network.NONE),
        (Sandbox(network=True), None, Network.ALL),
        (Sandbox(network=True, hosts=("pypi.org",)), None, Network.NONE),
        (Sandbox(network=True, hosts=("pypi.org",)), Path("/proxy"), Proxy(Path("/proxy"))),
        (Sandbox(hosts=("pypi.org",)), Path("/proxy"), Network.NONE),
    ],
)
async def test_the_network_is_what_was_asked_for(
    tmp_path: Path,
    have: Callable[[SandboxLevel], None],
    asked: Sandbox,
    proxy: Path | None,
    network: Network | Proxy,
) -> None:
    have(SandboxLevel.BWRAP)
    made = await confine_for(GROUP, asked, "off", tmp_path, proxy=proxy)
    assert isinstance(made.containment, Confined)
    assert made.containment.policy.network == network


async def test_allowed_paths_are_resolved_and_those_that_are_not_there_ignored(
    root: Path, have: Callable[[SandboxLevel], None]
) -> None:
    have(SandboxLevel.BWRAP)
    (root / "data").mkdir()
    (root / "space").mkdir()
    (root / "space" / "link").symlink_to(root / "data")
    made = await confine_for(GROUP, Sandbox(paths=("link", "/no/such/place")), "off", root / "space")
    assert isinstance(made.containment, Confined)
    assert made.containment.policy.writable == (root / "data",)


async def test_state_in_the_workspace_is_hidden_and_a_workspace_in_the_state_is_not(
    root: Path, have: Callable[[SandboxLevel], None]
) -> None:
    have(SandboxLevel.BWRAP)
    space = root / "data" / "space"
    (space / ".agentd").mkdir(parents=True)
    made = await confine_for(GROUP, Sandbox(), "off", space, (), (root / "data", space / ".agentd", space))
    assert isinstance(made.containment, Confined)
    assert {root / "data", space / ".agentd"} <= set(made.containment.policy.hidden)
    assert space not in made.containment.policy.hidden


async def test_what_is_named_below_the_state_is_not_reached_all_the_same(
    root: Path, have: Callable[[SandboxLevel], None]
) -> None:
    have(SandboxLevel.BWRAP)
    for name in ("workspace", "state/sessions", "beside"):
        (root / name).mkdir(parents=True)
    asked = Sandbox(paths=(str(root / "state/sessions"), "../beside"))
    made = await confine_for(GROUP, asked, "off", root / "workspace", (root / "state",), (root / "state",))
    assert isinstance(made.containment, Confined)
    assert made.containment.policy.writable == (root / "beside",)


async def test_a_workspace_that_root_reaches_by_its_rights_alone_is_refused(
    tmp_path: Path, have: Callable[[SandboxLevel], None]
) -> None:
    have(SandboxLevel.BWRAP)
    (tmp_path / "closed" / "space").mkdir(parents=True)
    (tmp_path / "closed").chmod(0o600)
    made = await confine_for(GROUP, Sandbox(), "off", tmp_path / "closed" / "space")
    assert "another user" in made.refusal


async def test_what_works_is_found_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "_found", {})
    first = await find_means(GROUP)
    monkeypatch.setattr(levels, "_probe", None)  # which cannot be called
    assert await find_means(GROUP) == first


async def test_without_bwrap_another_level_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "_found", {})
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert (await find_means(GROUP)).level is not SandboxLevel.BWRAP


@pytest.mark.parametrize("level", list(Level))
async def test_offline_leaves_a_loopback_alone(level: Level, require: Callable[[str], str]) -> None:
    if level is Level.BWRAP:
        require("bwrap")
    alone = await offline(await probe([level]))
    if alone is None:
        pytest.skip("no network namespace can be made here")
    said: list[bytes] = []
    with trio.fail_after(30):
        await run_command(
            alone, "cut -d: -f1 </proc/net/dev", cwd=Path("/"), env=ENV, timeout=20, on_output=said.append
        )
    assert b"".join(said).split()[-1] == b"lo"
    assert alone.level is level
