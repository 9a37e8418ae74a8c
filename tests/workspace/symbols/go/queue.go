// Copyright; package fake

/* package other */ package /* really */ queue // import "x/queue"

import "sync/atomic"; import ( "time" )

// ErrFull tells that there is no room left.

var ErrFull = errorString("queue: full")

type errorString string

func (e errorString) Error() string { return string(e) }

type Integer interface {
	Signed | Unsigned
}

type Signed interface {
	~int | ~int8 | ~int16 |
		~int32 | ~int64
}
type Unsigned interface{ ~uint | ~uint8 }

// Queue is a ring of a fixed size: `buf[head%len(buf)]`.
type Queue[T any, N Integer] struct {
	atomic.Int64
	_ [0]func() // not comparable
	buf []T
	head, tail, // both go up only
	mask N
	waiters [](chan<- struct {
		value T
	})
	*Options[T]
	onDrop, onTake func(T) (again bool)
}

type Options[T any] struct {
	Size    int           `flag:"size" help:"how many } fit"`
	Timeout time.Duration "plain \"tag\" {"
	Compare func(a, b T) int
	Sub     struct{ X int } `a:"b"`
}

func New[T any, N Integer](o *Options[T]) *Queue[T, N] {
	type key struct{}
	const size = 8
	return &Queue[T, N]{Options: o, buf: make([]T, size)}
}

func (q *Queue[T, N]) Put(v T) (err error) {
	func() {
		defer func() { _ = recover() }()
		if q.mask < N(len(q.buf)) && q.tail > q.head {
			err = ErrFull
		}
	}()
	return
}

func (q *Queue[T, N]) Take(timeout time.Duration) (v T, _ error) {
	select {
	case <-time.After(timeout): { return v, ErrFull }
	default:
	}
	switch x := any(v).(type) {
	case interface{ Close() error }: _ = x.Close()
	case func(): x()
	}
	return
}

func (q *Queue[_, _]) Len() int { return len(q.buf) }
func (q *Queue[T, N,]) All(yield func(T) bool) {}
func (*Options[_]) Validate() error { return nil }

type Heap[
	T any,
	C interface{ Less(a, b T) bool },
] struct {
	items []T
	cmp   C
	Queue[T, int]
}

type Walk[T any] func(item T, depth int) (next func() (T, bool), err error)

func (w Walk[T]) Then(other Walk[T]) Walk[T] { return other }

const (
	modeA mode = iota<<1 | 1
	modeB, _ mode = iota, iota
	modeC = `c { ` + "d }"
	modeD = modeA +
		modeB
)

type mode int

func (m mode) String() string { return [...]string{"a{", "b}"}[m] }

var defaults = struct {
	Size int
	Log  func(string, ...any)
}{Size: 1, Log: func(f string, a ...any) { println(f) }}

var mu, once = new(int), func() func() { return func() {} }()

var table = [...][2]string{
	0: {"func f() {", "}"},
	1: {`type T struct {`, `}`},
}

//export goCallback
func goCallback(p *byte) { _ = p }

func init() { _ = 0 }

func Range[K comparable, V any, M ~map[K]V](
	m M, // what to go over {
	each func(K, V) bool, /* ( */
) (count int) {
	for k, v := range m { if !each(k, v) { break }; count++ }
	return
}
