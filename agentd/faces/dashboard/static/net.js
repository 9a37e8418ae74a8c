// Requests and event streams. A stream goes on by itself after whatever ended it, from the last event that came.

import {breath, toast} from "./dom.js";

export const ADMIN = "/agentd/v1";
const SLICE_MS = 8; // of work before others get their turn
const SILENCE_MS = 45000; // the daemon says something every 15 s
const SLOWEST_MS = 10000; // between two tries

export class Refused extends Error {
  constructor(status, message, body) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

// The answer's JSON, or its text. Raises Refused; TypeError where nobody answers.
export async function ask(method, path, body) {
  const options = {method, headers: {Accept: "application/json"}};
  if (body instanceof FormData) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const answer = await fetch(path, options);
  const text = await answer.text();
  let told = text;
  if ((answer.headers.get("Content-Type") || "").includes("json")) {
    try {
      told = JSON.parse(text);
    } catch {
      /* told as it is */
    }
  }
  if (answer.status === 401) leave();
  if (!answer.ok) throw new Refused(answer.status, wrong(told, answer), told);
  return told;
}

export const get = path => ask("GET", path);
export const post = (path, body = {}) => ask("POST", path, body);

function wrong(told, answer) {
  const error = told && told.error;
  const message =
    (error && error.message) || (typeof error === "string" && error) || answer.statusText || `status ${answer.status}`;
  return error && Array.isArray(error.details) && error.details.length
    ? `${message}: ${error.details.join("; ")}`
    : message;
}

let left = false;
export function leave() {
  // the login is over: the page that is there now asks for a new one
  if (!left) location.replace("/");
  left = true;
}

// Do it, and say so if it does not work; true if it did.
export async function tried(work, what) {
  try {
    await work();
    return true;
  } catch (error) {
    toast(`${what}: ${reason(error)}`, true);
    return false;
  }
}

export function reason(error) {
  if (error instanceof TypeError) return "agentd does not answer";
  return error.message;
}

// --- Streams -------------------------------------------------------------------------------------------------------

// Calls on.event(name, data, id) for each event; on.open(id) when it hears from there on, "" for no event yet; and
// on.lost(ms) when it waits that long to try again. on.gone(error) ends it: there is no such stream. *after*: a function
// that says where to begin.
export function stream(path, after, on) {
  const control = new AbortController();
  const signal = control.signal;
  run();
  return () => control.abort();

  async function run() {
    let failures = 0,
      last = after();
    while (!signal.aborted) {
      try {
        await listen(path, last, signal, on, id => {
          last = id;
          failures = 0;
        });
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Refused && error.status < 500 && error.status !== 429) {
          if (error.status === 401) leave();
          return void (on.gone && on.gone(error));
        }
      }
      if (signal.aborted) return;
      const wait = failures ? Math.min(SLOWEST_MS, 250 * 2 ** failures) : 250;
      failures++;
      on.lost && on.lost(wait);
      await waiting(wait, signal);
    }
  }
}

function waiting(ms, signal) {
  // until the time is over, or the network or the person is back
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      document.removeEventListener("visibilitychange", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    addEventListener("online", done);
    document.addEventListener("visibilitychange", done);
    signal.addEventListener("abort", done);
  });
}

async function listen(path, last, signal, on, seen) {
  const quiet = new AbortController();
  const stop = () => quiet.abort();
  signal.addEventListener("abort", stop);
  let watch = setTimeout(stop, SILENCE_MS);
  try {
    const headers = {Accept: "text/event-stream"};
    if (last) headers["Last-Event-ID"] = last;
    const answer = await fetch(path, {headers, signal: quiet.signal, cache: "no-store"});
    if (!answer.ok) throw new Refused(answer.status, `status ${answer.status}`);
    on.open && (await on.open(last));
    const reader = answer.body.getReader();
    const decoder = new TextDecoder();
    let rest = "",
      since = performance.now();
    for (;;) {
      const {done, value} = await reader.read();
      if (done) return;
      clearTimeout(watch);
      watch = setTimeout(stop, SILENCE_MS);
      const frames = (rest + decoder.decode(value, {stream: true})).split("\n\n");
      rest = frames.pop();
      for (const frame of frames) {
        if (signal.aborted) return;
        const event = parse(frame);
        if (event.id) seen(event.id);
        if (event.data) on.event(event.name, JSON.parse(event.data), event.id);
        if (performance.now() - since > SLICE_MS) {
          await breath();
          since = performance.now();
        }
      }
    }
  } finally {
    clearTimeout(watch);
    signal.removeEventListener("abort", stop);
    quiet.abort();
  }
}

function parse(frame) {
  const event = {name: "message", data: "", id: ""};
  for (const line of frame.split("\n")) {
    const at = line.indexOf(":");
    if (at < 1) continue;
    const value = line.slice(line[at + 1] === " " ? at + 2 : at + 1);
    const field = line.slice(0, at);
    if (field === "data") event.data = event.data ? `${event.data}\n${value}` : value;
    else if (field === "event") event.name = value;
    else if (field === "id") event.id = value;
  }
  return event;
}
