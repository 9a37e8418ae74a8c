from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from agentd.cli.apidocs import face_docs, joint_docs
from agentd.wire.messages import Headers, Request, Response
from agentd.wire.routing import Mount, respond
from tests.wire.openapi31 import mistakes

FACES = ["admin", "agent", "chat", "executor", "manager", "runs"]


async def read(path: str, mounts: Sequence[Mount]) -> Response:
    answer = await respond(mounts, Request("GET", path, Headers(())))
    assert isinstance(answer, Response)
    return answer


async def joint(*faces: str) -> Any:
    return json.loads((await read("/openapi.json", joint_docs(*faces))).body)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("prefix", ["", "/below"])
async def test_a_face_says_what_it_offers_and_where(face: str, prefix: str) -> None:
    mounts = face_docs(face, prefix)
    document = json.loads((await read(f"{prefix}/openapi.json", mounts)).body)
    assert document["servers"] == [{"url": prefix or "/"}]
    page = await read(f"{prefix}/docs", mounts)
    assert f'href="{prefix}/openapi.json"'.encode() in bytes(page.body)


async def test_the_document_of_the_main_address_is_valid_and_has_every_face_at_its_place() -> None:
    document = await joint("runs", "chat", "admin")
    assert mistakes(document) == []
    assert {"/v1/runs", "/v1/sessions", "/v1/models", "/healthz", "/agentd/v1/sessions"} <= document["paths"].keys()
    assert {"Runs", "Chat", "Specs and models", "Jobs"} <= {tag["name"] for tag in document["tags"]}


async def test_its_page_shows_all_of_them() -> None:
    page = bytes((await read("/docs", joint_docs("runs", "chat", "admin"))).body)
    assert b"/v1/runs/{run_id}</code>" in page
    assert b"/agentd/v1/asks</code>" in page


async def test_a_face_that_is_off_is_not_in_it() -> None:
    paths = (await joint("admin"))["paths"]
    assert paths
    assert all(path.startswith("/agentd/v1/") for path in paths)
