"""How often a key may ask, and pages of others that may: the contract, 1.4 and 1.5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from agentd.config import Settings, read_settings
from agentd.daemon.settings import SERVE_OPTIONS, rate_limits
from agentd.errors import InvalidSetting
from agentd.faces.agent.answers import RateLimited
from agentd.faces.agent.rates import KINDS, Rates, kind_of
from agentd.faces.agent.routes import routes
from tests.agentserver import OTHER, serving


def limits(*texts: str) -> dict[str, int]:
    argv = [word for text in texts for word in ("--rate-limit", text)]
    return rate_limits(read_settings(SERVE_OPTIONS, argv, {}), KINDS)


def test_limits_are_given_by_kind() -> None:
    assert limits("queries=10, sessions=30", "others=100") == {"queries": 10, "sessions": 30, "others": 100}
    assert rate_limits(Settings(SERVE_OPTIONS, {}), KINDS) == {}


@pytest.mark.parametrize(
    "text", ["10", "queries", "queries=0", "queries=-1", "runs=3", "queries=1.5", f"others={10**9}"]
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match=r"--rate-limit \(AGENTD_RATE_LIMITS\): .* is not KIND=N"):
        limits(text)


async def test_a_minute_begins_with_its_first_request(autojump_clock: trio.testing.MockClock) -> None:
    rates = Rates({"queries": 2})
    rates.count("a", "queries")
    await trio.sleep(50)
    rates.count("a", "queries")
    with pytest.raises(RateLimited) as refused:
        rates.count("a", "queries")
    assert refused.value.retry_after == 10
    rates.count("b", "queries")
    rates.count("a", "others")
    await trio.sleep(10)
    rates.count("a", "queries")


def test_every_route_is_counted_once() -> None:
    assert {kind_of(route.pattern) for route in routes} == {None, "sessions", "others"}
    assert kind_of("/api/v1/sessions/{session_id}/resume") is kind_of("/v1/chat/completions") is None
    assert kind_of("/api/v1/sessions") == "sessions"
    assert kind_of("/api/v1/skills") == kind_of("/v1/models") == "others"


async def test_a_key_that_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    async with serving(tmp_path, rates={"sessions": 1}) as server:
        await server.get("/api/v1/sessions")
        answer = await server.answer("GET", "/api/v1/sessions/x")
        assert (answer.status, dict(answer.headers)["Retry-After"]) == (429, "60")
        await server.get("/api/v1/asks")
        await server.get("/api/v1/sessions", key=OTHER)
        await server.get("/health", key=None)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/query/single", {"prompt": "x"}),
        ("/v1/chat/completions", {"model": "sonnet", "messages": [{"role": "user", "content": "x"}]}),
    ],
)
async def test_whatever_begins_a_run_is_a_query(tmp_path: Path, path: str, body: Any) -> None:
    async with serving(tmp_path, rates={"queries": 1}) as server:
        session = await server.session()
        status, told = await server.ask("POST", path, body)
        assert (status, told["error"]["code"].upper()) == (429, "RATE_LIMIT_EXCEEDED")
        assert (await server.ask("POST", f"/api/v1/sessions/{session}/resume", {"prompt": "x"}))[0] == 429
        assert (await server.get("/api/v1/sessions"))["total"] == 1


ORIGIN = "https://ui.test"


async def test_pages_of_others_are_let_in_where_they_are_named(tmp_path: Path) -> None:
    async with serving(tmp_path, origins=(ORIGIN,)) as server:
        told = dict((await server.answer("GET", "/api/v1/sessions", origin=ORIGIN)).headers)
        assert told["Access-Control-Allow-Origin"] == ORIGIN
        assert "Access-Control-Allow-Credentials" not in told
        preflight = await server.answer("OPTIONS", "/api/v1/query", key=None, origin=ORIGIN)
        assert preflight.status == 204
        told = dict(preflight.headers)
        assert "X-API-Key" in told["Access-Control-Allow-Headers"]
        assert told["Access-Control-Allow-Methods"] == "GET, POST, PUT, DELETE, PATCH, OPTIONS"
        for origin in ("https://other.test", ""):
            other = await server.answer("GET", "/api/v1/sessions", origin=origin)
            assert "Access-Control-Allow-Origin" not in dict(other.headers)


async def test_without_a_setting_no_page_is(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        answer = await server.answer("OPTIONS", "/api/v1/query", key=None, origin=ORIGIN)
        assert "Access-Control-Allow-Origin" not in dict(answer.headers)
