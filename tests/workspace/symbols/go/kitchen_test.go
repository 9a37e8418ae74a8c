package kitchen_test

import (
	"testing"
)

type fakeClock struct{ now int64 }

func (c *fakeClock) Now() int64 { return c.now }

func TestTable(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want int
	}{
		"brace }": {in: "}", want: 1},
		`raw {`:   {`{`, 2},
	} {
		t.Run(name, func(t *testing.T) {
			if got := len(tc.in); got != tc.want {
				t.Errorf("got %d, want %d }", got, tc.want)
			}
		})
	}
}

func BenchmarkX(b *testing.B) { for i := 0; i < b.N; i++ { _ = i } }

func ExampleConfig_Name() {
	// Output:
	// func nothing() {
}

func FuzzY(f *testing.F) { f.Add("{"); f.Fuzz(func(t *testing.T, s string) {}) }

var cases = [...]struct {
	r    rune
	name string
}{
	{'{', "open"},
	{'}', "close"},
	{'"', "quote"},
	{'\u007b', "escaped"},
	{'\x7d', `x`},
}


type Op func(a, b float64) float64

var ops = map[string]Op{"+": func(a, b float64) float64 { return a + b }}

type walker struct {
	depth int // how deep: struct {
	/* before */ seen /* mid */ map[string]bool /* after */
	fn, // continues
	gn func()
	err error; ok bool
	testing.TB
	Inner[int]
	arr [3]Inner[int]
	ptrs []*struct{ A int }
	nested struct {
		deeper struct {
			deepest int
		}
	} `x:"y"`
}

type Inner[T any] struct{ V T }

func (w *walker) step /* odd */ (n int) /* brace { */ (err error) { return nil }

func (w *walker)
	generic(a interface{ M() }, b struct{ x int }, c func() struct{}) chan struct{} { return nil }

func (walker walker) walker(walker walker) walker { return walker }

func variadic(xs ...interface{}) {}
func ptrResult() *struct{ A, B int } { return nil }
func fnResult() func(func() error) (struct{}, error) { return nil }
func arrResult() [2]struct{ x int } { return [2]struct{ x int }{{1}, {2}} }
func mapResult() map[struct{ k string }]interface { Foo() } { return nil }
func oneLiner() { if x := 1; x < 2 { } else { } }; var tail = 1

type Celsius float64; type Fahrenheit = Celsius

const (
	A, B, C = iota, iota * 2, 'c'
	D, E, F
	G = len("(") + len([...]string{")"})
	H // the last
)

const Big = 1 << 100; const Small = Big >> 99

var p, q = func() (int, int) {
	return 1, 2
}()

var complex128Value complex128 = 1i + .5e-3 - 0x1p-2 + 0b1_01

type (
	A1 = B1
	B1 struct { C1 }
	C1 interface { B1 | D1 }
	D1 []C1
	E1 func()
	F1 *int
	G1 chan<- (<-chan int)
	H1 (func(x struct{ y int }))
	I1[T any] = []T
)
