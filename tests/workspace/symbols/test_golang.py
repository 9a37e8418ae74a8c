"""Go's scanner against samples, against its own ranges and signatures, and against text that is no Go at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agentd.workspace.symbols.golang import scan
from agentd.workspace.symbols.model import Definition

SAMPLES = Path(__file__).parent / "go"
SOURCE = """\
package queue

// not about Queue

// Queue is a ring.
/* It has
a size. */
type Queue[T any] struct { // of T
	buf []T `json:"buf"`

	// head is where to take.
	head, tail int // both go up
	next       *Queue[T]
}

type (
	// Op is one.
	Op func(a, b int) (
		int, error)
	Reader interface {
		Read(p []byte) (n int, err error)
	}
)

//go:noinline
func (q *Queue[T]) Put(v T, // what to put
	more ...T) (err error) {
	return nil
}

const (
	Small = iota // the first
	Big, Bigger = 1 << 10, "0123456789012345678901234567890123456789012345678901234567890123456789"
)

var handlers = map[string]func(){
	"a": func() {},
}
var text = `one
two`
func Bare(x int) int
"""


def told(name: str, source: str = SOURCE) -> Definition:
    return next(each for each in scan(source, "queue.go") if each.name == name)


def lines(name: str) -> tuple[int, int, int]:
    return told(name).first, told(name).line, told(name).last


def test_samples_are_read_as_a_compiler_would(check_answers: Callable[..., None]) -> None:
    check_answers("go", scan, least=0.99)


def test_a_type_has_the_comments_right_above_it_and_goes_up_to_its_brace() -> None:
    assert lines("Queue") == (5, 8, 14)


def test_a_comment_behind_the_member_before_is_not_about_this_one() -> None:
    assert lines("head") == (11, 12, 12)
    assert lines("next") == (13, 13, 13)


def test_members_of_a_group_have_their_own_lines() -> None:
    assert lines("Op") == (17, 18, 19)
    assert lines("Reader") == (20, 20, 22)
    assert lines("Big") == (33, 33, 33)


def test_a_function_goes_from_its_directive_to_its_brace() -> None:
    assert lines("Put") == (25, 26, 29)
    assert lines("Bare") == (41, 41, 41)


def test_a_value_goes_to_its_end() -> None:
    assert lines("handlers") == (36, 36, 38)
    assert lines("text") == (39, 39, 40)


def test_a_signature_is_the_declaration_without_comment_tag_and_body() -> None:
    assert told("Queue").signature == "type Queue[T any] struct"
    assert told("buf").signature == "buf []T"
    assert told("tail").signature == "head, tail int"
    assert told("Op").signature == "type Op func(a, b int) ( int, error)"
    assert told("Reader").signature == "type Reader interface"
    assert told("Read").signature == "Read(p []byte) (n int, err error)"
    assert told("Put").signature == "func (q *Queue[T]) Put(v T, more ...T) (err error)"
    assert told("Bare").signature == "func Bare(x int) int"


def test_a_long_value_is_cut_in_its_signature() -> None:
    assert told("Small").signature == "const Small = iota"
    assert (
        told("Bigger").signature == 'const Big, Bigger = 1 << 10, "0123456789012345678901234567890123456789012345678…'
    )
    assert told("handlers").signature == 'var handlers = map[string]func(){ "a": func() {}, }'


def test_a_file_without_a_package_clause_has_no_scope() -> None:
    found = [each.qualified for each in scan("func (t T) f() {}\ntype T struct { x int", "a.go")]
    assert found == ["T.f", "T", "T.x"]


def test_any_text_is_read(check_any_text: Callable[..., None]) -> None:
    check_any_text(scan, SAMPLES)


def test_reading_takes_linear_time(check_linear: Callable[..., None]) -> None:
    brackets = ["{", "}", "(", "[", "([", "`", '"', "'", "/*", "/*/"]
    check_linear(
        scan, "a.go", [*brackets, "func a(", "func (a ", "type (", "type a [", "type a struct{", "var a,", "a\n"]
    )
