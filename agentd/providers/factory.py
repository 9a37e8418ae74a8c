"""Providers out of settings, and the registry of their models. Formats and the HTTP client are loaded where needed."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import attrs

from agentd.domain import Models
from agentd.providers.failures import Authentication, Target
from agentd.providers.prices import KNOWN, sees
from agentd.providers.protocol import ModelInfo, ModelRequest, Provider, StreamEvent
from agentd.providers.registry import Registry
from agentd.providers.service import DEADLINES, Client
from agentd.providers.settings import PRESETS, Catalog, ModelSettings, ProviderSettings
from agentd.wire.exchange import Deadlines

NOTHING: Mapping[str, str] = {}


class Configured:
    """A service as the settings have it. *services* are the same but for their keys, which take turns."""

    def __init__(
        self,
        settings: ProviderSettings,
        models: Mapping[str, ModelSettings],
        services: Sequence[Provider],
        client: Callable[[], Client],
    ) -> None:
        self.settings = settings
        self._models = models
        self._turns = itertools.cycle(services)
        self._client = client
        preset = PRESETS.get(settings.name)
        own = preset is not None and settings.base_url == preset.base_url
        self._known = KNOWN.get(settings.name, {}) if own else {}
        self._told: Mapping[str, ModelInfo] = {}  # by the service's own list

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def is_open(self) -> bool:
        return not self.settings.models

    def models(self) -> tuple[str, ...]:
        return self.settings.models or tuple(self._known)

    def describe(self, model: str) -> ModelInfo:
        """What the operator says of it, else what is known of it, else what the service told."""
        known, told = self._known.get(model, ModelInfo()), self._told.get(model, ModelInfo())
        said = self._models.get(model)
        context = (said and said.context_tokens) or known.context_tokens or told.context_tokens
        price = (said and said.price) or known.price
        return ModelInfo(context, price, self.settings.problem, self._vision(said, told, model))

    def _vision(self, said: ModelSettings | None, told: ModelInfo, model: str) -> bool | None:
        """What the service told comes before what is known by name: a server may have the eyes of a model or not."""
        asked = (said.vision if said else None, self.settings.vision, told.vision, sees(model))
        return next((answer for answer in asked if answer is not None), None)

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[StreamEvent], None]:
        self._check(request.model)
        async with next(self._turns).stream(request) as events:
            yield events

    async def list_models(self) -> Sequence[str]:
        from agentd.providers.listing import Shelf, fetch_models

        self._check("")
        settings = self.settings
        shelf = Shelf(
            settings.name,
            settings.protocol,
            settings.base_url,
            next(iter(settings.api_keys), ""),
            bool(settings.options.get("bearer")),
            settings.headers,
        )
        self._told = await fetch_models(self._client(), shelf)
        return tuple(self._told)

    def _check(self, model: str) -> None:
        if self.settings.problem:
            raise Authentication(self.settings.problem, Target(self.name, model))


def make_provider(
    settings: ProviderSettings, models: Sequence[ModelSettings], client: Callable[[], Client]
) -> Configured:
    services = [_service(settings, models, key, client) for key in settings.api_keys or ("",)]
    return Configured(settings, {model.id: model for model in models}, services, client)


def _service(
    settings: ProviderSettings, models: Sequence[ModelSettings], key: str, client: Callable[[], Client]
) -> Provider:
    make, make_options = _format(settings.protocol)

    def options(more: Mapping[str, Any]) -> Any:
        return make_options(key=key, headers=settings.headers, **{**settings.options, **more})

    by_model = {model.id: options(model.options) for model in models if model.options}
    provider: Provider = make(
        settings.name,
        settings.base_url,
        settings.models,
        options({}),
        client,
        by_model=by_model,
        deadlines=_deadlines(settings.seconds),
    )
    return _with_text_calls(provider, settings, models)


@attrs.frozen
class _Chosen:
    """The models for which something holds, as a container."""

    otherwise: bool
    by_model: Mapping[str, bool]

    def __contains__(self, model: object) -> bool:
        return self.by_model.get(str(model), self.otherwise)

    def __bool__(self) -> bool:
        return self.otherwise or any(self.by_model.values())


def _with_text_calls(provider: Provider, settings: ProviderSettings, models: Sequence[ModelSettings]) -> Provider:
    """For the models that need it: calls as text, or calls salvaged from it. The former salvages by itself."""
    as_text = _Chosen(settings.calls == "text", {each.id: (each.calls or settings.calls) == "text" for each in models})
    salvage = {each.id: settings.salvage if each.salvage is None else each.salvage for each in models}
    salvaged = _Chosen(
        settings.salvage and not as_text.otherwise,
        {model: holds and model not in as_text for model, holds in salvage.items()},
    )
    if as_text:
        from agentd.providers.textcalls import TextCallsProvider

        provider = TextCallsProvider(provider, as_text)
    if salvaged:
        from agentd.providers.salvage import SalvagingProvider

        provider = SalvagingProvider(provider, salvaged)
    return provider


def _format(protocol: str) -> tuple[Callable[..., Provider], Callable[..., Any]]:
    if protocol == "anthropic":
        from agentd.providers.anthropic import AnthropicOptions, AnthropicProvider

        return AnthropicProvider, AnthropicOptions
    from agentd.providers.openai import OpenAIOptions, OpenAIProvider

    return OpenAIProvider, OpenAIOptions


def _deadlines(seconds: Mapping[str, float]) -> Deadlines:
    return DEADLINES._replace(**{name.removesuffix("_seconds"): value for name, value in seconds.items()})


# --- All of them --------------------------------------------------------------------------------------------------


@contextmanager
def open_providers(catalog: Catalog, env: Mapping[str, str]) -> Iterator[list[Configured]]:
    """The services of *catalog*, whose connections are closed at the end. *env* says which proxies and certificates to
    use. Within one trio.run()."""
    with ExitStack() as stack:
        clients = _Clients(env, stack)
        yield [
            make_provider(
                settings,
                [model for model in catalog.models if model.provider == settings.name],
                lambda tls=settings.tls: clients.get(tls),  # type: ignore[misc]
            )
            for settings in catalog.providers
        ]


class _Clients:
    """HTTP clients, made when the first request is: one for each set of certificates."""

    def __init__(self, env: Mapping[str, str], stack: ExitStack) -> None:
        self._env, self._stack = env, stack
        self._made: dict[tuple[tuple[str, str], ...], Client] = {}

    def get(self, tls: Mapping[str, str]) -> Client:
        which = tuple(sorted(tls.items()))
        if which not in self._made:
            self._made[which] = self._make(tls)
        return self._made[which]

    def _make(self, tls: Mapping[str, str]) -> Client:
        from agentd.wire.http import HttpClient, HttpSettings

        settings = HttpSettings.from_env(self._env)
        trust = attrs.evolve(
            settings.trust,
            ca_file=tls.get("ca_file", settings.trust.ca_file),
            certificate=tls.get("client_certificate", ""),
            key=tls.get("client_key", ""),
        )
        client = HttpClient(attrs.evolve(settings, trust=trust))
        self._stack.callback(client.close)
        return client


def make_registry(
    catalog: Catalog,
    providers: Sequence[Provider],
    *,
    aliases: Mapping[str, str] = NOTHING,
    roles: Models | None = None,
    open_scripts: bool = False,
) -> Registry:
    """*aliases* and *roles* are those of the command line, which come before the catalog's. Raises InvalidRequest."""
    own, asked = attrs.asdict(catalog.roles), attrs.asdict(roles or Models())
    named = {model.name: f"{model.provider}/{model.id}" for model in catalog.models}
    return Registry(
        providers,
        named=named,
        aliases={**catalog.aliases, **aliases},
        roles=Models(**{role: asked[role] or own[role] for role in own}),
        open_scripts=open_scripts,
    )
