"""C#'s scanner: samples, lines and signatures."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from agentd.workspace.symbols.csharp import scan, without_interpolation
from agentd.workspace.symbols.model import Definition

SOURCE = """\
[assembly: About("x")]
namespace Acme;

#region
/// <summary>Doc.</summary>
[Service("}")]
public sealed partial class Users<T>(int seed) // why
    : Base(seed), IFinder<T>
    where T : class, new()
{
    int before; // about before
    [Inject]
    private Dictionary<string, T> a = new Dictionary<string, T>(), b;
#pragma warning disable
    public string Name { get; private set; } =
        $"{"}"}";
    public int Count
    {
        get { return 1; }
    }
    public int Sum => Count +
        1;
    public Users(int a, /* the b */ int b = 1) : this(a) { }
    async Task<R> Find<R>(R r) where R : struct
    {
        return r;
    }
    void IDisposable.Dispose() => Close();
    public static implicit operator List<int>(Users<T> u) => null;
    public event Action Changed { add { } remove { } }
    public T this[int i] { get => default; }
    enum Level {
        /// Low.
        [Obsolete] Low = 1,
        High
    }
    record struct Point([Tag("(")] int X,
        int Y = 2);
    delegate void Handler<in A>(A a);
}
"""


def told(name: str, source: str = SOURCE) -> Definition:
    return next(each for each in scan(source, "Users.cs") if each.name == name)


def lines(name: str) -> tuple[int, int, int]:
    return told(name).first, told(name).line, told(name).last


def names(source: str) -> list[str]:
    return [each.qualified for each in scan(source, "a.cs")]


def test_samples_are_answered_as_a_compiler_would(check_answers: Callable[..., None]) -> None:
    check_answers("csharp", scan, least=0.98)


def test_a_type_has_its_comments_and_attributes_and_goes_up_to_its_brace() -> None:
    assert lines("Users") == (5, 7, 40)


def test_neither_a_directive_nor_what_is_behind_the_member_before_is_its_comment() -> None:
    assert lines("before") == (11, 11, 11)
    assert lines("b") == (12, 13, 13)
    assert lines("Name") == (15, 15, 16)


def test_a_member_goes_up_to_its_brace_or_semicolon() -> None:
    assert lines("Count") == (17, 17, 20)
    assert lines("Sum") == (21, 21, 22)
    assert lines("Find") == (24, 24, 27)
    assert lines("Low") == (33, 34, 34)
    assert lines("Point") == (37, 37, 38)
    assert lines("Y") == (38, 38, 38)


def test_a_signature_has_neither_attributes_before_it_nor_comments_nor_a_body() -> None:
    head = "public sealed partial class Users<T>(int seed) : Base(seed), IFinder<T> where T : class, new()"
    assert told("Users").signature == head
    assert told("Find").signature == "async Task<R> Find<R>(R r) where R : struct"
    assert told("Dispose").signature == "void IDisposable.Dispose()"
    assert told("operator List").signature == "public static implicit operator List<int>(Users<T> u)"
    assert told("Low").signature == "Low = 1"
    assert told("X").signature == "int X"
    assert told("Handler").signature == "delegate void Handler<in A>(A a)"


def test_a_constructor_is_told_without_the_one_it_calls() -> None:
    told_ones = [each.signature for each in scan(SOURCE, "Users.cs") if each.name == "Users" and each.kind == "method"]
    assert told_ones == ["public Users(int a, int b = 1)"]


def test_accessors_are_shown_where_none_has_a_body() -> None:
    assert told("Name").signature == "public string Name { get; private set; }"
    assert told("Count").signature == "public int Count"
    assert told("Sum").signature == "public int Sum"
    assert told("Changed").signature == "public event Action Changed"
    assert told("this[]").signature == "public T this[int i]"


def test_a_value_ends_where_an_interpolated_string_ends() -> None:
    assert told("s", 'class A { string s = $"{x}", t; }').signature == 'string s = $"{x}"'


def test_branches_that_fit_one_behind_the_other_are_all_read() -> None:
    assert names("class A {\n#if X\nint a;\n#elif Y\nint b;\n#else\nint c;\n#endif\n}") == ["A", "A.a", "A.b", "A.c"]


def test_of_branches_that_do_not_fit_the_first_is_read() -> None:
    assert names("class A {\n#if X\nvoid F() {\n#else\nvoid G() {\n#endif\n}\nint x;\n}") == ["A", "A.F", "A.x"]


def test_what_is_in_if_false_is_not_read() -> None:
    assert names("#if false\nclass A {\n#else\nclass B {\n#endif\nint x;\n}") == ["B", "B.x"]


@pytest.mark.parametrize(
    "string",
    [
        '$""',
        '$"{{"',
        '$"{a}}}"',
        '$"{d["k"]}"',
        '$"{(a ? $"{b}" : "}")}"',
        '$"{x:0.0;(0.0);none}"',
        '$"{f(() => { return "}"; })}"',
        '$"{a /* } */ + \'"\'}"',
        '$@"\\{a}""{{"',
        '@$"{\n"b"}\n"',
        '$"""{a} "quoted" {"}"}"""',
        '$$"""{ {{a}} {{{b}}} "" }"""',
        '$"""\n  {$"{@"""}"}"}\n  """',
    ],
)
def test_an_interpolated_string_is_one_literal(string: str) -> None:
    hidden = without_interpolation(f"a = {string}, b")
    assert re.fullmatch(r'a = @"\s*", b', hidden)
    assert len(hidden) == len(f"a = {string}, b")
    assert hidden.count("\n") == string.count("\n")


@pytest.mark.parametrize("string", ['$"{a', '$"{', '$"a', '$"{a;', '$"{f(1;'])
def test_an_unfinished_interpolated_string_hides_one_line(string: str) -> None:
    assert names(f"class A {{\nstring a = {string}\n;\nint b;\n}}")[-1] == "A.b"


def test_an_operator_that_has_no_sign_yet_is_not_told() -> None:
    assert names('class A { static A operator """\n;\n""" int b; }')[:1] == ["A"]
    assert names("class A { static A operator ; int b; }") == ["A", "A.b"]
