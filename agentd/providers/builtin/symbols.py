"""Where names are defined and used, for questions that ask just that."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agentd.providers.builtin.cite import cite, counted
from agentd.providers.builtin.definitions import defined_name, definition_pattern, is_import
from agentd.providers.builtin.outputs import Hit, grep_counts, grep_hits, is_cut
from agentd.providers.builtin.plan import Answered, Call, Plan, run_calls
from agentd.providers.builtin.rank import kind_of
from agentd.providers.builtin.words import Question

MAX_SYMBOLS = 5
MAX_HITS = 400  # lines of one name that are looked at
MAX_DEFINITIONS = 8
MAX_USES = 12
_ASKS = re.compile(
    r"\b(?:where|defined?|definitions?|declared|usages?|uses?|used|referenc\w+|call(?:s|ed|ers?)|occurrences?)\b",
    re.IGNORECASE,
)


def asks_where(question: Question) -> bool:
    return bool(question.symbols) and bool(_ASKS.search(question.text))


def find_symbols(question: Question) -> Plan[str | None]:
    """What is known of the names in a question; None if there is nothing of any."""
    names = question.symbols[:MAX_SYMBOLS]
    calls = [call for name in names for call in _calls(name)]
    answers = yield from run_calls(f"Looking for {', '.join(names)}.", *calls)
    told = [_tell(name, answers[3 * i : 3 * i + 3]) for i, name in enumerate(names)]
    if not any(told):
        return None
    nothing = [f"`{name}` is nowhere in the workspace." for name, text in zip(names, told, strict=True) if not text]
    return "\n\n".join([*filter(None, told), *nothing])


def _calls(name: str) -> tuple[Call, ...]:
    word = rf"\b{re.escape(name)}\b"
    return (
        Call("Grep", {"pattern": definition_pattern(name), "output_mode": "content", "head_limit": 50}, (name,)),
        Call("Grep", {"pattern": word, "output_mode": "content", "head_limit": MAX_HITS}, (name,)),
        Call("Grep", {"pattern": word, "output_mode": "count", "head_limit": 0}, (name,)),
    )


def _tell(name: str, answers: Sequence[Answered]) -> str:
    shaped, mentioned = (grep_hits(answered.text) for answered in answers[:2])
    counts = grep_counts(answers[2].text)
    if not counts:
        return ""
    both = dict.fromkeys([*shaped, *mentioned])
    definitions = [hit for hit in both if defined_name(hit.text, hit.path) == name]
    parts = [_definitions(name, definitions)]
    uses = [hit for hit in both if hit not in definitions]
    if uses:
        total = f"{counted(sum(counts.values()), 'line')} in {counted(len(counts), 'file')} mention it"
        total = f"More than {total}" if is_cut(answers[2].text) else total
        best = sorted(_spread(uses), key=lambda hit: (is_import(hit.text), kind_of(hit.path) != "source"))
        parts.append("\n".join([f"{total}; uses, source first:", *map(cite, best[:MAX_USES])]))
    return "\n\n".join(parts)


def _definitions(name: str, hits: Sequence[Hit]) -> str:
    if not hits:
        return f"I see no definition of `{name}`, only mentions."
    ordered = sorted(hits, key=lambda hit: kind_of(hit.path) != "source")
    more = [f"[{len(hits) - MAX_DEFINITIONS} more]"] if len(hits) > MAX_DEFINITIONS else []
    return "\n".join([f"`{name}` is defined in:", *map(cite, ordered[:MAX_DEFINITIONS]), *more])


def _spread(hits: Sequence[Hit]) -> list[Hit]:
    """The first of each file, then the second of each, and so on."""
    rounds: list[tuple[int, int, Hit]] = []
    seen: dict[str, int] = {}
    for order, hit in enumerate(hits):
        seen[hit.path] = seen.get(hit.path, 0) + 1
        rounds.append((seen[hit.path], order, hit))
    return [hit for _, _, hit in sorted(rounds, key=lambda each: each[:2])]
