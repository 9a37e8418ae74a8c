// The page: which view is shown, the bar, the keys.

import {$, announce, draw, fill, h, many, setText} from "./dom.js";
import {Inbox} from "./asks.js";
import {resolve} from "./actions.js";
import {begin, keys} from "./dialogs.js";
import * as list from "./list.js";
import {tried} from "./net.js";
import {Overview} from "./overview.js";
import {SessionView} from "./session.js";
import * as state from "./state.js";

const THEMES = {system: "Auto", light: "Light", dark: "Dark"};

let view = null,
  route = null;

const open = id =>
  tried(async () => {
    location.hash = `#/s/${encodeURIComponent(await resolve(id))}`;
  }, "It cannot be opened");

function go() {
  const [, name = "", id = ""] = /^#\/([a-z]*)\/?(.*)$/.exec(location.hash) || [];
  const wanted = `${name}/${id}`;
  if (wanted === route) return;
  route = wanted;
  if (view) view.close();
  const main = $("main");
  main.replaceChildren();
  document.body.dataset.route = name === "s" ? "session" : name || "list";
  document.title = "agentd";
  view =
    name === "s" && id
      ? new SessionView(main, decodeURIComponent(id))
      : name === "inbox"
        ? new Inbox(main)
        : new Overview(main);
  list.select(name === "s" ? decodeURIComponent(id) : "");
  for (const link of document.querySelectorAll("#tabs a, #bar a.button")) {
    const to = link.getAttribute("href");
    if (to === `#/${name}` || (name === "s" && to === "#/") || (!name && link.id === "to-overview"))
      link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  drawCounts();
}

// --- The bar -------------------------------------------------------------------------------------------------------

let known = 0;

function drawCounts() {
  const open = state.openAsks().length;
  for (const badge of document.querySelectorAll("#inbox-count, #tabs .count")) {
    badge.hidden = !open;
    setText(badge, String(open));
    badge.setAttribute("aria-label", many(open, "answer wanted", "answers wanted"));
  }
  const title = document.title.replace(/^\(\d+\) /, "");
  document.title = open ? `(${open}) ${title}` : title;
  if (open > known) announce(`${many(open, "answer")} wanted in the inbox`);
  known = open;
}

function drawLink() {
  const words = {
    connecting: "Connecting",
    live: "Live",
    lost: "Reconnecting",
    gone: state.link.error || "Not connected",
  };
  const shown = $("link");
  if (shown.dataset.state === state.link.state) return;
  shown.dataset.state = state.link.state;
  fill(shown, h("span", {class: "dot", "aria-hidden": "true"}), h("span", null, words[state.link.state]));
}

function theme() {
  const root = document.documentElement,
    now = root.dataset.theme || "system",
    names = Object.keys(THEMES);
  const next = names[(names.indexOf(now) + 1) % names.length];
  if (next === "system") delete root.dataset.theme;
  else root.dataset.theme = next;
  try {
    localStorage.setItem("agentd-theme", next);
  } catch {
    /* until the page is closed, then */
  }
  drawTheme();
}

function drawTheme() {
  const now = document.documentElement.dataset.theme || "system";
  setText($("theme"), `Theme: ${THEMES[now].toLowerCase()}`);
  $("theme").setAttribute("aria-label", `Colours: ${THEMES[now]}`);
}

// --- Keys ----------------------------------------------------------------------------------------------------------

const press = selector => {
  const found = document.querySelector(selector);
  if (found && !found.disabled && found.offsetParent) found.click();
};
const scroller = () => document.querySelector(".conversation") || document.querySelector("main .page");
let marked = null;

const ON = {
  n: () => begin(open),
  i: () => {
    location.hash = "#/inbox";
  },
  o: () => {
    location.hash = "#/overview";
  },
  t: theme,
  "?": keys,
  "/": () => {
    if (innerWidth < 900) location.hash = "#/";
    setTimeout(() => $("search").focus());
  },
  j: () => {
    marked = list.move(1);
  },
  k: () => {
    marked = list.move(-1);
  },
  Enter: () => {
    if (marked) open(marked);
    marked = null;
  },
  c: () => {
    const text = document.querySelector(".composer textarea");
    if (text) text.focus();
  },
  a: () => press(".ask:not(.settled) button[data-decision=allow]"),
  d: () => press(".ask:not(.settled) button[data-decision=deny]"),
  x: () => press(".session-head .danger"),
  r: () => press(".session-head .tools button[title^=Retry]"),
  1: () => press("#tab-timeline"),
  2: () => press("#tab-changes"),
  3: () => press("#tab-details"),
  4: () => press("#tab-log"),
  g: () => {
    const place = scroller();
    if (place) place.scrollTop = 0;
  },
  G: () => {
    if (view instanceof SessionView) view.conversation.follow();
  },
  Escape: () => {
    location.hash = "#/";
  },
};

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const at = event.target;
  if (at.matches("input, textarea, select")) {
    if (event.key === "Escape") at.blur();
    return;
  }
  if (event.key === "Enter" && at.matches("a, button, summary")) return;
  const work = ON[event.key];
  if (!work) return;
  event.preventDefault();
  work();
}

// --- Begin ---------------------------------------------------------------------------------------------------------

$("new").addEventListener("click", () => begin(open));
$("help").addEventListener("click", keys);
$("theme").addEventListener("click", theme);
document.querySelector(".skip").addEventListener("click", event => {
  event.preventDefault();
  $("main").focus();
});
addEventListener("keydown", key);
addEventListener("hashchange", go);
state.watch(kind => {
  if (kind !== "executor" && kind !== "job") draw("counts", drawCounts);
});
drawTheme();
drawLink();
list.start(open);
go();
state.connect(drawLink);
