"""What a request says of who asks, by its header or its cookie."""

from __future__ import annotations

import pytest

from agentd.daemon.access import authorization, cookie
from agentd.wire.messages import Headers, Request

HOST = {"host": "127.0.0.1:8787"}
SENT = cookie(Headers(HOST), "secret").partition(";")[0]


def who(method: str = "GET", **headers: str) -> str:
    fields = HOST | {"cookie": SENT} | {name.replace("_", "-"): value for name, value in headers.items()}
    return authorization(Request(method, "/agentd/v1/sessions", fields))


def test_a_cookie_stands_for_the_header() -> None:
    assert who() == "Bearer secret"


def test_the_header_goes_before_the_cookie() -> None:
    assert who(authorization="Bearer other") == "Bearer other"


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_a_cookie_does_not_count_for_what_other_pages_send(site: str) -> None:
    """Another port of the same host is the same site."""
    assert who(sec_fetch_site=site) == ""
    assert who("POST", sec_fetch_site=site, origin="http://127.0.0.1:8787") == ""


def test_a_cookie_counts_for_what_a_person_or_the_page_asks_for() -> None:
    assert who(sec_fetch_site="none") == who(sec_fetch_site="same-origin") == "Bearer secret"


def test_a_cookie_changes_something_only_for_the_page_itself() -> None:
    assert who("POST", sec_fetch_site="same-origin") == "Bearer secret"
    assert who("DELETE", origin="http://127.0.0.1:8787") == "Bearer secret"
    assert who("POST") == who("POST", sec_fetch_site="none") == who("POST", origin="http://127.0.0.1:9999") == ""


def test_each_port_has_a_cookie_of_its_own() -> None:
    assert who(host="127.0.0.1:8080") == ""
    assert cookie(Headers({"host": "agents.example"}), "t").startswith("agentd=t;")
