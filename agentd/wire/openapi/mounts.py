"""A document and its page over HTTP, for anyone: there is nothing in them but what the program is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from agentd.wire.messages import JSON_TYPE, Request, Response
from agentd.wire.routing import Mount, Routes

_document_routes = Routes()
_page_routes = Routes()


class Docs:
    """What is made when it is first asked for."""

    def __init__(self, make: Callable[[], Mapping[str, Any]], where: str) -> None:
        self._make = make
        self._where = where

    @cached_property
    def document(self) -> Mapping[str, Any]:
        return self._make()

    @cached_property
    def encoded(self) -> bytes:
        return json.dumps(self.document, ensure_ascii=False).encode()

    @cached_property
    def page(self) -> tuple[bytes, str]:
        """With its Content-Security-Policy."""
        from agentd.wire.openapi.page import make_page  # for those alone who look at it

        return make_page(self.document, self._where)


def docs_mounts(make: Callable[[], Mapping[str, Any]], prefix: str = "") -> list[Mount]:
    """*prefix*/openapi.json and *prefix*/docs, beside the mount of the face itself."""
    where = f"{prefix}/openapi.json"
    docs = Docs(make, where)
    return [Mount(_document_routes, docs, where, "docs"), Mount(_page_routes, docs, f"{prefix}/docs", "docs")]


@_document_routes.get("/")
async def read_document(docs: Docs, request: Request) -> Response:
    return Response(200, docs.encoded, JSON_TYPE, [("Cache-Control", "no-cache")])


@_page_routes.get("/")
async def read_page(docs: Docs, request: Request) -> Response:
    page, policy = docs.page
    headers = [
        ("Content-Security-Policy", policy),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-cache"),
    ]
    return Response(200, page, "text/html; charset=UTF-8", headers)
