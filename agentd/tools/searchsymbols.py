"""SearchSymbols: classes, functions, fields by a part of their name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from agentd.domain import ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import arg, input_schema, parse, subject
from agentd.tools.symbols import counted, outcome, symbols_of
from agentd.workspace.symbols.model import Kind
from agentd.workspace.symbols.query import Matches, Symbols

DEFAULT_LINES = 50
MAX_LINES = 1000


@attrs.frozen
class SearchSymbolsInput:
    pattern: str = arg("A part of the name or a regular expression. Case counts if there is a capital letter in it")
    kind: Literal["class", "interface", "enum", "type", "function", "method", "field"] | None = arg(
        "Only definitions of this kind", default=None
    )
    limit: int = arg(f"At most so many, up to {MAX_LINES}", default=DEFAULT_LINES)


class SearchSymbols:
    name = "SearchSymbols"
    description = (
        "Find where classes, interfaces, enums, functions, methods and fields are defined, by a part of their name or "
        "a regular expression. Prints `path:line: kind qualified.name  declaration`, the best match first."
    )
    input_schema: Mapping[str, Any] = input_schema(SearchSymbolsInput)
    tool_class = ToolClass.READ

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return " ".join(filter(None, (subject(call_input, "kind"), subject(call_input, "pattern"))))

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(SearchSymbolsInput, call_input)
        if not asked.pattern.strip() or asked.limit < 1:
            raise ToolFailed("pattern has to be a part of a name, and limit at least 1")
        limit = min(asked.limit, MAX_LINES)
        kinds = frozenset(Kind) if asked.kind is None else {Kind(asked.kind)}
        with symbols_of(context) as symbols:
            matches = await symbols.search(asked.pattern.strip(), kinds, limit)
            lines = _lines(matches, limit) if matches.total else await _nothing(symbols, asked.pattern.strip())
        return outcome("\n".join(lines), counted(matches.total, "match"))


def _lines(matches: Matches, limit: int) -> list[str]:
    lines = [
        f"{each.place}: {each.definition.kind} {each.definition.qualified}  {each.definition.signature}"
        for each in matches.best
    ]
    more = matches.total - len(matches.best)
    if more:
        how = f"limit={min(MAX_LINES, limit * 4)} shows more; a" if limit < MAX_LINES else "A"
        lines.append(f"[{more} more; {how} longer pattern, or kind, finds fewer]")
    return lines


async def _nothing(symbols: Symbols, pattern: str) -> list[str]:
    lines = ["No matches found"]
    if near := await symbols.similar(pattern):
        lines.append(f"[similar names: {', '.join(near)}]")
    if skipped := await symbols.skipped():
        reasons = ", ".join(f"{count} {why}" for why, count in sorted(skipped.items()))
        lines.append(f"[files that were not read: {reasons}]")
    return lines
