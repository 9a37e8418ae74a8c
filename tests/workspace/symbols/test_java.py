"""Java's scanner: samples, lines and signatures."""

from __future__ import annotations

from collections.abc import Callable

from agentd.workspace.symbols.java import scan
from agentd.workspace.symbols.model import Definition

SOURCE = """\
package com.acme;

// not right above

/** Doc. */
// and more of it
@Service({"}"})
public final class Users<T extends Comparable<T>> // why
        extends Base implements Finder<T> {
    int before; // about before
    @Inject
    private Map<String, T> a = new HashMap<String, T>(), b = of("a, b", "c"), c[];

    /* about find */ @Override public <R> R find(int x, // the x
        String... rest) throws NotFound, Gone
    {
        return null;
    }
    abstract void go() ;
    enum Level {
        /** Low. */
        @Deprecated LOW(1) {
            int f() { return 1; }
        },
        HIGH;
    }
    record Point(@Tag("(") int x,
        int y) { }
    @interface Tag { String value() default "(" +
        ")"; }
}
"""


def told(name: str, source: str = SOURCE) -> Definition:
    return next(each for each in scan(source, "Users.java") if each.name == name)


def lines(name: str) -> tuple[int, int, int]:
    return told(name).first, told(name).line, told(name).last


def test_samples_are_answered_as_a_compiler_would(check_answers: Callable[..., None]) -> None:
    check_answers("java", scan, least=0.98)


def test_a_type_has_its_comments_and_annotations_and_goes_up_to_its_brace() -> None:
    assert lines("Users") == (5, 8, 31)


def test_a_comment_behind_the_member_before_is_not_about_this_one() -> None:
    assert lines("before") == (10, 10, 10)
    assert lines("a") == (11, 12, 12)


def test_a_method_goes_from_the_comment_on_its_line_to_its_brace() -> None:
    assert lines("find") == (14, 14, 18)


def test_a_method_without_a_body_goes_up_to_its_semicolon() -> None:
    assert lines("go") == (19, 19, 19)
    assert lines("value") == (29, 29, 30)


def test_a_constant_has_its_body_and_no_comma() -> None:
    assert lines("LOW") == (21, 22, 24)
    assert lines("HIGH") == (25, 25, 25)


def test_a_record_component_has_its_own_line() -> None:
    assert lines("x") == (27, 27, 27)
    assert lines("y") == (28, 28, 28)


def test_a_signature_has_neither_annotations_before_it_nor_comments_nor_a_body() -> None:
    assert (
        told("Users").signature == "public final class Users<T extends Comparable<T>> extends Base implements Finder<T>"
    )
    assert told("find").signature == "public <R> R find(int x, String... rest) throws NotFound, Gone"
    assert told("go").signature == "abstract void go()"
    assert told("LOW").signature == "LOW(1)"
    assert told("Point").signature == 'record Point(@Tag("(") int x, int y)'
    assert told("value").signature == 'String value() default "(" + ")"'


def test_each_declarator_has_the_type_and_a_value_that_is_cut() -> None:
    assert told("a").signature == "private Map<String, T> a = new HashMap<String, T>()"
    assert told("b").signature == 'private Map<String, T> b = of("a, b", "c")'
    assert told("c").signature == "private Map<String, T> c[]"
    text = told("text", f'class A {{ String text = "{"x" * 100}"; }}').signature
    assert text == f'String text = "{"x" * 58}…'


def test_a_method_outside_of_any_class_is_a_function() -> None:
    assert [(each.kind, each.qualified) for each in scan("void main() { }", "Main.java")] == [("function", "main")]


def test_a_module_and_imports_define_nothing() -> None:
    assert scan("import a.B;\nopen module a.b { requires c; exports d to e; }", "module-info.java") == []
