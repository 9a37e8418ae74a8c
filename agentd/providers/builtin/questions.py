"""A question: search for its words, look closer at the best files, read the best places, answer with citations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import attrs

from agentd.providers.builtin.answer import Findings, Source, asks_limits, compose, main_names, pick_uses
from agentd.providers.builtin.definitions import CONSTANTS, outline_pattern
from agentd.providers.builtin.history import recent_commits
from agentd.providers.builtin.indexed import asks_related, asks_structure, find_names, find_related, find_structure
from agentd.providers.builtin.material import Fragment, relevant, words_of
from agentd.providers.builtin.material import told as told_of
from agentd.providers.builtin.outline import asks_outline, outline
from agentd.providers.builtin.outputs import Hit, Line, grep_counts, grep_hits, number_of_paths, paths, read_lines
from agentd.providers.builtin.plan import Answered, Call, Plan, run_calls
from agentd.providers.builtin.rank import Lens, Probe, Ranked, focuses, look_closer, near, shortlist, term_idfs
from agentd.providers.builtin.repository import asks_overview, asks_recent, overview, recent_changes
from agentd.providers.builtin.symbols import asks_where, find_symbols
from agentd.providers.builtin.words import SYNONYM, Question, literals, phrase_pattern, read_question, searched

T = TypeVar("T")

MAX_FILES = 3000  # in the counts of one word
LARGE = 2000  # files, from which on a search of the whole tree is dear
FEW = 5  # words that a large tree is searched for
ENOUGH = 2000  # files that have a word
COVERED = 0.6  # of those words: what a file has to have, or others are searched for
CLOSER = 14  # files that are looked at line by line
CLOSER_IF_LARGE = 28
LINES = 300  # of each
WORTH_READING = 0.4  # of the best file's score
READ = 4  # files that are read, at their best places
AROUND = (12, 30)  # lines before and after a place


def answer_with(material: Sequence[Fragment], text: str, offered: frozenset[str]) -> Plan[str]:
    """What the material that a question is about says, and what the repository does."""
    chosen = relevant(text, material)
    if not chosen:
        return (yield from answer_question(text, offered))
    parts = [told_of(chosen)]
    if any(each.kind == "text" for each in chosen):
        if (question := words_of(text, chosen)).terms and {"Grep", "Read"} <= offered:
            parts.append(f"In the repository, on the words of it:\n\n{(yield from _search(question, offered))}")
    else:
        parts.append(f"In the repository:\n\n{(yield from answer_question(text, offered))}")
    return "\n\n".join(parts)


def answer_question(text: str, offered: frozenset[str]) -> Plan[str]:
    if not {"Grep", "Read"} <= offered:
        return (
            "I answer questions by searching the workspace, which needs Grep and Read, and they are not offered here."
        )
    question = read_question(text)
    if asks_recent(question):
        told = (yield from recent_commits(question)) if "GitLog" in offered else None
        return told or (yield from recent_changes(offered))
    if asks_outline(question):
        return (yield from outline(question, offered))
    if asks_structure(question) and (structure := (yield from find_structure(question, offered))):
        return structure
    if asks_overview(question):
        return (yield from overview(offered))
    told = (yield from _find_names(question, offered)) if asks_where(question) else None
    related = (yield from find_related(question, offered)) if asks_related(question) else None
    if (told and not question.subject) or related:
        return "\n\n".join(filter(None, (told, related)))
    if told:
        return f"{told}\n\nOn {question.subject}:\n\n{(yield from _search(read_question(question.subject), offered))}"
    return (yield from _search(question, offered))


def _find_names(question: Question, offered: frozenset[str]) -> Plan[str | None]:
    """Where its names are defined and used, by the index of symbols if there is one."""
    return (yield from find_names(question, offered)) or (yield from find_symbols(question))


def _search(question: Question, offered: frozenset[str]) -> Plan[str]:
    if not question.terms:
        return "I found no word in this that could be searched for. Name what it is about: a file, a name, a subject."
    survey = yield from _survey(question, offered)
    chosen = _merge([survey.best(question, focus) for focus in focuses(question)])[: survey.closer]
    if not chosen:
        return f"Nothing in the workspace mentions {_words(question)}, so there is nothing I could answer from."
    lens = Lens.of(question, term_idfs(question, survey.probes, survey.counts))
    hits = yield from _look(question, chosen)
    ranked = rank(question, lens, hits)
    if not ranked:
        return f"These files mention it, but I could not look into them: {', '.join(chosen)}."
    sources = yield from _read(question, [each for each in ranked if each.score >= WORTH_READING][:READ], hits)
    uses = yield from _find_uses(sources)
    read = {source.path for source in sources}
    others = [(each, best) for each in ranked if each.path not in read and (best := _best_hit(each, hits[each.path]))]
    return compose(Findings(question, lens, sources, others, uses, survey.missing(question)))


# --- Which files have the words ---------------------------------------------------------------------------------------


@attrs.frozen
class Survey:
    """Searches of the whole tree, and how many lines of each file they found."""

    probes: Sequence[Probe]
    counts: Sequence[Mapping[str, int]]
    closer: int = CLOSER  # files that get a closer look

    def best(self, question: Question, focus: Sequence[float]) -> list[str]:
        return shortlist(question, self.probes, self.counts, focus, self.closer)

    def missing(self, question: Question) -> list[str]:
        """The words that are nowhere."""
        pairs = zip(self.probes, self.counts, strict=True)
        return [
            question.terms[term].word for term in sorted(p.terms[0] for p, count in pairs if p.is_word and not count)
        ]

    def coverage(self) -> float:
        """How much of what was searched for is in the file that has most of it."""
        shares: dict[str, float] = {}
        for probe, count in zip(self.probes, self.counts, strict=True):
            shares.update({path: shares.get(path, 0.0) + probe.weight for path in count})
        return max(shares.values(), default=0.0) / sum(probe.weight for probe in self.probes)


def _survey(question: Question, offered: frozenset[str]) -> Plan[Survey]:
    looked = [Call("Glob", {"pattern": "**/*"})] if "Glob" in offered else []
    sizes = yield from run_calls("Looking at how much there is to search.", *looked)
    if any(number_of_paths(answered.text) > LARGE for answered in sizes):
        return (yield from _large_survey(question))
    probes = _probes(question)
    answers = yield from run_calls(f"Searching for {_words(question)}.", *map(_count, probes))
    return Survey(probes, [grep_counts(answered.text) for answered in answers])


def _large_survey(question: Question) -> Plan[Survey]:
    """Where to count every match would take long: the main words alone, each until enough files have it. The files
    that have most of them are looked at for all the others. If no file does, words for the same are searched for."""
    words = [Probe(term.plain, False, term.weight, (i,), term.texts) for i, term in enumerate(question.terms)]
    first = sorted(words, key=lambda probe: -probe.weight)[:FEW]
    answers = yield from run_calls(f"Searching for {_words(question)}.", *map(_files_with, first))
    survey = Survey(first, [dict.fromkeys(paths(answered.text), 1) for answered in answers], CLOSER_IF_LARGE)
    if survey.coverage() >= COVERED:
        return survey
    rest = [probe for probe in _probes(question) if not probe.ignore_case and not probe.is_word][:FEW]
    answers = yield from run_calls("Searching for other words for the same.", *map(_files_with, rest))
    counts = [*survey.counts, *(dict.fromkeys(paths(answered.text), 1) for answered in answers)]
    return Survey([*first, *rest], counts, CLOSER_IF_LARGE)


def _files_with(probe: Probe) -> Call:
    return Call(
        "Grep", {"pattern": probe.pattern, "output_mode": "files_with_matches", "head_limit": ENOUGH}, probe.texts
    )


def _words(question: Question) -> str:
    return ", ".join(term.word for term in question.terms)


def _probes(question: Question) -> list[Probe]:
    """The words themselves first, in their order."""
    probes = [Probe(term.searched, False, term.weight, (i,), term.texts) for i, term in enumerate(question.terms)]
    probes += [
        Probe(searched(term.synonyms), False, term.weight * SYNONYM, (i, i), tuple(literals(term.synonyms)))
        for i, term in enumerate(question.terms)
        if term.synonyms and term.weight >= 1.0
    ]
    for first, second in question.phrases:
        one, two = question.terms[first], question.terms[second]
        worth = 0.8 * min(one.weight, two.weight)
        probes.append(Probe(phrase_pattern(one, two), True, worth, (first, second), one.texts))
    return probes


def _count(probe: Probe) -> Call:
    options = {"-i": True} if probe.ignore_case else {}
    return Call(
        "Grep", {"pattern": probe.pattern, "output_mode": "count", "head_limit": MAX_FILES, **options}, probe.texts
    )


def _merge(orders: Sequence[Sequence[T]]) -> list[T]:
    """Two of the first, one of each other, and so on, passing over what has been taken."""
    taken: dict[T, None] = {}
    queues = [iter(order) for order in (orders[0], *orders)]
    while queues:
        for queue in list(queues):
            found = next((each for each in queue if each not in taken), None)
            if found is None:
                queues.remove(queue)
            else:
                taken[found] = None
    return list(taken)


def rank(question: Question, lens: Lens, hits: Mapping[str, Sequence[Hit]]) -> list[Ranked]:
    """The files by what their lines say, best first; of several questions in one, the best of each in turn.

    Scores are shares of the best file's.
    """
    orders: list[list[Ranked]] = []
    for focus in focuses(question):
        focused = lens.focused(focus)
        looks = [
            look_closer(path, [Line(hit.number, hit.text) for hit in found], focused) for path, found in hits.items()
        ]
        if orders:
            looks = [near(look, orders[0][0].path) for look in looks]
        orders.append(sorted((each for each in looks if each.places), key=lambda each: (-each.score, each.path)))
    shares = [
        attrs.evolve(each, score=each.score / order[0].score, part=part)
        for part, order in enumerate(orders)
        for each in order
    ]
    best = {each.path: each for each in sorted(shares, key=lambda each: each.score)}
    return [best[path] for path in _merge([[each.path for each in order] for order in orders])]


def _look(question: Question, files: Sequence[str]) -> Plan[dict[str, list[Hit]]]:
    """The lines of files that mention any word."""
    names = [term.searched for term in question.terms if not term.stems]
    stems = [stem for term in question.terms for stem in (*term.stems, *term.synonyms)]
    # Literals, for the tool is quick with few alternatives. That it finds more than the words does not matter here.
    pattern = "|".join(dict.fromkeys([*names, *stems]))
    calls = [_content(pattern, path, LINES, ignore_case=True) for path in files]
    answers = yield from run_calls(f"Looking closer at {len(files)} files.", *calls)
    return {path: grep_hits(answered.text) for path, answered in zip(files, answers, strict=True)}


def _content(words: str, path: str, most: int, *, ignore_case: bool = False) -> Call:
    options = {"-i": True} if ignore_case else {}
    return Call("Grep", {"pattern": words, "path": path, "output_mode": "content", "head_limit": most, **options})


def _read(question: Question, ranked: Sequence[Ranked], hits: Mapping[str, Sequence[Hit]]) -> Plan[list[Source]]:
    """The best places of the best files, their outlines and, if the question is after limits, their constants."""
    calls: list[Call] = []
    for number, each in enumerate(ranked):
        places = each.places[: 3 if number < 2 else 1]
        calls += [_window(each.path, place.first, place.last) for place in places]
        calls.append(_content(outline_pattern(each.path), each.path, 500))
        if asks_limits(question):
            calls.append(_content(CONSTANTS, each.path, 100))
    answers = yield from run_calls(f"Reading in {', '.join(each.path for each in ranked)}.", *calls)
    return [_source(each, answers, hits[each.path]) for each in ranked]


def _window(path: str, first: int, last: int) -> Call:
    before, after = AROUND
    start = max(1, first - before)
    return Call("Read", {"file_path": path, "offset": start, "limit": last - start + after})


def _source(ranked: Ranked, answers: Sequence[Answered], hits: Sequence[Hit]) -> Source:
    lines = {hit.number: hit.text for hit in hits}
    found: dict[str, list[Line]] = {outline_pattern(ranked.path): [], CONSTANTS: []}
    for answered in answers:
        asked = answered.call.input
        if asked.get("file_path") == ranked.path:
            lines.update((line.number, line.text) for line in read_lines(answered.text).lines)
        elif asked.get("path") == ranked.path:
            found[asked["pattern"]] = [Line(hit.number, hit.text) for hit in grep_hits(answered.text)]
    for group in found.values():
        lines.update((line.number, line.text) for line in group)
    return Source(ranked, lines, found[outline_pattern(ranked.path)], found[CONSTANTS])


def _find_uses(sources: Sequence[Source]) -> Plan[dict[str, list[Hit]]]:
    """Where the main definitions of the best file are used; nothing for names that are everywhere."""
    names = main_names(sources[0])
    options = {"output_mode": "content", "head_limit": 60}
    calls = [Call("Grep", {"pattern": rf"\b{name}\b", **options}, (name,)) for name in names]
    answers = yield from run_calls(f"Looking where {' and '.join(names)} is used.", *calls)
    return {name: pick_uses(name, grep_hits(each.text)) for name, each in zip(names, answers, strict=True)}


def _best_hit(ranked: Ranked, hits: Sequence[Hit]) -> Hit | None:
    return next((hit for hit in hits if hit.number == ranked.places[0].best), None)
