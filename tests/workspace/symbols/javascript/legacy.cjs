var util = require('util'), EventEmitter = require('events').EventEmitter
var version = '1.0', build = 7

module.exports = Server
module.exports = exports = create
exports = module.exports = function createServer(opts) { return new Server(opts) }
exports.Server = Server
exports.listen = function listen(port) { return port }
exports.DEFAULT = { port: 80, on() {} }
exports.VERSION = '1' + '2'; exports.ALIAS = version
exports.a = exports.b = void 0
module.exports.helper = async () => {}
module.exports.Klass = class Foo { bar() {} }
exports['computed'] = function () {}

function Server(opts) {
  if (!(this instanceof Server)) return new Server(opts)
  this.handle = function () {}
}
util.inherits(Server, EventEmitter)
Server.prototype.listen = function (port, cb) {
  var self = this
  return self
}
Server.prototype.close = Server.prototype.end = function close() { }
Server.prototype.timeout = 120 * 1000; Server.prototype.alias = Server.prototype.close
Server.create = function () { return new Server() }
Server.Nested = class { x = 1 }
Server.count = 0
Server.a.b.c = () => {}
Client.prototype = {
  constructor: Client,
  send: function (data) { return { inner: function () {} } },
  recv() {},
  get open() { return true }
}
window.boot = function () {}
globalThis.App = class App { start() {} }
window.title = 'x'
document.title = 'y'
this.foo = function () {}
if (a == b) { c.d = function () {} }
a.b == function () {}
a.b === function () {}
$.fn.plugin = function (o) { return this.each(function () {}) }

var Module = (function () {
  function privateOne() {}
  return { publicOne: function () {} }
})()
var called = function () { return 1 }()
var lazy = function () { return 1 }

;(function () {
  function inIife() {}
  var inIifeVar = 1
  ;(() => { class InArrowIife { m() {} } })()
})()
!function (a) { function inBang() { function no() {} } }(1)
;(async () => { const inAsync = await 1; function asyncHelper() {} })()
void async function named() { let inVoid }()
;(function (root, factory) {
  if (typeof define === 'function' && define.amd) { define(['x'], factory) } else { root.Lib = factory() }
}(this, function (dep) {
  function Lib() {}
  Lib.prototype.go = function () {}
  return Lib
}))
;(function (global, factory) { factory(global) })(this, (function (exports) { 'use strict';
  const rolled = () => {}
  exports.rolled2 = rolled3
}));
define('name', ['dep'], function (dep) { function inAmd() {} })
;(function () { function inCall() {} }).call(this)
;(function () { function notCalled() {} })
setTimeout(function () { function noTimeout() {} }, 10)
describe('x', () => { function noDescribe() {} })
new (class { method() {} })
module.exports = {
  start: function () {},
  stop() {},
  status: () => 'ok',
  nested: { inner() {} },
  Server, version, port: 80, [key]: 1,
}
