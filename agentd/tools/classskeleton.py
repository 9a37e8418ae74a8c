"""ClassSkeleton: a type without the bodies of its methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from agentd.domain import ToolClass
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import arg, input_schema, parse, subject
from agentd.tools.symbols import counted, outcome, symbols_of, unknown


@attrs.frozen
class ClassSkeletonInput:
    name: str = arg("The qualified name of a class, interface, enum or struct, or the end of it: Users, app.db.Users")


class ClassSkeleton:
    name = "ClassSkeleton"
    description = (
        "Show a class (interface, enum, struct, type) without method bodies: its declaration, fields, and the "
        "signatures of its methods, with line numbers. Cheaper than reading the file."
    )
    input_schema: Mapping[str, Any] = input_schema(ClassSkeletonInput)
    tool_class = ToolClass.READ

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "name")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        name = parse(ClassSkeletonInput, call_input).name
        with symbols_of(context) as symbols:
            text = await symbols.summary(name)
            if text is None:
                raise await unknown(symbols, name, "class")
        return outcome(text, counted(text.count("\n") + 1, "line"))
