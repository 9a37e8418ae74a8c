"""An answer from what was found. Every line it quotes was shown by a tool, under the number it is quoted with. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import attrs

from agentd.providers.builtin.cite import QUOTE_CHARS, cite, fenced, listed
from agentd.providers.builtin.definitions import constant_name, defined_name, enclosing, is_import, is_scope
from agentd.providers.builtin.outputs import Hit, Line
from agentd.providers.builtin.rank import Lens, Place, Ranked, kind_of
from agentd.providers.builtin.words import Question

EXCERPT_LINES = 14
MAX_QUOTES = 6  # of one file
MAX_CONSTANTS = 10
SURE = 0.6  # of the words of a question by weight: a file that has fewer is no answer
MAX_OTHERS = 6
HOW = (
    "This was found by searching and ranking, not by understanding: I am agentd's built-in offline model. Lines are "
    "quoted as they stand."
)


@attrs.frozen
class Source:
    """A file that was read: where it speaks of the question, what is known of its lines, and its definitions."""

    ranked: Ranked
    lines: Mapping[int, str]
    outline: Sequence[Line] = ()
    constants: Sequence[Line] = ()

    @property
    def path(self) -> str:
        return self.ranked.path

    def scope(self, number: int) -> Line | None:
        """The definition that a line is, or is inside of."""
        return enclosing(number, self.lines.get(number, ""), self.outline, self.path)

    def name_at(self, number: int) -> str | None:
        """What a line is part of, as Class.method; outside of all, what it defines itself."""
        scope = self.scope(number)
        if scope is None:
            return defined_name(self.lines.get(number, ""), self.path)
        before = [line for line in self.outline if line.number < scope.number]
        outer = enclosing(scope.number, scope.text, before, self.path)
        names = [defined_name(line.text, self.path) for line in (outer, scope) if line]
        return ".".join(filter(None, names)) or None


@attrs.frozen
class Findings:
    question: Question
    lens: Lens
    sources: Sequence[Source]
    others: Sequence[tuple[Ranked, Hit]]  # files that were not read, with their best line
    uses: Mapping[str, Sequence[Hit]]  # where a definition of the sources is used
    missing: Sequence[str]  # words of the question that are nowhere


def compose(findings: Findings) -> str:
    parts = [_opening(findings)]
    parts += [_source(source, findings) for source in findings.sources]
    if findings.sources and (excerpt := _excerpt(findings.sources[0])):
        parts.insert(2, excerpt)
    parts += [_uses(name, hits) for name, hits in findings.uses.items() if hits]
    if findings.others:
        lines = [cite(hit) for _, hit in findings.others[:MAX_OTHERS]]
        parts.append("\n".join(["Less likely, but they mention it:", *lines]))
    if findings.missing:
        parts.append(f"Nothing in the workspace mentions {listed(findings.missing)}.")
    return "\n\n".join([*parts, HOW])


def _opening(findings: Findings) -> str:
    first, *others = findings.sources
    if _covered(findings) < SURE:
        return f"I found no place that has all of it. The nearest is {_where(first)}."
    asked_with = next((source for source in others if source.ranked.part), None)
    rest = [source.path for source in others if source is not asked_with]
    said = [f"Look at {_where(first)}", *([f"and at {_where(asked_with)}"] if asked_with else [])]
    return f"{', '.join(said)}.{f' Next to it: {listed(rest)}.' if rest else ''}"


def _where(source: Source) -> str:
    names = [f"`{name}`" for place in source.ranked.places if (name := source.name_at(place.best))]
    return f"{source.path}, in {listed(list(dict.fromkeys(names))[:3])}" if names else source.path


def main_names(source: Source) -> list[str]:
    """The definitions of a file that matter most, as bare names that can be searched for."""
    found = [name for place in source.ranked.places[:2] if (name := source.name_at(place.best))]
    bare = [name.removesuffix(".__init__").rsplit(".", 1)[-1] for name in found]
    return [name for name in dict.fromkeys(bare) if len(name) > 3 and not name.startswith("__")]


def _covered(findings: Findings) -> float:
    """How much of the question the best file speaks of, by weight."""
    lens = findings.lens
    total = sum(term.weight for term in findings.question.terms)
    said = {index for text in findings.sources[0].lines.values() for index in lens.terms_in(text)}
    return sum(findings.question.terms[index].weight for index in said) / total if total else 0.0


def _source(source: Source, findings: Findings) -> str:
    lines = _quotes(source, findings.lens)
    constants = [line for line in _constants(source, findings) if line.number not in {each.number for each in lines}]
    parts = [f"{source.path}", *(cite(Hit(source.path, line.number, line.text)) for line in lines)]
    if constants:
        parts += [
            "Limits and constants there:",
            *(cite(Hit(source.path, line.number, line.text)) for line in constants),
        ]
    return "\n".join(parts)


def _quotes(source: Source, lens: Lens) -> list[Line]:
    """The lines worth quoting: for each place its definition, its best line, and what else says much there."""
    chosen: dict[int, str] = {}
    for place in source.ranked.places:
        if (scope := source.scope(place.best)) is not None:
            chosen[scope.number] = scope.text
            chosen.update(_docstring(source, scope.number))
        for number in _best_lines(source, place, lens):
            chosen[number] = source.lines[number]
    return [Line(number, chosen[number]) for number in sorted(list(chosen)[:MAX_QUOTES])]


def _docstring(source: Source, number: int) -> dict[int, str]:
    """The line that says what a definition is for, if it stands right below it."""
    below = source.lines.get(number + 1, "").strip()
    return {number + 1: source.lines[number + 1]} if below.startswith(('"""', 'r"""', "'''")) and len(below) > 6 else {}


def _best_lines(source: Source, place: Place, lens: Lens) -> list[int]:
    numbers = [number for number in range(place.first, place.last + 1) if source.lines.get(number, "").strip()]
    scored = sorted(numbers, key=lambda n: (n != place.best, -lens.line_score(source.lines[n], source.path), n))
    return [number for number in scored[:2] if lens.line_score(source.lines[number], source.path) > 0]


_LIMITING = re.compile(r"MAX|MIN|LIMIT|SIZE|BYTES|CHARS|LINES|SECONDS|TIMEOUT|DEFAULT|COUNT|DEPTH|RETR|CAP")
_ASKS_LIMITS = re.compile(
    r"\blimits?\b|\bmax|\bmin|\bbound|\bhow (?:many|much|long|large|big|often|deep)\b|\bconstants?\b|\bdefaults?\b|"
    r"\btime-?outs?\b|\bthreshold|\bsizes?\b|\bat (?:most|least)\b",
    re.IGNORECASE,
)


def asks_limits(question: Question) -> bool:
    return bool(_ASKS_LIMITS.search(question.text))


_NUMBER = re.compile(r"\s*[\w.]+\s*(?::[^=]+)?=\s*(?:0?\.\d|[1-9])")


def _constants(source: Source, findings: Findings) -> list[Line]:
    """Constants, and what is set to a number where the question's words are: the best of them, in their order."""
    if not asks_limits(findings.question):
        return []
    lens, path = findings.lens, source.path

    def worth(line: Line) -> tuple[bool, float]:
        scope = source.scope(line.number)
        about = lens.line_score(line.text, path) + (lens.line_score(scope.text, path) if scope else 0.0)
        return bool(_LIMITING.search(constant_name(line.text) or "")), about

    numbers = [Line(number, text) for number, text in source.lines.items() if _NUMBER.match(text)]
    constants = [line for line in source.constants if constant_name(line.text)]
    named = {line.number: line for line in (*constants, *numbers)}
    best = sorted(named.values(), key=lambda line: (worth(line), -line.number), reverse=True)[:MAX_CONSTANTS]
    return sorted((line for line in best if any(worth(line))), key=lambda line: line.number)


def _excerpt(source: Source) -> str:
    """The code of the best place that is inside a definition, numbered as Read numbers it."""
    bests = [place.best for place in source.ranked.places]
    best = next((number for number in bests if source.scope(number)), bests[0])
    scope = source.scope(best)
    start = scope.number if scope and best - scope.number < EXCERPT_LINES - 3 else best - 2
    numbers = list(_run_of(source, max(start, min(n for n in range(start, best + 1) if n in source.lines)), best))
    if len(numbers) < 2:
        return ""
    width = len(str(numbers[-1]))
    lines = [f"{number:>{width}}\t{source.lines[number][:QUOTE_CHARS]}" for number in numbers]
    return f"{source.path}:{numbers[0]}-{numbers[-1]}\n{fenced(lines)}"


def _run_of(source: Source, start: int, best: int) -> list[int]:
    """The known lines from *start* on, up to where something else begins."""
    numbers: list[int] = []
    for number in range(start, start + EXCERPT_LINES):
        if number not in source.lines or (number > best and _begins_anew(source, number, start)):
            break
        numbers.append(number)
    while numbers and re.fullmatch(r"\s*(?:@.*|[#/*]*)", source.lines[numbers[-1]]):
        numbers.pop()
    return numbers


def _begins_anew(source: Source, number: int, start: int) -> bool:
    """Whether a line begins a definition that is no part of what begins at *start*."""
    text, first = source.lines[number], source.lines[start]
    return is_scope(text, source.path) and len(text) - len(text.lstrip()) <= len(first) - len(first.lstrip())


def _uses(name: str, hits: Sequence[Hit]) -> str:
    return "\n".join([f"`{name}` is used in:", *(cite(hit) for hit in hits)])


def pick_uses(name: str, hits: Iterable[Hit], most: int = 4) -> list[Hit]:
    """A few places that use a name: source before tests, one a file, and no import where there is more."""
    word = re.compile(rf"\b{re.escape(name)}\b")
    uses = [hit for hit in hits if word.search(hit.text) and defined_name(hit.text, hit.path) != name]
    best: dict[str, Hit] = {}
    for hit in sorted(uses, key=lambda hit: is_import(hit.text)):
        best.setdefault(hit.path, hit)
    return sorted(best.values(), key=lambda hit: kind_of(hit.path) != "source")[:most]
