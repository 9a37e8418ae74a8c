"""Whatever a client sends: it is answered as the protocol has it, and nothing in it is an error of ours."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.faces.mcp.tools import TOOLS
from agentd.tools.schema import input_schema
from tests.faces.mcp.mcpapi import messages_of, serving

patient = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=15)
NAMES = sorted({name for tool in TOOLS.values() for name in input_schema(tool.takes)["properties"]})
WORDS = ["ask", "find", "outline", "usages", "allow", "answer", "completed", ".", "/", "..", "\0", "1.2", "(", "[a-z]"]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=20)
)
ANY = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
)
WAITS_NOT = {"wait_seconds": 0}
CALLS = st.tuples(st.sampled_from(sorted(TOOLS)), st.dictionaries(st.sampled_from(NAMES), ANY | SCALARS, max_size=5))
BOTH = ["tools/list", "tools/call", "resources/list", "resources/read"]
METHODS = st.sampled_from(["initialize", "ping", *BOTH, "server/discover", "notifications/cancelled"])
MESSAGES = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": METHODS | ANY},
    optional={"id": SCALARS, "params": ANY | st.dictionaries(st.sampled_from(["_meta", "uri", "name"]), ANY)},
)


def own(tool: str, arguments: dict[str, Any], place: str) -> dict[str, Any]:
    """Those that the tool takes; in a directory of ours, and without waiting."""
    known = input_schema(TOOLS[tool].takes)["properties"]
    given = {name: value for name, value in arguments.items() if name in known}
    return given | {name: value for name, value in (WAITS_NOT | {"directory": place}).items() if name in known}


@patient
@given(st.lists(CALLS, min_size=1, max_size=40))
async def test_any_call_of_a_tool_is_answered(calls: list[tuple[str, dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        async with serving(Path(place)) as api:
            talk = api.stateless(elicitation={})
            for name, arguments in calls:
                told = own(name, arguments, str(api.workspace))
                response = await talk.ask("tools/call", name=name, arguments=told)
                assert response.get("error", {}).get("code") in (None, -32602), (name, told, response)


@patient
@given(st.lists(MESSAGES | ANY, min_size=1, max_size=40))
async def test_any_message_is_answered(messages: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as place:
        async with serving(Path(place)) as api:
            talk = await api.begin()
            fields = {name.replace("-", "_"): value for name, value in talk.headers.items()}
            for message in messages:
                answer = await api.send(json.dumps(message).encode(), **fields)
                assert answer.status in (200, 202, 400, 404)
                for told in messages_of(answer) if answer.body else ():
                    assert told.get("error", {}).get("code") != -32603, (message, told)
