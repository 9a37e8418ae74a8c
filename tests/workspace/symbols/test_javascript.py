"""The scanner of JavaScript and TypeScript against samples, its own ranges and signatures, and text that is neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.workspace.symbols.javascript import scan
from agentd.workspace.symbols.javascript_tokens import tokenize
from agentd.workspace.symbols.model import Definition
from agentd.workspace.symbols.tokens import LITERAL

SAMPLES = Path(__file__).parent / "javascript"
SOURCE = """\
#!/usr/bin/env node
// not about Users

/** Doc. */
@Injectable({ a: "}" })
// and more
export class Users<T = {}> // why
  extends Base<T> {
  before = 1 // about before
  @Input()
  static readonly limit: Map<string, T> = new Map<string, T>([["0123456789012345678901234567890123456789", 1]])
  /* handles */ handle = async (e: Event, // the event
    ...rest: T[]): Promise<void> => {
  }

  // Makes one.
  constructor(
    /** Its size. */
    private readonly size = 10,
  ) { super() }
  abstract find(id: string): { name: string };
}
export const curried = (a: number) =>
  (b: number) =>
    a + b
const one = 1, /* the second */
  two = `2
  2`
export type Props = {
  a: string
} | null
enum Level {
  Low = 1, // lowest
  High,
}
Users.prototype.go = function go(x) {
  return x
};
export default function () {
}
"""


def told(name: str, source: str = SOURCE, path: str = "src/users.ts") -> Definition:
    return next(each for each in scan(source, path) if each.name == name)


def lines(name: str) -> tuple[int, int, int]:
    return told(name).first, told(name).line, told(name).last


def literals(text: str) -> list[str]:
    tokens = tokenize(text, jsx=True)
    return [token for token, kind in zip(tokens.texts, tokens.kinds, strict=True) if kind == LITERAL]


def test_samples_are_read_as_a_compiler_would(check_answers: Callable[..., None]) -> None:
    check_answers("javascript", scan, least=0.99)


def test_a_class_has_its_comments_and_decorators_and_goes_up_to_its_brace() -> None:
    assert lines("Users") == (4, 7, 22)


def test_a_comment_behind_the_member_before_is_not_about_this_one() -> None:
    assert lines("before") == (9, 9, 9)
    assert lines("limit") == (10, 11, 11)
    assert lines("handle") == (12, 12, 14)


def test_a_parameter_that_is_a_property_has_its_own_line() -> None:
    assert lines("constructor") == (16, 17, 20)
    assert lines("size") == (18, 19, 19)


def test_a_value_goes_to_where_its_expression_ends() -> None:
    assert lines("curried") == (23, 23, 25)
    assert lines("one") == (26, 26, 26)
    assert lines("two") == (27, 27, 28)
    assert lines("Props") == (29, 29, 31)
    assert lines("High") == (34, 34, 34)
    assert lines("go") == (36, 36, 38)


def test_what_has_no_name_is_on_the_line_of_its_default() -> None:
    assert lines("default") == (39, 39, 40)


def test_a_signature_is_the_declaration_without_decorators_comments_and_body() -> None:
    assert told("Users").signature == "export class Users<T = {}> extends Base<T>"
    assert told("handle").signature == "handle = async (e: Event, ...rest: T[]): Promise<void> =>"
    assert told("constructor").signature == "constructor( private readonly size = 10, )"
    assert told("size").signature == "private readonly size = 10"
    assert told("find").signature == "abstract find(id: string): { name: string }"
    assert told("curried").signature == "export const curried = (a: number) =>"
    assert told("two").signature == "const two = `2 2`"
    assert told("Props").signature == "export type Props = { a: string } | null"
    assert told("Low").signature == "Low = 1"
    assert told("go").signature == "Users.prototype.go = function go(x)"
    assert told("default").signature == "export default function ()"


def test_a_long_value_is_cut_in_its_signature() -> None:
    value = 'new Map<string, T>([["01234567890123456789012345678901234567…'
    assert told("limit").signature.startswith(f"static readonly limit: Map<string, T> = {value[:59]}")
    assert told("limit").signature.endswith("…")


def test_the_scope_is_the_module() -> None:
    assert told("before").qualified == "src.users.Users.before"
    assert told("go").qualified == "src.users.Users.go"


def test_what_is_exported_by_two_names_of_the_module_is_told_once() -> None:
    assert [each.qualified for each in scan("exports = module.exports = { f() {} }", "a.cjs")] == ["a.f"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a / b / c", []),
        ("x = /[/}]\\/{/g", ["/[/}]\\/{/g"]),
        ("if (a) /b/.c()", ["/b/"]),
        ("f(a) / b / c", []),
        ("a[0] / b / c; a! / b / c; a++ / b / c", ["0"]),
        ("return /{/", ["/{/"]),
        ("a.return / b / c", []),
        ("x = 1 / 2 / 3", ["1", "2", "3"]),
        ("`a${`b${'}'}` + {}}c` / 2", ["`a${`b${'}'}` + {}}c`", "2"]),
        ("`a${/}/}`", ["`a${/}/}`"]),
        ("<a b='}'>it's {c ? <d/> : <></>} <e></e></a>", ["<a b='}'>it's {c ? <d/> : <></>} <e></e></a>"]),
        ("a < b; f = <T,>(x) => x; g = <T>(x) => x", []),
        ("x = <a> never closed {1}", ["1"]),
    ],
)
def test_a_slash_a_brace_and_an_angle_are_what_stands_before_them_says(text: str, expected: list[str]) -> None:
    assert literals(text) == expected


def test_no_element_is_looked_for_in_typescript_without_jsx() -> None:
    source = "const a = <any>b, c = '</any>'"
    assert [each.name for each in scan(source, "a.ts")] == ["a", "c"]
    assert [each.name for each in scan(source, "a.tsx")] == ["a"]


def test_a_hundred_thousand_braces_in_one_another_are_read() -> None:
    for opening in ("{", "class a{static b=", "`${", "namespace a{"):
        assert scan(opening * 100_000, "a.tsx") is not None


def test_any_text_is_read(check_any_text: Callable[..., None]) -> None:
    check_any_text(scan, SAMPLES)


def test_reading_takes_linear_time(check_linear: Callable[..., None]) -> None:
    brackets = ["{", "}", "(", "[", "([", "<", '"', "`", "`${", "/*", "/*/", "=/[", "a)/", "<a>", "</a>", "<a b='"]
    declarations = ["function a(", "function a<", "class a{static b=", "namespace a.", "type a<", "const {", "a=", "a,"]
    check_linear(scan, "a.tsx", ["a.b=", *brackets, *declarations, "(function(){", "@a ", "async ", "a?b:", "a\n"])
