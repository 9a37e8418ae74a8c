// Records of a log, whatever face they are of, folded into what a conversation shows. No elements here.

import {HANDLERS} from "./records.js";

const MOST_ITEMS = 3000; // that are kept; older ones go, and the transcript has them
const MOST_WEIGHT = 24e6; // characters of all of them
const MOST_STEPS = 600;
const RAW_KEPT = 300; // records, for the log window

// What is not there in the middle of a history: pieces that a whole message replaces.
export const WHOLE = [
  "session.created",
  "session.changed",
  "job.created",
  "job.started",
  "job.finished",
  "phase",
  "tasks",
  "message",
  "message.changed",
  "history.compacted",
  "history.cleared",
  "session.imported",
  "tool.started",
  "tool.output",
  "tool.finished",
  "ask.opened",
  "ask.settled",
  "notice",
  "hook",
  "usage",
  "files.saved",
  "files.rewound",
  "commit",
  "chat.message",
  "chat.set",
  "chat.failed",
  "chat.canceled",
];

export class Fold {
  constructor() {
    this.reset();
  }

  reset() {
    this.items = [];
    this.dropped = 0; // items that went
    this.jobs = new Map();
    this.job = null; // the latest
    this.tasks = [];
    this.points = []; // of usage: {ts, input, output, cost}, sums
    this.steps = []; // of the timeline
    this.raw = [];
    this.checkpoints = [];
    this.parts = 0; // changes so far
    this.weight = 0; // characters that came since it was last made lighter
    this.changed = new Set(); // items to be drawn again
    this._by = new Map();
    this._steps = new Map();
  }

  apply(record) {
    this.parts++;
    this.raw.push(record);
    if (this.raw.length > 2 * RAW_KEPT) this.raw.splice(0, this.raw.length - RAW_KEPT);
    const handler = HANDLERS[record.type];
    if (handler) handler(this, record.data, record);
    if (this.items.length > MOST_ITEMS + 500) this._drop(this.items.length - MOST_ITEMS);
    if (this.weight > MOST_WEIGHT) this._lighten();
  }

  add(key, kind, record, fields) {
    const item = {key, kind, ts: record.ts, job: record.job, parent: record.parent, rev: 0, ...fields};
    this.items.push(item);
    this._by.set(key, item);
    return item;
  }

  find(key) {
    return this._by.get(key);
  }

  touch(item) {
    item.rev++;
    this.changed.add(item);
  }

  step(key, ts, fields) {
    let step = this._steps.get(key);
    if (!step) {
      step = {key, start: ts, end: null, state: "running", name: "", ...fields};
      this.steps.push(step);
      this._steps.set(key, step);
      if (this.steps.length > MOST_STEPS) this._steps.delete(this.steps.shift().key);
    } else Object.assign(step, fields);
    return step;
  }

  endStep(key, ts, state) {
    const step = this._steps.get(key);
    if (step && step.end === null) {
      step.end = ts;
      step.state = state;
    }
  }

  _drop(count) {
    for (const item of this.items.splice(0, count)) this._by.delete(item.key);
    this.dropped += count;
  }

  _lighten() {
    // of the latest items half of what is allowed is kept
    let kept = 0,
      at = this.items.length;
    while (at > 0 && (kept += weightOf(this.items[at - 1])) < MOST_WEIGHT / 2) at--;
    this._drop(Math.min(at, this.items.length - 1));
    this.weight = Math.min(kept, MOST_WEIGHT / 2);
  }
}

// Without inputs and pictures, whose size the daemon bounds.
const weightOf = item =>
  (item.text || "").length + (item.output || "").length + (item.told || "").length + (item.writing || "").length;
