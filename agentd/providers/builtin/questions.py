"""A question: search, read the best places, answer with citations."""

from __future__ import annotations

import re

from agentd.providers.builtin.outputs import grep_hits
from agentd.providers.builtin.plan import Call, Plan, run_calls

_STOP = frozenset({"how", "does", "what", "which", "where", "are", "the", "and", "for", "this", "that", "when", "with"})


def answer_question(question: str, offered: frozenset[str]) -> Plan[str]:
    if "Grep" not in offered:
        return "I answer questions by searching the workspace, and no search tool is offered here."
    words = [word for word in re.findall(r"\w{3,}", question.lower()) if word not in _STOP]
    if not words:
        return "I found no word in this to search for."
    calls = [
        Call("Grep", {"pattern": word, "-i": True, "output_mode": "content", "head_limit": 5}) for word in words[:8]
    ]
    answers = yield from run_calls(f"Searching for {', '.join(words[:8])}.", *calls)
    hits = [hit for answered in answers for hit in grep_hits(answered.text)]
    if not hits:
        return f"Nothing in the workspace mentions {', '.join(words[:8])}."
    return "\n".join(f"- {hit.path}:{hit.number} `{hit.text.strip()[:120]}`" for hit in hits[:20])
