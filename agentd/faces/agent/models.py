"""Which model names a request may use, and which model each stands for. The rules: the agent API contract, 20."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from agentd.providers.settings import Catalog

FAMILIES = ("sonnet", "opus", "haiku")
DEFAULT = "sonnet"  # what a request without a model is said to use
INHERIT = "inherit"  # the model of a subagent that has its parent's
_IDS = (  # how the full names of the families' models begin
    "claude-sonnet-",
    "claude-opus-",
    "claude-haiku-",
    "claude-3-5-sonnet-",
    "claude-3-5-haiku-",
    "claude-3-opus-",
    "claude-3-7-sonnet-",
)
_SHOWN_CHARS = 100


@attrs.frozen
class ModelNames:
    """*configured*: what the operator named and aliased. *providers*: any model of theirs is `provider/model`."""

    configured: Collection[str] = ()
    providers: Collection[str] = ()

    @classmethod
    def of(cls, catalog: Catalog) -> ModelNames:
        roles = (catalog.roles.planner, catalog.roles.code, catalog.roles.scan, catalog.roles.fallback)
        named = [model.name for model in catalog.models]
        return cls(
            dict.fromkeys(name for name in (*catalog.aliases, *named, "builtin", *roles) if name),
            tuple(provider.name for provider in catalog.providers),
        )

    def misfit(self, name: str) -> str:
        """What is wrong with *name*; "" where nothing is."""
        provider, _, model = name.partition("/")
        if name in (*FAMILIES, *self.configured) or name.startswith(_IDS) or (model and provider in self.providers):
            return ""
        return f"Invalid model: {name[:_SHOWN_CHARS]!r}. Valid options: {', '.join(self.listed())}"

    def planner(self, name: str | None) -> str | None:
        """What the registry knows *name* by; None for the default of the role, which serves where no model is asked for
        by another name than DEFAULT. A full name that is not configured is its family's, where that is."""
        asked = name or DEFAULT
        if asked in self.configured:
            return asked
        if asked.startswith(_IDS):
            family = next(word for word in FAMILIES if word in asked)
            return family if family in self.configured else asked
        return None if asked == DEFAULT else asked

    def listed(self) -> list[str]:
        """The families, then what is configured."""
        return list(dict.fromkeys((*FAMILIES, *self.configured)))
