"""What a question is about: its words, as stems to search for; names it spells out; paths. Pure."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

import attrs

from agentd.providers.builtin.literals import MASK, mask
from agentd.providers.builtin.vocabulary import COMPOUNDS, IRREGULAR, STOP, SYNONYMS, VAGUE

MAX_TERMS = 9
MAX_PHRASES = 6
MAX_TOKEN = 500  # characters: what is longer was pasted, and is nothing to search for
LITTLE = 0.35  # the weight of a word that says little about the place
NAMED = 1.5  # of "csv" in "the csv module"
SPELLED_OUT = 2.5  # of an identifier that the question gives
SYNONYM = 0.45  # of another word for the same

_COMPOUND = re.compile(rf"\b({COMPOUNDS})(?=s?\b)", re.IGNORECASE)
_SEVERAL = re.compile(r"(?:[.?!;]\s+|,?\s+and\s+)(?=(?:what|which|how|where|who|when|why|show)\b)", re.IGNORECASE)
_TOKEN = re.compile(rf"{MASK}|[\w./\-]*[\w/](?:\(\))?")
_PATH = re.compile(
    r"(?:[\w.\-]*/)+[\w.\-]*|[\w\-]+\.(?:py|pyi|js|jsx|ts|tsx|go|rs|java|kt|c|h|cc|cpp|hpp|cs|rb|php|swift|scala|sh|md|rst"
    r"|txt|toml|ya?ml|json|ini|cfg|html|css|sql|xml|lua|pl|ex|hs|vue|proto)"
)
_SYMBOL = re.compile(
    r"_*[a-z0-9]+(?:_+[a-zA-Z0-9]+)+_*|__?\w+|[A-Z]+(?:_[A-Z0-9]+)+|[A-Za-z]*[a-z][A-Z]\w*|[A-Z]{2,}[a-z]\w*"
    r"|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|\w+\(\)"
)
_QUOTED_SYMBOL = re.compile(r"[A-Za-z_$][\w$]*(?:(?:\.|::|#|->)[A-Za-z_$][\w$]*)*(?:\(\))?")
_NAMES_WHAT_IS_BEFORE = frozenset({"module", "class", "package", "library", "function", "method", "protocol"})


@attrs.frozen
class Term:
    """A word of the question. *stems* begin the words that count as it; *synonyms* the words for the same.

    An identifier that the question spells out is a term that has to be just that; it has no stems.
    """

    word: str
    stems: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    weight: float = 1.0

    @property
    def pattern(self) -> str:
        return pattern(self.stems) if self.stems else rf"\b{re.escape(self.word)}\b"

    @property
    def searched(self) -> str:
        return searched(self.stems) if self.stems else rf"\b{re.escape(self.word)}\b"

    @property
    def plain(self) -> str:
        """For a large tree."""
        return "|".join(literals(self.stems)) if self.stems else rf"\b{re.escape(self.word)}\b"

    @property
    def texts(self) -> tuple[str, ...]:
        """One of them is in every line with the word."""
        return tuple(literals(self.stems)) or (self.word,)


@attrs.frozen
class Question:
    text: str
    terms: tuple[Term, ...]
    phrases: tuple[tuple[int, int], ...]  # neighbours among the terms, by index
    symbols: tuple[str, ...]
    paths: tuple[str, ...]
    parts: tuple[frozenset[int], ...] = ()  # the terms of each question, where there are several in one

    @property
    def subject(self) -> str:
        """What it is about beside the names it spells out; "" for nothing."""
        return " ".join(term.word for term in self.terms if term.stems and term.weight >= 1.0)


def read_question(text: str) -> Question:
    """A question, or several: "Where is X done, and what limits apply?" """
    whole = _read(text)
    indices = {term.pattern: index for index, term in enumerate(whole.terms)}
    pieces = [_read(piece).terms for piece in _SEVERAL.split(text)]
    parts = [frozenset(indices[term.pattern] for term in terms if term.pattern in indices) for terms in pieces]
    return attrs.evolve(whole, parts=tuple(filter(None, parts)) or (frozenset(indices.values()),))


def _read(text: str) -> Question:
    symbols: dict[str, None] = {}
    paths: dict[str, None] = {}
    words: list[str] = []
    for token, quoted in _tokens(text):
        if len(token) > MAX_TOKEN:
            continue
        if _PATH.fullmatch(token):
            paths[token] = None
        elif (quoted and _QUOTED_SYMBOL.fullmatch(token)) or _SYMBOL.fullmatch(token):
            symbols[re.split(r"\W+", token.removesuffix("()"))[-1]] = None
        else:
            words += re.findall(r"[^\W_]+(?:'\w+)?", token)
    terms = [Term(name, weight=SPELLED_OUT) for name in symbols] + _terms(words)
    for part in (part for name in symbols for part in _terms(split_name(name), LITTLE)):
        if all(part.stems != term.stems for term in terms):
            terms.append(part)
    terms = terms[:MAX_TERMS]
    pairs = [(i, i + 1) for i in range(len(terms) - 1) if terms[i].stems and terms[i + 1].stems]
    return Question(text, tuple(terms), tuple(pairs[:MAX_PHRASES]), tuple(symbols), tuple(paths))


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    """The words of a text, and whether they were quoted. What stands in a fence or a diff is none of them."""
    masked = mask(text)
    joined = _COMPOUND.sub(lambda pair: re.sub("[ -]", "", pair[1]), masked.text)
    for found in _TOKEN.finditer(joined):
        if not re.fullmatch(MASK, found[0]):
            yield found[0], False
        elif masked.literal(found[0]).kind == "quote":
            yield masked.literal(found[0]).value.strip(), True


def _terms(words: Sequence[str], weight: float = 1.0) -> list[Term]:
    terms: dict[tuple[str, ...], Term] = {}
    for word, follows in zip_longest(words, words[1:], fillvalue=""):
        low = word.lower().removesuffix("'s")
        if low in STOP or len(low) < 2 or (low.isdigit() and len(low) < 3):
            continue
        stems = stems_of(low)
        worth = LITTLE if stems[0] in _VAGUE_STEMS else NAMED if follows.lower() in _NAMES_WHAT_IS_BEFORE else 1.0
        terms.setdefault(stems, Term(low, stems, _other_words(stems), weight * worth))
    return list(terms.values())


def _other_words(stems: tuple[str, ...]) -> tuple[str, ...]:
    found = (stem(other) for own, others in SYNONYMS if stem(own) in stems for other in others)
    return tuple(dict.fromkeys(other for other in found if other not in stems))


@functools.lru_cache(maxsize=1 << 14)
def stem(word: str) -> str:
    """The beginning that the forms of a word share. Light: it errs on the side of leaving too much."""
    for ending, least in _ENDINGS:
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= least and re.search("[aeiouy]", rest):
            doubled = (
                ending in ("ing", "ed", "er") and len(rest) > 3 and rest[-1] == rest[-2] and rest[-1] not in "lsfz"
            )
            return rest[:-1] if doubled else rest
    return word


def stems_of(word: str) -> tuple[str, ...]:
    """A word's own stem, and that of its base form where it does not show."""
    return tuple(dict.fromkeys((stem(word), stem(IRREGULAR.get(word, word)))))


# What may be taken off the end of a word, and how much of it has to stay.
_ENDINGS = (
    ("ations", 4), ("ation", 4), ("ically", 4), ("ments", 5), ("ment", 5), ("ities", 4), ("ions", 5), ("ion", 5),
    ("ings", 3), ("ing", 3), ("ies", 3), ("ers", 4), ("ors", 4), ("ied", 3), ("ed", 3), ("er", 4), ("or", 4), ("es", 4),
    ("ly", 4), ("ity", 4), ("s", 3), ("e", 4), ("y", 4),
)  # fmt: skip
_SUFFIXES = "(?:e|e?s|e?d|e?rs?|ings?|i?ons?|ors?|y|ie[sd]|ying|able|al|ure|ly)?"
_VAGUE_STEMS = frozenset(map(stem, VAGUE))


def split_name(name: str) -> list[str]:
    """The words in an identifier, in lower case: HTTPServer_name -> http, server, name."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def pattern(stems: Sequence[str]) -> str:
    """A regular expression, case-sensitive, for words and parts of identifiers that begin with one of *stems*."""
    return "|".join(filter(None, (_begins([s for s in stems if len(s) > 4]), _is([s for s in stems if len(s) <= 4]))))


def searched(stems: Sequence[str]) -> str:
    """The same for a whole tree: what begins with a literal is found three times as fast, so the middle of a longer
    word counts, too, where the stem is long enough for that to be rare."""
    plain = literals([stem for stem in stems if len(stem) > 4])
    return "|".join(filter(None, (*plain, _is([stem for stem in stems if len(stem) <= 4]))))


def literals(stems: Sequence[str]) -> list[str]:
    """Found fastest; short ones are in the middle of other words, too."""
    return [form(stem) for stem in stems for form in (str.lower, str.capitalize, str.upper)]


def _begins(stems: Sequence[str]) -> str:
    low, title, upper = (_any_of(stems, form) for form in (str.lower, str.capitalize, str.upper))
    return rf"(?:\b|_)(?:{low}|{title}|{upper})|[a-z](?:{title})" if stems else ""


def _is(stems: Sequence[str]) -> str:
    """For stems so short that too much begins with them: only known endings may follow."""
    stems = [stem + f"{stem[-1]}?" if len(stem) == 3 and stem[-1] in "bdgmnprt" else stem for stem in stems]
    low, title, upper = (_any_of(stems, form) for form in (str.lower, str.capitalize, str.upper))
    end = rf"{_SUFFIXES}(?:[^a-z]|$)"
    return rf"(?:\b|_)(?:(?:{low}|{title}){end}|{upper})|[a-z](?:{title}){end}" if stems else ""


def _any_of(stems: Sequence[str], form: Callable[[str], str]) -> str:
    return "|".join(map(form, stems))


def phrase_pattern(first: Term, second: Term) -> str:
    """For two words beside each other, in either order; to be used without regard to case."""
    one, two = re.escape(first.stems[0]), re.escape(second.stems[0])
    return rf"{one}[a-z]{{0,6}}[ _-]?{two}|{two}[a-z]{{0,6}}[ _-]?{one}"
