"""`agentd config show`: every setting that `agentd serve` would start with, and where it comes from."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from agentd.config import Option, Settings, read_settings
from agentd.daemon.settings import SERVE_OPTIONS, data_directory, load_serve, load_services
from agentd.daemon.site import read_site
from agentd.domain import Models, Site
from agentd.errors import InvalidSetting
from agentd.providers.settings import PRESETS, Catalog, ProviderSettings

OPTIONS = {
    "config": SERVE_OPTIONS["config"],
    "data-dir": SERVE_OPTIONS["data-dir"],
    "origin": Option(switch=True),
    "json": Option(switch=True),
}
HIDDEN = "(hidden)"
UNSET = "(not set)"
# Where they are kept if they are not given.
TOKENS = {"admin-token": "admin", "auth-token": "manager", "agent-key": "agent"}


@attrs.frozen
class Row:
    name: str
    value: str | None
    origin: str  # a flag, a variable, a file, or "default"


def main(argv: list[str]) -> int:
    """0; 1 if the configuration is not valid; 2 if the command line is wrong."""
    if any(word in ("-h", "--help") for word in argv):
        from agentd.cli.help import page, show

        show(page("config"))
        return 0
    try:
        settings = read_settings(OPTIONS, argv, os.environ, words=True)
        if settings.words != ["show"]:
            raise InvalidSetting("`agentd config show` is all there is")
    except InvalidSetting as exc:
        print(f"agentd config: {exc}", file=sys.stderr)
        return 2
    try:
        found = list(rows(settings, os.environ))
    except InvalidSetting as exc:
        print(f"agentd config: {exc}", file=sys.stderr)
        return 1
    show_all = print_json if settings.switch("json") else print_table
    show_all(found, settings.switch("origin"))
    return 0


def rows(asked: Settings, env: Mapping[str, str]) -> Iterator[Row]:
    """Raises InvalidSetting."""
    settings = Settings(SERVE_OPTIONS, env)
    for name in ("config", "data-dir"):
        for flag in asked.flags(name):
            settings.add(name, flag)
    load_serve(settings, env)
    for name, option in SERVE_OPTIONS.items():
        texts, origin = settings.find(name)
        value = ", ".join(texts) or None
        if option.secret and texts:
            value = HIDDEN
        elif name in TOKENS:
            value = f"(made at the first start, in {data_directory(settings) / 'tokens' / TOKENS[name]})"
        yield Row(name, value, origin)
    yield from jobs(read_site(settings), settings)
    yield from services(load_services(settings, env), settings.file.values)


def jobs(site: Site, settings: Settings) -> Iterator[Row]:
    """Plugins and MCP servers, of which nothing is told that may be a key."""
    given = {Path(path).name for text in settings.many("plugin") for path in text.split(os.pathsep)}  # shown already
    for plugin in site.plugins:
        if plugin.name not in given:
            value = plugin.path if plugin.enabled else f"{plugin.path} (not enabled)"
            yield Row(f"plugins.{plugin.name}", value, settings.file.file)
    for name, server in site.servers.items():
        how = server.problem or f"{server.transport} {server.command or HIDDEN}"
        yield Row(f"mcp.servers.{name}", how, settings.file.file)


# --- Language model services --------------------------------------------------------------------------------------


def services(catalog: Catalog, file: Mapping[str, object]) -> Iterator[Row]:
    """By their places in the file, also those that variables set."""
    path = catalog.files[0] if catalog.files else ""
    for provider in catalog.providers:
        place = f"providers.{provider.name}"
        in_file = provider.name in as_table(file.get("providers"))
        yield from (
            Row(f"{place}.{key}", value, path if in_file else variable_of(provider, key))
            for key, value in told_of(provider)
        )
    for model in catalog.models:
        yield Row(f"models.{model.name}", f"{model.provider}/{model.id}", path)
    for name, model_name in catalog.aliases.items():
        yield Row(f"aliases.{name}", model_name, path)
    for field in attrs.fields(Models):
        if (role := getattr(catalog.roles, field.name)) is not None:
            yield Row(f"roles.{field.name}", role, path)


def as_table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def told_of(provider: ProviderSettings) -> Iterator[tuple[str, str | None]]:
    """What is set of it. Of keys and header fields, only that they are."""
    yield "protocol", provider.protocol
    yield "base_url", provider.base_url
    yield "api_key", HIDDEN if provider.api_keys else None
    if provider.headers:
        yield "headers", ", ".join(f"{name}: {HIDDEN}" for name in provider.headers)
    if provider.models:
        yield "models", ", ".join(provider.models)
    for key, value in (*provider.tls.items(), *provider.seconds.items()):
        yield key, str(value)
    if provider.problem:
        yield "problem", provider.problem


def variable_of(provider: ProviderSettings, key: str) -> str:
    preset = PRESETS[provider.name]
    if key == "api_key" and provider.api_keys:
        return f"{preset.variable}_API_KEY{'S' if len(provider.api_keys) > 1 else ''}"
    return f"{preset.variable}_BASE_URL" if key == "base_url" and provider.base_url != preset.base_url else "default"


# --- Telling ------------------------------------------------------------------------------------------------------


def print_json(found: list[Row], origin: bool) -> None:
    """One object a line. The origin is always in it."""
    for row in found:
        print(json.dumps(attrs.asdict(row)))


def print_table(found: list[Row], origin: bool) -> None:
    width = max(len(row.name) for row in found)
    values = [UNSET if row.value is None else row.value for row in found]
    wide = max(map(len, values))
    for row, value in zip(found, values, strict=True):
        print(f"{row.name:{width}}  {value:{wide}}  {row.origin}" if origin else f"{row.name:{width}}  {value}")
