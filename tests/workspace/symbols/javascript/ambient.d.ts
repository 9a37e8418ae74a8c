/// <reference types="node" />
export {};
declare const VERSION: string;
declare let a: number, b: { c: string };
declare var process: { env: Record<string, string> };
declare function greet(name: string): void
declare function greet(name: string, opts: { loud: boolean }): { done: true }
declare class Greeter<T> {
  constructor(name: string)
  greet(): void
  static create<U>(x: U): Greeter<U>
  private readonly x
  protected y?: T
  get z(): T
  #private
}
declare abstract class Base { abstract m(): void }
declare module "foo" {
  export default function foo(x: number): string;
  export function bar(): void;
  const value: { a: number };
  export = value;
}
declare module '*.css' {
  const classes: { readonly [key: string]: string }
  export default classes
}
declare module "bare";
declare global {
  interface Window {
    myGlobal: string
  }
  var globalThing: number
  namespace NodeJS { interface ProcessEnv { readonly NODE_ENV: "a" | "b" } }
}
declare namespace jQuery {
  function ajax(url: string): void
  let fn: any
}
export as namespace MyLib;
export declare type Handler = { (e: Event): void; displayName?: string }
export declare enum Mode { On, Off }
declare const enum Bits { One = 1 }
export declare const handler: <T, U>(x: T) => U;
export default function (x: number): void
