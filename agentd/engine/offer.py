"""Which tools a conversation has on offer. Those of MCP servers may change while it lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

from agentd.engine.permissions import names_tool
from agentd.tools.base import Tool

if TYPE_CHECKING:
    from agentd.tools.mcp.servers import Servers


@attrs.frozen(eq=False)
class Offer(Mapping[str, Tool]):
    """*fixed*: tools of ours, by name; *servers*: whose tools come behind them, but for those *refused*."""

    fixed: Mapping[str, Tool]
    servers: Servers | None = None
    refused: tuple[str, ...] = ()  # as names_tool() reads them

    @property
    def _theirs(self) -> Mapping[str, Tool]:
        found = self.servers.tools if self.servers is not None else {}
        return {name: tool for name, tool in found.items() if not names_tool(self.refused, name)}

    def __getitem__(self, name: str) -> Tool:
        return self.fixed[name] if name in self.fixed else self._theirs[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.fixed
        yield from (name for name in self._theirs if name not in self.fixed)

    def __len__(self) -> int:
        return len(set(self))


@attrs.frozen(eq=False)
class Part(Mapping[str, Tool]):
    """As much of *whole* as *keeps* says."""

    whole: Mapping[str, Tool]
    keeps: Callable[[str], bool]

    def __getitem__(self, name: str) -> Tool:
        if not self.keeps(name):
            raise KeyError(name)
        return self.whole[name]

    def __iter__(self) -> Iterator[str]:
        return filter(self.keeps, self.whole)

    def __len__(self) -> int:
        return sum(1 for _ in self)
