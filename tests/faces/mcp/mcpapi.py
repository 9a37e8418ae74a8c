"""The MCP server over sessions whose executors are engines in this process, with a model that plays replies."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import trio

from agentd.daemon.access import Access, Principal
from agentd.daemon.executors import Seats
from agentd.daemon.listing import open_listing
from agentd.daemon.opening import Control, open_work
from agentd.daemon.registry import Registry
from agentd.faces.mcp.protocol import CAPABILITIES_KEY, VERSION_KEY
from agentd.faces.mcp.routes import Server, open_mcp
from agentd.providers.scripted import Reply, ScriptedProvider
from agentd.store.home import Home
from agentd.wire.client import Address, Client
from agentd.wire.incoming import WholeAnswer
from agentd.wire.jsonschema import compile_schema
from agentd.wire.limits import Limits
from agentd.wire.listeners import open_unix_listener
from agentd.wire.server import serve
from agentd.wire.sse import Decoder
from tests.adminapi import ADMIN, FakeSeats

ACCEPT = "application/json, text/event-stream"
RUNS_TOKEN = "the-runs-token"


@attrs.define
class Api:
    """A client that begins nothing by itself. *token*: of its requests."""

    server: Server
    home: Home
    seats: FakeSeats
    workspace: Path
    client: Client
    token: str = ADMIN
    ids: Iterator[int] = attrs.field(factory=lambda: itertools.count(1))

    def says(self, *replies: Reply | str) -> None:
        """The model's next replies."""
        self.seats.model = ScriptedProvider(replies)

    async def send(
        self, message: Any, *, method: str = "POST", token: str | None = None, **headers: str
    ) -> WholeAnswer:
        token = self.token if token is None else token
        fields = {"accept": ACCEPT, "content-type": "application/json"}
        fields |= {"authorization": f"Bearer {token}"} if token else {}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = message if isinstance(message, bytes) else json.dumps(message).encode() if message is not None else b""
        return await self.client.request(method, "/mcp", headers=list(fields.items()), body=body, seconds=20)

    async def begin(self, version: str = "2025-11-25", **capabilities: Any) -> Talk:
        """A client that began with initialize."""
        about = {"name": "test", "version": "1"}
        params = {"protocolVersion": version, "capabilities": capabilities, "clientInfo": about}
        answer = await self.send(request("initialize", params, next(self.ids)))
        assert answer.status == 200, answer.body
        told = json.loads(answer.body)["result"]
        headers = {"mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": told["protocolVersion"]}
        return Talk(self, self.token, headers, told)

    def stateless(self, **capabilities: Any) -> Talk:
        """A client that says in each request what it is."""
        return Talk(self, self.token, {}, {}, {VERSION_KEY: "2026-07-28", CAPABILITIES_KEY: capabilities})


@attrs.define
class Talk:
    """One client, of either era. *headers*: of all its requests; *meta*: what they say of it, if it is stateless."""

    api: Api
    token: str
    headers: dict[str, str]
    told: dict[str, Any]
    meta: dict[str, Any] = attrs.field(factory=dict)
    heard: list[dict[str, Any]] = attrs.field(factory=list)  # what came before the response to the last request

    async def ask(self, method: str, params: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """The whole response to a request."""
        told = {**(params or {}), **more}
        headers = dict(self.headers)
        if self.meta:
            told["_meta"] = {**self.meta, **told.get("_meta", {})}
            headers |= {"mcp-protocol-version": self.meta[VERSION_KEY], "mcp-method": method}
            headers |= {"mcp-name": str(told.get("name", told.get("uri")))} if "name" in told or "uri" in told else {}
        message = request(method, told, next(self.api.ids))
        fields = {name.replace("-", "_"): value for name, value in headers.items()}
        answer = await self.api.send(message, token=self.token, **fields)
        *self.heard, response = messages_of(answer)
        assert response["id"] == message["id"]
        return response

    async def result(self, method: str, **params: Any) -> dict[str, Any]:
        response = await self.ask(method, params)
        assert "error" not in response, response
        return cast("dict[str, Any]", response["result"])

    async def error(self, method: str, **params: Any) -> dict[str, Any]:
        response = await self.ask(method, params)
        assert "result" not in response, response
        return cast("dict[str, Any]", response["error"])

    async def tool(self, name: str, /, **arguments: Any) -> Any:
        """What a tool says, which fits its schema."""
        result = await self.result("tools/call", name=name, arguments=arguments)
        assert not result["isError"], result
        await self._check(name, result["structuredContent"])
        return result["structuredContent"]

    async def refusal(self, name: str, /, **arguments: Any) -> str:
        """What a tool says that did not do it."""
        result = await self.result("tools/call", name=name, arguments=arguments)
        assert result["isError"], result
        return str(result["content"][0]["text"])

    async def tell(self, method: str, **params: Any) -> int:
        """A notification; the status of its answer."""
        return await self.post({"jsonrpc": "2.0", "method": method, "params": params})

    async def post(self, message: Any) -> int:
        headers = {name.replace("-", "_"): value for name, value in self.headers.items()}
        return (await self.api.send(message, token=self.token, **headers)).status

    async def _check(self, name: str, said: Any) -> None:
        tools = (await self.result("tools/list"))["tools"]
        [schema] = [tool["outputSchema"] for tool in tools if tool["name"] == name]
        assert not list(compile_schema(schema).errors(said))


def request(method: str, params: Any = None, request_id: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method} | ({} if params is None else {"params": params})


def messages_of(answer: WholeAnswer) -> list[dict[str, Any]]:
    """Of a stream all, else the one that it is."""
    if answer.headers.get("content-type").startswith("text/event-stream"):
        return [json.loads(event.data) for event in Decoder().feed(answer.body)]
    return [json.loads(answer.body)]


@asynccontextmanager
async def serving(root: Path, *says: Reply | str) -> AsyncIterator[Api]:
    """An MCP server behind a socket, whose sessions are in *root*. *says*: the model's replies."""
    home, workspace = Home(root / "data"), root / "workspace"
    home.make()
    workspace.mkdir(exist_ok=True)
    async with trio.open_nursery() as nursery, open_listing(home) as listing:
        seats = FakeSeats(nursery)
        seats.model = ScriptedProvider(says)
        registry = Registry(home.root_log)
        given = {RUNS_TOKEN: Principal("runs", frozenset({"runs", "chat"}))}
        access = Access(home.root_log, ADMIN, given=given)
        registry.load()
        access.load()
        control = Control(home, registry, cast("Seats", seats))
        async with (
            open_work(control, listing, budget_of=access.budget) as work,
            open_mcp(work, access, (home.root,)) as server,
            over_a_socket(server) as client,
        ):
            await work.sessions.recovered.wait()
            yield Api(server, home, seats, workspace, client)
            for seat in seats:
                await seat.down()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def over_a_socket(server: Server) -> AsyncIterator[Client]:
    with tempfile.TemporaryDirectory() as place:
        async with trio.open_nursery() as nursery:
            await nursery.start(_serve, open_unix_listener(Path(place) / "s"), server)
            async with Client(Address.parse(f"unix:{place}/s")) as client:
                yield client
            server.app.sessions.tails.close()
            nursery.cancel_scope.cancel()


async def _serve(listener: Any, server: Server, task_status: trio.TaskStatus[None]) -> None:
    await serve([listener], [server.mount()], limits=Limits(drain_seconds=1.0), task_status=task_status)
