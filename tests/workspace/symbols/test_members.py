"""Java and C#, whatever the text: nothing is raised, lines are in order, and twice the text takes twice the time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.workspace.symbols import csharp, java
from agentd.workspace.symbols.model import SIGNATURE_CHARS, Scan

HERE = Path(__file__).parent
SAMPLES = [path.read_text() for suffix in ("java", "cs") for path in sorted(HERE.rglob(f"*.{suffix}"))]
FRAGMENTS = """
    { } ( ) [ ] < > ; , . = => -> :: : ? * & @ ~ # $ \\ ' " \""" $" $@" @" $$\""" /* */ // 1 a b T foo(
    public private static class interface enum record struct @interface namespace package import using global delegate
    operator this event implicit where new throws default int void get; set; #if #else #elif #endif non - sealed
"""

either = pytest.mark.parametrize("scan", [java.scan, csharp.scan], ids=["java", "csharp"])


def check(scan: Scan, text: str) -> None:
    lines = text.count("\n") + 1
    found = scan(text, "a/b.x")
    assert [each.line for each in found] == sorted(each.line for each in found)
    for each in found:
        assert 1 <= each.first <= each.line <= each.last <= lines
        assert each.name
        assert len(each.signature) <= SIGNATURE_CHARS


@either
@given(text=st.text())
def test_any_text_is_read(scan: Scan, text: str) -> None:
    check(scan, text)


@either
@given(words=st.lists(st.sampled_from([*FRAGMENTS.split(), "\n"])))
def test_any_words_of_the_language_are_read(scan: Scan, words: list[str]) -> None:
    check(scan, " ".join(words))
    check(scan, "".join(words))


@either
@given(sample=st.sampled_from(SAMPLES), data=st.data())
def test_a_sample_is_read_wherever_it_is_cut(scan: Scan, sample: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(sample)))
    check(scan, sample[start : data.draw(st.integers(start, len(sample)))])


@either
@given(sample=st.sampled_from(SAMPLES), data=st.data())
def test_a_sample_is_read_without_some_of_its_marks(scan: Scan, sample: str, data: st.DataObject) -> None:
    marks = [at for at, char in enumerate(sample) if char in "{}()[]<>\"';,=$@\n"]
    lost = data.draw(st.sets(st.sampled_from(marks or [0]), max_size=20))
    check(scan, "".join(char for at, char in enumerate(sample) if at not in lost))


@either
def test_parameters_that_are_never_closed_are_no_components(scan: Scan) -> None:
    assert [each.name for each in scan("record A(int b, int c\nclass B { int d; }\nclass C { int d; }", "a.x")][:2] == [
        "A",
        "d",
    ]


HOSTILE = [
    *("{", "}", "(", "[", "<", "'", '"', '"""', "/*", "*/", "@", "$", "#if\n", "#if\n{\n#else\n}\n", "\\"),
    *(
        '$"{',
        '$@"{',
        '$$"""{{',
        '$"{\n',
        "([{",
        "({)",
        "a<",
        "a<b,",
        "a<b>",
        "@a(",
        "a.",
        "a,",
        "public ",
        "[a]",
        "new ",
    ),
    *("class a{", "namespace a{", "namespace a;", "package a;", "enum a{b", "record a(int b,", "int a,", "int a=b<c,"),
    *("int a(", "int a(){", "int a=>", "int this[", "operator ", "delegate ", "/**/\n", "//\n", "using a=", "a=b<c>"),
]


def seconds(scan: Scan, text: str) -> float:
    begin = time.process_time()
    scan(text, "a.x")
    return time.process_time() - begin


@either
@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("before", ["", "class A { int x = "])
def test_twice_the_text_takes_about_twice_the_time(scan: Scan, piece: str, before: str) -> None:
    once, twice = (before + piece * (size // len(piece)) for size in (10_000, 20_000))
    assert any(seconds(scan, twice) < 3 * seconds(scan, once) for _ in range(5))  # four times, were it quadratic


@either
@pytest.mark.parametrize("piece", ["{", '"', "<", "/*"])
def test_a_megabyte_of_it_is_read(scan: Scan, piece: str) -> None:
    check(scan, piece * (1_000_000 // len(piece)))


@either
def test_types_within_types_are_told_down_to_a_depth(scan: Scan) -> None:
    assert 100 <= len(scan("class a {" * 100_000, "a.x")) <= 200
