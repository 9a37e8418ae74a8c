from __future__ import annotations

import base64
import hashlib
import json
import re
from enum import Enum
from html.parser import HTMLParser
from typing import Any, Literal
from uuid import UUID

import attrs
import pytest

from agentd.wire.jsonschema import compile_schema
from agentd.wire.messages import Headers, Request, Response
from agentd.wire.openapi.document import Description, Operation, Parameter, below, make_document
from agentd.wire.openapi.mounts import docs_mounts
from agentd.wire.openapi.schemas import Schemas
from agentd.wire.routing import Routes, respond
from agentd.wire.typed import make_converter
from tests.wire.openapi31 import mistakes


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Leaf:
    id: UUID
    weight: float = 1.5


@attrs.frozen
class Tree:
    name: str
    leaf: Leaf | None
    colour: Colour = Colour.BLUE
    size: Literal["small", "large"] = "small"
    tags: list[str] = attrs.field(factory=list)
    counts: dict[str, int] = attrs.field(factory=dict)
    below: tuple["Tree", ...] = ()  # noqa: UP037 - it is not there yet
    note: str | int | None = None
    deep: bool = False
    data: Any = None


routes = Routes()


@routes.get("/trees/{number}")
async def read_tree(app: object, request: Request, number: int) -> Response:
    raise NotImplementedError


@routes.post("/trees")
async def plant(app: object, request: Request) -> Response:
    raise NotImplementedError


@routes.add("*", "/wild/*")
async def anything(app: object, request: Request) -> Response:
    raise NotImplementedError


@routes.get("/trees/")
async def aside(app: object, request: Request) -> Response:
    raise NotImplementedError


ABOUT = Description(
    "Trees <b>&</b> more",
    "A wood.",
    {
        "GET /trees/{number}": Operation(
            "Read a tree", {200: "It.", 404: "None."}, "Trees", query={"q": Parameter("words")}
        ),
        "POST /trees": Operation("Plant <one>", {201: "It.", 400: "Bad."}, "Trees", Tree, public=True),
        "* /wild/*": Operation("Anything", {204: "Done."}),
        "GET /trees/": None,
    },
    {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}},
    {"type": "object"},
    {401: "Who are you?"},
)


def get(path: str) -> Request:
    return Request("GET", path, Headers(()))


def test_a_document_has_what_the_table_and_the_words_say() -> None:
    document = make_document(ABOUT, routes, "/wood")
    assert mistakes(document) == []
    assert [*document["paths"]] == ["/trees/{number}", "/trees", "/wild/{rest}"]
    told = document["paths"]["/trees/{number}"]["get"]
    assert told["operationId"] == "get_trees_number"
    assert [each["name"] for each in told["parameters"]] == ["number", "q"]
    assert told["parameters"][0]["schema"]["type"] == "integer"
    assert [*told["responses"]] == ["200", "401", "404", "500"]


def test_a_route_for_every_method_is_told_as_each_of_them() -> None:
    assert [*make_document(ABOUT, routes)["paths"]["/wild/{rest}"]] == ["get", "post", "put", "patch", "delete"]


def test_what_is_public_needs_nothing_and_refuses_nobody() -> None:
    told = make_document(ABOUT, routes)["paths"]["/trees"]["post"]
    assert told["security"] == []
    assert "401" not in told["responses"]


def test_a_route_that_nothing_is_said_of_is_an_error() -> None:
    with pytest.raises(KeyError):
        make_document(attrs.evolve(ABOUT, operations={}), routes)


@pytest.mark.parametrize(
    "value",
    [
        {"name": "a", "leaf": None},
        {"name": "a", "leaf": {"id": "00000000-0000-0000-0000-000000000000"}, "below": [{"name": "b", "leaf": None}]},
        {"name": "a", "leaf": {"id": "00000000-0000-0000-0000-000000000000", "weight": 2}, "note": 3, "data": [1]},
        {"name": "a"},
        {"name": 1, "leaf": None},
        {"name": "a", "leaf": None, "colour": "green"},
        {"name": "a", "leaf": None, "size": "huge"},
        {"name": "a", "leaf": None, "tags": "x"},
        {"name": "a", "leaf": None, "counts": {"x": "1"}},
        {"name": "a", "leaf": None, "below": [{}]},
        {"name": "a", "leaf": None, "note": 1.5},
        {"name": "a", "leaf": None, "deep": 0},
        {"name": "a", "leaf": {"weight": 1.0}},
        [],
    ],
)
def test_a_schema_takes_what_the_typed_door_takes(value: Any) -> None:
    schemas = Schemas()
    schema = {**schemas.of(Tree), "components": {"schemas": schemas.named}}
    try:
        make_converter().structure(value, Tree)
        taken = True
    except (ValueError, ExceptionGroup):
        taken = False
    assert (not compile_schema(schema).errors(value)) is taken


def test_a_schema_says_what_is_meant_where_nothing_is_said() -> None:
    schemas = Schemas()
    schemas.of(Tree)
    defaults = {
        name: each["default"] for name, each in schemas.named["Tree"]["properties"].items() if "default" in each
    }
    assert defaults == {"colour": "blue", "size": "small", "deep": False}


def test_what_no_json_is_read_as_has_no_schema() -> None:
    with pytest.raises(TypeError):
        Schemas().of(complex)


async def test_document_and_page_are_served_beside_the_face() -> None:
    mounts = docs_mounts(lambda: make_document(ABOUT, routes, "/wood"), "/wood")
    answer = await respond(mounts, get("/wood/openapi.json"))
    assert isinstance(answer, Response)
    assert json.loads(answer.body) == make_document(ABOUT, routes, "/wood")
    page = await respond(mounts, get("/wood/docs"))
    assert isinstance(page, Response)
    assert (page.status, page.content_type) == (200, "text/html; charset=UTF-8")
    assert (await respond(mounts, get("/wood/docs/none"))).status == 404
    assert (await respond(mounts, Request("POST", "/wood/docs", Headers(())))).status == 405


def test_the_document_is_made_when_it_is_asked_for() -> None:
    docs_mounts(lambda: pytest.fail("nobody asked"))


class Page(HTMLParser):
    """What a page opens and does not close, what it asks of others, and its style."""

    VOID = frozenset(("meta", "br", "link", "img", "input", "hr"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.style = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.open += [] if tag in self.VOID else [tag]
        for name, value in attributes:
            assert not name.startswith("on")
            assert name not in ("style", "src")
            self.links += [value or ""] if name == "href" else []
            self.ids += [value or ""] if name == "id" else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.style += data if self.open[-1:] == ["style"] else ""


async def read_page() -> tuple[Page, str, str]:
    mounts = docs_mounts(lambda: make_document(ABOUT, routes, "/wood"), "/wood")
    answer = await respond(mounts, get("/wood/docs"))
    assert isinstance(answer, Response)
    text = bytes(answer.body).decode() if not isinstance(answer.body, str) else answer.body
    page = Page()
    page.feed(text)
    return page, text, dict(answer.headers)["Content-Security-Policy"]


async def test_the_page_asks_nothing_of_anybody() -> None:
    page, text, policy = await read_page()
    assert page.open == []
    assert not page.tags & {"script", "link", "img", "iframe", "form", "object"}
    assert "://" not in text
    assert "url(" not in text
    assert page.links == ["/wood/openapi.json"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


async def test_the_style_of_the_page_is_the_one_that_its_policy_lets_through() -> None:
    page, _, policy = await read_page()
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "prefers-color-scheme: dark" in page.style


async def test_words_of_the_document_are_no_markup() -> None:
    _, text, _ = await read_page()
    assert "<b>" not in text
    assert "Trees &lt;b&gt;&amp;&lt;/b&gt; more" in text
    assert "Plant &lt;one&gt;" in text


async def test_ids_of_the_page_are_unique() -> None:
    page, _, _ = await read_page()
    assert len(page.ids) == len(set(page.ids))
    assert all(re.fullmatch(r"[\w-]+", each) for each in page.ids)


def test_parts_of_a_face_are_where_they_are_mounted() -> None:
    """A route of a part's own place has no slash behind it."""
    part = Routes()
    part.get("/")(aside)
    part.get("/trees/{number}")(read_tree)
    assert [each.pattern for each in below("/wood", part)] == ["/wood", "/wood/trees/{number}"]


def test_a_body_that_may_come_as_a_form_is_told_as_both() -> None:
    said = Operation("Plant", {200: "It.", 400: "Bad."}, "Trees", {"type": "object"}, form={"required": ["file"]})
    part = Routes()
    part.post("/trees")(plant)
    document = make_document(attrs.evolve(ABOUT, operations={"POST /trees": said}), part)
    content = document["paths"]["/trees"]["post"]["requestBody"]["content"]
    assert content == {
        "application/json": {"schema": {"type": "object"}},
        "multipart/form-data": {"schema": {"required": ["file"]}},
    }
