"""`agentd models`: the language models there are, and what names stand for them."""

from __future__ import annotations

import json
import os
import sys

from agentd.config import Option, read_settings
from agentd.errors import AgentdError
from agentd.providers.registry import Listed, Registry

OPTIONS = {"model-alias": Option("MODEL_ALIASES", many=True), "json": Option(switch=True)}


def main(argv: list[str]) -> int:
    if any(word in ("-h", "--help") for word in argv):
        from agentd.cli.help import page, show

        show(page("models"))
        return 0
    try:
        settings = read_settings(OPTIONS, argv, os.environ)
        models = Registry(aliases=settings.aliases("model-alias")).models()
    except AgentdError as exc:
        print(f"agentd models: {exc}", file=sys.stderr)
        return 2
    if settings.switch("json"):
        for listed in models:
            print(json.dumps(described(listed)))
    else:
        print_table(models)
    return 0


def described(listed: Listed) -> dict[str, object]:
    price = listed.info.price
    return {
        "name": listed.name,
        "provider": listed.provider,
        "alias_of": listed.alias_of,
        "context_tokens": listed.info.context_tokens,
        "usd_per_million_tokens": {"input": price.input, "output": price.output} if price else None,
        "note": listed.info.note,
    }


def print_table(models: list[Listed]) -> None:
    width = max(len(listed.name) for listed in models)
    for listed in models:
        about = f"stands for {listed.alias_of}" if listed.alias_of else listed.info.note
        print(f"{listed.name:{width}}  {about}")
