"""What is below /v1 beside runs and sessions: specs, models, the policy, a workspace's files; and signs of life.

The contract: runs-and-chat.md, 1, 12 and 13.
"""

from __future__ import annotations

from functools import partial

import attrs
import trio

from agentd.faces.runs import specs
from agentd.faces.runs.answers import Refused
from agentd.faces.runs.base import Base
from agentd.faces.runs.models import answer
from agentd.faces.runs.policy import Router, read_policy
from agentd.faces.runs.requests import check_directory, place_of, read_body
from agentd.wire.messages import Request, Response, json_response
from agentd.wire.routing import Mount, Routes
from agentd.workspace import overview

PREFIX = "/v1"
TREE_FILES, TREE_DEPTH = 800, 8
routes, health, hello = Routes(), Routes(), Routes()


@attrs.frozen
class Service:
    base: Base
    router: Router


def mounts(service: Service) -> list[Mount]:
    """Also of whatever is below /v1 and is no endpoint."""
    places = ((PREFIX, routes), ("/healthz", health), ("/hello", hello))
    return [service.base.mount(prefix, each, service) for prefix, each in places]


@routes.post("/specs/generate")
async def generate_spec(service: Service, request: Request) -> Response:
    """200 once the spec is written, with its path and its text; 409 there is one; 500 the model failed."""
    asked = await specs.read_request(read_body(request))
    return json_response(200, await specs.generate(service.base, request, asked))


@routes.get("/models")
async def list_models(service: Service, request: Request) -> Response:
    """Every model that there is, the policy, and of which services the list could not be had."""
    stock = await service.router.look(())
    return json_response(200, answer(stock, service.router.settings.policy.to_json()))


@routes.get("/model-policy")
async def get_policy(service: Service, request: Request) -> Response:
    return json_response(200, service.router.settings.policy.to_json())


@routes.post("/model-policy")
async def set_policy(service: Service, request: Request) -> Response:
    """Put this policy in the place of the one before: what is left out is as built in."""
    policy = read_policy(read_body(request).fields)
    await service.router.settings.put(policy)
    return json_response(200, policy.to_json())


@routes.get("/workspace/tree")
async def workspace_tree(service: Service, request: Request) -> Response:
    """The files of ?workspace_path=, without what its .gitignore names."""
    given = request.query.get("workspace_path", "")
    if not given.strip():
        raise Refused("workspace_path required")
    await check_directory(given)
    place = await trio.to_thread.run_sync(place_of, given)
    request.principal.check_root(str(place))
    files = await trio.to_thread.run_sync(partial(overview.files, place, TREE_FILES, TREE_DEPTH))
    return json_response(200, {"root": given, "files": files})


@health.get("/")
async def healthz(service: Service, request: Request) -> Response:
    return json_response(200, {"ok": True})


@hello.get("/")
async def say_hello(service: Service, request: Request) -> Response:
    return json_response(200, {"message": "hello"})
