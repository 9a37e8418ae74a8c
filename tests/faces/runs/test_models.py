"""Models as clients see them, and the endpoints beside runs and chats. The contract: runs-and-chat.md, 1, 12 and 13."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import trio

from agentd.engine import specdraft
from agentd.faces.runs import service
from agentd.faces.runs.models import Models, refused
from agentd.faces.runs.policy import Router, Settings
from agentd.providers.builtin.specdraft import DRAFT_ASKED, DRAFT_MARK, spec_draft
from agentd.providers.factory import Configured
from agentd.providers.failures import NetworkFailed, Target
from agentd.providers.registry import LIST_SECONDS
from agentd.providers.settings import Catalog, ModelSettings, ProviderSettings
from agentd.store.index import SessionIndex
from agentd.store.summary import JobRow, SessionRow
from agentd.store.tables import Found, Page, Query
from agentd.wire.messages import Request
from agentd.wire.routing import Mount, respond
from agentd.workspace import specfile
from tests.runserver import Server, serving

EMPTY = Catalog()
SERVICE = ProviderSettings("work", "openai", "http://127.0.0.1:1/v1")


class FakeService(Configured):
    """Lists *known*, or fails."""

    def __init__(self, *known: str, settings: ProviderSettings = SERVICE, models: Sequence[ModelSettings] = ()) -> None:
        super().__init__(settings, {each.id: each for each in models}, (), lambda: pytest.fail("nothing is sent"))
        self.known: tuple[str, ...] | None = known
        self.asked = 0

    async def list_models(self) -> Sequence[str]:
        self.asked += 1
        await trio.lowlevel.checkpoint()
        if self.known is None:
            raise NetworkFailed("refused the connection", Target(self.name))
        return self.known


def models_of(*services: FakeService, catalog: Catalog = EMPTY, **aliases: str) -> Models:
    settings = tuple(each.settings for each in services)
    return Models.of(attrs.evolve(catalog, providers=settings), services, aliases)


# --- What there is ------------------------------------------------------------------------------------------------


async def test_a_service_is_asked_once_in_fifteen_minutes(autojump_clock: Any) -> None:
    work = FakeService("a", "b")
    models = models_of(work)
    assert [each.id for each in (await models.look()).candidates] == ["work:a", "work:b", "builtin:builtin"]
    await models.look()
    assert work.asked == 1
    await trio.sleep(LIST_SECONDS + 1)
    await models.look()
    assert work.asked == 2


async def test_one_that_does_not_answer_is_told_and_keeps_nobody_from_the_others(autojump_clock: Any) -> None:
    dead = FakeService(settings=attrs.evolve(SERVICE, name="dead"))
    dead.known = None
    stock = await models_of(dead, FakeService("a")).look()
    assert [each.id for each in stock.candidates] == ["work:a", "builtin:builtin"]
    [warning] = stock.warnings
    assert warning.startswith("dead")


async def test_what_it_said_before_holds_when_it_does_not_answer_any_more(autojump_clock: Any) -> None:
    work = FakeService("a")
    models = models_of(work)
    await models.look()
    work.known = None
    await trio.sleep(LIST_SECONDS + 1)
    stock = await models.look()
    assert stock.candidates[0].id == "work:a"
    assert len(stock.warnings) == 1


async def test_a_service_without_its_key_is_not_asked_and_its_models_cannot_be_used() -> None:
    work = FakeService(settings=attrs.evolve(SERVICE, models=("a",), problem="WORK_KEY is not set"))
    stock = await models_of(work).look()
    assert (work.asked, stock.candidates[0].entitled, stock.warnings) == (0, False, ["work: WORK_KEY is not set"])


@pytest.mark.parametrize("name", ["work:q", "q", "coder", "gpt-5", "work/q"])
async def test_a_model_is_preferred_by_any_of_its_names(name: str) -> None:
    own = ModelSettings("coder", "work", "q")
    catalog = Catalog(models=(own,), aliases={"gpt-5": "coder"})
    models = models_of(FakeService("q", "z", models=[own]), catalog=catalog)
    assert (await models.look([name])).named == {name: "work:q"}


async def test_an_alias_of_the_built_in_model_prefers_that() -> None:
    router = Router(Settings(), models_of(FakeService("a"), fast="builtin").look, "fast")
    assert (await router.choose()).models.planner == "fast"


async def test_where_nothing_is_configured_executors_take_their_default() -> None:
    assert (await Router(Settings(), models_of().look).choose()).models.planner is None


# --- Endpoints ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Api:
    server: Server
    mounts: list[Mount]

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        answer: Any = await respond(self.mounts, Request(method, path, {}, raw))
        return answer.status, json.loads(answer.body) if answer.body else None

    async def generate(self, **changes: Any) -> tuple[int, Any]:
        body = {"workspace_path": str(self.server.workspace), "spec_name": "new", "prompt": "Do it."} | changes
        with trio.fail_after(20):
            return await self.ask("POST", "/v1/specs/generate", body)


@asynccontextmanager
async def opened(root: Path, *says: str) -> AsyncIterator[Api]:
    async with serving(root, *says) as server:
        router = Router(Settings(root / "settings.json"), models_of().look)
        yield Api(server, service.mounts(service.Service(server.base, router)))


async def test_the_small_ones_answer(tmp_path: Path) -> None:
    async with opened(tmp_path) as api:
        assert await api.ask("GET", "/healthz") == (200, {"ok": True})
        assert await api.ask("GET", "/hello") == (200, {"message": "hello"})
        assert await api.ask("GET", "/v1/nothing") == (404, {"error": "unknown endpoint"})
        assert (await api.ask("DELETE", "/v1/models"))[0] == 405


async def test_a_policy_replaces_the_one_before(tmp_path: Path) -> None:
    async with opened(tmp_path) as api:
        status, told = await api.ask("POST", "/v1/model-policy", {"require_vision": True, "max_cost_usd": None})
        assert (status, told["max_cost_usd"]) == (200, None)
        status, told = await api.ask("POST", "/v1/model-policy", {"preferred_models": ["x"]})
        assert (told["require_vision"], told["max_cost_usd"], told["preferred_models"]) == (False, 5, ["x"])
        assert await api.ask("GET", "/v1/model-policy") == (200, told)
        assert (await api.ask("GET", "/v1/models"))[1]["policy"] == told
        assert await api.ask("POST", "/v1/model-policy", b"[]") == (400, {"error": "invalid json"})


async def test_a_record_has_the_shape_of_the_document(tmp_path: Path) -> None:
    async with opened(tmp_path) as api:
        [record] = (await api.ask("GET", "/v1/models"))[1]["models"]
    assert record["id"] == "builtin:builtin"
    assert record["pricing"]["currency"] == "USD"
    assert record["availability"]["entitled"] is True


async def test_the_tree_is_the_files_as_they_are_named_there(tmp_path: Path) -> None:
    async with opened(tmp_path) as api:
        place = api.server.workspace
        for name in ("b/c.txt", "a.txt", "node_modules/x.js"):
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).touch()
        answer = await api.ask("GET", f"/v1/workspace/tree?workspace_path={place}")
        assert answer == (200, {"root": str(place), "files": ["a.txt", "b/c.txt"]})
        assert await api.ask("GET", "/v1/workspace/tree") == (400, {"error": "workspace_path required"})
        status, told = await api.ask("GET", "/v1/workspace/tree?workspace_path=/nothing")
        assert (status, told) == (400, {"error": "workspace_path must be a directory"})


# --- Specs --------------------------------------------------------------------------------------------------------

SPEC = "---\nname: new\n---\n\n# Goal\n\nDo it.\n"


@pytest.mark.parametrize("said", [SPEC, f"```markdown\n{SPEC}```", f"\n\n{SPEC}\n\n"])
async def test_a_spec_is_written_as_the_model_wrote_it(tmp_path: Path, said: str) -> None:
    async with opened(tmp_path, said) as api:
        path = api.server.workspace / "specs/new/spec.md"
        assert await api.generate() == (200, {"spec_path": str(path), "content": SPEC})
        assert path.read_text() == SPEC
        assert (path.parent / "diagrams").is_dir()


async def test_what_is_no_spec_is_replaced_by_a_template_with_the_prompt(tmp_path: Path) -> None:
    async with opened(tmp_path, "Sure, here it is!") as api:
        assert (await api.generate())[1]["content"] == specfile.draft("new", "Do it.")


async def test_nothing_is_written_where_the_model_says_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, "```\n```") as api:
        assert await api.generate() == (500, {"error": "model returned empty spec"})
        assert not (api.server.workspace / "specs").exists()


async def test_a_spec_that_is_there_stays_unless_it_is_to_be_overwritten(tmp_path: Path) -> None:
    async with opened(tmp_path, SPEC) as api:
        path = api.server.workspace / "specs/new/spec.md"
        path.parent.mkdir(parents=True)
        path.write_text("mine")
        assert await api.generate() == (409, {"error": "spec already exists"})
        assert path.read_text() == "mine"
        assert (await api.generate(overwrite=True))[0] == 200
        assert path.read_text() == SPEC


async def test_a_spec_is_not_written_through_a_link_out_of_the_workspace(tmp_path: Path) -> None:
    async with opened(tmp_path, SPEC) as api:
        (tmp_path / "outside").mkdir()
        (api.server.workspace / "specs").symlink_to(tmp_path / "outside")
        assert (await api.generate())[0] == 500
        assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"prompt": " "}, "workspace_path, spec_name, and prompt are required"),
        ({"spec_name": None}, "workspace_path, spec_name, and prompt are required"),
        ({"spec_name": "../x"}, "spec_name must be alphanumeric with dashes or underscores"),
        ({"workspace_path": "/nothing"}, "workspace_path must be a directory"),
        ({"overwrite": "yes"}, "overwrite must be a boolean"),
    ],
)
async def test_what_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    async with opened(tmp_path) as api:
        assert await api.generate(**changes) == (400, {"error": text})


def test_the_built_in_model_knows_what_it_is_asked_for() -> None:
    assert (specdraft.MARK, specdraft.ASKED_FOR) == (DRAFT_MARK, DRAFT_ASKED)


def test_the_built_in_model_sorts_the_sentences_of_the_request() -> None:
    asked = "Add a flag. It must be fast.\n\n- `x --flag` prints 1\n\n```bash\nx --flag\n```"
    told = spec_draft(["Run `make test` first.", f"name: new\n{DRAFT_ASKED}{asked}"])
    _, goal, constraints, checks, _ = told.split("\n# ")
    assert goal == "Goal\n\nAdd a flag.\n\n```bash\nx --flag\n```\n"
    assert constraints == "Constraints / nuances\n\n- It must be fast.\n"
    assert checks == "Acceptance tests\n\n- `x --flag` prints 1\n- `make test` passes.\n"


# --- Refusals -----------------------------------------------------------------------------------------------------


@attrs.frozen
class FakeIndex:
    rows: Sequence[JobRow]

    def jobs(self, query: Query) -> Page[JobRow]:
        return Page([Found(row, SessionRow(""), None) for row in self.rows], None)


def ended(model: str, code: str | None, at: int = 100) -> JobRow:
    return JobRow("", "", provider="work", resolved_model=model, error_code=code, ended=at)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([ended("a", "PROVIDER_AUTH_FAILED")], {"work:a"}),
        ([ended("a", "PROVIDER_RATE_LIMITED")], set()),
        ([ended("a", None), ended("a", "MODEL_UNAVAILABLE")], set()),  # the latest one first: it is good again
        ([ended("a", "MODEL_UNAVAILABLE", at=10)], set()),  # too long ago
        ([JobRow("", "", error_code="MODEL_UNAVAILABLE", ended=100)], set()),  # there was no model to call
    ],
)
def test_a_model_was_refused_if_its_last_job_was(rows: list[JobRow], found: set[str]) -> None:
    assert refused(cast("SessionIndex", FakeIndex(rows)), 50) == found
