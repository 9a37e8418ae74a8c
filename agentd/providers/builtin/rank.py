"""Which files and lines speak of what a question is about. Pure: counts and lines in, an order out.

The weight of a word is how rare it is, as in any search engine (idf), with saturation: the tenth line with a word says
little more than the third. Beyond that: words in the path, words beside each other, words in a definition, and how many
different words come together in a few lines. Tests, documentation and data stand behind source unless asked for.
"""

from __future__ import annotations

import functools
import math
import re
from bisect import bisect
from collections.abc import Mapping, Sequence, Set

import attrs

from agentd.providers.builtin.definitions import defined_name, is_import
from agentd.providers.builtin.outputs import Line
from agentd.providers.builtin.words import SYNONYM, Question, Term, pattern, split_name, stem

OTHER_PART = 0.2  # what a word of one question counts in the other that is asked with it
IMPORT = 0.4  # what a line counts that only brings a name in
COMMON = 0.8  # the idf of a word that half of the files have
WINDOW_LINES = 12  # how far apart words still count as being together
SATURATION = 2.0  # matching lines at which a word has two thirds … of its weight in a file

_TEST = re.compile(
    r"(?:^|/)(?:tests?|testing|specs?|__tests__|fixtures?)/|(?:^|/)(?:test_[^/]*|conftest\.py)$"
    r"|[._-](?:test|spec)s?\.\w+$|_tests?/"
)
_VENDORED = re.compile(
    r"(?:^|/)(?:_?vendor|vendored|third_party|node_modules|site-packages|dist|build|generated)/"
    r"|(?:\.min\.js|_pb2\.py|\.lock|\.g\.dart)$"
)
_DOCS = re.compile(
    r"(?:^|/)(?:docs?|examples?|demos?)/|\.(?:md|rst|txt|adoc|html|tex)$|(?:^|/)(?:README|CHANGELOG|NEWS|LICENSE|\w*_data/)",
    re.IGNORECASE,
)
_DATA = re.compile(r"\.(?:json|csv|tsv|xml|svg|ya?ml|ini|cfg|po|pot|css|snap|ipynb|log)$")
_ASKED = {
    "test": r"\b(?:which|what|the|unit|where are the) tests?\b|\btests (?:for|of|that)\b|\btested\b",
    "docs": r"\bdoc|\breadme|\bchangelog|\bmanual\b",
    "data": r"\bjson file|\byaml\b",
}
_FACTORS = {"source": 1.0, "data": 0.5, "docs": 0.5, "test": 0.4, "vendored": 0.35}


@attrs.frozen
class Probe:
    """A search for one word, its synonyms or a phrase, with what it is worth. *terms*: whose words these are; *texts*:
    one of them is in every line that is meant."""

    pattern: str
    ignore_case: bool
    weight: float
    terms: tuple[int, ...]
    texts: tuple[str, ...] = ()

    @property
    def is_word(self) -> bool:
        """Whether it is for a term itself."""
        return len(self.terms) == 1


@attrs.frozen
class Place:
    """Lines of a file that speak of the question: from *first* to *last*, the best of them *best*."""

    first: int
    last: int
    best: int
    score: float


@attrs.frozen
class Ranked:
    path: str
    score: float
    places: tuple[Place, ...]
    part: int = 0  # of several questions in one, the one that this answers best


def kind_of(path: str) -> str:
    """source, test, docs, data or vendored."""
    for kind, shape in (("vendored", _VENDORED), ("test", _TEST), ("docs", _DOCS), ("data", _DATA)):
        if shape.search(path):
            return kind
    return "source"


def factor(path: str, question: Question) -> float:
    """How much a file of its kind counts; more if the question asks for that kind."""
    kind = kind_of(path)
    asked = kind in _ASKED and re.search(_ASKED[kind], question.text, re.IGNORECASE)
    return max(_FACTORS[kind], 0.9) if asked else _FACTORS[kind]


def focuses(question: Question) -> list[tuple[float, ...]]:
    """For each question in one: how much each term counts. The words of the others say where to look, no more."""
    terms = range(len(question.terms))
    return [tuple(1.0 if term in part else OTHER_PART for term in terms) for part in question.parts]


def shortlist(
    question: Question,
    probes: Sequence[Probe],
    counts: Sequence[Mapping[str, int]],
    focus: Sequence[float],
    size: int,
) -> list[str]:
    """The files worth a closer look, best first."""
    everywhere = {path for count in counts for path in count}
    scores = dict.fromkeys(everywhere, 0.0)
    for probe, count in zip(probes, counts, strict=True):
        worth = probe.weight * min(focus[term] for term in probe.terms) * _idf(len(count), len(everywhere))
        for path, lines in count.items():
            scores[path] += worth * lines / (lines + SATURATION)
    idfs = [idf * focus[i] for i, idf in enumerate(term_idfs(question, probes, counts))]
    for path in everywhere:
        scores[path] = (scores[path] + path_score(path, question, idfs)) * factor(path, question)
    return sorted(everywhere, key=lambda path: (-scores[path], path))[:size]


def term_idfs(question: Question, probes: Sequence[Probe], counts: Sequence[Mapping[str, int]]) -> list[float]:
    """The weight of each term, by how rare it is itself. One that was not searched for counts as a common word, as does
    one that is nowhere: there may be other words for it."""
    everywhere = len({path for count in counts for path in count})
    idfs = [term.weight * COMMON for term in question.terms]
    for probe, count in zip(probes, counts, strict=True):
        if probe.is_word:
            idfs[probe.terms[0]] = question.terms[probe.terms[0]].weight * (_idf(len(count), everywhere) or COMMON)
    return idfs


def _idf(files: int, everywhere: int) -> float:
    return math.log(1 + everywhere / (files + 0.5)) if files else 0.0


def path_score(path: str, question: Question, idfs: Sequence[float]) -> float:
    """A file named after a word is likely about it, and a directory, too."""
    *folders, name = path.lower().split("/")
    score = 0.0
    in_name, in_folders = _path_words(name), frozenset().union(*map(_path_words, folders))
    alone = 1.8 if all(any(_fits(term, {word}) for term in question.terms) for word in in_name) else 1.2
    for term, idf in zip(question.terms, idfs, strict=True):
        if _fits(term, in_name):
            score += alone * idf
        elif _fits(term, in_folders):
            score += 0.8 * idf
    if any(path.endswith(asked) or path.startswith(asked) for asked in question.paths):
        score += 30.0
    return score


@functools.lru_cache(maxsize=1 << 14)  # a large tree has many files in few directories, and as many names again
def _path_words(part: str) -> frozenset[str]:
    return frozenset(stem(word) for word in split_name(re.sub(r"\.\w+$", "", part)))


def _fits(term: Term, words: Set[str]) -> bool:
    return any(own in words or (len(own) > 4 and any(word.startswith(own) for word in words)) for own in term.stems)


# --- A closer look ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Lens:
    """What makes a line worth something: for each term, how its words look and what they weigh."""

    question: Question
    idfs: tuple[float, ...]
    own: tuple[re.Pattern[str], ...]
    other: tuple[re.Pattern[str] | None, ...]
    _seen: dict[str, dict[int, float]] = attrs.field(factory=dict, eq=False)  # by line: lines are asked about often

    @classmethod
    def of(cls, question: Question, idfs: Sequence[float]) -> Lens:
        own = tuple(re.compile(term.pattern) for term in question.terms)
        other = tuple(re.compile(pattern(term.synonyms)) if term.synonyms else None for term in question.terms)
        return cls(question, tuple(idfs), own, other)

    def focused(self, focus: Sequence[float]) -> Lens:
        return attrs.evolve(self, idfs=tuple(idf * each for idf, each in zip(self.idfs, focus, strict=True)))

    def terms_in(self, text: str) -> dict[int, float]:
        """The terms that a line speaks of, with how much."""
        if text not in self._seen:
            found = ((i, self._share(i, text)) for i in range(len(self.idfs)))
            self._seen[text] = {i: share for i, share in found if share}
        return {i: self.idfs[i] * share for i, share in self._seen[text].items()}

    def _share(self, term: int, text: str) -> float:
        other = self.other[term]
        if self.own[term].search(text):
            return 1.0
        return SYNONYM if other is not None and other.search(text) else 0.0

    def line_score(self, text: str, path: str) -> float:
        terms = self.terms_in(text)
        name = defined_name(text, path)
        together = 1.0 + 0.25 * (len(terms) - 1) if terms else 0.0
        score = sum(terms.values()) * together + (self.name_score(name) if name else 0.0)
        return score * IMPORT if is_import(text) else score

    def name_score(self, name: str) -> float:
        """What a definition of that name is worth: more the more of the name the question has words for."""
        exact = sum(3 * idf for term, idf in zip(self.question.terms, self.idfs, strict=True) if term.word == name)
        words = split_name(name)
        found = self.terms_in("_".join(words))
        said = min(1.0, len(found) / len(words)) if words else 0.0
        whole = 1.0 + 1.5 * (len(found) - 1) if said == 1.0 else 1.0
        return exact + sum(found.values()) * (0.6 + 1.2 * said) * whole


def look_closer(path: str, lines: Sequence[Line], lens: Lens, count: int = 3) -> Ranked:
    """The places of a file that speak of the question, from its lines that mention any word of it."""
    places: list[Place] = []
    scores = {line.number: lens.line_score(line.text, path) for line in lines}
    terms = {line.number: lens.terms_in(line.text) for line in lines}
    taken: set[int] = set()
    while len(places) < count:
        free = [line.number for line in lines if line.number not in taken]
        windows = [free[at : bisect(free, number + WINDOW_LINES - 1)] for at, number in enumerate(free)]
        place = max((_place(window, scores, terms) for window in windows), key=lambda p: p.score, default=None)
        if place is None or place.score <= 0:
            break
        places.append(place)
        taken.update(range(place.first - 3, place.last + 4))
    covered: dict[int, float] = {}
    for found in terms.values():
        for index, weight in found.items():
            covered[index] = max(weight, covered.get(index, 0.0))
    best = [place.score for place in places] + [0.0] * count
    score = (
        best[0]
        + 0.4 * best[1]
        + 0.2 * best[2]
        + sum(covered.values())
        + 1.5 * path_score(path, lens.question, lens.idfs)
    )
    return Ranked(path, score * factor(path, lens.question), tuple(places))


def _place(inside: Sequence[int], scores: Mapping[int, float], terms: Mapping[int, Mapping[int, float]]) -> Place:
    """A few lines that are close together: each term counts once, the best line once more."""
    weights: dict[int, float] = {}
    for number in inside:
        for index, weight in terms[number].items():
            weights[index] = max(weight, weights.get(index, 0.0))
    best = max(inside, key=lambda number: (scores[number], -number))
    together = 1.0 + 0.15 * (len(weights) - 1) if weights else 0.0
    return Place(inside[0], inside[-1], best, sum(weights.values()) * together + 0.5 * scores[best])


def near(ranked: Ranked, other: str) -> Ranked:
    """What is asked in the same breath is often answered in the same directory."""
    return attrs.evolve(
        ranked, score=ranked.score * (1.5 if ranked.path.rpartition("/")[0] == other.rpartition("/")[0] else 1.0)
    )
