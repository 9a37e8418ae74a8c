"""Whatever comes: a request is read, or refused in the documented shape. Nothing else happens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.faces.agent import requests
from agentd.faces.agent.fields import MOST_PROBLEMS, Unprocessable
from agentd.faces.agent.spec import to_spec
from agentd.faces.agent.tables import FIELDS, HOOKS, MODES, TOOLS
from agentd.faces.agent.terms import Terms
from agentd.wire.messages import to_json

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)
TERMS = Terms(Path("/tmp"))
BODIES = (requests.answer, requests.control, requests.rewind, requests.rename, requests.settle)
ORDER = list(FIELDS)
INNER = [
    "url",
    "type",
    "data",
    "media_type",
    "schema",
    "command",
    "args",
    "headers",
    "timeout",
    "tools",
    "name",
    "$ref",
]
KEYS = st.sampled_from([*FIELDS, *HOOKS, *HOOKS.values(), *INNER])
WORDS = st.sampled_from(
    [*TOOLS, *MODES, "base64", "url", "stdio", "json", "object", "sonnet", "http://localhost/", "3"]
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS | st.text()
)
ANY = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(), inner, max_size=5),
    max_leaves=20,
)
REQUESTS = st.dictionaries(KEYS, ANY, max_size=12)


def outcome(read: Any, *args: Any) -> Any:
    """What was read, or what was said of it."""
    try:
        return read(*args)
    except Unprocessable as refused:
        items = refused.items
    assert 0 < len(items) <= MOST_PROBLEMS
    for item in items:
        assert {"type", "loc", "msg"} <= item.keys() <= {"type", "loc", "msg", "ctx"}
        assert all(type(value) is str for value in item.get("ctx", {}).values())
        assert all(type(part) in (str, int) for part in item["loc"])
    return json.loads(to_json(items))


@patient
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    outcome(requests.query, body, TERMS)
    outcome(requests.page, body.decode("latin-1"))


@patient
@given(ANY)
def test_any_json_is_read_or_refused(value: Any) -> None:
    body = json.dumps(value).encode()
    for read in BODIES:
        outcome(read, body)
    outcome(requests.query, body, TERMS)


@patient
@given(REQUESTS)
def test_any_query_is_a_job_or_refused_in_the_same_words_every_time(fields: dict[str, Any]) -> None:
    body = json.dumps(fields).encode()
    for read in (requests.query, requests.follow_up):
        found = outcome(read, body, TERMS)
        assert found == outcome(read, body, TERMS)
        if isinstance(found, requests.Query):
            to_json(to_spec(found, TERMS))
    assert isinstance(outcome(requests.prompt, fields, TERMS), (requests.Query, list))


@patient
@given(REQUESTS)
def test_problems_come_in_the_order_of_the_fields(fields: dict[str, Any]) -> None:
    found = outcome(requests.query, json.dumps(fields).encode(), TERMS)
    if isinstance(found, list):
        places = [ORDER.index(item["loc"][1]) if len(item["loc"]) > 1 else len(ORDER) for item in found]
        assert places == sorted(places)


@patient
@given(REQUESTS, st.randoms(use_true_random=False))
def test_the_order_in_a_body_changes_nothing(fields: dict[str, Any], random: Any) -> None:
    names = list(fields)
    random.shuffle(names)
    shuffled = {name: fields[name] for name in names}
    assert outcome(requests.prompt, shuffled, TERMS) == outcome(requests.prompt, fields, TERMS)
