"""Which model runs, turns and specs are done with: the policy, where it is kept, and how it picks. No request is read
here. The contract: runs-and-chat.md, 13.

A budget is of money that is spent: a run or a session that has used it up calls no model any more.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.domain import Limits, Models
from agentd.errors import ProviderFailed
from agentd.faces.runs.answers import Refused
from agentd.faces.runs.base import Choice
from agentd.providers.protocol import OFFLINE, ModelInfo
from agentd.store.files import disk, write_atomic

KEY = "model_policy"  # in settings.json, and in the configuration file
MOST_PREFERRED = 200
logger = logging.getLogger(__name__)


class NoModel(ProviderFailed):
    code = "NO_MODEL"

    def __init__(self, why: Sequence[str] = ()) -> None:
        super().__init__("; ".join(("router: no models match constraints", *why)))


class BudgetExceeded(ProviderFailed):
    code = "BUDGET_EXCEEDED"


# --- The policy ---------------------------------------------------------------------------------------------------


@attrs.frozen
class Policy:
    """*max_cost_usd*: of one run or one session; None or 0: no limit. *preferred_models* come first, in this order."""

    require_tools: bool = False
    require_vision: bool = False
    max_cost_usd: float | None = 5.0
    preferred_models: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return attrs.asdict(self) | {"preferred_models": list(self.preferred_models)}


def read_policy(fields: Any) -> Policy:
    """What JSON says; what it leaves out is as built in. Raises Refused."""
    if not isinstance(fields, dict):
        raise Refused("invalid json")
    default = Policy()
    flags = {name: fields.get(name) for name in ("require_tools", "require_vision")}
    for name, value in flags.items():
        if value is not None and type(value) is not bool:
            raise Refused(f"{name} must be a boolean")
    most, preferred = fields.get("max_cost_usd", default.max_cost_usd), fields.get("preferred_models") or []
    if most is not None and not (type(most) in (int, float) and 0 <= most < math.inf):
        raise Refused("max_cost_usd must be a number, 0 or more")
    if type(preferred) is not list or not all(type(each) is str for each in preferred):
        raise Refused("preferred_models must be an array of strings")
    names = tuple(dict.fromkeys(each.strip() for each in preferred if each.strip()))
    if len(names) > MOST_PREFERRED:
        raise Refused(f"preferred_models may name {MOST_PREFERRED} models")
    return Policy(bool(flags["require_tools"]), bool(flags["require_vision"]), most, names)


@attrs.define
class Settings:
    """The policy in force: that of `settings.json` in the data directory, else *first*. *path* None: kept nowhere."""

    path: Path | None = None
    first: Policy = Policy()
    policy: Policy = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.policy = self._read() or self.first

    async def put(self, policy: Policy) -> None:
        """In force from now on, and durably. Raises StoreFailed."""
        if self.path is not None:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._write, self.path, policy)
        self.policy = policy

    def _read(self) -> Policy | None:
        if self.path is None or not self.path.is_file():
            return None
        try:
            return read_policy(json.loads(self.path.read_bytes())[KEY])
        except (OSError, ValueError, LookupError, TypeError, RecursionError, Refused) as exc:
            logger.warning("%s has no policy that could be read, so the default is used: %s", self.path, exc)
            return None

    def _write(self, path: Path, policy: Policy) -> None:
        with disk(f"write {path}"):
            write_atomic(path, json.dumps({KEY: policy.to_json()}, indent=2).encode() + b"\n")


# --- The choice ---------------------------------------------------------------------------------------------------


@attrs.frozen
class Candidate:
    """A model. *name*: by which executors know it; None: it is what they take where nothing is named."""

    provider: str
    model: str  # the provider's name for it
    name: str | None
    display: str
    info: ModelInfo = attrs.field(factory=ModelInfo)
    entitled: bool = True
    refused: bool = False  # by its service, lately
    by_name_only: bool = False  # never chosen unless it is preferred
    listed_at: int = 0  # epoch milliseconds; 0: its service has not listed it
    reason: str = ""  # why it cannot be used

    @property
    def id(self) -> str:
        return f"{self.provider}:{self.model}"

    @property
    def price(self) -> float:
        """The lower one; infinite where it is not known."""
        return math.inf if self.info.price is None else min(self.info.price.input, self.info.price.output)


def rank(candidates: Sequence[Candidate], policy: Policy, preferred: Sequence[str]) -> list[Candidate]:
    """Those that may be used, the best first. *preferred*: ids. Of models that were refused lately one is taken only
    where there is no other: then a call tells."""
    order = {each: number for number, each in reversed(list(enumerate(preferred)))}
    fitting = [
        each
        for each in candidates
        if each.entitled
        and (each.info.vision is True or not policy.require_vision)
        and (not each.by_name_only or each.id in order)
    ]
    fitting = [each for each in fitting if not each.refused] or fitting
    return sorted(fitting, key=lambda each: (order.get(each.id, len(order)), each.price, each.display, each.id))


def choose(ranked: Sequence[Candidate], policy: Policy, spent: float = 0.0, why: Sequence[str] = ()) -> Choice:
    """*spent*: USD that the run or session has cost until now. Raises NoModel, with *why*; BudgetExceeded."""
    budget = policy.max_cost_usd or None
    if budget is not None and spent >= budget:
        raise BudgetExceeded(f"budget exceeded: ${spent:.4f} of ${budget:g} are spent")
    if not ranked:
        raise NoModel(why)
    first, rest = ranked[0], [each for each in ranked[1:] if each.provider not in OFFLINE]
    fallback = rest[0].name if rest and first.provider not in OFFLINE else None
    models = Models(first.name, first.name, first.name, fallback)
    return Choice(models, Limits(usd=None if budget is None else budget - spent))


@attrs.frozen
class Stock:
    """What there is to choose from. *named*: what each name that was preferred stands for, as an id; *warnings*: about
    services that could not be asked."""

    candidates: Sequence[Candidate]
    warnings: Sequence[str] = ()
    named: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Router:
    """What chooses. *look*: what there is, and what names stand for. *default*: the operator's own model, which is
    preferred where the policy prefers none."""

    settings: Settings
    look: Callable[[Sequence[str]], Awaitable[Stock]]
    default: str | None = None

    async def choose(self, spent: float = 0.0) -> Choice:
        """For one run, turn or spec; *spent*: USD that its run or session has cost before. Raises NoModel,
        BudgetExceeded: both are ProviderFailed; StoreFailed."""
        policy = self.settings.policy
        names = policy.preferred_models or ((self.default,) if self.default else ())
        stock = await self.look(names)
        preferred = [stock.named[name] for name in names if name in stock.named]
        return choose(rank(stock.candidates, policy, preferred), policy, spent, stock.warnings)
