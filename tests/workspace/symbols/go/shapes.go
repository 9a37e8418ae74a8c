//go:build linux && (amd64 || arm64)
// +build linux

// Package shapes holds `func NotThis() {}` in its comment, and type Neither struct { X int }.
package shapes

/*
#include <stdio.h>
typedef struct { int x; } c_point;
static void greet(char *who) { printf("hi { %s", who); }
func FakeInPreamble() {}
*/
import "C"

import (
	"fmt"
	_ "embed"
	. "strings"
	str "strconv"
)

// Point is a point.
// It has two coordinates.
type Point struct {
	X, Y  float64 `json:"{x}" xml:"}"`
	Label string  // Label { is a brace
	_     [4]byte // padding
}

type (
	// Circle embeds a point.
	Circle struct {
		Point
		*Style `yaml:",inline"`
		fmt.Stringer
		*C.c_point
		Radius float64
		opts   struct {
			fill, stroke bool
		}
		draw     func(ctx struct{ w, h int }) error
		children []*Circle
		byName   map[string]struct{}
		events   chan<- func()
		grid     [len("abc")][2]int
	}

	Style struct{ Color, Width string; bold bool }

	Empty struct{}

	Number interface {
		~int | ~int8 |
			~float64
	}

	Shape interface {
		fmt.Stringer
		Number
		Area() float64
		// Scale scales: func Bogus()
		Scale(by float64, with ...func(Shape) Shape) (Shape, error)
		private()
	}

	Any interface{}
	Two interface{ One() int; Other(struct{ A int }) }

	Visitor  func(s Shape, depth int) (stop bool)
	Celsius  float64
	Matrix   [N * 2][N]float64
	Table    map[string]map[Point]struct{ hits int }
	Alias    = Circle
	Pipeline <-chan struct {
		value int
	}
	Quoted = map[rune]string
)

const N = 3

type Pair[K comparable, V any] struct {
	Key K
	Val V
	next *Pair[K, V]
}

type List[T interface{ ~[]E | *T }, E any] struct {
	head, tail *node[T]
	Pair[string, []T]
	*node[T] `tag:"{["`
	sizes [N]int
}

type node[T any] struct {
	v T
}

type Set[T comparable] map[T]struct{}
type Ordered interface { ~int | ~string }
type Ptr[P *Point,] struct{ p P }
type Grid [N]struct{ x, y int }
type Fn[T ~func(int) int] func(T) T
type Slice[S ~[]E, E any] interface {
	Len() int
}
type Un = struct{ A int }

// Area implements Shape.
func (c *Circle) Area() float64 { return 3.14 * c.Radius * c.Radius }

func (c Circle) Scale(by float64, _ ...func(Shape) Shape) (Shape, error) {
	type local struct{ hidden int }
	var inner = func() {
		fmt.Println("}")
	}
	inner()
	const alsoHidden = 1
outer:
	for i := 0; i < 10; i++ {
		switch {
		case i == '{':
			break outer
		case i == '\'':
			continue outer
		default:
			goto done
		}
	}
done:
	return nil, nil
}

func (Circle) private() {}

func (p *Pair[K, V]) Set(k K, v V) { p.Key, p.Val = k, v }

func (p Pair[_, V]) Get() (v V, ok bool) {
	return p.Val, true
}

func (l *List[
	T,
	E,
]) Push(
	v T,
	more ...T,
) (
	n int,
	err error,
) {
	return 0, nil
}

func (s Set[T]) Has(v T) bool { _, ok := s[v]; return ok }

func Map[T, U any](in []T, f func(T) U) []U {
	out := make([]U, 0, len(in))
	for _, v := range in { out = append(out, f(v)) }
	return out
}

func Sum[T ~int | ~string](xs ...T) (t T) { for _, x := range xs { t += x }; return }

func Keys[M ~map[K]V, K comparable, V interface{ ~struct{ a int } }](m M) struct{ ks []K } {
	return struct{ ks []K }{}
}

func init() { register("a{") }
func init() { register("b}") }
func register(name string) interface{ Close() error } { return nil }
