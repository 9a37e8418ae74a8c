"""The MCP servers of one job: what they offer, under one set of names, for as long as the job runs."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from agentd.domain import McpServer, Text
from agentd.errors import ToolFailed, only_cause
from agentd.tools.base import Tool
from agentd.tools.mcp import content, protocol
from agentd.tools.mcp.listing import PromptOffer
from agentd.tools.mcp.names import full_names
from agentd.tools.mcp.pending import Watch
from agentd.tools.mcp.server import Server
from agentd.tools.mcp.terms import Elicitation, Elicited, Prompt, PromptArgument, ServerStatus, Terms
from agentd.tools.mcp.tool import ListResources, McpTool, ReadResource

__all__ = ["Elicitation", "Elicited", "Prompt", "PromptArgument", "ServerStatus", "Servers", "Terms", "open_servers"]

MESSAGES = 100  # of a prompt


@asynccontextmanager
async def open_servers(servers: Mapping[str, McpServer], terms: Terms) -> AsyncIterator[Servers]:
    """Connect to all of *servers* at once: each is connected or has failed when this is entered, after their connect
    timeout at the latest. Leaving the block ends their processes and connections within bounded time. Raises what
    terms.notice and terms.elicit raise."""
    opened = [Server(name, config, terms) for name, config in servers.items()]
    try:
        async with trio.open_nursery() as nursery:
            for server in opened:
                nursery.start_soon(server.run)
            for server in opened:
                await server.settled()
            yield Servers(opened)
            nursery.cancel_scope.cancel()
    except ExceptionGroup as group:
        raise only_cause(group) from None


class Servers:
    """From open_servers(). What it offers follows the servers: ask again before each model call."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = servers
        self._seen = -1
        self._tools: dict[str, Tool] = {}
        self._prompts: dict[str, tuple[Server, PromptOffer]] = {}

    @property
    def statuses(self) -> list[ServerStatus]:
        return [server.status for server in self._servers]

    @property
    def servers(self) -> Sequence[Server]:
        return self._servers

    @property
    def instructions(self) -> dict[str, str]:
        """What servers say of how they are to be used, by name."""
        return {server.name: server.instructions for server in self._servers if server.instructions}

    @property
    def tools(self) -> Mapping[str, Tool]:
        """By full name: mcp__<server>__<tool>, and those for resources, where there are any."""
        self._follow()
        return self._tools

    @property
    def prompts(self) -> Mapping[str, Prompt]:
        """By full name: mcp__<server>__<prompt>."""
        self._follow()
        return {
            name: Prompt(f"{server.name}:{offer.own}", offer.description, offer.arguments)
            for name, (server, offer) in self._prompts.items()
        }

    def tool_named(self, name: str) -> Tool | None:
        return self.tools.get(name)

    async def get_prompt(self, name: str, arguments: str) -> str:
        """What a prompt says, as one text. *name*: in full, or "server:prompt"; *arguments*: as in a shell, in the
        order of the prompt's; the last one takes what is left. Raises ToolFailed."""
        self._follow()
        by_title = {f"{server.name}:{offer.own}": (server, offer) for server, offer in self._prompts.values()}
        if (found := self._prompts.get(name) or by_title.get(name)) is None:
            raise ToolFailed(f"there is no MCP prompt {name}")
        server, offer = found
        asked = {"name": offer.own, "arguments": _arguments(offer, arguments)}
        result = await server.ask("prompts/get", asked, Watch(lambda _: None))
        messages = protocol.objects_of(result.get("messages"))[:MESSAGES]
        said = "\n\n".join(filter(None, map(_said, messages)))
        return protocol.text_of(said, content.LONGEST_RESULT)

    def _follow(self) -> None:
        seen = sum(server.changes for server in self._servers)
        if seen == self._seen:
            return
        self._seen = seen
        by_own = {(server.name, offer.own): (server, offer) for server in self._servers for offer in server.tools}
        self._tools = {name: McpTool(name, *by_own[own]) for name, own in full_names(by_own).items()}
        offered = {(server.name, offer.own): (server, offer) for server in self._servers for offer in server.prompts}
        self._prompts = {name: offered[own] for name, own in full_names(offered).items()}
        with_resources = {server.name: server for server in self._servers if server.has_resources}
        if with_resources:
            for tool in (ListResources(with_resources), ReadResource(with_resources)):
                self._tools[tool.name] = tool


def _arguments(offer: PromptOffer, text: str) -> dict[str, str]:
    try:
        words = shlex.split(text)
    except ValueError:  # a quote that is not closed
        words = text.split()
    names = [argument.name for argument in offer.arguments]
    if len(words) > len(names) > 0:
        words[len(names) - 1 :] = [" ".join(words[len(names) - 1 :])]
    given = dict(zip(names, words, strict=False))
    if missing := [argument.name for argument in offer.arguments if argument.required and argument.name not in given]:
        raise ToolFailed(f"the prompt {offer.own} needs {', '.join(names)}; missing: {', '.join(missing)}")
    return given


def _said(message: Mapping[str, Any]) -> str:
    """A message of a prompt; what is no text in it is told, not kept."""
    block = message.get("content")
    parts = content.read_content(block if isinstance(block, list) else [block], _keep_nothing)
    text = "\n".join(part.text if isinstance(part, Text) else f"[an image: {part.media_type}]" for part in parts)
    return f"Assistant: {text}" if text and message.get("role") == "assistant" else text


def _keep_nothing(_: Path) -> str:
    return "nothing: a prompt has text only"
