from __future__ import annotations

from typing import Any

import pytest

from agentd.wire.openapi.joined import join_documents

BEARER = {"type": "http", "scheme": "bearer"}


def face(title: str, server: str = "/", schemes: Any = None, **schemas: Any) -> dict[str, Any]:
    """Each of its schemas is a body at a path of that name."""
    bodies = {name: {"content": {"application/json": {"schema": _ref(name)}}} for name in schemas}
    return {
        "openapi": "3.1.1",
        "info": {"title": title, "summary": f"{title}.", "version": "1"},
        "servers": [{"url": server}],
        "tags": [{"name": title}],
        "security": [{name: []} for name in schemes or {"bearer": BEARER}],
        "paths": {f"/{name}": {"get": {"responses": {"200": body}}} for name, body in bodies.items()},
        "components": {"schemas": schemas, "securitySchemes": schemes or {"bearer": BEARER}},
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def body_at(document: Any, path: str) -> Any:
    return document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]


def test_paths_are_below_the_servers_of_their_documents() -> None:
    joined = join_documents("all", {"A": face("a", x={}), "B": face("b", "/below", x={})})
    assert [*joined["paths"]] == ["/x", "/below/x"]
    assert joined["servers"] == [{"url": "/"}]
    assert joined["info"] == {"title": "all", "summary": "a. b.", "version": "1"}
    assert joined["tags"] == [{"name": "a"}, {"name": "b"}]


def test_a_schema_whose_name_another_has_gets_its_documents_word_wherever_it_is_referred_to() -> None:
    other = face("b", "/b", Leaf={"type": "array", "items": _ref("Leaf")}, Tree={"anyOf": [_ref("Leaf")]})
    joined = join_documents("all", {"A": face("a", Leaf={"type": "string"}), "B": other})
    assert joined["components"]["schemas"] == {
        "Leaf": {"type": "string"},
        "BLeaf": {"type": "array", "items": _ref("BLeaf")},
        "Tree": {"anyOf": [_ref("BLeaf")]},
    }
    assert (body_at(joined, "/Leaf"), body_at(joined, "/b/Leaf")) == (_ref("Leaf"), _ref("BLeaf"))


def test_a_schema_that_two_have_alike_is_there_once() -> None:
    joined = join_documents("all", {"A": face("a", Leaf={}), "B": face("b", "/b", Leaf={})})
    assert [*joined["components"]["schemas"]] == ["Leaf"]


def test_faces_with_other_credentials_are_not_joined() -> None:
    keyed = face("b", schemes={"key": {"type": "apiKey", "in": "header", "name": "X-Key"}})
    with pytest.raises(ValueError, match="B asks for other credentials"):
        join_documents("all", {"A": face("a"), "B": keyed})
