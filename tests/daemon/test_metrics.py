"""Figures of the daemon, and which exchanges are worth a line in its log."""

from __future__ import annotations

import logging
import re
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock

from agentd.daemon.metrics import LAG_TICK_SECONDS, Metrics, level_of
from agentd.wire.messages import Request, Response
from agentd.wire.observer import Load
from agentd.wire.routing import Mount, Routes, respond

ID = "6f1dc0de-0000-4000-8000-000000000001"
SAMPLE = re.compile(r'[a-z_]+(\{([a-z]+="([^"\\\n]|\\[\\"n])*",?)+\})? [-+0-9.einf]+')


def exchange(metrics: Metrics, method: str, target: str, status: int = 200, seconds: float = 0.002) -> None:
    routes = Routes()

    @routes.add(method, "/things/{thing}/parts/{part}")
    async def handler(app: object, request: Request, thing: UUID, part: str) -> Response:
        return Response(status)

    mount, request = Mount(routes, None, prefix="/face", name="face"), Request(method, target, peer="127.0.0.1:5")
    mount.admit(request)
    metrics.exchanges.answered(request, mount, status, seconds)


async def test_each_line_of_the_page_is_what_prometheus_reads() -> None:
    metrics = Metrics()
    exchange(metrics, "GET", f"/face/things/{ID}/parts/a")
    metrics.add("agentd_odd", "gauge", "odd", lambda: [({"name": 'a"b\\c\nd'}, 1.5)])
    for line in (await metrics.page()).splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or SAMPLE.fullmatch(line), line


async def test_requests_are_counted_by_face_route_method_and_status() -> None:
    metrics = Metrics()
    for status in (200, 200, 404):
        exchange(metrics, "GET", f"/face/things/{ID}/parts/a", status)
    labels = 'face="face",route="/face/things/{thing}/parts/{part}",method="GET"'
    page = await metrics.page()
    assert f'agentd_requests_total{{{labels},status="200"}} 2' in page
    assert f'agentd_requests_total{{{labels},status="404"}} 1' in page
    assert f"agentd_request_seconds_count{{{labels}}} 3" in page


async def test_a_bucket_holds_all_that_were_faster() -> None:
    metrics = Metrics()
    for seconds in (0.0005, 0.3, 60.0):
        exchange(metrics, "GET", f"/face/things/{ID}/parts/a", seconds=seconds)
    found = dict(re.findall(r'_bucket\{.*le="(.+)"\} (\d+)', await metrics.page()))
    assert [found[bound] for bound in ("0.001", "0.25", "0.5", "10.0", "+Inf")] == ["1", "1", "2", "2", "3"]


async def test_no_path_and_no_odd_method_becomes_a_label() -> None:
    metrics = Metrics()
    exchange(metrics, "BREW", "/face/secret-path?api_key=secret")
    metrics.exchanges.answered(Request("GET", "/secret"), None, 404, 0.1)
    page = await metrics.page()
    assert "secret" not in page
    assert "BREW" not in page
    assert 'face="face",route="(none)",method="other",status="200"} 1' in page
    assert 'face="",route="(none)",method="GET",status="404"} 1' in page


async def test_what_was_no_request_is_counted_by_its_status() -> None:
    metrics = Metrics()
    metrics.exchanges.refused(431)
    assert 'status="431"} 1' in await metrics.page()


async def test_what_servers_have_to_do_is_added_up() -> None:
    metrics = Metrics()
    for load in (Load(3, 2, 1), Load(1, 0, 0)):
        metrics.exchanges.serving(lambda load=load: load)  # type: ignore[misc]
    page = await metrics.page()
    assert "agentd_connections 4\n" in page
    assert 'agentd_streams{state="current"} 1\nagentd_streams{state="behind"} 1\n' in page


async def test_what_takes_longer_is_measured_before_the_page_is_made() -> None:
    metrics, found = Metrics(), [0]

    async def measure() -> None:
        await trio.lowlevel.checkpoint()
        found[0] = 7

    metrics.before(measure)
    metrics.add("agentd_disk_bytes", "gauge", "bytes", lambda: found[0])
    assert "agentd_disk_bytes 7" in await metrics.page()


async def test_the_page_is_for_whom_the_guard_lets_in() -> None:
    mount = Metrics().mount(lambda request: None if "authorization" in request.headers else Response(401))
    assert (await respond([mount], Request("GET", "/metrics"))).status == 401
    answer = await respond([mount], Request("GET", "/metrics", {"Authorization": "x"}))
    assert isinstance(answer, Response)
    assert (answer.status, answer.content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert answer.body.endswith(b"\n")


async def test_a_loop_that_turns_is_not_late(autojump_clock: MockClock) -> None:
    metrics = Metrics()
    with trio.move_on_after(3 * LAG_TICK_SECONDS):
        await metrics.watch_loop()
    assert metrics.lag_seconds == 0


# --- The log of exchanges -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "status", "seconds", "level"),
    [
        ("GET", 200, 0.1, logging.DEBUG),
        ("GET", 404, 0.1, logging.DEBUG),
        ("GET", 401, 0.1, logging.INFO),
        ("GET", 200, 9.0, logging.INFO),
        ("POST", 201, 0.1, logging.INFO),
        ("DELETE", 204, 0.1, logging.INFO),
        ("GET", 503, 0.1, logging.WARNING),
    ],
)
def test_a_line_is_for_what_changes_fails_or_takes_long(method: str, status: int, seconds: float, level: int) -> None:
    assert level_of(method, status, seconds) == level


def test_a_line_has_ids_of_the_route_and_nothing_else_of_the_path(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        exchange(Metrics(), "POST", f"/face/things/{ID}/parts/my%20prompt?api_key=secret", 201, 0.0123)
    [record] = caplog.records
    expected = f"POST /face/things/{{thing}}/parts/{{part}} thing={ID} 201 in 12.3 ms, to 127.0.0.1:5"
    assert record.getMessage() == expected
    assert "prompt" not in str(record.__dict__) and "secret" not in str(record.__dict__)  # noqa: PT018  # one thought


def test_a_request_that_only_reads_is_not_even_formatted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        exchange(Metrics(), "GET", f"/face/things/{ID}/parts/a")
    assert not caplog.records
