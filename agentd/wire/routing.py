"""Which handler answers a request. No sockets and no trio here.

A face makes one `Routes`, decorates its handlers, and puts them on a listener as a `Mount`, with its own guard and its
own shape of errors. What is asked first: the guard, then path and method; only then a byte of the body is read.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, TypeVar
from urllib.parse import unquote
from uuid import UUID

import attrs

from agentd.errors import AgentdError, InvalidRequest, PayloadTooLarge
from agentd.wire.frames import BadHandshake
from agentd.wire.hosts import ForeignRequest
from agentd.wire.messages import Answer, BadMessage, Fields, Hangup, Request, Response, json_response

logger = logging.getLogger(__name__)

Handler = Callable[..., Awaitable[Answer]]  # (app, request, **path parameters)
H = TypeVar("H", bound=Handler)
Guard = Callable[[Request], Answer | None]  # an answer refuses the request
ANY = "*"  # a method that stands for all others, and a last segment for any number of them


@attrs.frozen
class Route:
    handler: Handler
    streamed: bool  # the handler reads the body itself
    limit: int | None  # of the body, in bytes; None: the server's
    method: str = "GET"
    pattern: str = "/"


@attrs.define
class _Node:
    """One segment of a path. A literal goes before a parameter; parameters are tried in the order they were added."""

    literals: dict[str, _Node] = attrs.field(factory=dict)
    rest: dict[str, Route] = attrs.field(factory=dict)  # by method, for whatever else is below here
    params: dict[tuple[str, Callable[[str], Any]], _Node] = attrs.field(factory=dict)
    methods: dict[str, Route] = attrs.field(factory=dict)

    def find(self, segments: list[str], at: int, params: dict[str, Any]) -> _Node | None:
        if at == len(segments):
            return self if self.methods else None
        return self._find_below(segments, at, params) or (_Node(methods=self.rest) if self.rest else None)

    def _find_below(self, segments: list[str], at: int, params: dict[str, Any]) -> _Node | None:
        text = segments[at]
        literal = self.literals.get(text)
        if literal is not None and (found := literal.find(segments, at + 1, params)) is not None:
            return found
        for (name, convert), node in self.params.items() if text else ():
            try:
                value = convert(text)
            except ValueError:
                continue
            if (found := node.find(segments, at + 1, params)) is not None:
                params[name] = value
                return found
        return None


class Routes:
    """The paths of a face. `{name}` in a pattern is one segment, converted to what the handler's annotation says."""

    def __init__(self) -> None:
        self._root = _Node()
        self._all: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        """In the order they were added."""
        return iter(self._all)

    def get(self, pattern: str) -> Callable[[H], H]:
        """Serves HEAD too."""
        return self.add("GET", pattern)

    def post(self, pattern: str, *, streamed: bool = False, limit: int | None = None) -> Callable[[H], H]:
        return self.add("POST", pattern, streamed=streamed, limit=limit)

    def put(self, pattern: str, *, streamed: bool = False, limit: int | None = None) -> Callable[[H], H]:
        return self.add("PUT", pattern, streamed=streamed, limit=limit)

    def patch(self, pattern: str, *, streamed: bool = False, limit: int | None = None) -> Callable[[H], H]:
        return self.add("PATCH", pattern, streamed=streamed, limit=limit)

    def delete(self, pattern: str, *, limit: int | None = None) -> Callable[[H], H]:
        return self.add("DELETE", pattern, limit=limit)

    def add(self, method: str, pattern: str, *, streamed: bool = False, limit: int | None = None) -> Callable[[H], H]:
        """*streamed*: the handler takes the body by request.chunks() or request.save(). *limit*: bytes of the body.

        A *method* "*" is for all that have no handler of their own; a pattern that ends in `/*` for all paths below.
        """

        def register(handler: H) -> H:
            upper, _, last = pattern.rpartition("/")
            methods = self._node(upper, handler).rest if last == ANY else self._node(pattern, handler).methods
            if method in methods:
                raise ValueError(f"{method} {pattern} has a handler already")
            methods[method] = Route(handler, streamed, limit, method, pattern)
            self._all.append(methods[method])
            return handler

        return register

    def _node(self, pattern: str, handler: Handler) -> _Node:
        node = self._root
        for segment in pattern.split("/")[1:]:
            if segment.startswith("{") and segment.endswith("}"):
                name = segment[1:-1]
                node = node.params.setdefault((name, _converter(handler, name)), _Node())
            else:
                node = node.literals.setdefault(segment, _Node())
        return node

    def find(self, raw_path: str) -> tuple[dict[str, Route], dict[str, Any]]:
        """The routes of a path by method, and its parameters; ({}, {}) when there is none. One trailing slash that no
        route asks for is tolerated."""
        segments = (raw_path or "/").split("/")[1:]
        if "%" in raw_path:
            segments = [unquote(segment) for segment in segments]
        params: dict[str, Any] = {}
        node = self._root.find(segments, 0, params)
        if node is None and len(segments) > 1 and not segments[-1]:
            node = self._root.find(segments[:-1], 0, params)
        return (node.methods, params) if node is not None else ({}, {})


def default_answer_error(exc: Exception) -> Response:
    """For a mount that has no shape of its own. A bug is logged, and the client learns no more than that."""
    if isinstance(exc, AgentdError):
        answer = _problem(_status(exc), exc.code, str(exc))
        answer.headers = exc.headers if isinstance(exc, BadHandshake) else ()
        return answer
    logger.error("unhandled error", exc_info=exc)
    return _problem(500, "INTERNAL_ERROR", "internal error")


def _problem(status: int, code: str, message: str) -> Response:
    """With all three keys, as the faces have them whose errors are not their own."""
    return json_response(status, {"code": code, "message": message, "details": None})


def _status(exc: AgentdError) -> int:
    if isinstance(exc, (BadMessage, BadHandshake)):
        return exc.status
    return {InvalidRequest: 400, PayloadTooLarge: 413, ForeignRequest: 403}.get(type(exc), 500)


def default_not_found(request: Request) -> Answer:
    return _problem(404, "NOT_FOUND", "Not found")


def default_method_not_allowed(request: Request) -> Answer:
    return _problem(405, "METHOD_NOT_ALLOWED", "Method not allowed")


@attrs.frozen
class Mount:
    """Routes, and the face around them, under a prefix ("" or "/manager")."""

    routes: Routes
    app: Any  # what handlers get first
    prefix: str = ""
    name: str = ""  # of the face, for logs and metrics
    guard: Guard | None = None  # looks at head and peer; runs before path, method and body are looked at
    answer_error: Callable[[Exception], Answer] = default_answer_error
    not_found: Callable[[Request], Answer] = default_not_found
    method_not_allowed: Callable[[Request], Answer] = default_method_not_allowed  # `Allow` is added to its answer
    sign: Callable[[Request], Fields] | None = None  # header fields for each of its answers
    body_limit: int | None = None  # in bytes, of routes that do not say; None: the server's

    def signed(self, request: Request, answer: Answer) -> Answer:
        if self.sign is not None:
            answer.headers = [*answer.headers, *self.sign(request)]
        return answer

    def admit(self, request: Request) -> Route | Answer:
        """What is decided before the body is read: the route to call(), or already the answer."""
        request.base = self.prefix
        try:
            if self.guard is not None and (refusal := self.guard(request)) is not None:
                return refusal
            methods, request.params = self.routes.find(request.raw_path[len(self.prefix) :])
            route = methods.get("GET" if request.method == "HEAD" else request.method) or methods.get(ANY)
            request.route = route
            return route if route is not None else self._no_route(request, methods)
        except Exception as exc:
            return self.failed(exc)

    def _no_route(self, request: Request, methods: dict[str, Route]) -> Answer:
        if not methods:
            return self.not_found(request)
        allow = ("Allow", ", ".join(sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])})))
        if request.method == "OPTIONS":
            return Response(204, content_type=None, headers=[allow])
        answer = self.method_not_allowed(request)
        answer.headers = [*answer.headers, allow]
        return answer

    async def call(self, route: Route, request: Request) -> Answer:
        """The handler's answer. Its errors become answers, but for BadMessage and Hangup, which end the connection."""
        try:
            return await route.handler(self.app, request, **request.params)
        except (BadMessage, Hangup):
            raise
        except Exception as exc:
            return self.failed(exc)

    def failed(self, exc: Exception) -> Answer:
        """An error as the face shows it."""
        try:
            return self.answer_error(exc)
        except Exception:
            logger.exception("the error answer failed")
            return default_answer_error(exc)


def find_mount(mounts: Iterable[Mount], raw_path: str) -> Mount | None:
    """The first whose prefix is the path's, at a segment's end: put longer prefixes first, as by_prefix() does."""
    for mount in mounts:
        prefix = mount.prefix
        if not prefix or (raw_path.startswith(prefix) and raw_path[len(prefix) : len(prefix) + 1] in ("", "/")):
            return mount
    return None


def by_prefix(mounts: Iterable[Mount]) -> list[Mount]:
    return sorted(mounts, key=lambda mount: -len(mount.prefix))


async def respond(mounts: Iterable[Mount], request: Request) -> Answer:
    """What a server with *mounts* answers to a request whose body is there: faces are tested with it, socketless."""
    mount = find_mount(by_prefix(mounts), request.raw_path)
    if mount is None:
        return default_not_found(request)
    admitted = mount.admit(request)
    answer = await mount.call(admitted, request) if isinstance(admitted, Route) else admitted
    return mount.signed(request, answer)


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):  # int() takes " 1_000 " and Arabic digits too
        raise ValueError("not a decimal number")
    return int(text)


_CONVERTERS: dict[str, Callable[[str], Any]] = {"str": str, "int": _decimal, "UUID": UUID}


def _converter(handler: Handler, name: str) -> Callable[[str], Any]:
    annotation = handler.__annotations__.get(name)
    key = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    if key not in _CONVERTERS:
        raise TypeError(f"{handler.__name__}: annotate the path parameter {name} as str, int or UUID")
    return _CONVERTERS[key]
