"""The dashboard: a page and what it is made of, out of this package, and the login that gives a browser its cookie.

The page has no data of its own: it asks the other faces, as the person who logged in. What it is made of is no secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qs, unquote

import attrs

from agentd.daemon.access import SCHEME, Principal, authorization, cookie
from agentd.wire.messages import Fields, Request, Response, json_response
from agentd.wire.routing import Mount, Routes

CACHED = "no-cache"  # a browser keeps it, and asks each time whether it is still that
LOGIN_BYTES = 8192
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
GUARDED: Fields = (  # of everything that is served here
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),  # with none at all, browsers send forms with the Origin "null"
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)

routes = Routes()


@attrs.frozen
class Dashboard:
    """*principal*: of an Authorization header's value. *token_file*: where the admin token is; None: it was given."""

    principal: Callable[[str], Principal | None]
    token_file: Path | None = None

    def mount(self, prefix: str = "") -> Mount:
        return Mount(routes, self, prefix, "dashboard", sign=lambda request: GUARDED)


@routes.get("/")
async def page(app: Dashboard, request: Request) -> Response:
    """The page, for who is logged in; ?token= logs in; else 401 and a form to do so."""
    if "token" in request.query:
        return enter(app, request, request.query["token"])
    if app.principal(authorization(request)) is None:
        return refuse(app, request)
    return static(request, "index.html")


@routes.post("/", limit=LOGIN_BYTES)
async def log_in(app: Dashboard, request: Request) -> Response:
    """The form, sent."""
    form = parse_qs(request.body.decode("latin-1"), max_num_fields=8)
    return enter(app, request, form.get("token", [""])[0])


@routes.post("/logout", limit=LOGIN_BYTES)
async def log_out(app: Dashboard, request: Request) -> Response:
    return leave_for(request, "")


@routes.get("/static/{name}")
async def part(app: Dashboard, request: Request, name: str) -> Response:
    return static(request, name)


@routes.get("/favicon.ico")
async def icon(app: Dashboard, request: Request) -> Response:
    return static(request, "favicon.svg")


@routes.add("*", "/v1/*")
async def absent(app: Dashboard, request: Request) -> Response:
    """Where the runs API is not served: a client of it gets no page."""
    return json_response(404, {"error": "unknown endpoint"})


@routes.get("/*")
async def anywhere(app: Dashboard, request: Request) -> Response:
    """The page, whatever the address: contract of the runs API, section 16."""
    return await page(app, request)


# --- Logging in ---------------------------------------------------------------------------------------------------


def enter(app: Dashboard, request: Request, token: str) -> Response:
    """To the page with a cookie, if *token* is good for anything."""
    token = token.strip()
    if app.principal(f"{SCHEME}{token}") is None:
        return refuse(app, request, "That token is not valid here, or no longer.")
    return leave_for(request, token)


def leave_for(request: Request, token: str) -> Response:
    headers = [("Location", f"{request.base}/"), ("Set-Cookie", cookie(request.headers, token))]
    return Response(303, content_type=None, headers=[*headers, ("Cache-Control", "no-store")])


def refuse(app: Dashboard, request: Request, wrong: str = "") -> Response:
    headers = [("WWW-Authenticate", "Bearer"), ("Cache-Control", "no-store")]
    if "text/html" not in request.headers.get("accept"):
        return json_response(401, {"error": "unauthorized"}, headers)
    if not wrong and request.headers.get("sec-fetch-site") == "cross-site":
        headers.append(("Refresh", "0"))  # came by a link elsewhere, so without the cookie: ask again as ourselves
    near = request.peer == "unix" or request.peer.startswith(("127.", "[::1]", "::1"))
    return Response(401, login_page(app.token_file, wrong, near=near).encode(), TYPES[".html"], headers)


def login_page(token_file: Path | None, wrong: str, *, near: bool) -> str:
    """*near*: for somebody on this machine, who is told where on it the token is."""
    place = "The token is the one that agentd was started with, or one that was issued to you."
    if token_file is not None and near:
        place = f"On this machine the admin token is in a file:<code>{escape(str(token_file))}</code>"
    told = f'<p class="error" role="alert">{escape(wrong)}</p>' if wrong else ""
    return content("login.html")[0].decode().replace("<!--wrong-->", told).replace("<!--place-->", place)


# --- What it is made of -------------------------------------------------------------------------------------------


@cache
def content(name: str) -> tuple[bytes, str]:
    """The bytes of a part, and its ETag. Raises KeyError."""
    if Path(name).suffix not in TYPES:
        raise KeyError(name)
    for entry in files(__package__).joinpath("static").iterdir():  # a name that came from outside is never joined
        if entry.name == name:
            body = entry.read_bytes()
            return body, f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    raise KeyError(name)


def static(request: Request, name: str) -> Response:
    """200 with the part, 304 if the browser has it, 404."""
    try:
        body, etag = content(unquote(name))
    except KeyError:
        return json_response(404, {"error": "not found"})
    headers = [("ETag", etag), ("Cache-Control", CACHED)]
    if etag in (each.strip().removeprefix("W/") for each in request.headers.get("if-none-match").split(",")):
        return Response(304, content_type=None, headers=headers)
    return Response(200, body, TYPES[Path(name).suffix], headers)
