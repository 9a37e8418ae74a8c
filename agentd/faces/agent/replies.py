"""What a person's words mean for what they were asked. Pure. The rules: the agent API contract, 10.3."""

from __future__ import annotations

import re

from agentd.daemon.asks import Answer

YES = re.compile(r"\s*(?:y|yes|allow|ok|approve|proceed|accept)\b", re.IGNORECASE)
ALWAYS = re.compile(r"\s*always\b", re.IGNORECASE)


def read_reply(kind: str, text: str) -> Answer:
    """*kind*: of the ask. What is neither yes nor always is a refusal, and the reason for it."""
    if kind == "question":
        return Answer("answer", answer=text)
    if ALWAYS.match(text):
        return Answer("always" if kind == "permission" else "allow")
    return Answer("allow") if YES.match(text) else Answer("deny", text)
