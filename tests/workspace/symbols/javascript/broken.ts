export function whole() { return 1 }

function lostBrace(x) {
  if (x) {
    for (;;) {
}

export function afterLost() { }

class Half {
  a = 1
  method(

class AfterHalf {
  b(): void { }
}
}
)

const unterminated = "no end
const afterString = 'x
let noValue =
export const afterNoValue = 2

interface Open {
  x: number

enum AfterOpen { A, B

function
class
const
export
export default
interface
type
enum
namespace
function last(a,
