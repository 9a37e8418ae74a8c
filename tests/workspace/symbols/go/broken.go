package broken

// first is whole.
func first() int { return 1 }

type Config struct {
	Name string
	Port int `json:"port
	Other map[string]struct{} `
}

func lostBrace(x int) {
	if x > 1 {
		for {
	}

func afterLost() {
	call(
		1,
		[]int{2, 3,
	)
}

func strayBrace() {
	}
}
}

func (c *Config) Method(

func afterParen() {}

type Half struct {
	A int

var afterHalf = []string{"a", "b"

const unterminated = "no end
const next = 'x

func

type

func (r *

var

func last(a int, b strin
