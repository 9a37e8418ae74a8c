package consts

import "errors"

type Color uint8

const ( // the colors (
	Red   Color = iota // 0
	Green              /* } */
	_
	Blue
	Cyan, Magenta = iota + 10, "ma{genta"
)

const (
	KB = 1 << (10 * (iota + 1))
	MB
	GB; TB
)

const Pi, E = 3.14159, 2.71828
const typed, other int = 1, 2
const Open rune = '{'
const Quote, Backslash, Tick = '"', '\\', '`'
const Esc = '\''
const Str = "a \" { func no() {} // not a comment"
const URL = "http://example.org/*"
const Long = "one " +
	"two " +
	"three"

var ErrOne = errors.New("one") // func x() {
var (
	ErrTwo   = errors.New(`two {
func NotHere() {
type NorHere struct {
`)
	ErrThree error = &myErr{
		code: 3,
		f: func() { var hidden = 1; _ = hidden },
	}
	a, b   int
	c, d   = f()
	_      error = (*myErr)(nil)
	lookup = map[string]func(x int) (int, error){
		"plus":  func(x int) (int, error) { return x + 1, nil },
		"minus": func(x int) (int, error) { return x - 1, nil },
	}
	handler func(
		w int,
	) error
	anon struct {
		field int
	}
	pointer *struct{ deep map[string]int }
	chain = builder().
		With("a").
		With("b")
	closed = func() int { return 1 }()
	slice  = []struct {
		name string
		want func() bool
	}{
		{"a", func() bool { return true }},
		{"b", nil},
	}
	x = 'a' +
		'}'
	ch  = make(chan struct{}, 1)
	neg = -1; pos = +1
)

var _ = register()
var single = func(a, b int) int {
	return a + b
}

var raw = `multi
line } with " and ' and /* and \` + "`" + `
end` // comment `

var re = "(?:\\{|\\\")"

type myErr struct { code int; f func() }

func (e *myErr) Error() string { return "\"}" }

func (*myErr) Is(target error) bool { return false }

func f() (int, string) { return 1, `}` }

func builder() *b2 { return nil }

type b2 struct{}

func (x *b2) With(s string) *b2 { return x }

func register() func() { return func() { func() {}() } }
