"""Front matter is read as PyYAML reads it, or refused with a remedy; and in time that grows with its size only."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agentd.workspace.extensions.yamlsubset import DEEPEST, LONGEST_KEY, MOST_LINES, NotUnderstood, read_yaml

CORPUS = Path(__file__).with_name("front_matter_corpus.txt")

# What YAML is made of, to be strung together: most of what comes out is nonsense, and some is not.
PIECES = [
    *("a", "b", "c", "d", "key", "name", "é", "1", "0", "-1", "0x1f", "010", "0b1", "1_0", "1.5", ".5", "1e3", ".inf"),
    *(".nan", "yes", "no", "on", "~", "null", "true", "1:30", "2024-01-01", "---", "...", "<<", "=", "?", "&", "*"),
    *("!", "%", "@", "`", ":", ": ", "-", "- ", " ", "  ", "    ", "\n", "\n ", "\n  ", "\n    ", "\n\n", "\n\t", "\t"),
    *("'", '"', "''", "\\", "\\n", "\\x41", "\\\n", "#", " # c", "|", ">", "|-", ">+", "|2", ">1-", "|\n  ", ">\n  "),
    *("[", "]", "{", "}", ",", ", ", "k: v\n", "k: ", "\nx: ", "\n- "),
]


def corpus() -> list[Any]:
    """(text, what a refusal has to say or None), named."""
    found = []
    for block in CORPUS.read_bytes().decode().split("### ")[1:]:
        head, _, text = block.partition("\n")
        name, _, refusal = head.partition(", refused: ")
        found.append(pytest.param(text, refusal or None, id=name))
    return found


def same(one: Any, other: Any) -> bool:
    """Equal, and of one type, in one order; no number is as good as another."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one), list(other)) and same(list(one.values()), list(other.values()))
    return bool(one == other or (one != one and other != other))


def read(text: str) -> Any:
    """Raises NotUnderstood."""
    value, problems = read_yaml(text)
    assert problems == []
    return value


# --- As PyYAML, or not at all -------------------------------------------------------------------------------------


def test_the_corpus_is_large() -> None:
    assert len(corpus()) > 100


@pytest.mark.parametrize(("text", "refusal"), corpus())
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_front_matter_as_people_write_it(text: str, refusal: str | None, line_end: str) -> None:
    text = text.replace("\n", line_end)
    if refusal is None:
        assert same(read(text), yaml.safe_load(text))
    else:
        with pytest.raises(NotUnderstood) as caught:
            read(text)
        assert refusal in str(caught.value)
        assert caught.value.remedy


@pytest.mark.parametrize(("text", "refusal"), corpus())
def test_what_is_cut_off_anywhere_is_as_pyyaml_reads_it_or_refused(text: str, refusal: str | None) -> None:
    for end in range(len(text)):
        agrees_or_refuses(text[:end])


def agrees_or_refuses(text: str) -> None:
    try:
        value = read(text)
    except NotUnderstood:
        return
    assert same(value, yaml.safe_load(text))


@given(st.lists(st.sampled_from(PIECES), max_size=16).map("".join))
@settings(max_examples=1500, deadline=None)
@example("a: >\n  \n x")
@example("- |2\n  a\n b")
@example("a: 'b \n c'")
@example('"a\\ \n b"')
def test_nonsense_is_as_pyyaml_reads_it_or_refused(text: str) -> None:
    agrees_or_refuses(text)


@given(st.text(st.sampled_from("ab:-#'\"\\|>[]{},&*!?%@` \n\t0.~"), max_size=24))
@settings(max_examples=1500, deadline=None)
def test_characters_at_random_are_as_pyyaml_reads_them_or_refused(text: str) -> None:
    agrees_or_refuses(text)


scalars = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.text("ab :#-'\"\n\\,[]{}|>&*!%@`?\t", max_size=30),
    st.sampled_from(["yes", "1", "~", "null", "1.5", "2024-01-01", "", " ", "<<", "=", "---", "a: b", "- a", "#", "é"]),
    st.booleans(),
    st.none(),
    st.integers(),
    st.floats(),
    st.dates(),
)
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(keys, values, max_size=5),
    st.sampled_from([None, True, False]),
    st.sampled_from([None, None, "'", '"', "|", ">"]),
    st.integers(2, 6),
    st.sampled_from([20, 80, 10_000]),
    st.booleans(),
)
@settings(max_examples=700, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_pyyaml_writes_is_read_back(
    value: dict[str, Any], flow: bool | None, style: str | None, indent: int, width: int, unicode: bool
) -> None:
    text = yaml.safe_dump(
        value, default_flow_style=flow, default_style=style, indent=indent, width=width, allow_unicode=unicode
    )
    agrees_or_refuses(text)
    # Tags, `? ` keys, aliases and ends of documents are what we do not have; safe_dump writes those for some values.
    if not any(sign in text for sign in ("!!", "? ", "&id", "\n...", "\ufeff", "\x85", "\u2028", "\u2029")):
        assert same(read(text), yaml.safe_load(text))


# --- What is refused says where and what to do --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: *c\n", "line 2: an alias (*) is not supported; if it is text, put it in quotes"),
        ("a: |\n  x\n\nb: c: d", "line 4: there is `: ` in a text without quotes; put the text in quotes"),
        ("a:\n\tb: 1", "line 2: there is a tab where only spaces may be; put spaces in its place"),
        ("a: 1\r\na: 2", "line 2: the key 'a' is there twice; remove one of them"),
        ("\x07", "line 1: there is a character that cannot be printed; remove it"),
    ],
)
def test_a_refusal_names_the_line_the_matter_and_the_remedy(text: str, message: str) -> None:
    with pytest.raises(NotUnderstood) as caught:
        read(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text", ["[" * 5000, "- " * 5000, "{a: " * 5000, "\n".join(" " * n + "a:" for n in range(500))]
)
def test_what_is_nested_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(NotUnderstood, match=f"more than {DEEPEST} levels"):
        read(text)


def test_what_is_nested_as_deeply_as_may_be_is_read() -> None:
    text = "[" * DEEPEST + "]" * DEEPEST
    assert read(text) == yaml.safe_load(text)


def test_a_key_may_not_be_endless() -> None:
    key = "a" * (LONGEST_KEY - 1)
    assert read(f"{key}:") == {key: None}
    for text in (f"{key}aa:", f"{key} :", f"'{key}':", f"{{{key}aa: 1}}"):
        with pytest.raises(NotUnderstood, match="longer than"):
            read(text)


@pytest.mark.parametrize("number", ["1" * 301, "1" * 5000, "0x" + "f" * 400, "-" + "1_" * 400, "1:" * 300 + "1"])
def test_a_number_may_not_be_endless(number: str) -> None:
    with pytest.raises(NotUnderstood, match="looks like a number"):
        read(f"a: {number}")


@pytest.mark.parametrize(
    "piece",
    [
        "a ",
        " ",
        "\n",
        "# ",
        "'",
        '"',
        "''",
        '"\\ ',
        "\\",
        "- a\n",
        "a, ",
        ": ",
        "a:",
        "\t",
        "1_",
        "\n ",
        "\n  \n",
        "[], ",
        "''\n",
        '" "\n',
        "|\n",
        "é",
    ],
)
@pytest.mark.parametrize("before", ["", "a: ", "a: '", 'a: "', "a: |\n  ", "a: >\n ", "a: [", "a: {", "- "])
def test_time_grows_with_the_size_only(before: str, piece: str) -> None:
    def seconds(count: int) -> float:
        text = before + piece * count
        began = time.process_time()
        try:
            read_yaml(text, exact=["b", "c"])
        except NotUnderstood:
            pass
        return time.process_time() - began

    small, large = 1000, 32_000
    # A square would be a thousand times as long. The second term is for what a clock cannot tell from nothing.
    assert seconds(large) < 200 * min(seconds(small) for _ in range(3)) + 0.1


# --- Sentences that are no YAML -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("a: Use it when: x", "Use it when: x"),
        ("a: [x] [y]", "[x] [y]"),
        ("a: `code` first", "`code` first"),
        ("a: 'tis the season", "'tis the season"),
        ("a:   *bold* words  ", "*bold* words"),
        ('a: "C:\\path" here', '"C:\\path" here'),
    ],
)
@pytest.mark.parametrize("rest", ["", "\n", "\nb: 1\n"])
def test_a_sentence_on_one_line_stands_as_it_is_and_is_told(line: str, value: str, rest: str) -> None:
    found, [problem] = read_yaml(line + rest, exact=["b"])
    assert found["a"] == value
    assert found == ({"a": value, "b": 1} if "b" in rest else {"a": value})
    assert problem.line == 1
    assert problem.remedy.endswith("The a is taken as it stands")


@pytest.mark.parametrize(
    "text",
    [
        "c: x: y",
        "a: x: y\n  z",
        "a:\n  x: y: z",
        "b:\n  a: x: y",
        "a: x: y\na: z",
        "a:\n  *b",
        " a: x: y",
        "\n".join(f"a{n}: x: y" for n in range(MOST_LINES + 1)),
    ],
)
def test_anything_else_is_refused_all_the_same(text: str) -> None:
    with pytest.raises(NotUnderstood):
        read_yaml(text, exact=["b", "c"])


def test_a_sentence_that_is_yaml_is_read_as_such() -> None:
    assert read_yaml("a: >-\n  x: y\n  z\nb: 'it''s'", exact=[]) == ({"a": "x: y z", "b": "it's"}, [])
