"""FindUsages: the lines that use a name, and what they are in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from agentd.domain import ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import arg, input_schema, parse, subject
from agentd.tools.symbols import counted, outcome, symbols_of
from agentd.workspace.symbols.outline import heading
from agentd.workspace.symbols.query import Symbols
from agentd.workspace.symbols.usages import Usage, Usages

DEFAULT_LINES = 100
MAX_LINES = 2000
MAX_DEFINITIONS = 10


@attrs.frozen
class FindUsagesInput:
    name: str = arg("A name, qualified or not. Lines are found by its last word")
    limit: int = arg(f"At most so many lines, up to {MAX_LINES}", default=DEFAULT_LINES)


class FindUsages:
    name = "FindUsages"
    description = (
        "Find the lines that use a class, function, method or field, other than its definitions. Prints "
        "`path:line:text  [in what.encloses.it]`; sources first, then tests, then other files; imports are marked. "
        "Things that share their last name are not told apart."
    )
    input_schema: Mapping[str, Any] = input_schema(FindUsagesInput)
    tool_class = ToolClass.READ

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "name")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(FindUsagesInput, call_input)
        if not asked.name.strip() or asked.limit < 1:
            raise ToolFailed("name has to be a name, and limit at least 1")
        limit = min(asked.limit, MAX_LINES)
        with symbols_of(context) as symbols:
            lines = await _definitions(symbols, asked.name)
            usages = await symbols.usages(asked.name, limit)
        lines += map(_line, usages.first)
        lines += _rest(usages, limit)
        return outcome("\n".join(lines), counted(usages.total, "usage"))


async def _definitions(symbols: Symbols, name: str) -> list[str]:
    found = await symbols.find(name)
    if not found:
        near = await symbols.similar(name)
        return [f"[nothing here defines {name}{'; similar names: ' * bool(near)}{', '.join(near)}]"]
    lines = [heading(each) for each in found[:MAX_DEFINITIONS]]
    if len(found) > MAX_DEFINITIONS:
        lines.append(f"[{len(found) - MAX_DEFINITIONS} more definitions; SearchSymbols lists them]")
    return lines


def _line(usage: Usage) -> str:
    note = "  [import]" if usage.is_import else f"  [in {usage.within}]" if usage.within else ""
    return f"{usage.place}:{usage.text}{note}"


def _rest(usages: Usages, limit: int) -> list[str]:
    if not usages.first:
        return ["No usages found"]
    more = usages.total - len(usages.first)
    if not more and usages.complete:
        return []
    how = f"limit={min(MAX_LINES, limit * 4)} shows more" if limit < MAX_LINES else "Grep with a path shows the rest"
    return [f"[{'' if usages.complete else 'at least '}{more} more usages; {how}]"]
