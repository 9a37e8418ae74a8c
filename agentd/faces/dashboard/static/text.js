// Text as elements: paragraphs, code, lists and diffs. It is never markup: every character becomes part of a text node.

import {h, put} from "./dom.js";

const LONGEST_BLOCK = 6000; // a paragraph that is longer is cut where a line ends, so that streaming stays cheap

// Text that grows. What ends with an empty line is drawn once; only the last block is drawn again.
export class Prose {
  constructor(element) {
    this.element = element;
    this.clear();
  }

  clear() {
    this.element.replaceChildren();
    this.stable = 0; // characters that are drawn for good
    this.last = null;
    this.shown = "";
  }

  show(text) {
    if (text === this.shown) return;
    if (!text.startsWith(this.shown.slice(0, this.stable)) || text.length < this.stable) this.clear();
    this.shown = text;
    if (this.last) this.last.remove();
    this.last = null;
    for (;;) {
      const end = blockEnd(text, this.stable);
      const drawn = block(text.slice(this.stable, end < 0 ? text.length : end));
      if (drawn) this.element.append(drawn);
      if (end < 0) {
        this.last = drawn;
        return;
      }
      this.stable = end;
    }
  }
}

// Where the block that begins at *from* is over for good; -1: it may still grow.
function blockEnd(text, from) {
  let at = from;
  while (text[at] === "\n") at++;
  if (text.startsWith("```", at)) {
    const close = text.indexOf("\n```", at);
    if (close >= 0) {
      const end = text.indexOf("\n", close + 1);
      return end < 0 ? -1 : end + 1;
    }
  } else {
    const empty = text.indexOf("\n\n", at),
      fence = text.indexOf("\n```", at);
    if (fence >= 0 && (empty < 0 || fence < empty)) return fence + 1;
    if (empty >= 0) return empty + 2;
  }
  if (text.length - from <= LONGEST_BLOCK || text.startsWith("```", at)) return -1;
  const line = text.indexOf("\n", from + LONGEST_BLOCK / 2);
  return line < 0 || line - from > LONGEST_BLOCK ? from + LONGEST_BLOCK : line + 1;
}

function block(source) {
  const text = source.replace(/^\n+|\s+$/g, "");
  if (!text) return null;
  const fence = /^```([\w+-]*)[^\n]*\n?([\s\S]*?)(?:\n?```)?$/.exec(text);
  if (fence) return fence[1] === "diff" ? diff(fence[2]) : h("pre", null, fence[2]);
  const heading = /^(#{1,6})\s+(.*)$/.exec(text);
  if (heading && !text.includes("\n")) return h("p", {class: "heading"}, ...inline(heading[2]));
  const lines = text.split("\n");
  if (lines.every(line => /^\s*(?:[-*]|\d+[.)])\s+|^\s{2,}\S/.test(line)) && /^\s*(?:[-*]|\d+[.)])\s/.test(lines[0]))
    return list(lines);
  return h("p", null, ...lines.flatMap((line, index) => [index ? "\n" : null, ...inline(line)]).filter(Boolean));
}

function list(lines) {
  const made = h("ul");
  for (const line of lines) {
    const found = /^(\s*)([-*]|\d+[.)])\s+(.*)$/.exec(line);
    if (!found) {
      put(made.lastChild, ["\n", ...inline(line.trim())]);
      continue;
    }
    const item = h("li", {"data-mark": /\d/.test(found[2]) ? found[2] : "•"}, ...inline(found[3]));
    if (found[1].length > 1) item.className = "deeper";
    made.append(item);
  }
  return made;
}

function inline(line) {
  const out = [];
  let at = 0;
  for (const found of line.matchAll(/`([^`]+)`|\*\*([^*]+)\*\*/g)) {
    if (found.index > at) out.push(line.slice(at, found.index));
    out.push(found[1] !== undefined ? h("code", null, found[1]) : h("strong", null, found[2]));
    at = found.index + found[0].length;
  }
  if (at < line.length) out.push(line.slice(at));
  return out;
}

// --- Diffs ---------------------------------------------------------------------------------------------------------

const MOST_LINES = 3000;
const KINDS = {"+": "added", "-": "removed", "@": "hunk"};

// A unified diff, coloured. *files*: with a head for each file, which folds it.
export function diff(text) {
  const lines = text.split("\n");
  const made = h("div", {class: "diff", role: "group", "aria-label": "Changes"});
  for (const line of lines.slice(0, MOST_LINES)) made.append(diffLine(line));
  if (lines.length > MOST_LINES) made.append(h("div", {class: "hunk"}, `${lines.length - MOST_LINES} more lines`));
  return made;
}

function diffLine(line) {
  const head = /^(\+\+\+|---|diff |index |new file|deleted file|rename |similarity )/.test(line);
  return h("div", {class: head ? "file" : KINDS[line[0]] || null}, line || " ");
}

// [{name, added, removed, text}] of a diff of git's.
export function filesOf(text) {
  return text
    .split(/^(?=diff --git )/m)
    .filter(part => part.startsWith("diff --git "))
    .map(part => {
      const name = (/^\+\+\+ (?:b\/)?(.*)$/m.exec(part) || [])[1];
      const before = (/^--- (?:a\/)?(.*)$/m.exec(part) || [])[1];
      const lines = part.split("\n");
      return {
        name: (name && name !== "/dev/null" ? name : before) || lines[0].slice(11),
        gone: name === "/dev/null",
        added: lines.filter(line => line.startsWith("+") && !line.startsWith("+++")).length,
        removed: lines.filter(line => line.startsWith("-") && !line.startsWith("---")).length,
        text: part.slice(part.search(/^@@|^Binary/m) >= 0 ? part.search(/^@@|^Binary/m) : 0).replace(/\n$/, ""),
      };
    });
}

// What an edit replaces, as lines: what both have at the beginning and the end is context.
function replaced(before, after) {
  const a = before.split("\n"),
    b = after.split("\n");
  let head = 0,
    tail = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const between = common(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  return [
    ...a
      .slice(0, head)
      .slice(-3)
      .map(line => ` ${line}`),
    ...between,
    ...a
      .slice(a.length - tail)
      .slice(0, 3)
      .map(line => ` ${line}`),
  ].join("\n");
}

// The lines of both, those that they share once: by the longest common subsequence, where that is cheap to find.
function common(a, b) {
  if (a.length * b.length > 40000) return [...a.map(line => `-${line}`), ...b.map(line => `+${line}`)];
  const best = Array.from({length: a.length + 1}, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      best[i][j] = a[i] === b[j] ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
  const out = [];
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push(` ${a[i++]}`);
      j++;
    } else if (i < a.length && (j === b.length || best[i + 1][j] >= best[i][j + 1])) out.push(`-${a[i++]}`);
    else out.push(`+${b[j++]}`);
  }
  return out;
}

// What a call is about, as a person wants to see it before deciding: a diff, a command, a plan, or its input.
export function inputOf(name, input) {
  if (!input || typeof input !== "object") return h("p", {class: "muted"}, "No input");
  const path = input.file_path || input.notebook_path || input.path;
  const edits = Array.isArray(input.edits) ? input.edits : typeof input.new_string === "string" ? [input] : null;
  if (edits && edits.every(edit => edit && typeof edit.new_string === "string")) {
    const text = edits.map(edit => replaced(String(edit.old_string || ""), edit.new_string)).join("\n@@\n");
    return h("div", null, path && h("div", {class: "path"}, path), diff(text));
  }
  if (typeof input.patch === "string") return diff(input.patch);
  if (typeof input.content === "string" && path) {
    return h(
      "div",
      null,
      h("div", {class: "path"}, path),
      diff(
        input.content
          .split("\n")
          .map(line => `+${line}`)
          .join("\n"),
      ),
    );
  }
  if (typeof input.command === "string") {
    const rest = Object.entries(input).filter(([key]) => !["command", "description"].includes(key));
    return h(
      "div",
      null,
      h("pre", {class: "command"}, input.command),
      rest.length
        ? h("p", {class: "rest"}, rest.map(([key, value]) => `${key}: ${JSON.stringify(value)}`).join(", "))
        : null,
    );
  }
  if (typeof input.plan === "string") {
    const made = h("div", {class: "prose"});
    new Prose(made).show(input.plan);
    return made;
  }
  return h("pre", null, JSON.stringify(input, null, 2));
}
