"""Ignore rules, asked of git as well."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.workspace.ignore import IgnoreFile, is_ignored
from agentd.workspace.walk import Walk

Git = Callable[..., bytes]

NAMES = (
    b"a",
    b"b",
    b"ab",
    b"a.b",
    b"c.b",
    b"x y",
    b"a ",
    b"#a",
    b"!a",
    b"*",
    b"[a]",
    b"\\",
    b"\xc3\xa9",
    b"\xff",
    b"-",
)
DIRECTORIES = ("", "a", "b", "c.b", "a/b", "a/a", "a/b/a", "b/x y", "b/x y/a.b")
TOKENS = (
    *("a", "b", "c", "ab", ".b", "a.b", "c.b", "x y", " ", "  ", "#", "!", "/", "/", "//", ".", "-", "\r", "\t", "é"),
    *("*", "*", "**", "**/", "/**", "/**/", "***", "?", "*.b", "*.*", "[ab]", "[!a]", "[^a]", "[a-c]", "[]a]", "[!]a]"),
    *(
        "[[:alpha:]]",
        "[[:nope:]]",
        "[a",
        "[",
        "]",
        "[a-",
        "[z-a]",
        "[\\]]",
        "[/]",
        "\\",
        "\\*",
        "\\a",
        "\\ ",
        "\\#",
        "\\!",
    ),
)
lines = st.lists(st.sampled_from(TOKENS), min_size=1, max_size=5).map("".join)
contents = st.lists(lines, max_size=5).map("\n".join)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for directory in DIRECTORIES:
        (root / directory).mkdir(parents=True, exist_ok=True)
    for directory in DIRECTORIES:
        for name in NAMES:
            path = root / directory / os.fsdecode(name)
            if not path.is_dir():
                path.touch()
    return root


def expected(git: Git, root: Path) -> list[bytes]:
    return sorted(git(root, "ls-files", "--others", "--exclude-standard", "-z").split(b"\0")[:-1])


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(top=contents, nested=contents, deep=contents, exclude=contents)
def test_a_walk_finds_what_git_would_not_ignore(
    tree: Path, git: Git, top: str, nested: str, deep: str, exclude: str
) -> None:
    git(tree, "init", "-q")
    (tree / ".gitignore").write_bytes(top.encode())
    (tree / "a/.gitignore").write_bytes(nested.encode())
    (tree / "a/b/.gitignore").write_bytes(deep.encode())
    (tree / ".git/info/exclude").write_bytes(exclude.encode())
    assert sorted(Walk(tree)) == expected(git, tree)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(top=contents, nested=contents)
def test_a_walk_of_a_subdirectory_knows_the_rules_above_it(tree: Path, git: Git, top: str, nested: str) -> None:
    git(tree, "init", "-q")
    (tree / ".gitignore").write_bytes(top.encode())
    (tree / "a/.gitignore").write_bytes(nested.encode())
    (tree / "a/b/.gitignore").write_bytes(b"")
    (tree / ".git/info/exclude").write_bytes(b"")
    whole = [path.removeprefix(b"a/") for path in expected(git, tree) if path.startswith(b"a/")]
    if whole:  # else `a` itself is ignored, and who names an ignored directory wants to see it
        assert sorted(Walk(tree / "a")) == whole


@pytest.mark.parametrize(
    ("rules", "path", "ignored"),
    [
        ("*.pyc", "a/b/c.pyc", True),
        ("*.pyc\n!keep.pyc", "a/keep.pyc", False),
        ("!keep.pyc\n*.pyc", "a/keep.pyc", True),
        ("/dist", "dist", True),
        ("/dist", "a/dist", False),
        ("a/b", "c/a/b", False),
        ("**/b", "c/a/b", True),
        ("a/**", "a", False),
        ("a/**", "a/b", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a**b", "a/b", False),
        ("a**/b", "a/x/b", True),  # surprising, but git's
        ("[c-a]", "c", True),  # so is this
        ("[c-a]", "b", False),
        ("a*b", "axxb", True),
        ("foo ", "foo", True),
        ("foo\\ ", "foo ", True),
        ("foo\\ ", "foo", False),
        ("\\#x", "#x", True),
        ("#x", "#x", False),
        ("\\!x", "!x", True),
        ("[!a]", "b", True),
        ("x[/]y", "x/y", False),
        ("\ufefffoo", "foo", True),
        ("foo\r\nbar\r\n", "foo", True),
    ],
)
def test_a_rule_says_of_a_file(rules: str, path: str, ignored: bool) -> None:
    assert is_ignored([IgnoreFile(rules.encode())], path.encode(), is_dir=False) is ignored


def test_a_rule_with_a_slash_at_its_end_is_for_directories_only() -> None:
    rules = [IgnoreFile(b"build/")]
    assert is_ignored(rules, b"x/build", is_dir=True)
    assert not is_ignored(rules, b"x/build", is_dir=False)


def test_the_nearest_file_that_speaks_decides() -> None:
    near, far = IgnoreFile(b"!a.log", b"sub/"), IgnoreFile(b"*.log")
    assert not is_ignored([near, far], b"sub/a.log", is_dir=False)
    assert is_ignored([near, far], b"sub/b.log", is_dir=False)
