// The list of all sessions: what works or waits first, then the latest. Only the rows in sight are elements.

import {$, ago, base, draw, fill, h, many, money, setText, throttled} from "./dom.js";
import * as state from "./state.js";

const ROW = 62; // pixels, as the style sheet has it
const SPARE = 6; // rows beyond what is in sight
const SORT_MS = 200;
const RANK = {waiting: 0, running: 1, queued: 2, idle: 3};
const SHOW = {all: "All", active: "Active", waiting: "Waiting", failed: "Failed"};

const filter = {words: "", face: "", show: "all", found: null};
const rows = new Map(); // by session id
let order = [];
let current = "";
let cursor = -1; // of the keyboard
let faces = "";

export function start(open) {
  $("list").addEventListener("scroll", () => {
    draw("list", render);
    if (nearEnd()) state.loadMore().catch(() => {});
  });
  new ResizeObserver(() => draw("list", render)).observe($("list"));
  const sort = throttled(SORT_MS, () => {
    sorted();
    draw("list", render);
  });
  state.watch(kind => {
    if (kind !== "job") sort();
  });
  setInterval(() => draw("list", render), 30000);
  fill(
    $("states"),
    ...Object.entries(SHOW).map(([key, word]) =>
      h("button", {"aria-pressed": String(key === "all"), "data-show": key, onclick: () => show(key)}, word),
    ),
  );
  $("face").addEventListener("change", () => {
    filter.face = $("face").value;
    sorted();
    draw("list", render);
  });
  let typing = 0;
  $("search").addEventListener("input", () => {
    clearTimeout(typing);
    filter.words = $("search").value.trim().toLowerCase();
    filter.found = null;
    sorted();
    draw("list", render);
    const words = filter.words;
    if (words)
      typing = setTimeout(async () => {
        const found = await state.find(words).catch(() => null);
        if (words === filter.words) {
          filter.found = found;
          sorted();
          draw("list", render);
        }
      }, 250);
  });
  $("search").addEventListener("keydown", event => {
    if (event.key === "Enter" && order[0]) open(order[0].id);
  });
  sorted();
}

function show(key) {
  filter.show = key;
  for (const button of $("states").children) button.setAttribute("aria-pressed", String(button.dataset.show === key));
  sorted();
  $("list").scrollTop = 0;
  draw("list", render);
}

function nearEnd() {
  const list = $("list");
  return list.scrollHeight - list.scrollTop - list.clientHeight < 20 * ROW;
}

function matches(session, waiting) {
  if (filter.face && session.face !== filter.face) return false;
  if (filter.show === "active" && !state.isActive(session)) return false;
  if (filter.show === "waiting" && !waiting.has(session.id) && session.status !== "waiting") return false;
  if (filter.show === "failed" && !state.hasFailed(session)) return false;
  if (!filter.words) return true;
  if (filter.found && filter.found.has(session.id)) return true;
  return `${session.title} ${session.id} ${session.workspace} ${session.branch || ""} ${session.model || ""} ${session.face}`
    .toLowerCase()
    .includes(filter.words);
}

function sorted() {
  const waiting = new Set(state.openAsks().map(ask => ask.session_id));
  const all = [...state.sessions.values()];
  order = all.filter(session => matches(session, waiting));
  // Those at work keep their places whatever happens in them, so that a row stays under the finger.
  order.sort(
    (a, b) =>
      RANK[a.status] - RANK[b.status] ||
      (state.isActive(a) ? b.created - a.created : b.modified - a.modified) ||
      (a.id < b.id ? 1 : -1),
  );
  const known = [...new Set(all.map(session => session.face))].sort();
  if (known.join() !== faces) {
    faces = known.join();
    fill($("face"), h("option", {value: ""}, "All APIs"), ...known.map(face => h("option", {value: face}, face)));
    $("face").value = filter.face;
  }
  const note = !state.link.loaded
    ? state.link.error || "Loading"
    : all.length === 0
      ? "No session yet. Start one with New, or over any of the APIs."
      : order.length === 0
        ? "No session fits."
        : "";
  setText($("list-note"), note);
}

export function select(id) {
  current = id;
  cursor = order.findIndex(session => session.id === id);
  draw("list", render);
}

export function move(by) {
  if (!order.length) return null;
  cursor = Math.max(0, Math.min(order.length - 1, cursor + by));
  const list = $("list"),
    top = cursor * ROW;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
  draw("list", render);
  return order[cursor].id;
}

function render() {
  const list = $("list"),
    box = $("rows");
  const from = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE),
    to = Math.min(order.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + SPARE);
  box.style.height = `${order.length * ROW}px`;
  const wanted = new Set(order.slice(from, to).map(session => session.id));
  for (const [id, row] of rows)
    if (!wanted.has(id)) {
      row.element.remove();
      rows.delete(id);
    }
  const open = new Map();
  for (const ask of state.asks.values())
    if (state.isOpen(ask)) open.set(ask.session_id, (open.get(ask.session_id) || 0) + 1);
  let before = null;
  for (let at = from; at < to; at++) {
    const session = order[at];
    let row = rows.get(session.id);
    if (!row) rows.set(session.id, (row = made(session.id)));
    row.update(session, at, open.get(session.id) || 0);
    // In the order of the list, for who reads or tabs through it; moving an element that is in place costs its focus.
    const next = before ? before.nextSibling : box.firstChild;
    if (next !== row.element) box.insertBefore(row.element, next);
    before = row.element;
  }
}

function made(id) {
  const dot = h("span", {class: "dot", role: "img"}),
    title = h("span", {class: "title"}),
    waiting = h("span", {class: "count"}),
    time = h("time");
  const face = h("span", {class: "face"}),
    about = h("span", {class: "about"}),
    cost = h("span", {class: "cost"});
  const link = h(
    "a",
    {href: `#/s/${encodeURIComponent(id)}`},
    h("span", {class: "line"}, dot, title, waiting, time),
    h("span", {class: "line second"}, face, about, cost),
  );
  const element = h("div", {class: "session", role: "listitem", "data-id": id}, link);
  return {
    element,
    update(session, at, asks) {
      const word = asks ? "waiting" : state.stateOf(session);
      element.style.top = `${at * ROW}px`;
      element.setAttribute("aria-setsize", order.length);
      element.setAttribute("aria-posinset", at + 1);
      if (dot.dataset.state !== word) {
        dot.dataset.state = word;
        dot.setAttribute("aria-label", word);
        dot.setAttribute("title", word);
      }
      setText(title, nameOf(session));
      waiting.hidden = !asks;
      setText(waiting, String(asks));
      waiting.setAttribute("aria-label", many(asks, "answer wanted", "answers wanted"));
      setText(time, ago(session.modified));
      setText(face, session.face);
      setText(
        about,
        [base(session.repo || session.workspace), session.branch, session.model].filter(Boolean).join(" · "),
      );
      setText(cost, session.totals.cost_usd ? money(session.totals.cost_usd) : "");
      if (session.id === current) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      link.classList.toggle("cursor", at === cursor);
    },
  };
}

export const nameOf = session =>
  (session.title && session.title.trim()) || base(session.workspace) || session.id.slice(0, 8);
