"""What patterns mean is in jsonschema_cases/pattern.json; here is what is refused, and that nothing takes long."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.wire.jsonschema.automaton import MAX_WORK, Pattern, TooMuch, Work
from agentd.wire.jsonschema.regex import PatternError


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(", "missing )"),
        ("a)", "unmatched )"),
        ("[a", "unexpected end"),
        ("[b-a]", "range out of order"),
        (r"[\d-z]", "a class cannot be the end of a range"),
        ("*a", "nothing to repeat"),
        ("a**", "nothing to repeat"),
        ("^*", "nothing to repeat"),
        ("(?<=a)+", "nothing to repeat"),
        ("a{2,1}", "numbers out of order"),
        ("a{1,10000000}", "too large a number"),
        ("((a{1000}){1000}){1000}", "too large"),
        ("a{999999}", "too large"),
        (r"(a)\1", "a reference back to a group"),
        (r"(?<x>a)\k<x>", "a reference back to a group"),
        (r"\p{Script=Greek}", "the Unicode property Script=Greek"),
        (r"\p{L", "expected {"),
        (r"\pL", "expected {"),
        (r"\u{110000}", "not a code point"),
        (r"\u{}", "not a hexadecimal number"),
        (r"\x4", "not a hexadecimal number"),
        (r"\u12G4", "not a hexadecimal number"),
        (r"\c1", r"unknown escape \c"),
        (r"\a", r"unknown escape \a"),
        (r"\Z", r"unknown escape \Z"),
        (r"\01", r"unknown escape \0"),
        ("(?i)a", "a group of an unknown kind"),
        ("(?P<name>a)", "a group of an unknown kind"),
        ("(?<1>a)", "not a group's name"),
        ("\\", "unexpected end"),
        ("(" * 51 + ")" * 51, "more than 50 deep"),
        ("a" * 10_001, "at most 10000 characters"),
    ],
)
def test_what_is_no_pattern_or_no_regular_one_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(PatternError) as refused:
        Pattern(pattern)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^(a+)+$", "a" * 20_000 + "!"),
        ("^(a|aa)+$", "a" * 20_000 + "!"),
        ("(x+x+)+y", "x" * 20_000),
        (r"^(\w+\s?)*$", "word " * 4_000 + "!"),
        ("(.*)(.*)(.*)(.*)(.*)=$", "=" * 5_000 + "x"),
        ("^((a?){30}a{30})$", "a" * 29),
        ("(?=(a+)+$)b", "a" * 20_000),
        ("(?<=^(a+)+)c", "a" * 20_000),
        ("(()*)*x", "a" * 20_000),
    ],
)
def test_patterns_that_choke_a_backtracking_matcher_take_a_step_a_character(pattern: str, text: str) -> None:
    assert not Pattern(pattern).found_in(text, Work())


def test_a_text_that_would_take_too_long_is_given_up() -> None:
    pattern = Pattern(r"^(?:.{0,1000}[^\n]){3}[a-y\u0100-\uffff]{0,900}$")
    text = "".join(chr(0x4E00 + n % 20_000) for n in range(MAX_WORK // 1_000))
    with pytest.raises(TooMuch):
        pattern.found_in(text, Work())
    assert pattern.found_in("short", Work())


PIECES = st.sampled_from(["a", "b", "ab", ".", "[ab]", "[^a]", "^", "$", r"\b", r"\B", r"\w", r"\W", ""])
MARKS = st.sampled_from(["", "*", "+", "?", "{2}", "{0,2}", "{1,}", "*?", "+?"])


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    grouped = st.builds("(?:{}){}".format, inner, MARKS)
    looking = st.builds("(?{}{})".format, st.sampled_from(["=", "!"]), inner)
    return st.one_of(
        st.lists(st.one_of(inner, grouped, looking), max_size=3).map("".join), st.builds("{}|{}".format, inner, inner)
    )


@settings(max_examples=400, deadline=None)
@given(
    pattern=st.recursive(PIECES.flatmap(lambda piece: _marked(piece)), _grow, max_leaves=6),
    text=st.text(alphabet="ab -", min_size=1, max_size=7),  # of no character, Python says that it has no \\B
)
def test_it_finds_what_a_backtracking_matcher_finds(pattern: str, text: str) -> None:
    # On short texts without line ends, where both mean the same.
    assert Pattern(pattern).found_in(text, Work()) == bool(re.search(pattern, text, re.ASCII))


def _marked(piece: str) -> st.SearchStrategy[str]:
    can_repeat = piece not in ("^", "$", r"\b", r"\B", "")
    return MARKS.map(lambda mark: piece if not can_repeat else f"{'(?:ab)' if piece == 'ab' else piece}{mark}")


@settings(max_examples=300, deadline=None)
@given(pattern=st.text(alphabet="ab()[]{}^$|?*+\\.-,=!<>:pux019dwsbkc", max_size=14), text=st.text(max_size=5))
def test_any_text_is_a_pattern_or_is_refused_in_words(pattern: str, text: str) -> None:
    try:
        found = Pattern(pattern).found_in(text, Work())
    except PatternError as exc:
        refusal = str(exc)
    else:
        refusal = "none" if found in (True, False) else ""
    assert refusal
