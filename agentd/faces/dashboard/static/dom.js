// Elements, frames and words for numbers. Text that comes from outside only ever becomes text nodes.

export const $ = id => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "rect", "line", "text", "g"]);

// h("button", {class: "primary", onclick: send, "aria-label": "Send"}, "Send"): an attribute that is null or false is left out.
export function h(tag, attributes, ...children) {
  const made = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (name === "value") made.value = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  put(made, children);
  return made;
}

export function put(parent, children) {
  for (const child of children.flat(4)) {
    if (child !== null && child !== undefined && child !== false) parent.append(child);
  }
  return parent;
}

export const fill = (parent, ...children) => put((parent.replaceChildren(), parent), children);

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// --- Frames: whatever happens, a view is drawn once a frame at most ------------------------------------------------

const due = new Map();
let asked = false;

export function draw(key, work) {
  due.set(key, work);
  if (asked) return;
  asked = true;
  // A page in the background gets no frames; its title and its inbox go on all the same.
  if (document.hidden) setTimeout(drawAll, 250);
  else requestAnimationFrame(drawAll);
}

function drawAll() {
  asked = false;
  const works = [...due.values()];
  due.clear();
  for (const work of works) work();
}

// At most once in so many milliseconds, and always once more after the last call.
export function throttled(ms, work) {
  let timer = 0,
    last = 0;
  return () => {
    if (timer) return;
    timer = setTimeout(
      () => {
        timer = 0;
        last = performance.now();
        work();
      },
      Math.max(0, last + ms - performance.now()),
    );
  };
}

export const breath = () =>
  new Promise(resolve => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      resolve();
    };
    channel.port2.postMessage(0);
  });

// --- Words ---------------------------------------------------------------------------------------------------------

export function ago(ms, now = Date.now()) {
  const s = Math.max(0, (now - ms) / 1000);
  if (s < 45) return "now";
  if (s < 3600) return `${Math.max(1, Math.round(s / 60))} min`;
  if (s < 86400) return `${Math.round(s / 3600)} h`;
  if (s < 30 * 86400) return `${Math.round(s / 86400)} d`;
  return new Date(ms).toLocaleDateString();
}

export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60e3) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3600e3) return `${Math.floor(ms / 60e3)} min ${Math.round((ms % 60e3) / 1000)} s`;
  return `${Math.floor(ms / 3600e3)} h ${Math.round((ms % 3600e3) / 60e3)} min`;
}

export function tokens(n) {
  if (!n) return "0";
  if (n < 1000) return String(n);
  return n < 1e6 ? `${(n / 1000).toFixed(n < 1e4 ? 1 : 0)}k` : `${(n / 1e6).toFixed(1)}M`;
}

export const money = usd =>
  usd === null || usd === undefined
    ? ""
    : `$${usd === 0 || usd >= 0.995 ? usd.toFixed(2) : usd.toFixed(usd < 0.01 ? 4 : 3)}`;

export function bytes(n) {
  if (n === null || n === undefined) return "";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  while (n >= 1000 && at < 4) {
    n /= 1024;
    at++;
  }
  return `${at && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[at]}`;
}

export const clock = ms => new Date(ms).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit"});
export const many = (n, word, words = `${word}s`) => `${n} ${n === 1 ? word : words}`;
export const base = path => (path || "").replace(/\/+$/, "").split("/").pop() || path || "";
export const plain = text =>
  text.replace(/\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)/g, "").replace(/^.*\r(?!\n)/gm, "");

// --- Saying things -------------------------------------------------------------------------------------------------

export function announce(text) {
  $("live").textContent = text;
}

export function toast(text, bad = false) {
  const shown = h(
    "div",
    {class: bad ? "toast bad" : "toast"},
    text,
    h("button", {class: "quiet", "aria-label": "Dismiss", onclick: () => shown.remove()}, "×"),
  );
  $("toasts").append(shown);
  while ($("toasts").childElementCount > 4) $("toasts").firstChild.remove();
  setTimeout(() => shown.remove(), bad ? 12000 : 5000);
}

// A dialog that is gone once it is closed; *body* gets a function that closes it.
export function dialog(title, body) {
  const close = () => box.close();
  const box = h(
    "dialog",
    {
      "aria-label": title,
      onclose: () => box.remove(),
      onclick: event => {
        if (event.target === box) close();
      },
    },
    h(
      "div",
      {class: "sheet"},
      h(
        "header",
        null,
        h("h2", null, title),
        h("button", {class: "quiet", "aria-label": "Close", onclick: close}, "×"),
      ),
      body(close),
    ),
  );
  document.body.append(box);
  box.showModal();
  return box;
}

export function confirmed(title, text, verb) {
  return new Promise(resolve => {
    const box = dialog(title, close => [
      h("p", null, text),
      h(
        "div",
        {class: "actions"},
        h("button", {onclick: close}, "Keep"),
        h(
          "button",
          {
            class: "danger",
            onclick: () => {
              resolve(true);
              close();
            },
          },
          verb,
        ),
      ),
    ]);
    box.addEventListener("close", () => resolve(false));
  });
}
