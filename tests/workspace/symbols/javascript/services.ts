// class NotThis { nor() {} }
import { Injectable, type Config } from "./di";
import type { A, B } from './types';
import * as fs from "fs";
import def, { other } from "x"
import legacy = require("legacy");
import Short = Long.Name.Space;
const path = require("path");
const { join, resolve: res } = require("path");

/** The default size. */
export const DEFAULT_SIZE = 10;
const enum Flag { None = 0, Read = 1 << 0, Write = 1 << 1, Both = Read | Write }
export enum Color {
  Red = "r,ed",
  Green = `gr{een`,
  'dark-blue' = compute({ a: 1, b: [2, 3] }),
  ["computed"] = 5,
  Last, // no, Comma
}
declare enum Outer { X }

@Injectable({ providedIn: "root", factory: () => { return new UserService({ a: "}" }); } })
@Log
export class UserService<T extends { id: string } = { id: string }, U = Array<Map<string, T>>>
  extends Base<T, { x: number }>
  implements Service<T>, OnInit<() => void>
{
  static #count = 0;
  static readonly DEFAULTS: Readonly<Record<string, { a: number }>> = { a: { a: 1 } };
  private readonly cache = new Map<string, Array<T>>();
  protected name?: string;
  declare legacy: number;
  definite!: Map<string, number>;
  @Input() @HostBinding("class.{active}") active = true;
  @Input({ required: true, transform: (v: string) => { return v; } })
  size: number = 1 < 2 ? 3 : 4;
  handler = async <K,>(e: K): Promise<void> => { this.size = 1; };
  compare = (a: T, b: T) => a < b ? -1 : a > b ? 1 : 0;
  callback: (a: string) => void = function (a) { return; };
  onChange?: (value: { x: number }) => { y: string };
  accessor tracked = 1;
  static accessor shared: string;
  "quoted-name": string = "x";
  42 = "number";
  [key: string]: unknown;
  readonly [index: number]: unknown;

  static {
    this.#count = 1;
    function hidden() {}
    class AlsoHidden {}
  }

  constructor(
    private readonly http: HttpClient,
    public options: { retries: number; on: () => void } = { retries: 3, on() {} },
    @Inject(TOKEN) protected token?: Token<string, number>,
    readonly limit = 10,
    plain: string = "private x",
    { a, b }: { a: number; b: number } = { a: 1, b: 2 },
    override readonly id: string,
    ...rest: any[]
  ) {
    super();
  }

  get value(): { a: T; b: U } { return this as any; }
  set value(v) { this.size = 2; }
  static async *stream<T>(this: UserService<T>, from = 0): AsyncGenerator<T, void> { yield* []; }
  *[Symbol.iterator](): Iterator<T> { yield; }
  async [`computed-${1}`]() {}
  get [Symbol.toStringTag]() { return "UserService"; }
  #secret(): asserts this is UserService<any> {}
  static get #hidden() { return 1; }
  find(id: string): T;
  find(id: number, deep: boolean): T | undefined;
  find(id: any): T | undefined {
    if (id < 3 && id > 1) { return; }
    const inner = () => {};
    function nested() {}
    return undefined;
  }
  @HostListener("window:resize", ["$event"])
  @Debounce(100)
  protected override async onResize(event: Event): Promise<void> {}
  isReady(): this is { ready: true } & UserService { return true; }
  predicate(x: unknown): x is string | (() => { a: 1 }) { return true; }
  tuple(): [a: string, b?: { c: number }] { return [""]; }
  conditional<X>(): X extends { a: infer V } ? { v: V } : never { return null!; }
  lookup(): Config["a"]["b"][] { return []; }
  imported(): typeof import("./x") { return null!; }
  fn(): (a: { b: string }) => { c: number } { return null!; }
  get() { return 1 }
  set(v: number) {}
  static() {}
  async() {}
  readonly() {}
  static static = 1;
  type = "a"; of = 2; from;
  declare() {}
  delete() {}
  new() {}
  async async() {}
  get get() { return 1; }
}

export abstract class Shape {
  abstract area(): number;
  abstract readonly sides: number;
  protected abstract get label(): string
  static create = class Inner {
    made = 1;
    make() {}
  };
  constructor();
  constructor(public w?: number) {}
}

export default abstract class Widget extends mixin(Shape, { a: 1 })<string> {}
class Empty {} class Second extends Empty { x }
const Anon = class extends (foo as any) { go() {} };
export const Named = class Self<T> implements I<T> { run = () => {} }

export function overload(a: string): string;
export function overload(a: number): { n: number }
export function overload(a: any): any { return a; }
export async function* generate<T = {}>(n: number): AsyncIterable<T> {}
function assertIsString(val: any): asserts val is string {}
function assertNow(val: any): asserts val {}
export const arrow = <T, U extends keyof T>(x: T, ...k: U[]): Pick<T, U> => { return x; };
export const curried = (a: number) => (b: number): Map<string, number> => new Map<string, number>();
const single = async x => await x, pair = [1, 2] as [number, number], third = function* () {};
let typed: (a: string, b: { c: number }) => void = (a, b) => { };
let union: | "a" | 'b' | { c: "}" };
let later!: string, other2: number[] | undefined, third2;
var generic = new Foo<string, Bar<number>>(1, 2), afterGeneric = 1;
const less = a < b, more = c > d;
const table = {
  plain: 1,
  method(a = {}) { return { nested() {} }; },
  async load<T>(): Promise<T> { return null!; },
  get size() { return 1; },
  arrow: (x) => ({ y() {} }),
  fn: function inner() {},
  "quoted key": async () => {},
  [Symbol.dispose]() {},
  deep: { deeper: { deepest() {} }, list: [() => {}] },
  ...spread,
  shorthand,
  ternary: a ? () => {} : function () {},
  Klass: class { m() {} },
} as const satisfies Record<string, unknown>;
export const frozen = Object.freeze({ freeze() {}, cold: 1 });
export const store = defineStore<"x", State>({ actions: { fetch() {} } });
export { arrow as renamed, curried };
export * from "./everything";
export * as ns from "./ns";
export type { A, B };
export = Widget;
