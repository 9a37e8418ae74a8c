"""Names of definitions that match a pattern, the likeliest first. Standard library only.

Python's `re` may try for ever: this runs in a process that can be ended (worker.py)."""

from __future__ import annotations

import heapq
import re
import warnings
from collections.abc import Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Names = tuple[str, str, str, str, str]  # path, and the first four of Packed

EXACT, PREFIX, WORD, INSIDE, QUALIFIED = range(5)

_TEST = re.compile(
    r"(^|/)(tests?|testing|testdata|specs?|__tests__|mocks?)/|(^|/)(test_|conftest)[^/]*$|[._-](test|tests|spec)\.\w+$"
    r"|[a-z0-9](Test|Tests|IT|Spec)\.\w+$",
)


def is_test(path: str) -> bool:
    return _TEST.search(path) is not None


def match(source: str, letters: str, limit: int, files: Sequence[Names]) -> tuple[int, list[tuple[int, int]]]:
    """How many match, and the best of them as (place in *files*, place in that file). *letters*: of the kinds that are
    wanted; "": all. Case counts if there is a capital in the pattern. What is no regular expression is meant literally.
    """
    regex = compile_pattern(source)
    dotted = compile_pattern(re.sub("::|#", ".", source)) if re.search(r"[.:#]", source) else None
    count = 0

    def ranked() -> Iterator[tuple[int, bool, int, str, int, int]]:
        nonlocal count
        for at, (path, names, kinds, scopes, scope_of) in enumerate(files):
            scope_names = scopes.split("\n") if dotted else []
            for place, name in enumerate(names.split("\n") if kinds else ()):
                if letters and kinds[place] not in letters:
                    continue
                found = regex.search(name)
                if found:
                    rank = _rank(name, found.start(), found.end())
                elif dotted and (found := dotted.search(f"{scope_names[ord(scope_of[place])]}.{name}")):
                    rank = EXACT if _is_suffix(found) else QUALIFIED
                else:
                    continue
                count += 1
                yield rank, is_test(path), len(name), path, place, at

    best = heapq.nsmallest(limit, ranked())
    return count, [(at, place) for *_, place, at in best]


def compile_pattern(source: str) -> re.Pattern[str]:
    """Case counts if there is a capital in it."""
    flags = 0 if re.search("[A-Z]", re.sub(r"\\.", "", source)) else re.IGNORECASE
    try:
        with warnings.catch_warnings():  # Python warns of what may mean something else one day, like `[[`
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile(source, flags)
    except (re.error, RecursionError, OverflowError):
        return re.compile(re.escape(source), flags)


def _rank(name: str, start: int, end: int) -> int:
    if start == 0:
        return EXACT if end == len(name) else PREFIX
    before, first = name[start - 1], name[start] if start < len(name) else ""
    return WORD if before in "_$~#" or (first.isupper() and not before.isupper()) else INSIDE


def _is_suffix(found: re.Match[str]) -> bool:
    """Whether a dotted name ends with what was found, whole components of it."""
    text = found.string
    return found.end() == len(text) and (found.start() == 0 or "." in text[found.start() - 1 : found.start() + 1])
