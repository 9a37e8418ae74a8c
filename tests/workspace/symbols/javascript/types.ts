export interface User {
  readonly id: string;
  name?: string,
  tags: string[]
  greet(this: User, other: { name: string }): void
  generic<T extends {}>(x: T): T;
  handler: (e: Event) => void;
  optional?(): void;
  [key: string]: unknown;
  (call: string): number;
  <T>(generic: T): T;
  new (x: number): User;
  new <T>(x: T): User;
  get computed(): string;
  set computed(v: string);
  "quoted-prop": number;
  0: string;
  [Symbol.iterator](): Iterator<User>;
  method: { nested: { deep: string } };
  type: "a" | "b{";
  of: number
  is: boolean
  extends: string
  readonly: boolean; get: string; set?: number
  async(): void; static: 1;
  constructorType: abstract new (...args: any[]) => object;
  cond: A extends B
    ? { x: 1 }
    : { y: 2 };
  last: unique symbol }

interface Empty {}
interface Child<T = { a: string }> extends User, Omit<Base<T>, "a" | "b"> { a: T }
export default interface Props { children?: () => void }

export type Alias = string;
type Shape = {
  kind: "circle";
  area(): number;
}
type Union =
  | { kind: "a"; value: string }
  | { kind: "b" }
type Fn = (a: string, b: { c: number }) => { d: string }
type Ctor<T> = abstract new (...a: any[]) => T
type Mapped<T> = { readonly [K in keyof T as `get${Capitalize<K & string>}`]-?: () => T[K] }
type Cond<T> = T extends (infer U)[] ? U extends string ? 1 : 2 : T extends { a: infer V extends string } ? V : never;
type Template = `${"a" | `${"b" | "}"}`}-{`
type Generic<A extends Record<string, () => void> = {}, B = Array<Array<A>>> = Map<A, Map<A, B>>
type Inter = { a: 1 } & { b: 2 }
type Arr = { a: 1 }[]
type Query = typeof import("./x", { with: { "resolution-mode": "import" } }).foo
type Neg = -1 | 0x1F
type Pred = (x: unknown) => x is string
type Keys = keyof typeof obj; type Second = readonly string[]
type Tuple = [first: string, second?: () => void, ...rest: number[]]
type type = type
declare const brand: unique symbol

namespace Outer {
  export const version = "1";
  export function create(): void {}
  export namespace Inner.Deep {
    export interface Config { debug: boolean }
    class Impl { run() {} }
    type T = 1
  }
  enum Level { Low, High = Low + 1 }
  let hidden = () => {}
}
export declare namespace Dotted.Path { let x: number, y: string }
module Old { export var z = 1 }

const type = 1, namespace = 2, module = 3, declare = 4, abstract = 5
type
namespace
declare
abstract.foo()
type = 5
namespace.x = 6
module(1)
const as = 1 as number, is = as as any as string, satisfies = {} satisfies {}
let async = async => async
let of = async () => {}, get = async function () {}, set = async (async)
function keyof() { return 1 }
function async2(async) {}
export const readonly = <const T extends readonly unknown[]>(x: T) => x
const assertion = <any>window, assertion2 = <T>(x: T) => x, third = <Map<string, number>>foo
const bang = foo!.bar![0]! / 2, after = 1
const inst = makeBox<string, number>, tpl = tag<string, number>`x`, cmp = a<b, cmp2 = c
