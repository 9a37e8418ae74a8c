"""Which language model services there are, from the environment and the configuration file. Nothing is called here.

    [providers.work]                        [models.coder]
    protocol = "openai"                     provider = "work"
    base_url = "https://llm.example/v1"     id = "qwen3-coder-480b"
    api_key_env = "WORK_KEY"                context_tokens = 262144
                                            vision = true
                                            price = { input = 0.4, output = 1.6, cached = 0.1 }
    [aliases]                               [roles]
    gpt-5 = "coder"                         code = "coder"

`agentd help config` has all of it. A service of PRESETS is also there if its variables are set. Keys and addresses that
belong together stay together: a key goes only to the address that came from the same place, or to the service's own.
A key that is missing is no error: the service is listed, with the reason why it cannot be used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import attrs

from agentd.config import TABLES, Table, config_path, read_config
from agentd.domain import Models
from agentd.errors import InvalidSetting
from agentd.providers.protocol import OFFLINE, Price
from agentd.wire.urls import InvalidUrl, parse_url

PROTOCOLS = ("openai", "anthropic")
CALLS = ("native", "text")

PROVIDER_KEYS = ("protocol", "base_url", "api_key", "api_key_env", "api_key_file", "headers", "models", "vision")
TLS_KEYS = ("ca_file", "client_certificate", "client_key")
SECONDS_KEYS = ("connect_seconds", "first_byte_seconds", "between_bytes_seconds", "total_seconds")
MODEL_KEYS = ("provider", "id", "context_tokens", "price", "vision")
OPTION_KINDS: Mapping[
    str, Mapping[str, str]
] = {  # what may be said of a service or one model of it, and how it is read
    "openai": {
        "max_tokens": "count",
        "max_tokens_field": "text",
        "include_usage": "switch",
        "extra": "json",
    },
    "anthropic": {
        "max_tokens": "count",
        "bearer": "switch",
        "betas": "texts",
        "cache": "switch",
        "extra": "json",
    },
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SEPARATORS = re.compile(r"[,;\s]+")


class Preset(NamedTuple):
    protocol: Literal["openai", "anthropic"]
    base_url: str
    variable: str  # of the environment: <variable>_API_KEY, _API_KEYS, _BASE_URL
    needs_key: bool = True  # at its own address; its models are large there, and make tool calls as they should
    options: Mapping[str, Any] = {}


PRESETS = {
    "openai": Preset(
        "openai", "https://api.openai.com/v1", "OPENAI", options={"max_tokens_field": "max_completion_tokens"}
    ),
    "anthropic": Preset("anthropic", "https://api.anthropic.com", "ANTHROPIC"),
    "xai": Preset("openai", "https://api.x.ai/v1", "XAI"),
    "google": Preset("openai", "https://generativelanguage.googleapis.com/v1beta/openai", "GOOGLE"),
    "ollama": Preset("openai", "http://127.0.0.1:11434/v1", "OLLAMA", needs_key=False),
}


@attrs.frozen
class ProviderSettings:
    """One service. What may be secret is in no repr."""

    name: str
    protocol: Literal["openai", "anthropic"]
    base_url: str
    api_keys: tuple[str, ...] = attrs.field(default=(), repr=False)  # used in turn
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    models: tuple[str, ...] = ()  # the only ones to use; empty: whatever it has
    options: Mapping[str, Any] = attrs.field(factory=dict, repr=False)  # fields of the protocol's options
    calls: Literal["native", "text"] = "native"
    salvage: bool = True  # read tool calls that a model wrote as text
    vision: bool | None = None  # whether its models take images; None: as is known of each
    tls: Mapping[str, str] = attrs.field(factory=dict)  # by the names of TLS_KEYS
    seconds: Mapping[str, float] = attrs.field(factory=dict)  # deadlines, by the names of SECONDS_KEYS
    problem: str = ""  # why it cannot be used


@attrs.frozen
class ModelSettings:
    """What is said of one model; None where its service's settings hold."""

    name: str
    provider: str
    id: str  # the service's name for it
    context_tokens: int | None = None
    price: Price | None = None
    options: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    calls: Literal["native", "text"] | None = None
    salvage: bool | None = None
    vision: bool | None = None


@attrs.frozen
class Catalog:
    """All that is set about models. As JSON it is a hello's `providers`: attrs.asdict() and wire.typed.structure()."""

    providers: tuple[ProviderSettings, ...] = ()
    models: tuple[ModelSettings, ...] = ()
    aliases: Mapping[str, str] = attrs.field(factory=dict)
    roles: Models = attrs.field(factory=Models)
    files: tuple[str, ...] = ()  # that hold settings and keys: not for tools to read


def load_catalog(flag: str | None, env: Mapping[str, str]) -> Catalog:
    """From *env* and the file that *flag* or *env* names, or the user's own. Raises InvalidSetting."""
    return read_catalog(read_config(config_path(flag, env)), env)


def read_catalog(config: Table, env: Mapping[str, str]) -> Catalog:
    """Raises InvalidSetting, naming what is wrong and where."""
    config.only(*TABLES)
    reader = _Reader(config, env)
    providers = tuple(reader.provider(name) for name in reader.names())
    models = tuple(reader.model(name, table, providers) for name, table in config.tables("models").items())
    aliases = config.words("aliases")
    seen: dict[tuple[str, str], str] = {}
    for model in models:
        if model.name in aliases:
            raise config.misfit(f"aliases.{model.name}", f"there is models.{model.name} already")
        if (first := seen.setdefault((model.provider, model.id), model.name)) != model.name:
            raise config.misfit(
                f"models.{model.name}", f"is the same model as models.{first}; make it an alias of that"
            )
    roles = config.table("roles").only(*(field.name for field in attrs.fields(Models)))
    return Catalog(
        providers,
        models,
        aliases,
        Models(**{name: roles.text(name) for name in roles.values}),
        tuple(reader.files),
    )


class _Reader:
    def __init__(self, config: Table, env: Mapping[str, str]) -> None:
        self._tables = config.tables("providers")
        self._models = config.tables("models")
        self._config, self._env = config, env
        self._directory = Path(config.file).parent
        self.files = [config.file] if config.file else []

    def names(self) -> list[str]:
        """Of the file's services, then of those that only its models name, then of those of the environment."""
        named = [*self._tables, *filter(None, (table.text("provider") for table in self._models.values()))]
        named += (name for name, preset in PRESETS.items() if self._is_set(preset))
        return [name for name in dict.fromkeys(named) if name in self._tables or name in PRESETS]

    def _is_set(self, preset: Preset) -> bool:
        wanted = ("_BASE_URL", "_API_KEY", "_API_KEYS") if preset.needs_key else ("_BASE_URL",)
        return any(self._variable(preset, suffix) for suffix in wanted)

    def _variable(self, preset: Preset, suffix: str) -> str:
        return self._env.get(preset.variable + suffix, "").strip()

    # --- Services -------------------------------------------------------------------------------------------------

    def provider(self, name: str) -> ProviderSettings:
        table, preset = self._tables.get(name, Table({}, "")), PRESETS.get(name)
        if not _NAME.fullmatch(name) or name in OFFLINE:
            raise self._config.misfit(
                "providers", f"{name!r} is no name for a service; letters, digits, . - _ make one"
            )
        protocol: Any = table.one_of("protocol", *PROTOCOLS) or (preset and preset.protocol)
        if protocol is None:
            raise table.misfit("protocol", f"is missing; it is {' or '.join(PROTOCOLS)}")
        table.only(*PROVIDER_KEYS, *TLS_KEYS, *SECONDS_KEYS, "calls", "salvage", *OPTION_KINDS[protocol])
        base_url, keys, problem = self._address(table, preset)
        own = preset is not None and base_url == preset.base_url
        return ProviderSettings(
            name=name,
            protocol=protocol,
            base_url=base_url,
            api_keys=keys,
            headers=table.words("headers"),
            models=table.texts("models"),
            options={**(preset.options if preset and own else {}), **_options(table, protocol)},
            **{"salvage": not (preset and own and preset.needs_key), **_calls(table)},
            vision=table.switch("vision"),
            tls={key: str(self._path(value)) for key in TLS_KEYS if (value := table.text(key))},
            seconds={key: seconds for key in SECONDS_KEYS if (seconds := table.number(key)) is not None},
            problem=problem,
        )

    def _address(self, table: Table, preset: Preset | None) -> tuple[str, tuple[str, ...], str]:
        """Where the service is, the keys to show there, and why it cannot be used."""
        keys, problem = self._keys_of_file(table)
        if preset is None or (table.text("base_url") and not self._variable(preset, "_BASE_URL")):
            return _checked_url(table), keys, problem
        variables = self._keys_of_environment(preset)
        if url := self._variable(preset, "_BASE_URL"):
            return _checked(url, f"{preset.variable}_BASE_URL"), variables, ""
        if variables:
            return preset.base_url, variables, ""
        if not keys and not problem and preset.needs_key:
            problem = f"no key: {preset.variable}_API_KEY is not set in the environment"
        return preset.base_url, keys, problem

    def _keys_of_environment(self, preset: Preset) -> tuple[str, ...]:
        several = self._variable(preset, "_API_KEYS")
        return (
            tuple(_SEPARATORS.split(several)) if several else tuple(filter(None, [self._variable(preset, "_API_KEY")]))
        )

    def _keys_of_file(self, table: Table) -> tuple[tuple[str, ...], str]:
        given = [key for key in ("api_key", "api_key_env", "api_key_file") if key in table.values]
        if len(given) > 1:
            raise table.misfit(given[1], f"there is {given[0]} already; one of them is enough")
        if key := table.text("api_key"):
            return (key,), ""
        if variable := table.text("api_key_env"):
            key = self._env.get(variable, "").strip()
            return ((key,), "") if key else ((), f"no key: {variable} is not set in the environment")
        if name := table.text("api_key_file"):
            return self._key_in(self._path(name))
        return (), ""

    def _key_in(self, path: Path) -> tuple[tuple[str, ...], str]:
        self.files.append(str(path))
        try:
            key = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as exc:
            return (), f"no key: {path} cannot be read: {getattr(exc, 'strerror', None) or 'it is no text'}"
        return ((key,), "") if key else ((), f"no key: {path} is empty")

    def _path(self, text: str) -> Path:
        """Relative to the configuration file."""
        return self._directory / Path(text).expanduser()

    # --- Models ---------------------------------------------------------------------------------------------------

    def model(self, name: str, table: Table, providers: tuple[ProviderSettings, ...]) -> ModelSettings:
        provider = self._provider_of(table, {each.name: each for each in providers})
        table.only(*MODEL_KEYS, "calls", "salvage", *OPTION_KINDS[provider.protocol])
        return ModelSettings(
            name=name,
            provider=provider.name,
            id=table.text("id") or name,
            context_tokens=table.count("context_tokens"),
            price=_price(table.table("price")) if "price" in table.values else None,
            options=_options(table, provider.protocol),
            vision=table.switch("vision"),
            **_calls(table),
        )

    def _provider_of(self, table: Table, known: Mapping[str, ProviderSettings]) -> ProviderSettings:
        """The one that is named, or the file's only one: what the environment has may change from day to day."""
        named = table.text("provider") or (next(iter(self._tables)) if len(self._tables) == 1 else None)
        if named is not None and named in known:
            return known[named]
        problem = f"{named} is no service here" if named else "is missing"
        raise table.misfit("provider", f"{problem}; there are: {', '.join({**known, **PRESETS})}")


def _options(table: Table, protocol: str) -> dict[str, Any]:
    kinds = OPTION_KINDS[protocol]
    return {key: getattr(table, kinds[key])(key) for key in table.values if key in kinds}


def _calls(table: Table) -> dict[str, Any]:
    given = {"calls": table.one_of("calls", *CALLS), "salvage": table.switch("salvage")}
    return {key: value for key, value in given.items() if value is not None}


def _price(table: Table) -> Price:
    table.only("input", "output", "cached", "written")
    for key in ("input", "output"):
        if key not in table.values:
            raise table.misfit(key, "is missing; a price is USD per million tokens")
    sent, made = table.number("input") or 0.0, table.number("output") or 0.0
    return Price(sent, made, table.number("cached"), table.number("written"))


def _checked_url(table: Table) -> str:
    url = table.text("base_url")
    if url is None:
        raise table.misfit("base_url", "is missing")
    try:
        return _checked(url, "base_url")
    except InvalidSetting as exc:
        raise table.misfit("base_url", str(exc).partition(": ")[2]) from exc


def _checked(text: str, name: str) -> str:
    """A base URL without the slashes at its end. Raises InvalidSetting, which does not repeat it."""
    try:
        url = parse_url(text)
    except InvalidUrl as exc:
        raise InvalidSetting(f"{name}: {exc}") from exc
    if url.userinfo:
        raise InvalidSetting(f"{name}: has a user or password in it; headers or a key are the place for them")
    return text.rstrip("/")
