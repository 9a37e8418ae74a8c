from __future__ import annotations

import json

import pytest

from agentd.cli.apidocs import face_docs
from agentd.wire.messages import Headers, Request, Response
from agentd.wire.routing import respond


async def read(path: str, prefix: str, face: str, server: str = "") -> Response:
    answer = await respond(face_docs(face, prefix, server=server), Request("GET", path, Headers(())))
    assert isinstance(answer, Response)
    return answer


@pytest.mark.parametrize("face", ["admin", "agent", "executor", "manager"])
@pytest.mark.parametrize("prefix", ["", "/below"])
async def test_a_face_says_what_it_offers_and_where(face: str, prefix: str) -> None:
    document = json.loads((await read(f"{prefix}/openapi.json", prefix, face)).body)
    assert document["servers"] == [{"url": prefix or "/"}]
    page = await read(f"{prefix}/docs", prefix, face)
    assert f'href="{prefix}/openapi.json"'.encode() in bytes(page.body)


async def test_the_documents_may_be_elsewhere_than_the_face() -> None:
    document = json.loads((await read("/openapi.json", "", "admin", "/agentd/v1")).body)
    assert document["servers"] == [{"url": "/agentd/v1"}]
