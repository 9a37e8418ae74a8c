export const a = 1
export let b = a
  + 2
  , c = (
    3
  )
const d = foo
  .bar()
  .baz(x => { function no() {} })
const e = cond
  ? () => 1
  : () => 2
const f = () =>
  g
const h = async
function i() {}
const j = function () {
}
const k = class {
  a
  b = 1
  static c
  get;
  async
  'd'
  #e = this.a
    + 1
  f = () => { }
  g = { a: 1 }
  static async h() { }
  ['i'] = 2
  static ['j']
  *k() { }
  static { }
  l(a, b = { c: 1 }) { } m() { }
  static async *n() { }
  in
}
let l
let m, n
var o = `multi
line`
var p = [
  1
]
var q = p
[0]
const r = new Foo
const s = x =>
{
  return x
}
const { t, u: [v, { w = { x: 1 } }], ['y' + z]: y, ...rest } = obj
const [aa, , bb = 2, ...[cc]] = arr
var dd = ee
++ff
var gg = -1
!function () { var hh = 1 }()
const ii = typeof
  jj
const kk = a in b, ll = a
  instanceof b
export { a as default }
export default async (x) => { }
import mm from 'mm'
import('dynamic').then(() => { function no() {} })
const nn = await import('nn')
export async function oo() { }
export default class { method() { } }
export default {
  name: 'x',
  data() { return { a: 1 } },
  methods: { click: async function () { } },
}
export default name
export default connect(mapState)(View)
using res = open()
const pp = (a, b) => a / b / 2, qq = ({ a }) => ({ a }), rr = ([x]) => [x]
const ss = (a, (b))
const tt = (function () { })(), uu = (() => { })()
const vv = a || function () { }
const ww = class A extends B { }, xx = class { }
class Y extends class { inner() { } } { outer() { } }
class Z extends (a, { b: 1 }).c[`d`] { 'constructor'() { } }
@decorator class AA { @dec() @a.b.c('{') m() { } @x y = 1; @(foo.bar({ a: 1 })) z }
@dec export class BB { } export @dec class CC { }
