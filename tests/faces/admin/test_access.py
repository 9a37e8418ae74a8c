"""Who may do what: every route of the admin API, for every kind of principal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from agentd.faces.admin.routes import NEEDS, routes
from agentd.store.create import epoch_ms
from tests.adminapi import ADMIN, Api, asking, job_entries, serving

WHO_MAY = {  # beside the admin; "own": whoever made what it is about
    ("GET", "/sessions"): {"viewer", "own"},
    ("GET", "/sessions/{session_id}"): {"viewer", "own"},
    ("DELETE", "/sessions/{session_id}"): {"own"},
    ("GET", "/sessions/{session_id}/log"): {"viewer", "own"},
    ("GET", "/sessions/{session_id}/diff"): {"viewer", "own"},
    ("GET", "/sessions/{session_id}/transcript"): {"viewer", "own"},
    ("POST", "/sessions/{session_id}/message"): {"own"},
    ("POST", "/sessions/{session_id}/cancel"): {"own"},
    ("POST", "/sessions/{session_id}/rewind"): {"own"},
    ("GET", "/jobs"): {"viewer", "own"},
    ("GET", "/jobs/{job_id}"): {"viewer", "own"},
    ("GET", "/asks"): {"viewer", "approver", "own"},
    ("GET", "/asks/{ask_id}"): {"viewer", "approver", "own"},
    ("POST", "/asks/{ask_id}"): {"approver", "own"},
    ("GET", "/executors"): {"viewer"},
    ("GET", "/storage"): {"viewer"},
    ("POST", "/gc"): set(),
    ("GET", "/recovery"): {"viewer"},
    ("GET", "/events"): {"viewer", "own"},
    ("GET", "/tokens"): set(),
    ("POST", "/tokens"): set(),
    ("DELETE", "/tokens/{token_id}"): set(),
}
BODIES: dict[str, Any] = {
    "/sessions/{session_id}/message": {"text": ""},
    "/asks/{ask_id}": {"decision": "perhaps"},
    "/gc": {"dry_run": True},
    "/tokens": {"scope": []},
}


@attrs.frozen
class Bed:
    """Tokens of every kind, and the path of the route with what *own* made."""

    api: Api
    own: str
    others: str
    viewer: str
    approver: str
    path: str

    async def status(self, method: str, token: str | None, pattern: str) -> int:
        status, raw = await self.api.request(method, self.path, BODIES.get(pattern, {}), token=token)
        assert b"traceback" not in raw.lower()
        return status


async def make_bed(api: Api, pattern: str) -> Bed:
    own, owner = await api.issue("runs")
    others, _ = await api.issue("runs", "agent")
    session = api.session("runs", *job_entries(), *asking(), owner=owner)
    names = {"session_id": session.id, "job_id": "job-1", "ask_id": "ask-1", "token_id": "no-such-token"}
    viewer, _ = await api.issue("viewer")
    approver, _ = await api.issue("approver")
    return Bed(api, own, others, viewer, approver, pattern.format(**names))


def test_every_route_says_who_may_use_it() -> None:
    assert {(route.method, route.pattern) for route in routes} == set(WHO_MAY) == set(NEEDS)


@pytest.mark.parametrize(("method", "pattern"), WHO_MAY, ids=" ".join)
async def test_nobody_is_let_in_without_a_token_that_is_good(tmp_path: Path, method: str, pattern: str) -> None:
    async with serving(tmp_path) as api:
        bed = await make_bed(api, pattern)
        expired, _ = await api.issue("admin", expires=epoch_ms() + 600_000)
        revoked, revoked_id = await api.issue("admin")
        await api.ask("DELETE", f"/tokens/{revoked_id}")
        api.app.access._clock = lambda: epoch_ms() + 3_600_000
        for token in (None, "", "wrong", ADMIN[:-1], ADMIN + "x", expired, revoked, "\xff"):
            assert await bed.status(method, token, pattern) == 401, token
        for header in (ADMIN, f"bearer {ADMIN}", f"Basic {ADMIN}", "Bearer"):
            status, _ = await api.request(method, bed.path, {}, token=None, authorization=header)
            assert status == 401, header


@pytest.mark.parametrize(("method", "pattern"), WHO_MAY, ids=" ".join)
async def test_each_principal_gets_what_is_its_own_to_get(tmp_path: Path, method: str, pattern: str) -> None:
    who = WHO_MAY[method, pattern]
    async with serving(tmp_path) as api:
        bed = await make_bed(api, pattern)
        for name in ("viewer", "approver"):
            status = await bed.status(method, getattr(bed, name), pattern)
            assert (status == 403) is (name not in who), name
            assert status != 401
        status = await bed.status(method, bed.others, pattern)
        if "own" not in who:
            assert status == 403
        elif "{" in pattern:
            assert status == 404  # what others made is not there
        else:
            assert status == 200
        own = await bed.status(method, bed.own, pattern)
        assert own == 403 if "own" not in who else own not in (401, 403, 404)
        assert await bed.status(method, ADMIN, pattern) not in (401, 403)


@pytest.mark.parametrize("path", ["/sessions", "/jobs", "/asks"])
async def test_lists_show_only_what_the_principal_made(tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as api:
        bed = await make_bed(api, path)
        shown = {
            name: len((await api.get(path, token=token))["items"])
            for name, token in (("own", bed.own), ("others", bed.others), ("viewer", bed.viewer), ("admin", ADMIN))
        }
        assert shown == {"own": 1, "others": 0, "viewer": 1, "admin": 1}


async def test_an_unknown_path_needs_a_token_too(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        assert (await api.ask("GET", "/nowhere", token=None))[0] == 401
        status, told = await api.ask("GET", "/nowhere")
        assert (status, told["error"]["code"]) == (404, "NOT_FOUND")
        status, told = await api.ask("PUT", "/sessions")
        assert (status, told["error"]["code"]) == (405, "METHOD_NOT_ALLOWED")


async def test_a_token_for_some_directories_has_no_work_done_elsewhere(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session()
        elsewhere, _ = await api.issue("admin", roots=[str(tmp_path / "elsewhere")])
        status, told = await api.ask("POST", f"/sessions/{session.id}/message", {"text": "go"}, token=elsewhere)
        assert (status, told["error"]["code"]) == (403, "FORBIDDEN")
        here, _ = await api.issue("admin", roots=[str(tmp_path)])
        api.says("Done.")
        assert (await api.ask("POST", f"/sessions/{session.id}/message", {"text": "go"}, token=here))[0] == 202
        assert (await api.ask("POST", "/tokens", {"scope": "admin"}, token=here))[0] == 403


# --- Tokens -------------------------------------------------------------------------------------------------------


async def test_a_token_is_shown_once_and_stored_as_a_hash(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        token, token_id = await api.issue("viewer", name="the wall", budget_usd=2.5, roots=["/work"])
        [listed] = (await api.get("/tokens"))["items"]
        assert (listed["id"], listed["name"], listed["budget_usd"]) == (token_id, "the wall", 2.5)
        told = (await api.request("GET", "/tokens"))[1]
        assert token.encode() not in told
        assert token.encode() not in api.home.root_log.path.read_bytes()
        assert ADMIN.encode() not in api.home.root_log.path.read_bytes()
        assert "sha256" not in listed


async def test_tokens_outlive_the_daemon(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        token, token_id = await api.issue("viewer")
    async with serving(tmp_path) as api:
        await api.get("/sessions", token=token)
        assert (await api.ask("DELETE", f"/tokens/{token_id}"))[0] == 204
        assert (await api.ask("DELETE", f"/tokens/{token_id}"))[0] == 404
    async with serving(tmp_path) as api:
        assert (await api.ask("GET", "/sessions", token=token))[0] == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"scope": []},
        {"scope": "root"},
        {"scope": ["viewer", "x"]},
        {"scope": "viewer", "expires": 1},
        {"scope": "viewer", "budget_usd": 0},
        {"scope": "viewer", "roots": ["relative"]},
        {"scope": "viewer", "name": "n" * 201},
        b"not json",
    ],
)
async def test_a_token_that_makes_no_sense_is_not_issued(tmp_path: Path, body: Any) -> None:
    async with serving(tmp_path) as api:
        status, told = await api.ask("POST", "/tokens", body)
        assert (status, told["error"]["code"]) == (400, "VALIDATION_ERROR")
        assert told["error"]["details"]
        assert (await api.get("/tokens"))["items"] == []
