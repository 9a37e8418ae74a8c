"""`agentd models`: the language models there are, what names stand for them, and with --check what can be reached."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from agentd.config import Option, Settings, read_settings
from agentd.errors import AgentdError
from agentd.providers.factory import Configured, make_registry, open_providers
from agentd.providers.failures import ServiceFailed
from agentd.providers.protocol import OFFLINE
from agentd.providers.registry import Listed, Registry, Role, list_models
from agentd.providers.settings import Catalog, load_catalog

OPTIONS = {
    "model-alias": Option("MODEL_ALIASES", many=True),
    "config": Option("AGENTD_CONFIG"),
    "check": Option(switch=True),
    "json": Option(switch=True),
}
ALL_ROLES: tuple[Role, ...] = ("planner", "code", "scan", "fallback")


@attrs.frozen
class Reach:
    """What came of asking a service for its list."""

    service: str
    base_url: str
    problem: str  # why it cannot be used; empty if it can, or was not asked
    remedy: str = ""
    models: tuple[str, ...] | None = None  # its list; None: it was not asked, or gave none
    seconds: float | None = None

    @property
    def state(self) -> str:
        return "fails" if self.problem else "not asked" if self.models is None else "works"


def main(argv: list[str]) -> int:
    """0; 1 when --check has found a service that cannot be used."""
    if any(word in ("-h", "--help") for word in argv):
        from agentd.cli.help import page, show

        show(page("models"))
        return 0
    try:
        settings = read_settings(OPTIONS, argv, os.environ)
        catalog = load_catalog(settings.text("config"), os.environ)
        registry, reached = look(catalog, settings, os.environ)
    except AgentdError as exc:
        print(f"agentd models: {exc}", file=sys.stderr)
        return 2
    show_all = print_json if settings.switch("json") else print_tables
    show_all(registry, reached)
    return 1 if settings.switch("check") and any(each.problem for each in reached) else 0


def look(catalog: Catalog, settings: Settings, env: Mapping[str, str]) -> tuple[Registry, list[Reach]]:
    """Raises AgentdError."""
    aliases = settings.aliases("model-alias")
    if not settings.switch("check"):
        with open_providers(catalog, env) as providers:
            return make_registry(catalog, providers, aliases=aliases), [unasked(each) for each in providers]
    import trio

    async def ask() -> tuple[Registry, list[Reach]]:
        with open_providers(catalog, env) as providers:
            registry = make_registry(catalog, providers, aliases=aliases)
            reached = await reach_all(providers)
            for provider, each in zip(providers, reached, strict=True):
                if provider.is_open and each.models is not None:
                    registry.learn(provider, each.models)
            return registry, reached

    return trio.run(ask)


# --- Asking -------------------------------------------------------------------------------------------------------


def unasked(provider: Configured) -> Reach:
    settings = provider.settings
    remedy = "set the key, or take the service out of the configuration" if settings.problem else ""
    return Reach(provider.name, settings.base_url, settings.problem, remedy)


async def reach_all(providers: Sequence[Configured]) -> list[Reach]:
    """Ask them all at once, each for a few seconds."""
    import trio

    reached: dict[str, Reach] = {}

    async def reach(provider: Configured) -> None:
        reached[provider.name] = await reach_one(provider)

    async with trio.open_nursery() as nursery:
        for provider in providers:
            nursery.start_soon(reach, provider)
    return [reached[provider.name] for provider in providers]


async def reach_one(provider: Configured) -> Reach:
    asked, started = unasked(provider), time.monotonic()
    if asked.problem:
        return asked
    try:
        models = tuple(await list_models(provider))
    except ServiceFailed as exc:
        problem, remedy = f"{exc.what}: {exc.detail}", exc.advice
        return attrs.evolve(asked, problem=problem, remedy=remedy, seconds=time.monotonic() - started)
    return attrs.evolve(asked, models=models, seconds=time.monotonic() - started)


# --- Telling ------------------------------------------------------------------------------------------------------


def roles_of(registry: Registry) -> dict[str, list[str]]:
    """By a model's name, the roles whose default it is."""
    roles: dict[str, list[str]] = {}
    for role in ALL_ROLES:
        if (name := registry.default(role)) is not None:
            roles.setdefault(name, []).append(role)
    return roles


def described(listed: Listed, roles: Sequence[str]) -> dict[str, Any]:
    price = listed.info.price
    return {
        "name": listed.name,
        "provider": listed.provider,
        "alias_of": listed.alias_of,
        "context_tokens": listed.info.context_tokens,
        "vision": listed.info.vision,
        "usd_per_million_tokens": attrs.asdict(price) if price else None,
        "roles": list(roles),
        "note": listed.info.note,
    }


def print_json(registry: Registry, reached: Sequence[Reach]) -> None:
    """One object a line: models, which have a name, then services."""
    roles = roles_of(registry)
    for listed in registry.models():
        print(json.dumps(described(listed, roles.get(listed.name, []))))
    for each in reached:
        count = None if each.models is None else len(each.models)
        print(json.dumps(attrs.asdict(each) | {"models": count, "state": each.state}))


def print_tables(registry: Registry, reached: Sequence[Reach]) -> None:
    roles = roles_of(registry)
    rows = [("MODEL", "SERVICE", "CONTEXT", "USD PER MILLION", "ROLES")]
    rows += [row(listed, roles.get(listed.name, [])) for listed in registry.models()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
    for listed in registry.models():
        if listed.provider in OFFLINE and listed.alias_of is None:
            print(f"\n{listed.name}: {listed.info.note}")
    for each in reached:
        remedy = f"\n  → {each.remedy}" if each.remedy else ""
        print(f"\n{each.service} at {each.base_url}: {outcome(each)}{remedy}")


def row(listed: Listed, roles: Sequence[str]) -> tuple[str, str, str, str, str]:
    if listed.alias_of is not None:
        return listed.name, "", "", f"stands for {listed.alias_of}", " ".join(roles)
    price, context = listed.info.price, listed.info.context_tokens
    cost = f"{price.input:g} in, {price.output:g} out" if price else "not known"
    free = price is not None and price.input == price.output == 0
    return listed.name, listed.provider, f"{context:,}" if context else "", "free" if free else cost, " ".join(roles)


def outcome(reached: Reach) -> str:
    if reached.problem:
        return reached.problem
    if reached.models is None:
        return "not asked; --check does"
    return f"works, lists {len(reached.models)} models"
