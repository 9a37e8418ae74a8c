"""MethodSource: the whole source of a function, without looking for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from agentd.domain import ToolClass
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import arg, input_schema, parse, subject
from agentd.tools.symbols import counted, outcome, symbols_of, unknown

MAX_LINES = 1000  # of each definition


@attrs.frozen
class MethodSourceInput:
    name: str = arg("The qualified name of a function or method, or the end of it: add, Users.add, app.db.Users.add")


class MethodSource:
    name = "MethodSource"
    description = (
        "Show the source of a function or method by its name, with its comment or decorators and line numbers as Read "
        "gives them; all overloads, and all that have the name."
    )
    input_schema: Mapping[str, Any] = input_schema(MethodSourceInput)
    tool_class = ToolClass.READ

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "name")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        name = parse(MethodSourceInput, call_input).name
        with symbols_of(context) as symbols:
            text = await symbols.sources(name, numbers=True, most=MAX_LINES)
            if text is None:
                raise await unknown(symbols, name, "function")
        return outcome(text, counted(text.count("\n") + 1, "line"))
