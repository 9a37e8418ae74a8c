"""The list of models that a service gives of itself: GET /models of Chat Completions and of the Messages API alike.

The rules: developers.openai.com/api/reference, "List models"; platform.claude.com/docs, "List Models". Only ids are
certain; how much a model takes is told by some (vLLM, OpenRouter, LiteLLM, Anthropic), each in its own way, and so is
whether it takes images (OpenRouter and llama.cpp, Mistral, Anthropic).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import attrs

from agentd.providers.errorbody import READ_BYTES
from agentd.providers.failures import ProtocolBroken, Target, classify, network_failure
from agentd.providers.protocol import ModelInfo
from agentd.providers.service import Client
from agentd.wire.exchange import Deadlines
from agentd.wire.failure import HttpFailed

DEADLINES = Deadlines(connect=5.0, first_byte=5.0, between_bytes=5.0, total=10.0)
MAX_BYTES = 8 * 1024 * 1024  # OpenRouter's has a few hundred kilobytes
VERSION = "2023-06-01"  # of the Messages API

_CONTEXT = ("max_model_len", "context_length", "context_window", "max_input_tokens")
_NO_CHAT = re.compile(
    r"embed|whisper|\btts|dall-e|moderation|realtime|transcribe|rerank|image|\baudio|sora|davinci|babbage",
    re.IGNORECASE,
)


@attrs.frozen
class Shelf:
    """Where a list is, and who asks."""

    service: str
    protocol: str
    base_url: str
    key: str = attrs.field(default="", repr=False)
    bearer: bool = False  # of the Messages API: the key goes into Authorization
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    @property
    def url(self) -> str:
        base = urlsplit(self.base_url)
        path = base.path.rstrip("/")
        if self.protocol == "anthropic":
            return urlunsplit((base.scheme, base.netloc, f"{path}/v1/models", "limit=1000", ""))
        return urlunsplit((base.scheme, base.netloc, f"{path or '/v1'}/models", base.query, ""))

    @property
    def fields(self) -> list[tuple[str, str]]:
        anthropic = self.protocol == "anthropic"
        fields = [("Accept", "application/json"), *([("anthropic-version", VERSION)] if anthropic else [])]
        if self.key:
            plain = anthropic and not self.bearer
            fields.append(("x-api-key", self.key) if plain else ("Authorization", f"Bearer {self.key}"))
        return [*fields, *self.headers.items()]

    @property
    def target(self) -> Target:
        base = urlsplit(self.base_url)
        secrets = frozenset(each for each in (self.key, *self.headers.values()) if each)
        return Target(f"{self.service} at {base.scheme}://{base.netloc.rpartition('@')[2]}", secrets=secrets)


async def fetch_models(client: Client, shelf: Shelf) -> dict[str, ModelInfo]:
    """The models that can hold a conversation, in the service's order. Raises a ServiceFailed."""
    try:
        async with client.stream("GET", shelf.url, headers=shelf.fields, body=b"", deadlines=DEADLINES) as answer:
            good = 200 <= answer.status < 300
            body = bytearray()
            async for piece in answer.chunks():
                body += piece
                if len(body) > (MAX_BYTES if good else READ_BYTES):
                    break
    except HttpFailed as exc:
        raise network_failure(exc.kind, str(exc), shelf.target) from exc
    if not good:
        raise classify(answer.status, answer.headers, bytes(body), shelf.target)
    return dict(read_models(bytes(body), shelf.target))


def read_models(body: bytes, target: Target) -> Iterator[tuple[str, ModelInfo]]:
    """Raises ProtocolBroken for what is no list; an entry that is none is left out."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise ProtocolBroken("its list of models is no JSON", target) from exc
    entries = value.get("data", value.get("models")) if isinstance(value, dict) else value
    if not isinstance(entries, list):
        raise ProtocolBroken("its list of models has no data", target)
    for entry in entries:
        name = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(name, str) and name and not _NO_CHAT.search(name):
            yield name, ModelInfo(_context(entry), vision=_vision(entry))


def _context(entry: Mapping[str, Any]) -> int | None:
    meta = entry.get("meta")
    told = [entry.get(key) for key in _CONTEXT]
    told.append(meta.get("n_ctx_train") if isinstance(meta, dict) else None)  # llama.cpp
    return next((value for value in told if type(value) is int and value > 0), None)


def _vision(entry: Mapping[str, Any]) -> bool | None:
    architecture, capabilities = entry.get("architecture"), entry.get("capabilities")
    if isinstance(architecture, dict) and isinstance(inputs := architecture.get("input_modalities"), list):
        return "image" in inputs
    if not isinstance(capabilities, dict):
        return None
    told = capabilities.get("vision", capabilities.get("image_input"))
    told = told.get("supported") if isinstance(told, dict) else told
    return told if isinstance(told, bool) else None
