"""Globs, as tools take them. As git takes them they are in test_ignore.py."""

from __future__ import annotations

import pytest

from agentd.workspace.globs import MAX_ALTERNATIVES, compile_filter, compile_glob, expand_braces


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("*.py", "a.py", True),
        ("*.py", "a/b.py", False),
        ("**/*.py", "b.py", True),
        ("**/*.py", "a/b/c.py", True),
        ("src/**", "src/a/b", True),
        ("src/**", "src", False),
        ("src/**/test_*.py", "src/test_a.py", True),
        ("*.{js,ts}", "a.ts", True),
        ("*.{js,ts}", "a.tsx", False),
        ("{src,test}/**/*.{c,h}", "test/a/b.h", True),
        ("a?c", "aéc", True),
        ("a?c", "a/c", False),
        ("[a-c].py", "b.py", True),
        ("[!a-c].py", "b.py", False),
        (r"\*.py", "*.py", True),
        (r"\*.py", "a.py", False),
        ("{x}.py", "{x}.py", True),
        ("a{,.bak}", "a", True),
        ("[é-ü]", "ö", True),
        ("a\nb*", "a\nbc", True),
    ],
)
def test_a_glob_matches_paths(glob: str, path: str, matches: bool) -> None:
    assert bool(compile_glob(glob).fullmatch(path)) is matches


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("*.py", "a/b.py", True),
        ("src/*.py", "src/b.py", True),
        ("src/*.py", "a/src/b.py", False),
        ("/src/*.py", "src/b.py", True),
        ("*.ts,*.tsx", "a/b.tsx", True),
        ("*.{ts,tsx}", "a/b.tsx", True),
        ("docs/", "a/docs/x.md", True),
        ("docs/", "docs", False),
        ("Makefile", "a/Makefile", True),
    ],
)
def test_a_filter_without_a_slash_is_about_names(glob: str, path: str, matches: bool) -> None:
    assert bool(compile_filter(glob).fullmatch(path)) is matches


@pytest.mark.parametrize(
    ("glob", "expanded"),
    [
        ("a", ["a"]),
        ("{a,b}", ["a", "b"]),
        ("x{a,b{c,d}}y", ["xay", "xbcy", "xbdy"]),
        ("{a,b}{1,2}", ["a1", "a2", "b1", "b2"]),
        ("{a", ["{a"]),
        ("a}", ["a}"]),
        ("{a,b", ["{a,b"]),
        (r"\{a,b}", [r"\{a,b}"]),
        ("{}", ["{}"]),
    ],
)
def test_braces_are_expanded(glob: str, expanded: list[str]) -> None:
    assert expand_braces(glob) == expanded


def test_braces_do_not_expand_without_end() -> None:
    assert len(expand_braces("{a,b}" * 40)) <= MAX_ALTERNATIVES + 1
