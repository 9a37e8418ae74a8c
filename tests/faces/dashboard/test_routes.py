"""The dashboard's page and its parts, and how a browser logs in."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest

from agentd.daemon.access import Principal
from agentd.faces.dashboard.routes import GUARDED, Dashboard, content
from agentd.wire.messages import Request, Response
from agentd.wire.routing import respond

TOKEN = 'a;token, with=what%a"cookie cannot have'
HTML = {"accept": "text/html", "host": "127.0.0.1:8787"}


def principal(authorization: str) -> Principal | None:
    return Principal("admin", frozenset({"admin"})) if authorization == f"Bearer {TOKEN}" else None


async def ask(
    method: str, path: str, body: str = "", *, peer: str = "127.0.0.1:5000", **headers: str
) -> tuple[Response, dict[str, str]]:
    """The answer and its header fields."""
    fields = HTML | {name.replace("_", "-"): value for name, value in headers.items()}
    app = Dashboard(principal, Path("/home/me/tokens/admin"))
    answer = await respond([app.mount()], Request(method, path, fields, body.encode(), peer=peer))
    assert isinstance(answer, Response)
    return answer, dict(answer.headers)


async def logged_in() -> str:
    """The cookie."""
    _, fields = await ask("POST", "/", f"token={quote(TOKEN)}")
    return fields["Set-Cookie"].partition(";")[0]


# --- Logging in ---------------------------------------------------------------------------------------------------


async def test_without_a_token_there_is_a_form_that_says_where_the_token_is() -> None:
    answer, fields = await ask("GET", "/")
    assert answer.status == 401
    assert b'<form method="post"' in answer.body
    assert b"<code>/home/me/tokens/admin</code>" in answer.body
    assert fields["Cache-Control"] == "no-store"


async def test_a_client_elsewhere_is_not_told_where_the_token_is() -> None:
    answer, _ = await ask("GET", "/", peer="192.0.2.7:5000")
    assert answer.status == 401
    assert b"/home/me" not in answer.body


async def test_a_client_that_is_no_browser_gets_json() -> None:
    answer, fields = await ask("GET", "/", accept="*/*")
    assert (answer.status, answer.body) == (401, b'{"error":"unauthorized"}')
    assert fields["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("how", [("GET", f"/?token={quote(TOKEN)}", ""), ("POST", "/", f"token={quote(TOKEN)}")])
async def test_the_right_token_becomes_a_cookie_that_no_script_and_no_other_site_can_use(
    how: tuple[str, str, str],
) -> None:
    answer, fields = await ask(*how)
    assert (answer.status, fields["Location"]) == (303, "/")
    assert re.fullmatch(r"agentd_8787=[A-Za-z0-9%._~-]+; Path=/; HttpOnly; SameSite=Strict", fields["Set-Cookie"])


@pytest.mark.parametrize("how", [("GET", "/?token=wrong", ""), ("POST", "/", "token=wrong"), ("POST", "/", "")])
async def test_a_wrong_token_is_refused(how: tuple[str, str, str]) -> None:
    answer, fields = await ask(*how)
    assert answer.status == 401
    assert b'role="alert"' in answer.body
    assert "Set-Cookie" not in fields


async def test_the_cookie_opens_the_page() -> None:
    answer, _ = await ask("GET", "/", cookie=f"other=1; {await logged_in()}")
    assert answer.status == 200
    assert b"/static/main.js" in answer.body


async def test_the_header_opens_the_page_too() -> None:
    assert (await ask("GET", "/", authorization=f"Bearer {TOKEN}"))[0].status == 200


async def test_a_cookie_of_another_daemon_on_this_machine_is_not_looked_at() -> None:
    cookie = (await logged_in()).replace("8787", "8788")
    assert (await ask("GET", "/", cookie=cookie))[0].status == 401


async def test_who_came_by_a_link_elsewhere_is_sent_on_as_ourselves() -> None:
    """Its browser keeps a strict cookie back, and sends it with what a page of ours asks for."""
    _, fields = await ask("GET", "/", sec_fetch_site="cross-site", cookie=await logged_in())
    assert fields["Refresh"] == "0"
    assert "Refresh" not in (await ask("GET", "/", sec_fetch_site="same-origin"))[1]


async def test_logging_out_takes_the_cookie_back() -> None:
    answer, fields = await ask("POST", "/logout", cookie=await logged_in())
    assert (answer.status, fields["Location"]) == (303, "/")
    assert fields["Set-Cookie"].startswith("agentd_8787=; ")
    assert "Max-Age=0" in fields["Set-Cookie"]


# --- What is served -----------------------------------------------------------------------------------------------


async def test_any_address_is_the_page() -> None:
    answer, _ = await ask("GET", "/some/where", cookie=await logged_in())
    assert b"/static/main.js" in answer.body


async def test_an_api_that_is_not_served_is_no_page() -> None:
    answer, _ = await ask("GET", "/v1/models")
    assert (answer.status, answer.body) == (404, b'{"error":"unknown endpoint"}')


@pytest.mark.parametrize(
    ("name", "kind"), [("main.js", "text/javascript"), ("app.css", "text/css"), ("favicon.svg", "image/svg+xml")]
)
async def test_parts_have_their_type_and_are_asked_for_once(name: str, kind: str) -> None:
    answer, fields = await ask("GET", f"/static/{name}")
    assert answer.status == 200
    assert (answer.content_type or "").startswith(kind)
    again, more = await ask("GET", f"/static/{name}", if_none_match=f'W/{fields["ETag"]}, "other"')
    assert (again.status, again.body, more["ETag"]) == (304, b"", fields["ETag"])


@pytest.mark.parametrize("name", ["none.js", "..%2Froutes.py", "%2e%2e", "main.py", "main.js%00.css"])
async def test_nothing_else_is_served(name: str) -> None:
    assert (await ask("GET", f"/static/{name}"))[0].status == 404


async def test_every_answer_says_what_the_page_may_do() -> None:
    for path in ("/", "/static/main.js", "/v1/x", "/static/none"):
        _, fields = await ask("GET", path)
        assert set(GUARDED) <= set(fields.items())
        assert "unsafe" not in fields["Content-Security-Policy"]


def test_the_page_has_no_script_and_no_style_of_its_own() -> None:
    for name in ("index.html", "login.html"):
        page = content(name)[0].decode()
        assert re.findall(r"<script>|<style|\son\w+=|\sstyle=|https?://", page) == []
