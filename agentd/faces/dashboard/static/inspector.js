// Beside a conversation: what happened when, what changed, what it cost, and the log as it is.

import {confirmed, clock, draw, duration, fill, h, many, setText, throttled, toast, tokens} from "./dom.js";
import {reason, tried} from "./net.js";
import * as actions from "./actions.js";
import {chart} from "./chart.js";
import {diff, filesOf} from "./text.js";

const TABS = {timeline: "Timeline", changes: "Changes", details: "Details", log: "Log"};
const MOST_STEPS = 120;
const STEP_STATE = {succeeded: "ok", waiting_approval: "waiting", pending: "queued"};

let chosen = "timeline"; // of all sessions

export class Inspector {
  constructor(view) {
    this.view = view;
    this.body = h("div", {class: "tab-body", role: "tabpanel", id: "panel", tabindex: "0"});
    this.tabs = Object.entries(TABS).map(([key, word]) =>
      h(
        "button",
        {role: "tab", id: `tab-${key}`, "aria-controls": "panel", "data-tab": key, onclick: () => this.choose(key)},
        word,
      ),
    );
    const list = h(
      "div",
      {class: "tabs", role: "tablist", "aria-label": "About this session", onkeydown: event => this.key(event)},
      ...this.tabs,
    );
    this.element = h("aside", {class: "inspector", "aria-label": "About this session"}, list, this.body);
    this.later = throttled(500, () => draw("inspector", () => this.draw()));
    this.run = null;
    this.reads = 0; // of the run
    this.asked = "";
    this.choose(chosen);
  }

  key(event) {
    const by = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!by) return;
    const at = (this.tabs.findIndex(tab => tab.dataset.tab === chosen) + by + this.tabs.length) % this.tabs.length;
    this.choose(this.tabs[at].dataset.tab);
    this.tabs[at].focus();
  }

  choose(key) {
    chosen = key;
    for (const tab of this.tabs) {
      tab.setAttribute("aria-selected", String(tab.dataset.tab === key));
      tab.tabIndex = tab.dataset.tab === key ? 0 : -1;
    }
    this.body.setAttribute("aria-labelledby", `tab-${key}`);
    this.asked = this.shown = "";
    this.body.replaceChildren();
    this.draw();
  }

  draw() {
    if (this.view.closed || !this.element.offsetParent) return; // nobody sees it
    this[chosen]();
  }

  // --- Timeline ---

  timeline() {
    const {fold, session} = this.view;
    if (session.face === "runs") this.readRun();
    const steps = this.run ? stepsOf(this.run) : fold.steps.filter(step => step.kind !== "job");
    const running = steps.some(step => step.end === null);
    const stamp = `${steps.length}:${fold.parts}:${this.reads}:${running ? Math.floor(Date.now() / 1000) : ""}`;
    if (stamp === this.shown) return;
    this.shown = stamp;
    if (running) setTimeout(() => this.later(), 1000);
    const latest = steps.slice(-MOST_STEPS);
    if (!latest.length) return void fill(this.body, h("p", {class: "muted"}, "Nothing has happened yet."));
    const begin = latest[0].start,
      end = Math.max(...latest.map(step => step.end ?? Date.now()), begin + 1);
    fill(
      this.body,
      h(
        "p",
        {class: "muted"},
        `${many(steps.length, "step")}, ${duration(end - begin)}${steps.length > MOST_STEPS ? `; the last ${MOST_STEPS}` : ""}`,
      ),
      h("ol", {class: "timeline"}, ...latest.map(step => line(step, begin, end))),
    );
  }

  async readRun() {
    // its steps have names and states of their own
    const stamp = `${this.view.fold.parts}`;
    if (this.asked === stamp) return;
    this.asked = stamp;
    try {
      this.run = await actions.steps(this.view.session);
      this.reads++;
      this.later();
    } catch {
      this.run = null;
    }
  }

  // --- Changes ---

  async changes() {
    const {session, fold} = this.view;
    const stamp = `${session.id}:${session.last_job && session.last_job.state}:${fold.jobs.size}`;
    if (stamp === this.asked) return;
    this.asked = stamp;
    fill(this.body, h("p", {class: "muted"}, "Looking at the workspace"));
    let text;
    try {
      text = await actions.diff(session);
    } catch (error) {
      if (this.asked === stamp) fill(this.body, h("p", {class: "muted"}, `No changes can be shown: ${reason(error)}`));
      return;
    }
    if (this.asked !== stamp || this.view.closed) return;
    const files = filesOf(text);
    const sum = name => files.reduce((total, file) => total + file[name], 0);
    fill(
      this.body,
      h(
        "div",
        {class: "row"},
        h(
          "p",
          {class: "muted grow"},
          files.length
            ? `${many(files.length, "file")} changed since the session began, +${sum("added")} -${sum("removed")}`
            : "Nothing has changed since the session began.",
        ),
        h(
          "button",
          {
            class: "quiet",
            onclick: () => {
              this.asked = "";
              this.draw();
            },
          },
          "Look again",
        ),
      ),
      ...files.map(file =>
        h(
          "details",
          {class: "file-diff", open: files.length < 6},
          h(
            "summary",
            null,
            h("span", {class: "path"}, file.name),
            file.gone ? h("span", {class: "muted"}, " deleted") : null,
            h("span", {class: "plus"}, ` +${file.added}`),
            h("span", {class: "minus"}, ` -${file.removed}`),
          ),
          diff(file.text),
        ),
      ),
    );
  }

  // --- Details ---

  details() {
    const {session, fold} = this.view;
    const stamp = `${fold.points.length}:${fold.jobs.size}:${session.modified}:${session.executor}:${fold.checkpoints.length}`;
    if (stamp === this.shown) return;
    this.shown = stamp;
    const last = fold.points[fold.points.length - 1],
      job = fold.job || {},
      started = job.started || {};
    const rows = [
      ["Id", session.id],
      ["API", session.face],
      ["Workspace", session.workspace],
      ["Repository", session.repo],
      ["Branch", session.branch],
      ["Isolation", session.isolation],
      ["Executor", session.executor],
      ["Model", started.resolved_model || session.model],
      ["Mode", job.mode],
      ["Permissions", started.permission_mode],
      ["Containment", started.containment],
      ["Sandbox", started.sandbox],
      ["Owner", session.owner],
      ["Forked from", session.parent],
      ["Jobs", session.totals.jobs],
      ["Begun", session.created && new Date(session.created).toLocaleString()],
      ["Model calls", last && last.calls],
      ["Tokens from cache", last && last.cached ? tokens(last.cached) : null],
      ["Tools", started.tools && started.tools.length ? started.tools.join(", ") : null],
      [
        "MCP servers",
        started.mcp_servers && started.mcp_servers.length
          ? started.mcp_servers.map(each => each.name || each).join(", ")
          : null,
      ],
    ].filter(([, value]) => value !== null && value !== undefined && value !== "");
    this.tree ||= h("div");
    fill(
      this.body,
      h("h2", null, "Tokens and cost"),
      chart(fold.points, fold.begun),
      h("h2", null, "Session"),
      h("dl", null, ...rows.map(([name, value]) => [h("dt", null, name), h("dd", null, String(value))])),
      fold.checkpoints.length
        ? [
            h("h2", null, "Checkpoints"),
            h(
              "ul",
              {class: "plain"},
              ...fold.checkpoints
                .slice(-30)
                .reverse()
                .map(each =>
                  h(
                    "li",
                    {class: "row"},
                    h("span", {class: "grow"}, `${clock(each.ts)} · ${many(each.files, "file")}`),
                    h("button", {onclick: () => this.rewind(each)}, "Rewind"),
                  ),
                ),
            ),
          ]
        : null,
      h("h2", null, "Files"),
      this.tree.childElementCount
        ? this.tree
        : h("button", {class: "quiet", onclick: () => this.readTree()}, "List the workspace"),
    );
  }

  async rewind(checkpoint) {
    const {session} = this.view;
    let told;
    if (
      !(await tried(async () => {
        told = await actions.rewind(session, checkpoint.id, true);
      }, "It cannot be rewound"))
    )
      return;
    const names = [...(told.restored || []), ...(told.removed || [])];
    if (
      !(await confirmed(
        "Rewind files?",
        names.length
          ? `These become what they were at ${clock(checkpoint.ts)}: ${names.slice(0, 20).join(", ")}${names.length > 20 ? ", …" : ""}`
          : "No file differs from the checkpoint.",
        "Rewind",
      ))
    )
      return;
    if (await tried(() => actions.rewind(session, checkpoint.id, false), "It was not rewound")) toast("Rewound");
  }

  async readTree() {
    try {
      const told = await actions.files(this.view.session);
      fill(this.tree, h("pre", {class: "tree"}, told.files.join("\n") || "No files"));
    } catch (error) {
      fill(this.tree, h("p", {class: "muted"}, `Not listed: ${reason(error)}`));
    }
    this.shown = "";
    this.draw();
  }

  // --- The log ---

  log() {
    const {fold} = this.view;
    if (this.shown === String(fold.parts)) return;
    this.shown = String(fold.parts);
    const lines = fold.raw
      .slice(-200)
      .map(record => `${record.pos} ${clock(record.ts)} ${record.type} ${JSON.stringify(record.data).slice(0, 400)}`);
    const stick = this.body.scrollHeight - this.body.scrollTop - this.body.clientHeight < 40;
    if (!this.body.firstChild || !this.body.firstChild.matches("pre.raw")) fill(this.body, h("pre", {class: "raw"}));
    setText(this.body.firstChild, lines.join("\n"));
    if (stick) this.body.scrollTop = this.body.scrollHeight;
  }
}

function stepsOf(run) {
  const at = text => (text ? Date.parse(text) : null);
  const begun = at(run.created_at) || Date.now();
  let last = begun;
  return (run.steps || []).map(step => {
    const start = at(step.started_at) ?? last;
    const over =
      at(step.completed_at) ?? (step.status === "running" || step.status === "waiting_approval" ? null : start);
    last = over ?? start;
    return {
      name: step.title || step.type,
      detail: step.command || step.type,
      start,
      end: over,
      state: STEP_STATE[step.status] || step.status,
      kind: "phase",
    };
  });
}

function line(step, begin, end) {
  const over = step.end ?? Date.now(),
    bar = h("span", {class: "bar"});
  bar.style.left = `${((step.start - begin) / (end - begin)) * 100}%`;
  bar.style.width = `${Math.max(0.8, ((over - step.start) / (end - begin)) * 100)}%`;
  return h(
    "li",
    {"data-state": step.state, class: step.kind === "phase" ? "phase" : step.parent ? "deeper" : null},
    h(
      "div",
      {class: "line"},
      h("span", {class: "dot", "data-state": step.state, role: "img", "aria-label": step.state}),
      h("span", {class: "name"}, step.name),
      step.detail && step.detail !== step.name ? h("span", {class: "detail"}, step.detail) : null,
      h("time", null, step.state === "queued" || step.state === "skipped" ? step.state : duration(over - step.start)),
    ),
    h("div", {class: "track", "aria-hidden": "true"}, step.state === "queued" || step.state === "skipped" ? null : bar),
  );
}
