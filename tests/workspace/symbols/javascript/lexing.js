#!/usr/bin/env node
'use strict'
const re1 = /[/"'`{]}\/function no1() {/gi, re2 = /\//;
const div = a / b / c, div2 = (a + b) / 2 / 3;
const arr = [1, 2][0] / 2, re3 = /}/;
const obj = { a: /{/, b: 1 / 2, c() { return /}/.test("{") } };
if (x) /}/.test(y) && function no2() {};
const t1 = `a ${b + `nested ${c ? `}` : "`"} {`} function no3() {} \` ${{ a: { b: 1 } }.a}`;
const t2 = tag`${function no4() { return `}` }}`;
const t3 = `$ $$ {} $\{ \${ } ${'$'}{`, t4 = ``
const s1 = 'it\'s { "', s2 = "say \"}\" // not a comment", s3 = 'line \
continued {';
// function no5() { ` " ' /*
/* function no6() { ` // */ function yes1() { return 1 /* } */ }
function yes2(a = "}", b = /[)}]/, c = `)}`) { return a }
const x1 = i++ / 2, x2 = /re/.x++ / 3 // trailing `
function divide(a, b) { return a / b } /re/.exec("function no7() {}")
const y1 = typeof /x{/ === 'object', y2 = void /}/
for (const q of [1]) /[{]/.test(q)
const html = '<div class="a">{ function no8() {} }</div>'
const lt = a <b, gt = c> d, shift = 1 << 2 >> 3 >>> 1
const el = <div title="}" onClick={() => { return '{' }}>don't { x } "quote <br/> </div>, el2 = <></>
const afterEl = 1
const nul = a ?? b?.c?.[d]?.(e), num = .5 + 1_000n + 0x1F + 1e-5 + 5..toString(), ter = a?.5:1
label: for (;;) { break label }
var $ = 1, _ = 2, $jq = $(() => {}), ünïcödé = 3, 变量 = () => {}
let html2 = /<\/script>/.test(s) ? a / b : /[\]/}]/u.source
const last = x => x / 2
const last2 = (x) => /a{2}/
function* gen() { yield /}/; const a = yield }
async function af() { await /{/; return/}/ }
{ function inBlock() {} }
if (cond) { function inIf() {} } else { var inElse = 1 }
try { risky() } catch { } finally { }
switch (x) { case /a/: default: function inSwitch() {} }
export default /regex{/
