"""The bodies of the guide that this API is made after: every one is accepted, and is what the API says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentd.faces.agent.fields import Unprocessable
from agentd.faces.agent.requests import answer, control, follow_up, query, rewind, schemas
from agentd.faces.agent.spec import to_spec
from agentd.faces.agent.terms import Terms
from agentd.wire.jsonschema import compile_schema

TERMS = Terms(Path("/tmp"))
QUERIES = [json.loads(line) for line in Path(__file__).with_name("seed_bodies.ndjson").read_text().splitlines()]


@pytest.mark.parametrize("body", QUERIES, ids=lambda body: body["prompt"][:30])
def test_a_query_of_the_guide_is_a_job(body: dict[str, Any]) -> None:
    for read in (query, follow_up):
        asked = read(json.dumps(body).encode(), TERMS)
        assert asked.given.keys() == body.keys()
        assert to_spec(asked, TERMS).prompt == body["prompt"]


@pytest.mark.parametrize("name", ["QueryRequest", "ResumeRequest", "ForkRequest"])
def test_a_query_of_the_guide_is_what_the_schema_says(name: str) -> None:
    text = json.dumps({"$defs": schemas(), "$ref": f"#/$defs/{name}"})
    schema = compile_schema(json.loads(text.replace("#/components/schemas/", "#/$defs/")))
    for body in QUERIES:
        assert schema.errors(body) == []
    assert schema.errors({"prompt": 1}) != []


def test_the_other_bodies_of_the_guide_are_read() -> None:
    assert answer(b'{"answer": "Yes, proceed with the operation"}').answer == "Yes, proceed with the operation"
    mode = "bypassPermissions"
    assert control(json.dumps({"type": "permission_mode_change", "permission_mode": mode}).encode()) == mode
    assert rewind(b'{"checkpoint_id": "your-checkpoint-id-here"}') == ("your-checkpoint-id-here", False)


def test_the_errors_of_the_guide_are_told_as_there() -> None:
    with pytest.raises(Unprocessable) as missing:
        query(b"{}", TERMS)
    assert missing.value.items == [{"type": "missing", "loc": ["body", "prompt"], "msg": "Field required"}]
    with pytest.raises(Unprocessable) as conflict:
        query(b'{"prompt": "Test", "allowed_tools": ["Read"], "disallowed_tools": ["Read"]}', TERMS)
    text = "Tool conflict: {'Read'} appear in both allowed_tools and disallowed_tools"
    assert conflict.value.items == [
        {"type": "value_error", "loc": ["body"], "msg": text, "ctx": {"error": text}},
    ]
