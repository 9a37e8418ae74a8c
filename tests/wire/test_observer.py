"""A server that is watched: an id on every answer, and whoever watches is told of every one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
import trio.testing

from agentd.wire.feed import Feed
from agentd.wire.limits import Limits
from agentd.wire.listeners import open_unix_listener
from agentd.wire.messages import Headers, Request, Response, StreamResponse
from agentd.wire.observer import Load, current, id_of
from agentd.wire.routing import Mount, Routes
from agentd.wire.server import serve
from tests.wire.conftest import FakeSource, RawClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@attrs.define
class Witness:
    """Writes down what it is told."""

    told: list[tuple[str, str, int]] = attrs.field(factory=list)
    refusals: list[int] = attrs.field(factory=list)
    loads: list[Callable[[], Load]] = attrs.field(factory=list)

    def serving(self, load: Callable[[], Load]) -> None:
        self.loads.append(load)

    def answered(self, request: Request, mount: Mount | None, status: int, seconds: float) -> None:
        pattern = request.route.pattern if request.route else "-"
        self.told.append((mount.name if mount else "-", pattern, status))
        assert seconds >= 0

    def refused(self, status: int) -> None:
        self.refusals.append(status)


@pytest.fixture
def watching() -> Witness:
    return Witness()


@pytest.fixture
async def client(nursery: trio.Nursery, routes: Routes, tmp_path: Path, watching: Witness) -> AsyncIterator[RawClient]:
    @routes.get("/things/{name}")
    async def which(app: object, request: Request, name: str) -> Response:
        told = await trio.to_thread.run_sync(current.get)  # as the log lines of a thread would
        return Response(200, told.encode())

    listener = open_unix_listener(tmp_path / "socket")
    mounts = [Mount(routes, None, prefix="/face", name="face")]
    await nursery.start(
        lambda *, task_status: serve(
            [listener], mounts, limits=Limits(drain_seconds=0), observer=watching, task_status=task_status
        )
    )
    async with await trio.open_unix_socket(tmp_path / "socket") as stream:
        yield RawClient(stream)
    nursery.cancel_scope.cancel()


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *fields, "", ""]).encode()


async def test_a_handler_its_threads_and_the_client_see_the_same_id(client: RawClient) -> None:
    answer = await client.ask(get("/face/things/a"))
    assert answer.body.decode() == answer.headers["x-request-id"] != ""


async def test_no_two_requests_have_the_same_id(client: RawClient) -> None:
    ids = [(await client.ask(get("/face/hello"))).headers["x-request-id"] for _ in range(3)]
    assert len(set(ids)) == 3


async def test_an_id_that_the_client_gives_is_kept(client: RawClient) -> None:
    answer = await client.ask(get("/face/things/a", "X-Request-ID: trace:4bf9-2f_3"))
    assert answer.headers["x-request-id"] == "trace:4bf9-2f_3" == answer.body.decode()


@pytest.mark.parametrize("given", ["a b", "-x", "x" * 65, "{}", "a,b", "ä", '"a"', ""])
def test_an_id_that_is_no_plain_word_is_not_taken_over(given: str) -> None:
    assert id_of(Headers({"X-Request-Id": given})) != given


@pytest.mark.parametrize("path", ["/face/hello", "/face/pieces", "/face/empty", "/face/nothing", "/nothing"])
async def test_every_kind_of_answer_has_an_id(client: RawClient, path: str) -> None:
    assert (await client.ask(get(path))).headers["x-request-id"]


async def test_what_is_no_request_is_refused_with_an_id_too(client: RawClient, watching: Witness) -> None:
    answer = await client.ask(b"NONSENSE\r\n\r\n")
    assert (answer.status, watching.refusals) == (400, [400])
    assert answer.headers["x-request-id"]


async def test_the_watcher_is_told_face_route_and_status(client: RawClient, watching: Witness) -> None:
    for path in ("/face/things/secret", "/face/nothing", "/nothing"):
        await client.ask(get(path))
    assert watching.told == [("face", "/things/{name}", 200), ("face", "-", 404), ("-", "-", 404)]


async def test_a_server_says_how_much_it_has_to_do(
    client: RawClient, watching: Witness, routes: Routes, source: FakeSource
) -> None:
    feed = Feed(source)

    @routes.get("/stream")
    async def stream(app: object, request: Request) -> StreamResponse:
        return StreamResponse(feed)

    [load] = watching.loads
    await client.ask(get("/face/hello"))
    assert load() == Load(connections=1, streams=0, behind=0)
    source.add(b"data: 1\n\n")
    await client.send(get("/face/stream"))
    await trio.testing.wait_all_tasks_blocked()
    assert load() == Load(connections=1, streams=1, behind=0)
    source.add(b"data: 2\n\n" * 10**6)  # more than a socket holds
    await trio.testing.wait_all_tasks_blocked()
    assert load() == Load(connections=1, streams=1, behind=1)
