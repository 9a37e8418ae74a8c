"""What a search finds in one file, against the plainest way to say it; and what ripgrep may be trusted with."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from agentd.workspace import scan as scan_module
from agentd.workspace.pattern import BadPattern, Pattern
from agentd.workspace.scan import Found, Line, Scan
from agentd.workspace.sieve import sieve

Require = Callable[[str], str]

PARTS = (
    *("a", "b", "foo", "bar", "A", "_", "1", " ", "=", r"\.", r"\w", r"\W", r"\s", r"\S", r"\d", r"\D", r"\b", r"\B"),
    *("^", "$", ".", "|", r"\A", r"\Z", "[ab]", "[^a]", "[^ab]", r"[^\s]", r"[\s=]", "[a-f]", r"[^\w]", "[[:digit:]]"),
    *("(a|b)", "(foo|bar)", "(?:ab)+", "a*", "a+", "a+?", "a{2,3}", ".*", ".+", r"\s*", r"\s+", "[^b]*", r"\w+", "b?"),
    *("(?=a)", "(?!b)", "(?<=a)", "(?<!a)", "(?>a+)", "a++", r"(a)\1", "(?i:b)", "é", "[é-ü]", "[^é]", "é?", "ü"),
    *("[ab]{2}", r"\d{2}", r"[a-f]{2,}", r"\s{2}", "(f)oo", "x{0}", "[?=]", r"\S{3}", "[a-fA]{1,2}"),
    *(r"\r", r"[\r ]", r"\n", r"[^\n]", "\ufeff", r"\udcff", "k", "s", "K", "|", "|foo"),
)
CHUNKS = (
    *("a", "b", "foo", "bar", "ab", "aa", "A", "FOO", "_", "1", "=", " ", "\t", ".", "\r", "\x1c", "k", "s", "S"),
    *("\n", "\n", "\n", "\r\n", "\r\n", "\n\n", "é", "ü", "É", "\u212a", "\u017f", "\udcff", "\ufeff"),
)
patterns = st.lists(st.sampled_from(PARTS), min_size=1, max_size=5).map("".join)
texts = st.lists(st.sampled_from(CHUNKS), max_size=25).map("".join)


def compiled(source: str, *, ignore_case: bool = False, multiline: bool = False) -> Pattern:
    try:
        return Pattern(source, ignore_case=ignore_case, multiline=multiline)
    except BadPattern:
        assume(False)
        raise


def plain_lines(text: str, pattern: Pattern) -> list[str]:
    text = text.removeprefix("\ufeff")
    if not pattern.keeps_cr:
        text = text.replace("\r\n", "\n")
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def plain_answer(text: str, pattern: Pattern) -> list[int]:
    """Numbers of the lines that match."""
    lines = plain_lines(text, pattern)
    if not pattern.multiline:
        return [number for number, line in enumerate(lines, 1) if pattern.regex.search(line)]
    whole = text.removeprefix("\ufeff")
    whole = whole if pattern.keeps_cr else whole.replace("\r\n", "\n")
    touched = set()
    for found in pattern.regex.finditer(whole):
        last = max(found.start(), found.end() - 1)
        touched |= set(range(whole.count("\n", 0, found.start()) + 1, whole.count("\n", 0, last) + 2))
    return sorted(number for number in touched if number <= len(lines))


def write(path: Path, text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    path.write_bytes(data)
    return os.fsencode(path)


def look(
    path: bytes, pattern: Pattern, mode: str = "content", keep: int = 1000, before: int = 0, after: int = 0
) -> Found:
    return Scan(pattern, mode, before, after).file(b"/", path.removeprefix(b"/"), keep, lambda: None) or (0, [])


def numbers(lines: list[Line]) -> list[int]:
    return [number for number, matched, _ in lines if matched]


patiently = settings(  # the machine may be busy; many a generated pattern is none; one directory does for all examples
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)


@patiently
@given(source=patterns, text=texts, ignore_case=st.booleans(), multiline=st.booleans())
def test_a_scan_finds_the_lines_that_match_on_their_own(
    tmp_path: Path, source: str, text: str, ignore_case: bool, multiline: bool
) -> None:
    pattern = compiled(source, ignore_case=ignore_case, multiline=multiline)
    path = write(tmp_path / "file", text)
    expected = plain_answer(text, pattern)
    count, lines = look(path, pattern)
    assert numbers(lines) == expected
    assert count == len(expected)
    assert look(path, pattern, "count")[0] == len(expected)
    assert look(path, pattern, "files_with_matches")[0] == bool(expected)


@patiently
@given(source=patterns, text=texts, before=st.integers(0, 3), after=st.integers(0, 3), keep=st.integers(0, 8))
def test_blocks_make_no_difference(tmp_path: Path, source: str, text: str, before: int, after: int, keep: int) -> None:
    pattern = compiled(source)
    path = write(tmp_path / "file", text)
    whole = look(path, pattern, keep=keep, before=before, after=after)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan_module, "_FIRST_BYTES", 8)
        patch.setattr(scan_module, "_BLOCK_BYTES", 5)
        assume(not text.startswith("\ufeff"))  # a mark and what follows have to be in the first block
        assert look(path, pattern, keep=keep, before=before, after=after) == whole


@patiently
@given(text=texts, before=st.integers(0, 3), after=st.integers(0, 3))
def test_context_is_the_lines_around_each_once_and_in_order(tmp_path: Path, text: str, before: int, after: int) -> None:
    pattern = Pattern("foo")
    lines = plain_lines(text, pattern)
    expected = plain_answer(text, pattern)
    around = {near for n in expected for near in range(n - before, n + after + 1) if 1 <= near <= len(lines)}
    _, found = look(write(tmp_path / "file", text), pattern, before=before, after=after)
    assert [number for number, _, _ in found] == sorted(around)
    assert numbers(found) == expected


@patiently
@given(
    source=patterns, texts=st.lists(texts, min_size=1, max_size=6), ignore_case=st.booleans(), multiline=st.booleans()
)
def test_ripgrep_never_sorts_out_a_file_that_matches(
    tmp_path: Path, require: Require, source: str, texts: list[str], ignore_case: bool, multiline: bool
) -> None:
    rg = require("rg")
    pattern = compiled(source, ignore_case=ignore_case, multiline=multiline)
    wider = sieve(pattern)
    assume(wider is not None)
    for index, text in enumerate(texts):
        write(tmp_path / str(index), text)
    names = [str(index) for index in range(len(texts))]
    options = ["--no-config", "--text", "--files-with-matches", *(["--multiline"] if multiline else [])]
    done = subprocess.run(
        [rg, *options, "--regexp", wider or "", *names], cwd=tmp_path, capture_output=True, check=False
    )
    assert not done.stderr
    matching = {name for name in names if look(os.fsencode(tmp_path / name), pattern)[0]}
    assert matching <= set(done.stdout.decode().split())


@patiently
@given(source=patterns, text=texts, ignore_case=st.booleans())
def test_every_match_holds_what_is_said_to_be_needed(source: str, text: str, ignore_case: bool) -> None:
    pattern = compiled(source, ignore_case=ignore_case)
    assume(pattern.literals or pattern.run)
    for line in plain_lines(text, pattern):
        found = pattern.regex.search(line)
        if found:
            matched = found[0].encode("utf-8", "surrogateescape")
            folded = matched.lower() if pattern.folded else matched
            assert not pattern.literals or any(one in folded for one in pattern.literals)
            assert not pattern.run or pattern.run.needle in matched.translate(pattern.run.table)


@pytest.mark.parametrize(
    ("source", "literals"),
    [
        (r"def \w+_handler\(", {b"_handler("}),
        ("TODO|FIXME", {b"TODO", b"FIXME"}),
        ("(get|set)_(value)", {b"value"}),
        ("colou?r", {b"colo"}),
        (r"\w+", set()),
        ("a|", set()),
        ("(?:foo)+", {b"foo"}),
        ("(?:foo)*", set()),
        ("größe", {"größe".encode()}),
    ],
)
def test_the_longest_literal_that_a_match_needs_is_known(source: str, literals: set[bytes]) -> None:
    assert Pattern(source).literals == literals


@pytest.mark.parametrize(
    ("source", "held", "not_held"),
    [
        ("[A-Z]{5}[0-9]{3}", "x ABCDE123", "ABCD123 abcde123"),
        (r"\w+\s+\w+\d{4}", "a1234", "a 123 b"),
        (r"(\d{4})-(\d{2})-\d+", "2024-01-1", "2024-1-01"),
        (r"\w+\(\)", "f()", "f( )"),
        ("x=[0-9]+", "x=1", "x=a"),
    ],
)
def test_the_run_that_a_match_needs_is_known(source: str, held: str, not_held: str) -> None:
    run = Pattern(source).run
    assert run
    assert run.needle in held.encode().translate(run.table)
    assert run.needle not in not_held.encode().translate(run.table)


@pytest.mark.parametrize("source", [r"\w*", ".+", "[^a]", "ab|[0-9]", "(?i:ab)", "é", r"(?:\d\d|x)"])
def test_of_some_patterns_no_run_is_known(source: str) -> None:
    assert Pattern(source).run is None


@pytest.mark.parametrize(
    ("source", "quick"),
    [
        ("foo", True),
        ("TODO|FIXME", True),
        (r"\bfoo[a-z]\b", True),
        ("x{1,20}y", True),
        ("(a+)+$", False),
        ("(a|a){30}", False),
        ("(x{1,30}){1,30}", False),
        ("(((x{1,60}){1,60}){1,60}){1,60}", False),
        (r"foo.*bar", False),
        (r"(\w)\1", False),
    ],
)
def test_only_what_no_text_makes_slow_is_called_quick(source: str, quick: bool) -> None:
    assert Pattern(source).quick is quick


@pytest.mark.parametrize(
    ("source", "line", "matches"),
    [
        ("café", "un café", True),
        ("caf.$", "un café", True),
        ("[é]+$", "caféé", True),
        (r"caf\w\b", "café", False),  # in ASCII, é is no letter
        (r"é\w", "éü", True),  # but it is where the pattern is not ASCII
        ("[[:alpha:]]{3}[[:digit:]]", "abc1", True),
        ("^foo$", "foo\r", True),
        ("\\r", "foo\r", True),
        ("foo{", "foo{bar", True),
        ("interface{}", "interface{}", True),
        (r"\x80", "\x80", True),
    ],
)
def test_a_pattern_is_read_this_way(tmp_path: Path, source: str, line: str, matches: bool) -> None:
    path = write(tmp_path / "file", f"{line}\n")
    assert bool(look(path, Pattern(source))[0]) is matches


@pytest.mark.parametrize(
    "source", ["(", "[", "*", r"\p{L}", "(?P<x>", "a\\", "(?<=a+)b", "x{99999999999}", "x" * 20_000, "(" * 9000]
)
def test_what_is_no_regular_expression_is_a_bad_pattern(source: str) -> None:
    with pytest.raises(BadPattern):
        Pattern(source)


def test_a_line_end_in_a_pattern_asks_for_multiline() -> None:
    with pytest.raises(BadPattern, match="multiline"):
        Pattern(r"foo\nbar")
    assert Pattern(r"foo\nbar", multiline=True)


def test_utf_16_is_read_as_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes("eins\nzwei größe\n".encode("utf-16"))
    assert look(os.fsencode(path), Pattern("größe")) == (1, [(2, True, "zwei größe")])


def test_binary_files_hold_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"foo\0bar")
    assert look(os.fsencode(path), Pattern("foo")) == (0, [])


def test_what_is_no_readable_file_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    os.mkfifo(tmp_path / "pipe")
    for name in (".", "missing", "link", "pipe"):
        assert look(os.fsencode(tmp_path / name), Pattern("foo")) == (0, [])


def test_a_file_that_came_to_be_elsewhere_holds_nothing(tmp_path: Path) -> None:
    for name in ("inside", "outside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("foo\n")
    (tmp_path / "inside/swapped").symlink_to("../outside")
    scan, top = Scan(Pattern("foo"), "count"), os.fsencode(tmp_path / "inside") + b"/"
    assert scan.file(top, b"file", 0, lambda: None) == (1, [])
    assert scan.file(top, b"swapped/file", 0, lambda: None) is None


def test_of_a_long_line_the_part_around_the_match_is_shown(tmp_path: Path) -> None:
    path = write(tmp_path / "file", "x" * 5000 + "needle" + "y" * 5000)
    ((_, _, shown),) = look(path, Pattern("needle"))[1]
    assert "xneedley" in shown
    assert re.fullmatch("….*…", shown)
    assert len(shown) == scan_module.SHOWN_CHARACTERS + 2


def test_a_large_file_is_numbered_right(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(1, 400_001)]
    path = write(tmp_path / "file", "\n".join(lines))
    count, found = look(path, Pattern("line [0-9]*99999$"))
    assert count == 4
    assert [(number, text) for number, _, text in found] == [
        (number, f"line {number}") for number in (99_999, 199_999, 299_999, 399_999)
    ]
