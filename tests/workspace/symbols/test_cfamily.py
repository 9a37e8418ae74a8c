"""The scanner of C and C++: samples, lines, signatures, and what the preprocessor leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from agentd.workspace.symbols.cfamily import scan
from agentd.workspace.symbols.model import Definition, Kind, Scan

HERE = Path(__file__).parent

SOURCE = """\
#include <map>

/* not right above */

/// Doc.
// and more of it
template <class T, int N = (1 < 2)>
class API [[nodiscard("}")]] Pool final // why
    : public Base<T> {
  Q_OBJECT
public:
  int before; // about before
  Pool(int a, // the a
       T b = T{1}) noexcept
#ifdef EXTRA
    : a_{a}, b_(b), extra_(1)
#else
    : a_{a}, b_(b)
#endif
  {
  }
  static const int *first = nullptr, second[2] = {1, 2}, *const *third;
  std::map<std::string, int> table = {{"one, and more of it", 1}, {"two, and more of it", 2}, {"three", 3}};

  /** About get. */
  [[nodiscard]]
  virtual auto get() const
      -> std::map<int, T> = 0;
  struct { int x; } at;
};

enum Color { // what colours there are
  /* Like blood. */
  Red = 1 << 3,
  Green
};
typedef struct {
  int w;
} Size, *SizePointer;
#define LIMIT 10 /* at most */
/* About BOTH. */
#define BOTH(a, \\
             b) do { a; b; } while (0)
template <> int Pool<int>::size(int (*f)(int)) const { return 1; }
"""


def told(name: str, source: str = SOURCE) -> Definition:
    return next(each for each in scan(source, "pool.hpp") if each.name == name)


def lines(name: str, source: str = SOURCE) -> tuple[int, int, int]:
    return told(name, source).first, told(name, source).line, told(name, source).last


def names(source: str, path: str = "pool.hpp") -> list[str]:
    return [each.qualified for each in scan(source, path)]


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_samples_are_answered_as_a_compiler_would(language: str, check_answers: Callable[..., None]) -> None:
    check_answers(language, scan, least=0.98)


def test_a_class_has_its_comments_and_template_header_and_goes_up_to_its_semicolon() -> None:
    assert lines("Pool") == (5, 8, 30)
    assert told("Pool").signature == (
        'template <class T, int N = (1 < 2)> class API [[nodiscard("}")]] Pool final : public Base<T>'
    )


def test_a_comment_behind_the_member_before_is_not_about_this_one() -> None:
    assert lines("before") == (12, 12, 12)


def test_a_constructor_is_told_without_its_initialisers() -> None:
    constructor = next(each for each in scan(SOURCE, "pool.hpp") if each.qualified == "Pool.Pool")
    assert (constructor.first, constructor.line, constructor.last) == (13, 13, 21)
    assert constructor.signature == "Pool(int a, T b = T{1}) noexcept"


def test_a_function_without_a_body_goes_from_its_attributes_up_to_its_semicolon() -> None:
    assert lines("get") == (25, 27, 28)
    assert told("get").signature == "[[nodiscard]] virtual auto get() const -> std::map<int, T> = 0"


def test_each_declarator_has_a_signature_of_its_own() -> None:
    assert told("first").signature == "static const int *first = nullptr"
    assert told("second").signature == "static const int second[2] = {1, 2}"
    assert told("third").signature == "static const int *const *third"


def test_a_long_value_is_cut() -> None:
    assert told("table").signature == (
        'std::map<std::string, int> table = {{"one, and more of it", 1}, {"two, and more of it", 2}, {"…'
    )


def test_members_of_an_anonymous_struct_are_in_what_it_declares() -> None:
    assert told("x").qualified == "Pool.at.x"
    assert told("at").signature == "struct at"


def test_an_enumerator_has_its_value_and_the_comment_above() -> None:
    assert lines("Red") == (33, 34, 34)
    assert told("Red").signature == "Red = 1 << 3"
    assert told("Green").qualified == "Color.Green"


def test_an_anonymous_struct_has_the_name_that_a_typedef_gives_it() -> None:
    assert told("Size")[:6] == (Kind.CLASS, "Size", "", 37, 39, 39)
    assert told("SizePointer")[:6] == (Kind.TYPE, "SizePointer", "", 37, 39, 39)
    assert told("w").qualified == "Size.w"


def test_a_macro_is_told_with_its_value_or_with_its_parameters() -> None:
    assert told("LIMIT").signature == "#define LIMIT 10"
    assert told("BOTH").signature == "#define BOTH(a, b)"
    assert lines("BOTH") == (41, 42, 43)


def test_a_method_defined_outside_of_its_class_has_it_as_scope() -> None:
    assert told("size")[:6] == (Kind.METHOD, "size", "Pool", 44, 44, 44)
    assert told("size").signature == "template <> int Pool<int>::size(int (*f)(int)) const"


def test_a_function_of_a_namespace_that_the_file_opens_is_no_method() -> None:
    assert told("f", "namespace app { }\nvoid app::f() { }").kind is Kind.FUNCTION
    assert told("f", "void app::f() { }").kind is Kind.METHOD


def test_both_heads_of_one_body_are_told() -> None:
    source = "#ifdef A\nint f(int a) {\n#else\nint g(long a) {\n#endif\n  return 1;\n}\nint h;\n"
    assert names(source) == ["f", "g", "h"]
    assert (lines("f", source), lines("g", source)) == ((2, 2, 2), (4, 4, 7))


def test_a_condition_is_answered_the_same_way_throughout() -> None:
    source = "#ifdef A\nnamespace a {\n#else\nint x;\n#endif\nint y;\n#ifdef A\n}\n#endif\nint z;\n"
    assert names(source) == ["x", "y", "z"]
    negated = source.replace("#ifdef A\n}", "#ifndef A\n#else\n}")
    assert names(negated) == ["x", "y", "z"]


def test_what_no_compiler_reads_is_not_told() -> None:
    assert names("#if 0\nint a;\n#define B\n#elif X\nint c;\n#endif\n#if 1\nint d;\n#else\nint e;\n#endif") == [
        "c",
        "d",
    ]


def test_words_of_cpp_are_names_in_c_only() -> None:
    assert names("int class, new; struct template { int this; };", "old.c") == [
        "class",
        "new",
        "template",
        "template.this",
    ]


def test_a_file_that_is_cut_off_tells_what_it_has() -> None:
    source = "namespace a {\nclass B {\n  void f();\n  int g(int x) {\n    if (x) {\n"
    assert names(source) == ["a.B", "a.B.f", "a.B.g"]
    assert lines("g", source) == (4, 4, 5)


def test_a_function_that_lacks_a_brace_does_not_hide_the_next() -> None:
    source = "namespace a {\nvoid f() {\n  if (x) {\n}\nstatic void g() { }\n}\nclass C { };\n"
    assert names(source) == ["a.f", "a.g", "C"]


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_any_text_is_read(language: str, check_any_text: Callable[[Scan, Path], None]) -> None:
    check_any_text(scan, HERE / language)


PIECES = (
    *'{(<"',
    *("/*", "'\\", 'R"a(', "a<", "a::", "operator<", "template<", "x = a<b,", "int a{},", "((((]", "A(x)\n"),
    *("namespace a {", "class A {", "int f(a) int a;", "requires requires (", "#if\n", "#if A\n{\n#else\n{\n#endif\n"),
)


def test_long_and_deep_texts_take_time_by_their_length(
    check_linear: Callable[[Scan, str, Iterable[str]], None],
) -> None:
    check_linear(scan, "a.hpp", PIECES)
