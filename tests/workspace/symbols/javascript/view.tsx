import React, { useState } from 'react'

type Props = { title: string; render?: (x: number) => JSX.Element }

export const Button: React.FC<Props> = ({ title, render = () => <b>{'}'}</b> }) => {
  const [n, setN] = useState<Map<string, number>>(new Map())
  return (
    <div className={`a ${n ? 'b}' : "{"}`} style={{ color: 'red' }} {...props}>
      {/* a comment: function no() { */}
      It's "quoted" {title} &amp; that's {n > 1 && <span>many {'{'} </span>}
      <input value="}" disabled />
      <Select<Option> options={[{ a: 1 }]} onChange={(e) => { setN(e) }} />
      {list.map((x) => <Item key={x} {...x}>text {x} `</Item>)}
      <>fragment <br /> // not a comment</>
      <a.b.C x-data:y='"' /> a {'<'} b
    </div>
  )
}

export const generic = <T,>(x: T): T => x
export const constrained = <T extends object>(x: T) => <Box<T> value={x}>{x as any}</Box>
const typedFn: <T>(x: T) => T = (x) => x
function Component<T>({ a }: { a: T }): JSX.Element | null {
  if (a < b) return <div>if (x) { }</div>
  return cond ? <A/> : <B>'</B>
}
export default function App() { return <main>{"`"}<Component<string> a="x"/></main> }
class Panel extends React.Component<Props, { open: boolean }> {
  state = { open: false, toggle() {} }
  static defaultProps: Partial<Props> = { title: "<div>" }
  header = <h1 title='}'>It's {this.props.title}</h1>
  private onClick = (e: React.MouseEvent<HTMLButtonElement>): void => { this.setState({ open: a < b }) }
  renderItem = (x: string) => <li key={x}>{x} isn't {'}'}</li>
  render() { return <div onClick={this.onClick}>{this.header}</div> }
}
export const Memo = React.memo(function Inner() { return <i/> })
export const ref = forwardRef<HTMLDivElement, Props>((p, r) => <div ref={r}>{`</div>`}</div>)
const compare = a < b && c > d, lt = <span>a</span>
const afterLt: Array<string> = []
let el = cond ? <p>yes ? no : {x}</p> : null
enum Tab { One = 'one', Two = 'two' }
const lastOne = () => <Foo render={() => <div>{function () { return <b/> }}</div>} />