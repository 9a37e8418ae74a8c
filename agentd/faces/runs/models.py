"""Which models there are: asked of their services, and as records for clients. The contract: runs-and-chat.md, 13.

The daemon asks services for their lists and for nothing else; what a call of a model would tell, executors find out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import trio

from agentd.daemon.listing import Listing
from agentd.errors import InvalidRequest, ModelUnavailable
from agentd.faces.runs.policy import Candidate, Stock
from agentd.providers.factory import Configured, make_registry
from agentd.providers.failures import ServiceFailed
from agentd.providers.policy import summary
from agentd.providers.protocol import OFFLINE, ModelInfo
from agentd.providers.registry import LIST_SECONDS, Registry, list_models
from agentd.providers.settings import Catalog
from agentd.store.create import epoch_ms
from agentd.store.index import SessionIndex
from agentd.store.naming import instant
from agentd.store.tables import Query

AGAIN_SECONDS = 30.0  # after which a service that did not answer is asked again
REFUSED_SECONDS = 20 * 60  # for which a model that its service refused is not chosen
REFUSALS = frozenset({"PROVIDER_AUTH_FAILED", "PROVIDER_BAD_REQUEST", "MODEL_UNAVAILABLE"})  # it answered 400, 403, 404
LOOKED_AT = 200  # of the latest jobs
_PREVIEW = re.compile(r"preview|experimental|\bexp\b|beta", re.IGNORECASE)


@attrs.define
class _List:
    """What a service said when it was asked last. *models* None: it has never told any."""

    asked: float  # on trio's clock
    models: Sequence[str] | None = None
    told: int = 0  # epoch milliseconds
    problem: str = ""

    @property
    def holds(self) -> bool:
        return trio.current_time() < self.asked + (AGAIN_SECONDS if self.problem else LIST_SECONDS)


@attrs.define(eq=False)
class Models:
    """*providers* are open: factory.open_providers()."""

    catalog: Catalog
    providers: Sequence[Configured]
    registry: Registry
    listing: Listing | None = None
    now: Callable[[], int] = epoch_ms
    _lists: dict[str, _List] = attrs.field(factory=dict)
    _asking: trio.Lock = attrs.field(factory=trio.Lock)

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        providers: Sequence[Configured],
        aliases: Mapping[str, str],
        listing: Listing | None = None,
    ) -> Models:
        """Raises InvalidRequest for an alias that leads nowhere."""
        return cls(catalog, providers, make_registry(catalog, providers, aliases=aliases), listing)

    async def look(self, names: Sequence[str] = ()) -> Stock:
        """All there is now, and what *names* stand for. Takes seconds where a service does not answer. Raises
        StoreFailed."""
        async with self._asking, trio.open_nursery() as nursery:  # who comes second finds what the first was told
            for provider in self.providers:
                known = self._lists.get(provider.name)
                if not provider.settings.problem and (known is None or not known.holds):
                    nursery.start_soon(self._ask, provider)
        refused = await self._refused()
        found = [attrs.evolve(each, refused=each.id in refused) for each in self._candidates()]
        named = {name: each for name in names if (each := self._meant(name, found)) is not None}
        meant = {each.id: each for each in named.values()}
        return Stock(
            [*{**{each.id: each for each in found}, **meant}.values()],
            list(self._warnings()),
            {name: each.id for name, each in named.items()},
        )

    async def _ask(self, provider: Configured) -> None:
        before = self._lists.get(provider.name)
        made = self._lists[provider.name] = before or _List(0.0)
        try:
            made.models, made.told, made.problem = await list_models(provider), self.now(), ""
            self.registry.learn(provider, made.models)
        except ServiceFailed as exc:
            made.problem = summary(exc)
        made.asked = trio.current_time()

    def _warnings(self) -> Iterator[str]:
        for provider in self.providers:
            known = self._lists.get(provider.name)
            if problem := provider.settings.problem or (known.problem if known else ""):
                yield problem if problem.startswith(provider.name) else f"{provider.name}: {problem}"

    # --- What there is --------------------------------------------------------------------------------------------

    def _candidates(self) -> Iterator[Candidate]:
        called = {(model.provider, model.id): model.name for model in self.catalog.models}
        for provider in self.providers:
            known = self._lists.get(provider.name) or _List(0.0)
            listed = known.models or ()
            own = provider.models() if provider.settings.models else (*provider.models(), *listed)
            named = (model.id for model in self.catalog.models if model.provider == provider.name)
            for model in dict.fromkeys((*own, *named)):
                yield Candidate(
                    provider.name,
                    model,
                    f"{provider.name}/{model}",
                    called.get((provider.name, model), model),
                    provider.describe(model),
                    entitled=not provider.settings.problem,
                    listed_at=known.told if model in listed else 0,
                    reason=provider.settings.problem,
                )
        yield self._offline("builtin", by_name_only=bool(self.providers))

    def _offline(self, name: str, *, by_name_only: bool) -> Candidate:
        """Where nothing else is configured it is the default, and need not be named."""
        found = self.registry.resolve("planner", name)
        asked = name if by_name_only else None
        return Candidate(found.provider.name, found.model, asked, found.model, found.info, by_name_only=by_name_only)

    def _meant(self, name: str, found: Sequence[Candidate]) -> Candidate | None:
        """What a name stands for: a record's id, a model's own name, or one that the operator gave."""
        for each in found:
            if name in (each.id, each.model, each.display, each.name):
                return self._offline(each.model, by_name_only=True) if each.provider in OFFLINE else each
        try:
            meant = self.registry.resolve("planner", name)
        except (ModelUnavailable, InvalidRequest):
            return None
        if meant.provider.name in OFFLINE:
            return self._offline(name, by_name_only=True)
        return next((each for each in found if (each.provider, each.model) == (meant.provider.name, meant.model)), None)

    async def _refused(self) -> set[str]:
        """Ids of models. What was done with a model since shows that it is good again."""
        if self.listing is None:
            return set()
        since = self.now() - REFUSED_SECONDS * 1000
        return await self.listing.ask(lambda index: refused(index, since))


def refused(index: SessionIndex, since: int) -> set[str]:
    """Ids of models whose last job since then was refused by their service. *since*: epoch milliseconds."""
    last: dict[str, str | None] = {}
    for found in index.jobs(Query(limit=LOOKED_AT)).items:
        row = found.row
        if row.ended >= since and row.provider and row.resolved_model:
            last.setdefault(f"{row.provider}:{row.resolved_model}", row.error_code)
    return {model for model, code in last.items() if code in REFUSALS}


# --- As clients see it --------------------------------------------------------------------------------------------


def answer(stock: Stock, policy: Mapping[str, Any]) -> dict[str, Any]:
    """What GET /v1/models says."""
    ordered = sorted(stock.candidates, key=lambda each: (each.provider, each.display))
    told: dict[str, Any] = {"models": [record(each) for each in ordered], "policy": policy}
    return {**told, "warnings": list(stock.warnings)} if stock.warnings else told


def record(each: Candidate) -> dict[str, Any]:
    """A ModelRecord. Any model can be had to call tools and to answer in JSON here, whatever its service offers."""
    return {
        "id": each.id,
        "provider": each.provider,
        "providerModelId": each.model,
        "displayName": each.display,
        "modalities": {
            "text": True,
            "vision": each.info.vision is True,
            "audioIn": False,
            "audioOut": False,
            "imageOut": False,
        },
        "features": {"tools": True, "jsonMode": True, "jsonSchema": True, "streaming": True, "batch": False},
        "limits": {"contextTokens": each.info.context_tokens, "maxOutputTokens": None},
        "tags": ["preview"] if _PREVIEW.search(each.model) else [],
        "pricing": _pricing(each.info),
        "availability": {
            "entitled": each.entitled and not each.refused,
            "confidence": "learned" if each.refused else "listed" if each.listed_at else "inferred",
            "lastVerifiedAt": instant(each.listed_at) if each.listed_at else None,
            "reason": each.reason or ("its service refused it lately" if each.refused else None),
        },
    }


def _pricing(info: ModelInfo) -> dict[str, Any] | None:
    if info.price is None:
        return None
    price = info.price
    cached = price.input if price.cached is None else price.cached
    written = price.input if price.written is None else price.written
    per_million = {"inputPer1M": price.input, "cachedInputPer1M": cached, "cacheWritePer1M": written}
    return {"currency": "USD", **per_million, "outputPer1M": price.output}
