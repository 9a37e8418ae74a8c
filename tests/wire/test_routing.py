"""Which handler answers a request, and what is asked before."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from agentd.errors import AgentdError, InvalidRequest, PayloadTooLarge
from agentd.wire.messages import Answer, Request, Response, json_response
from agentd.wire.routing import Mount, Routes, respond

Told = dict[str, Any]
ID = UUID("12345678-1234-5678-1234-567812345678")


def tell(name: str) -> Callable[..., Any]:
    async def handler(app: Any, request: Request) -> Response:
        return json_response(200, {"name": name, "params": {key: str(value) for key, value in request.params.items()}})

    return handler


async def told(mounts: Mount | list[Mount], method: str, target: str) -> Told:
    answer = await respond(mounts if isinstance(mounts, list) else [mounts], Request(method, target))
    assert isinstance(answer, Response)
    fields = dict(answer.headers)
    return {"status": answer.status, "allow": fields.get("Allow"), **(json.loads(answer.body) if answer.body else {})}


@pytest.fixture
def mount() -> Mount:
    routes = Routes()

    @routes.get("/")
    @routes.get("/jobs")
    async def jobs(app: str, request: Request) -> Response:
        return json_response(200, {"name": "jobs", "app": app})

    @routes.post("/jobs")
    async def create(app: str, request: Request) -> Response:
        return json_response(200, {"name": "create"})

    @routes.get("/jobs/active")
    async def active(app: str, request: Request) -> Response:
        return json_response(200, {"name": "active"})

    @routes.get("/jobs/{job_id}")
    async def job(app: str, request: Request, job_id: str) -> Response:
        return json_response(200, {"name": "job", "job_id": job_id})

    @routes.get("/jobs/active/{name}")
    async def named(app: str, request: Request, name: str) -> Response:
        return json_response(200, {"name": "named", "is": name})

    @routes.get("/jobs/{job_id}/events/{number}")
    async def event(app: str, request: Request, job_id: str, number: int) -> Response:
        return json_response(200, {"name": "event", "job_id": job_id, "number": number})

    @routes.delete("/context/{fragment}")
    async def drop(app: str, request: Request, fragment: UUID) -> Response:
        assert type(fragment) is UUID
        return json_response(200, {"name": "drop", "fragment": fragment})

    return Mount(routes, "the app")


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("/", {"name": "jobs"}),
        ("/jobs", {"name": "jobs", "app": "the app"}),
        ("/jobs/", {"name": "jobs"}),
        ("/jobs?a=b", {"name": "jobs"}),
        ("/jobs/1", {"name": "job", "job_id": "1"}),
        ("/jobs/active", {"name": "active"}),
        ("/jobs/active/x", {"name": "named", "is": "x"}),
        ("/jobs/active/events/3", {"name": "event", "job_id": "active", "number": 3}),
        ("/jobs/a%2Fb%20c", {"name": "job", "job_id": "a/b c"}),
        ("/j%6Fbs", {"name": "jobs"}),
        ("/jobs/1/events/007", {"name": "event", "number": 7}),
    ],
)
async def test_a_path_finds_its_handler(mount: Mount, target: str, found: Told) -> None:
    answer = await told(mount, "GET", target)
    assert answer["status"] == 200
    assert found.items() <= answer.items()


@pytest.mark.parametrize(
    "target",
    [
        "/nothing",
        "/jobs//",
        "//jobs",
        "/jobs//events/1",
        "/jobs/1/events/x",
        "/jobs/1/events/-1",
        "/jobs/1/events/1_0",
        "/jobs/1/events/%D9%A3",
        "/jobs/1/events/" + "9" * 5000,
        "/jobs%2F1/events",
        "/jobs/../jobs",
        "/Jobs",
        "/context/not-a-uuid",
    ],
)
async def test_a_path_that_no_route_has_is_404(mount: Mount, target: str) -> None:
    assert (await told(mount, "GET", target))["status"] == 404
    assert (await told(mount, "DELETE", target))["status"] == 404


async def test_a_uuid_comes_as_one(mount: Mount) -> None:
    assert (await told(mount, "DELETE", f"/context/{ID}"))["fragment"] == str(ID)


async def test_head_is_served_by_get(mount: Mount) -> None:
    assert (await told(mount, "HEAD", "/jobs"))["name"] == "jobs"


async def test_options_tells_what_is_allowed(mount: Mount) -> None:
    assert await told(mount, "OPTIONS", "/jobs") == {"status": 204, "allow": "GET, HEAD, OPTIONS, POST"}
    assert (await told(mount, "OPTIONS", f"/context/{ID}"))["allow"] == "DELETE, OPTIONS"
    assert (await told(mount, "OPTIONS", "/nothing"))["status"] == 404


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "BREW"])
async def test_a_wrong_method_is_405_and_says_what_is_allowed(mount: Mount, method: str) -> None:
    answer = await told(mount, method, "/jobs")
    assert (answer["status"], answer["allow"]) == (405, "GET, HEAD, OPTIONS, POST")


async def test_a_trailing_slash_that_has_a_route_is_not_tolerated_away() -> None:
    routes = Routes()
    routes.get("/jobs")(tell("jobs"))
    routes.get("/jobs/")(tell("invalid job path"))
    assert (await told(Mount(routes, None), "GET", "/jobs/"))["name"] == "invalid job path"
    assert (await told(Mount(routes, None), "GET", "/jobs"))["name"] == "jobs"


@pytest.mark.parametrize(
    ("target", "name"),
    [("/x", "main"), ("/_/x", "inner"), ("/_/", "root"), ("/_", "root"), ("/_x", "other"), ("/_/y/x", "deep")],
)
async def test_the_longest_prefix_has_the_path(target: str, name: str) -> None:
    main, inner, deep = Routes(), Routes(), Routes()
    main.get("/x")(tell("main"))
    main.get("/_x")(tell("other"))
    inner.get("/x")(tell("inner"))
    inner.get("/")(tell("root"))
    deep.get("/x")(tell("deep"))
    mounts = [Mount(main, None), Mount(inner, None, prefix="/_"), Mount(deep, None, prefix="/_/y")]
    assert (await told(mounts, "GET", target))["name"] == name


@pytest.mark.parametrize("target", ["/%5F/secret", "//_/secret", "/_%2Fsecret", "/./_/secret", "/x/../_/secret"])
async def test_no_spelling_of_a_path_gets_around_the_guard_of_its_mount(target: str) -> None:
    public, secret = Routes(), Routes()
    secret.get("/secret")(tell("secret"))
    inner = Mount(secret, None, prefix="/_", guard=lambda request: Response(401))
    assert (await told([Mount(public, None), inner], "GET", target))["status"] in (401, 404)


async def test_a_guard_comes_before_everything_else(mount: Mount) -> None:
    asked: list[str] = []

    def guard(request: Request) -> Answer | None:
        asked.append(request.path)
        return None if request.headers.get("authorization") == "Bearer t" else json_response(401, {})

    guarded = Mount(mount.routes, None, guard=guard)
    assert (await told(guarded, "BREW", "/nothing"))["status"] == 401
    answer = await respond([guarded], Request("GET", "/jobs", {"Authorization": "Bearer t"}))
    assert answer.status == 200
    assert asked == ["/nothing", "/jobs"]


async def test_a_mount_shapes_its_own_errors(mount: Mount) -> None:
    shaped = Mount(
        mount.routes,
        None,
        not_found=lambda request: json_response(404, {"error": f"unknown endpoint {request.path}"}),
        method_not_allowed=lambda request: json_response(405, {"error": "no"}, [("X-A", "b")]),
    )
    assert (await told(shaped, "GET", "/nope"))["error"] == "unknown endpoint /nope"
    answer = await told(shaped, "PUT", "/jobs")
    assert (answer["error"], answer["allow"]) == ("no", "GET, HEAD, OPTIONS, POST")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidRequest(["expected a string @ $.a"]), 400, "VALIDATION_ERROR"),
        (PayloadTooLarge(5), 413, "PAYLOAD_TOO_LARGE"),
        (AgentdError("known"), 500, "INTERNAL_ERROR"),
        (RuntimeError("secret"), 500, "INTERNAL_ERROR"),
        (ExceptionGroup("secret", [RuntimeError("secret")]), 500, "INTERNAL_ERROR"),
    ],
)
async def test_errors_become_answers_that_tell_no_secrets(error: Exception, status: int, code: str) -> None:
    routes = Routes()

    @routes.get("/")
    async def fail(app: Any, request: Request) -> Response:
        raise error

    answer = await told(Mount(routes, None), "GET", "/")
    assert (answer["status"], answer["code"]) == (status, code)
    assert "secret" not in answer["message"]


async def test_a_guard_that_fails_lets_nobody_in(mount: Mount) -> None:
    def guard(request: Request) -> Answer | None:
        raise RuntimeError("the token file is gone")

    assert (await told(Mount(mount.routes, None, guard=guard), "GET", "/jobs"))["status"] == 500


async def test_an_error_answer_that_fails_is_a_plain_500(mount: Mount, caplog: pytest.LogCaptureFixture) -> None:
    def answer_error(exc: Exception) -> Response:
        raise KeyError(type(exc))

    def guard(request: Request) -> Answer | None:
        raise RuntimeError("secret")

    answer = await told(Mount(mount.routes, None, guard=guard, answer_error=answer_error), "GET", "/jobs")
    assert (answer["status"], answer["message"]) == (500, "internal error")


def test_two_handlers_for_one_route_are_a_mistake() -> None:
    routes = Routes()
    routes.get("/a")(tell("a"))
    with pytest.raises(ValueError, match="GET /a has a handler already"):
        routes.get("/a")(tell("b"))


def test_a_path_parameter_without_a_type_is_a_mistake() -> None:
    async def handler(app: Any, request: Request, job_id: bytes) -> Response:
        return Response(200)

    with pytest.raises(TypeError, match="annotate the path parameter job_id"):
        Routes().get("/{job_id}")(handler)


async def test_nothing_mounted_is_404() -> None:
    assert (await told([], "GET", "/"))["status"] == 404


# --- Whatever is below --------------------------------------------------------------------------------------------


@pytest.fixture
def relay() -> Mount:
    routes = Routes()
    routes.add("*", "/v1/jobs")(tell("jobs"))
    routes.add("*", "/v1/jobs/*")(tell("below"))
    routes.get("/v1/jobs/known")(tell("known"))
    return Mount(routes, None)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        *(("/v1/jobs", "jobs"), ("/v1/jobs/", "below"), ("/v1/jobs/a", "below"), ("/v1/jobs/a/b//c?d", "below")),
        *(("/v1/jobs/known", "known"), ("/v1/jobs/known/more", "below"), ("/v1/jobs/..", "below")),
    ],
)
async def test_a_pattern_that_ends_in_a_star_takes_all_below_that_has_no_route(
    relay: Mount, target: str, name: str
) -> None:
    assert (await told(relay, "GET", target))["name"] == name


@pytest.mark.parametrize("target", ["/v1/jobsX", "/v1", "/v1/job", "/v2/jobs/a"])
async def test_it_takes_nothing_else(relay: Mount, target: str) -> None:
    assert (await told(relay, "GET", target))["status"] == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "REPORT"])
async def test_a_star_for_a_method_takes_all_methods(relay: Mount, method: str) -> None:
    assert (await told(relay, method, "/v1/jobs/a"))["name"] == "below"


def test_routes_can_be_looked_through(relay: Mount) -> None:
    assert [(route.method, route.pattern) for route in relay.routes] == [
        ("*", "/v1/jobs"),
        ("*", "/v1/jobs/*"),
        ("GET", "/v1/jobs/known"),
    ]


async def test_a_handler_knows_what_was_asked_for_behind_its_prefix() -> None:
    routes = Routes()

    @routes.add("*", "/*")
    async def handler(app: object, request: Request) -> Response:
        return json_response(200, {"name": request.inner_target})

    assert (await told(Mount(routes, None, "/manager"), "GET", "/manager/a%2Fb?c=%20"))["name"] == "/a%2Fb?c=%20"
    assert (await told(Mount(routes, None, "/manager"), "GET", "/manager/"))["name"] == "/"
