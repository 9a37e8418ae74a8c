"""Skills and MCP servers as the agent API lists them: the contract, 18.1 and 23."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.domain import McpServer, Plugin, Site
from tests.agentserver import Server, serving

SKILL = "---\nname: {name}\ndescription: >-\n  Shows how\n  it is done.\n---\nDo it.\n"


def skill(directory: Path, name: str) -> Path:
    place = directory / ".claude/skills" / name
    place.mkdir(parents=True)
    (place / "SKILL.md").write_text(SKILL.format(name=name))
    return place / "SKILL.md"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


async def names(server: Server, query: str = "") -> list[tuple[str, str]]:
    told = await server.get(f"/api/v1/skills{query}")
    return [(each["name"], each["location"]) for each in told["skills"]]


async def test_without_any_the_list_is_empty(tmp_path: Path, home: Path) -> None:
    async with serving(tmp_path) as server:
        assert await server.get("/api/v1/skills") == {"skills": []}


async def test_a_skill_is_told_with_where_it_is(tmp_path: Path, home: Path) -> None:
    path = skill(tmp_path / "workspace", "deploy")
    async with serving(tmp_path) as server:
        assert await server.get("/api/v1/skills") == {
            "skills": [
                {
                    "id": "fs:deploy",
                    "name": "deploy",
                    "description": "Shows how it is done.",
                    "location": "project",
                    "path": str(path),
                    "source": "filesystem",
                    "enabled": True,
                }
            ]
        }


async def test_skills_are_the_users_and_those_of_the_project_that_is_asked_for(tmp_path: Path, home: Path) -> None:
    skill(home, "mine")
    skill(tmp_path / "workspace", "ours")
    skill(tmp_path / "other", "theirs")
    async with serving(tmp_path) as server:
        assert await names(server) == [("mine", "user"), ("ours", "project")]
        assert await names(server, f"?cwd={tmp_path}/other") == [("mine", "user"), ("theirs", "project")]
        assert await names(server, "?source=filesystem") == await names(server)
        assert await names(server, "?source=database") == []


async def test_plugins_that_are_configured_bring_theirs(tmp_path: Path, home: Path) -> None:
    place = tmp_path / "review/skills/check"
    place.mkdir(parents=True)
    (place / "SKILL.md").write_text(SKILL.format(name="check"))
    async with serving(tmp_path, site=Site(plugins=(Plugin("review", str(tmp_path / "review")),))) as server:
        assert [location for _, location in await names(server)] == ["plugin"]


async def test_a_key_sees_skills_of_its_own_directories(tmp_path: Path, home: Path) -> None:
    skill(tmp_path / "workspace/mine", "deploy")
    async with serving(tmp_path) as server:
        key, _ = await server.app.keys._access.issue(["agent"], roots=[str(server.workspace / "mine")])
        assert (await server.ask("GET", "/api/v1/skills?cwd=mine", key=key))[0] == 200
        for elsewhere in ("", "?cwd=/tmp"):
            assert (await server.ask("GET", f"/api/v1/skills{elsewhere}", key=key))[0] == 403


@pytest.mark.parametrize(
    ("query", "kind", "where"),
    [
        ("cwd=/no/such/place", "value_error", "cwd"),
        ("cwd=/tmp/../etc", "value_error", "cwd"),
        ("cwd=a%00b", "value_error", "cwd"),
        ("source=cloud", "literal_error", "source"),
    ],
)
async def test_what_does_not_fit_is_told(tmp_path: Path, query: str, kind: str, where: str) -> None:
    async with serving(tmp_path) as server:
        for path in ("skills", "mcp-servers"):
            status, told = await server.ask("GET", f"/api/v1/{path}?{query}")
            assert status == 422
            assert [(item["type"], item["loc"]) for item in told["detail"]] == [(kind, ["query", where])]


async def test_of_servers_nothing_is_told_that_may_be_a_key(tmp_path: Path) -> None:
    servers = {
        "db": McpServer(command="mcp-db", args=("--key", "s3cret"), env={"KEY": "s3cret"}),
        "wiki": McpServer("http", url="https://wiki/?s3cret", headers={"Authorization": "s3cret"}, problem="no key"),
    }
    async with serving(tmp_path, site=Site(servers=servers)) as server:
        told = await server.get("/api/v1/mcp-servers")
        assert "s3cret" not in str(told)
        assert [(each["name"], each["type"], each["enabled"], each["error"]) for each in told["servers"]] == [
            ("db", "stdio", True, None),
            ("wiki", "http", False, "no key"),
        ]
        assert [each["env"] | each["headers"] for each in told["servers"]] == [{"KEY": "***"}, {"Authorization": "***"}]
        assert await server.get("/api/v1/mcp-servers?source=database") == {"servers": []}
