"""Model names: which provider and which of its models a name stands for, and what is the default of a role.

A name stands for a model only because the operator named or aliased it, or a service lists it: nothing is mapped
silently. `provider/model` always means that service's model. A service that is open has more models than it names here:
it is asked for its list when a name is not known, and where it cannot be asked, a call tells whether it has the model.

A script's name, `scripted:<path>`, makes this process open a file, so a client's request may only use one that the
operator named: in an alias, in a role, or with *open_scripts*, for a process whose only client is its operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import attrs
import trio

from agentd.domain import Models, Usage
from agentd.errors import InvalidRequest, ModelUnavailable, ProviderFailed
from agentd.providers.builtin import BuiltinProvider
from agentd.providers.failures import Target, TimedOut
from agentd.providers.protocol import OFFLINE, Describing, ModelInfo, Provider

PREFIX = "scripted:"  # a script's model name is this and the path of its file
Role = Literal["planner", "code", "scan", "fallback"]
ROLES: tuple[Role, ...] = ("planner", "code", "scan")  # that a job's mode may want; each has a default
LIST_SECONDS = 900.0  # for which a service's list is taken to hold
ASK_SECONDS = 5.0  # for a service to tell its list, before a job begins


@runtime_checkable
class Service(Provider, Protocol):
    """A provider that can be asked what it has."""

    @property
    def is_open(self) -> bool:
        """Whether models are there that are not in models()."""

    async def list_models(self) -> Sequence[str]:
        """Raises ProviderFailed."""


@attrs.frozen
class Resolved:
    """A model that can be called."""

    name: str  # as it was asked for
    provider: Provider
    model: str  # the provider's name for it
    info: ModelInfo

    def cost(self, usage: Usage) -> float | None:
        """USD; None where the price is not known."""
        return None if self.info.price is None else self.info.price.cost(usage)


@attrs.frozen
class Listed:
    """A line of `agentd models`. *alias_of* is the model that an alias stands for in the end, else None."""

    name: str
    provider: str
    info: ModelInfo
    alias_of: str | None = None


@attrs.define
class _List:
    models: Sequence[str]
    told: float  # on trio's clock


class Registry:
    """*named*: the operator's names for models -> `provider/model`. *aliases*: new name -> a model's name or another
    alias. *roles*: the default models, None for the first there is.

    Raises InvalidRequest for an alias or default that leads nowhere, in a circle, or would hide the built-in model.
    """

    def __init__(
        self,
        providers: Sequence[Provider] = (),
        *,
        named: Mapping[str, str] | None = None,
        aliases: Mapping[str, str] | None = None,
        roles: Models | None = None,
        open_scripts: bool = False,
    ) -> None:
        self._providers = {provider.name: provider for provider in (*providers, BuiltinProvider())}
        self._named = dict(named or {})
        self._aliases = dict(aliases or {})
        self._defaults = roles or Models()
        self._open_scripts = open_scripts
        self._lists: dict[str, _List] = {}
        self._scripts: dict[str, tuple[Provider, str]] = {}
        self._models: dict[str, tuple[Provider, str]] = {}
        self._gather()
        self._check()

    # --- Names ----------------------------------------------------------------------------------------------------

    def resolve(self, role: Role, name: str | None = None) -> Resolved:
        """The model called *name*, or the default of *role*, as far as is known here. Raises ModelUnavailable, and
        InvalidRequest for a fallback that can be none."""
        asked = name or self._default(role)
        target = self._follow(asked)
        if self._open_scripts and target.startswith(PREFIX):
            self._add_script(target)
        found = self._find(target)
        if found is None:
            raise ModelUnavailable(asked, [*self._aliases, *self._models])
        provider, model = found
        if role == "fallback" and provider.name in OFFLINE:
            raise InvalidRequest([f"{asked} is no fallback: it is no language model, and would not do the same work"])
        return Resolved(asked, provider, model, _describe(provider, model))

    def has_fallback(self, name: str | None) -> bool:
        return bool(name or self._defaults.fallback)

    @property
    def can_ask(self) -> bool:
        """Whether ask() may know more than resolve()."""
        return bool(self._open())

    async def ask(self, role: Role, name: str | None = None) -> Resolved:
        """As resolve(), once the services have been asked for their models. Where one did not answer, the model may be
        there, and a call will tell. Raises ModelUnavailable, InvalidRequest, and ProviderFailed for want of a default.
        """
        failures = await self._list_all()
        try:
            return self.resolve(role, name)
        except ModelUnavailable:
            if not failures:
                raise
            service, failure = failures[0]
            if not (asked := name or getattr(self._defaults, role)):
                raise failure from None
            target = self._follow(asked)
            return Resolved(asked, service, target, _describe(service, target))

    def learn(self, service: Service, models: Sequence[str]) -> None:
        """What an open service has said that it has."""
        self._lists[service.name] = _List(models, trio.current_time())
        self._gather()

    def models(self) -> list[Listed]:
        """All that is known: models in the order of their providers, then aliases."""
        models = {name: (name, None) for name in self._models if name not in self._aliases}
        stands_for = {alias: self._follow(alias) for alias in self._aliases}
        names = {**models, **{alias: (target, target) for alias, target in stands_for.items()}}
        return [
            Listed(name, found[0].name, _describe(*found), alias_of)
            for name, (target, alias_of) in names.items()
            if (found := self._find(target)) is not None
        ]

    def default(self, role: Role) -> str | None:
        """What resolve() takes where no name is given; None where a service has to be asked, and for no fallback."""
        return getattr(self._defaults, role) or (None if role == "fallback" else self._default(role) or None)

    # --- Inside ---------------------------------------------------------------------------------------------------

    def _default(self, role: Role) -> str:
        """Empty if it is not known."""
        first = next(iter(self._providers.values()))
        of_first = (name for name, (provider, _) in self._models.items() if provider is first)
        return getattr(self._defaults, role) or next(of_first, "")

    def _gather(self) -> None:
        """What is known by its name alone: the operator's names first, a service's own only where they are free."""
        self._models.clear()
        for name, target in self._named.items():
            owner, _, model = target.partition("/")
            self._models[name] = (self._providers[owner], model)
        for provider in self._providers.values():
            listed = self._lists.get(provider.name)
            for model in (*provider.models(), *(listed.models if listed else ())):
                self._models.setdefault(model, (provider, model))
        self._models.update(self._scripts)

    def _find(self, name: str) -> tuple[Provider, str] | None:
        if name in self._models:
            return self._models[name]
        provider, _, model = name.partition("/")
        if not model or provider not in self._providers:
            return None
        service = self._providers[provider]
        has_it = model in service.models() or service in self._open()
        return (service, model) if has_it else None

    def _open(self) -> list[Service]:
        return [each for each in self._providers.values() if isinstance(each, Service) and each.is_open]

    def _follow(self, name: str) -> str:
        seen: list[str] = []
        while name in self._aliases:
            if name in seen:
                raise InvalidRequest([f"--model-alias goes in a circle: {' -> '.join([*seen, name])}"])
            seen.append(name)
            name = self._aliases[name]
        return name

    def _check(self) -> None:
        """What leads nowhere is told at once, unless a service may yet turn out to have it."""
        problems = [
            f"--model-alias {name}=…: {name} is a model itself; an alias may not hide it"
            for name in self._aliases
            if name in OFFLINE
        ]
        if problems:
            raise InvalidRequest(problems)
        for name in (*self._aliases, *filter(None, attrs.astuple(self._defaults))):
            target = self._follow(name)
            if target.startswith(PREFIX):
                self._add_script(target)
            if self._find(target) is None and not self.can_ask:
                there_is = ", ".join(self._models)
                problems.append(f"{name} stands for {target}, which is no model here. Models: {there_is}")
        if problems:
            raise InvalidRequest(problems)

    def _add_script(self, name: str) -> None:
        if name not in self._scripts:
            from agentd.providers.scriptfile import load_script

            self._scripts[name] = (load_script(Path(name.removeprefix(PREFIX))), name)
            self._gather()

    async def _list_all(self) -> list[tuple[Service, ProviderFailed]]:
        """Have the lists of all open services. The services that did not give one, and why."""
        failures: list[tuple[Service, ProviderFailed]] = []

        async def have(service: Service) -> None:
            try:
                self.learn(service, await list_models(service))
            except ProviderFailed as failure:
                failures.append((service, failure))

        async with trio.open_nursery() as nursery:
            for service in self._open():
                known = self._lists.get(service.name)
                if known is None or trio.current_time() - known.told > LIST_SECONDS:
                    nursery.start_soon(have, service)
        order = list(self._providers)
        return sorted(failures, key=lambda each: order.index(each[0].name))


async def list_models(service: Service) -> Sequence[str]:
    """The models that a service says it has, within ASK_SECONDS. Raises ProviderFailed."""
    try:
        with trio.fail_after(ASK_SECONDS):
            return await service.list_models()
    except trio.TooSlowError:
        raise TimedOut(f"no list of models within {ASK_SECONDS:g} s", Target(service.name)) from None


def parse_aliases(given: Iterable[str]) -> dict[str, str]:
    """What `--model-alias NAME=MODEL` was given. Raises InvalidRequest, naming every one that is not of that form."""
    aliases: dict[str, str] = {}
    problems: list[str] = []
    for text in given:
        name, _, target = (part.strip() for part in text.partition("="))
        if not name or not target or any(char.isspace() for char in name):
            problems.append(f"--model-alias {text!r}: write NAME=MODEL, as in gpt-5=builtin")
        elif aliases.get(name, target) != target:
            problems.append(f"--model-alias {name}: given as {aliases[name]} and as {target}")
        else:
            aliases[name] = target
    if problems:
        raise InvalidRequest(problems)
    return aliases


def _describe(provider: Provider, model: str) -> ModelInfo:
    return provider.describe(model) if isinstance(provider, Describing) else ModelInfo()
