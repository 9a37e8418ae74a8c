from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from agentd.wire.openapi.document import Description
from agentd.wire.openapi.page import make_page
from agentd.wire.routing import Routes
from tests.wire.openapi31 import mistakes, operations

FACES = ("executor", "manager", "agent", "admin", "runs", "chat")
EVERY = ("GET", "POST", "PUT", "PATCH", "DELETE")


def described(face: str) -> tuple[Description, Routes, dict[str, Any]]:
    module = import_module(f"agentd.faces.{face}.openapi")
    return module.DESCRIPTION, module.routes, module.document()


@pytest.mark.parametrize("face", FACES)
def test_the_document_is_valid(face: str) -> None:
    assert mistakes(described(face)[2]) == []


@pytest.mark.parametrize("face", FACES)
def test_every_route_is_in_the_document_and_nothing_else_is(face: str) -> None:
    description, routes, document = described(face)
    said = {name for name, operation in description.operations.items() if operation is not None}
    assert set(description.operations) == {f"{route.method} {route.pattern}" for route in routes}
    expected = set()
    for name in said:
        method, pattern = name.split(" ")
        path = pattern.replace("/*", "/{rest}")
        expected |= {(path, each.lower()) for each in (EVERY if method == "*" else [method])}
    assert {(path, method) for path, method, _ in operations(document)} == expected


@pytest.mark.parametrize("face", FACES)
def test_what_takes_a_token_says_what_is_answered_without_one(face: str) -> None:
    for path, method, told in operations(described(face)[2]):
        assert ("401" in told["responses"]) is (told.get("security") != []), f"{method} {path}"


@pytest.mark.parametrize("face", FACES)
def test_what_takes_a_body_says_what_is_answered_to_a_bad_one(face: str) -> None:
    for path, method, told in operations(described(face)[2]):
        if "requestBody" in told:
            assert {"400", "413"} <= told["responses"].keys() or "422" in told["responses"], f"{method} {path}"


@pytest.mark.parametrize("face", FACES)
def test_the_page_shows_every_operation(face: str) -> None:
    document = described(face)[2]
    page = make_page(document, "/openapi.json")[0].decode()
    for path, _, told in operations(document):
        assert f'id="{told["operationId"]}"' in page
        assert f"{path}</code>" in page


def test_a_face_below_a_prefix_says_so() -> None:
    document = import_module("agentd.faces.manager.openapi").document("/manager")
    assert document["servers"] == [{"url": "/manager"}]
