"""Model names: which provider and which of its models a name stands for, and what is the default of a role.

A name stands for a model only because a provider lists it or the operator aliased it: nothing is mapped silently. A
script's name, `scripted:<path>`, makes this process open a file, so a client's request may only use one that the
operator named: in an alias, in a role, or with *open_scripts*, for a process whose only client is its operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs

from agentd.domain import Models, Usage
from agentd.errors import InvalidRequest, ModelUnavailable
from agentd.providers.builtin import BuiltinProvider
from agentd.providers.protocol import Describing, ModelInfo, Provider

PREFIX = "scripted:"  # a script's model name is this and the path of its file
Role = Literal["planner", "code", "scan"]
ROLES: tuple[Role, ...] = ("planner", "code", "scan")


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


class Registry:
    """*aliases*: new name -> a model's name or another alias. *roles*: the default models, None for the first there is.

    Raises InvalidRequest for an alias or default that leads nowhere, in a circle, or would hide a model.
    """

    def __init__(
        self,
        providers: Sequence[Provider] = (),
        *,
        aliases: Mapping[str, str] | None = None,
        roles: Models | None = None,
        open_scripts: bool = False,
    ) -> None:
        self._models: dict[str, tuple[Provider, str]] = {}
        for provider in (*providers, BuiltinProvider()):
            for model in provider.models():
                self._models.setdefault(model, (provider, model))
        self._aliases = dict(aliases or {})
        self._defaults = roles or Models()
        self._open_scripts = open_scripts
        self._check()

    def resolve(self, role: Role, name: str | None = None) -> Resolved:
        """The model called *name*, or the default of *role*. Raises ModelUnavailable."""
        asked = name or self._default(role)
        target = self._follow(asked)
        if self._open_scripts and target.startswith(PREFIX) and target not in self._models:
            self._add_script(target)
        if target not in self._models:
            raise ModelUnavailable(asked, [*self._aliases, *self._models])
        provider, model = self._models[target]
        return Resolved(asked, provider, model, _describe(provider, model))

    def models(self) -> list[Listed]:
        """All there is: models in the order of their providers, then aliases."""
        listed = [
            Listed(name, provider.name, _describe(provider, model)) for name, (provider, model) in self._models.items()
        ]
        for alias in self._aliases:
            provider, model = self._models[self._follow(alias)]
            listed.append(Listed(alias, provider.name, _describe(provider, model), model))
        return listed

    def _default(self, role: Role) -> str:
        return getattr(self._defaults, role) or next(iter(self._models))

    def _follow(self, name: str) -> str:
        seen: list[str] = []
        while name in self._aliases:
            if name in seen:
                raise InvalidRequest([f"--model-alias goes in a circle: {' -> '.join([*seen, name])}"])
            seen.append(name)
            name = self._aliases[name]
        return name

    def _check(self) -> None:
        hidden = [alias for alias in self._aliases if alias in self._models]
        problems = [f"--model-alias {name}=…: {name} is a model itself; an alias may not hide it" for name in hidden]
        if problems:
            raise InvalidRequest(problems)
        for name in (*self._aliases, *filter(None, attrs.astuple(self._defaults))):
            target = self._follow(name)
            if target.startswith(PREFIX):
                self._add_script(target)
            if target not in self._models:
                there_is = ", ".join(self._models)
                problems.append(f"{name} stands for {target}, which is no model here. Models: {there_is}")
        if problems:
            raise InvalidRequest(problems)

    def _add_script(self, name: str) -> None:
        if name not in self._models:
            from agentd.providers.scriptfile import load_script

            self._models[name] = (load_script(Path(name.removeprefix(PREFIX))), name)


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
