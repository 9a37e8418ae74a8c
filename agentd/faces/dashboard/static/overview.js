// Everything at a glance: what works, what it costs, executors, the disk, models.

import {
  ago,
  base,
  bytes,
  confirmed,
  draw,
  duration,
  fill,
  h,
  many,
  money,
  setText,
  throttled,
  toast,
  tokens,
} from "./dom.js";
import {ADMIN, get, post, reason, tried} from "./net.js";
import * as actions from "./actions.js";
import {chart, spent} from "./chart.js";
import {nameOf} from "./list.js";
import * as state from "./state.js";

const DAY = 86400e3;
const REFRESH_MS = 5000; // memory and disk: no event tells of them
const DISK_EVERY = 12; // of those

const KINDS = {
  logs: "Logs",
  blobs: "Attachments and artifacts",
  sessions_other: "Other data of sessions",
  index: "Index",
  root_log: "Root log",
  other: "Other",
};

export class Overview {
  constructor(element) {
    const part = (this.part = {
      tiles: h("div", {class: "tiles"}),
      chart: h("div"),
      failed: h("div"),
      executors: h("div", {class: "scroll"}),
      disk: h("div"),
      gc: h("div"),
      models: h("div"),
      start: h("p", {class: "muted"}),
    });
    this.rounds = 0;
    const look = h("button", {onclick: () => this.gc(true)}, "Look for leftovers");
    element.append(
      h(
        "div",
        {class: "page overview"},
        h("h1", null, "Overview"),
        part.tiles,
        h(
          "div",
          {class: "cards"},
          h("section", {class: "card"}, h("h2", null, "Tokens and cost, 24 hours"), part.chart),
          h("section", {class: "card"}, h("h2", null, "Last failures"), part.failed),
          h("section", {class: "card broad"}, h("h2", null, "Executors"), part.executors),
          h(
            "section",
            {class: "card"},
            h("div", {class: "row"}, h("h2", {class: "grow"}, "Worktrees and disk"), look),
            part.disk,
            part.gc,
            part.start,
          ),
          h("section", {class: "card"}, h("h2", null, "Models"), part.models),
        ),
        h("form", {class: "phone", method: "post", action: "/logout"}, h("button", {class: "quiet"}, "Log out")),
      ),
    );
    this.later = throttled(300, () =>
      draw("overview", () => {
        if (!this.closed) this.draw();
      }),
    );
    this.stop = state.watch(() => this.later());
    this.timer = setInterval(() => {
      if (!document.hidden && state.link.state === "live") this.refresh();
    }, REFRESH_MS);
    this.draw();
    this.refresh();
    this.models();
    document.title = "agentd";
  }

  close() {
    this.closed = true;
    this.stop();
    clearInterval(this.timer);
  }

  draw() {
    const {part} = this,
      now = Date.now(),
      sessions = [...state.sessions.values()],
      jobs = [...state.jobs.values()];
    const count = status => sessions.filter(session => session.status === status).length;
    const today = jobs.filter(job => (job.ended || job.created) > now - DAY);
    const failed = today.filter(job => job.state === "failed" || job.state === "interrupted");
    const sum = name => today.reduce((total, job) => total + (job[name] || 0), 0);
    fill(
      part.tiles,
      tile("Working", count("running"), count("queued") ? `${count("queued")} queued` : ""),
      tile("Waiting for you", state.openAsks().length, "", "#/inbox", state.openAsks().length ? "warn" : ""),
      tile("Failed today", failed.length, `of ${many(today.length, "job")}`, null, failed.length ? "bad" : ""),
      tile("Spent today", money(sum("cost_usd")), `${tokens(sum("input_tokens") + sum("output_tokens"))} tokens`),
    );
    const points = spent(today),
      stamp = `${points.length}:${points.length && points[points.length - 1].input}`;
    if (stamp !== this.stamp) {
      this.stamp = stamp;
      fill(part.chart, chart(points, now - DAY, ["24 h ago", "now"], now));
    }
    const bad = jobs
      .filter(job => job.state === "failed" || job.state === "interrupted")
      .sort((a, b) => (b.ended || 0) - (a.ended || 0))
      .slice(0, 5);
    fill(
      part.failed,
      bad.length
        ? h(
            "ul",
            {class: "plain failures"},
            ...bad.map(job =>
              h(
                "li",
                null,
                h("a", {href: `#/s/${job.session_id}`}, job.title || job.mode || job.id.slice(0, 8)),
                h("span", {class: "muted"}, ` ${ago(job.ended || job.created)}`),
                h("p", {class: "muted clip"}, (job.error && job.error.message) || job.stop_reason || job.state),
              ),
            ),
          )
        : h("p", {class: "muted"}, "No job has failed."),
    );
    this.drawExecutors();
  }

  drawExecutors() {
    const all = [...state.executors.values()].sort((a, b) => b.since - a.since).slice(0, 100);
    if (!all.length)
      return void fill(
        this.part.executors,
        h("p", {class: "muted"}, "No executor runs. One starts when a session has a job."),
      );
    const cell = (text, kind) => h("td", {class: kind}, text);
    fill(
      this.part.executors,
      h(
        "table",
        null,
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            ...["Session", "State", "Process", "Up", "Memory", "Containment", "Last words"].map(word =>
              h("th", {scope: "col"}, word),
            ),
          ),
        ),
        h(
          "tbody",
          null,
          ...all.map(each => {
            const session = state.sessions.get(each.session_id);
            return h(
              "tr",
              null,
              h("td", null, h("a", {href: `#/s/${each.session_id}`}, session ? nameOf(session) : base(each.workspace))),
              h(
                "td",
                null,
                h("span", {class: "dot", "data-state": each.died ? "failed" : each.job_id ? "running" : each.state}),
                ` ${each.died ? "died" : each.state}${each.crashes ? `, ${many(each.crashes, "crash", "crashes")}` : ""}`,
              ),
              cell(each.pid ? `${each.pid} ${each.launcher}` : ""),
              cell(
                each.uptime_seconds === null || each.uptime_seconds === undefined
                  ? ""
                  : duration(each.uptime_seconds * 1000),
              ),
              cell(bytes(each.memory_bytes)),
              cell(each.containment || ""),
              cell(each.died || (each.output || []).slice(-1)[0] || "", "clip"),
            );
          }),
        ),
      ),
    );
  }

  async refresh() {
    try {
      const page = await get(`${ADMIN}/executors`);
      state.executors.clear();
      for (const each of page.items) state.executors.set(each.session_id, each);
      if (this.rounds++ % DISK_EVERY === 0) await this.disk();
    } catch (error) {
      if (error.status === 403) setText(this.part.disk, "This token may not see executors and disk.");
    }
    this.later();
  }

  async disk() {
    const told = await get(`${ADMIN}/storage`);
    const rows = [
      ...Object.entries(told.data).map(([key, value]) => [KINDS[key] || key, value]),
      ...Object.entries(told.worktrees).map(([key, value]) => [`Worktrees: ${key}`, value]),
    ].filter(([, value]) => typeof value === "number");
    const most = Math.max(1, ...rows.map(([, value]) => value));
    fill(
      this.part.disk,
      h("p", {class: "muted path"}, told.data_dir),
      h(
        "dl",
        {class: "bars"},
        ...rows.map(([name, value]) => {
          const bar = h("i");
          bar.style.width = `${(value / most) * 100}%`;
          return [
            h("dt", null, name),
            h(
              "dd",
              null,
              h("span", {class: "meter", "aria-hidden": "true"}, bar),
              h("span", {class: "size"}, bytes(value)),
            ),
          ];
        }),
      ),
    );
    const recovery = await get(`${ADMIN}/recovery`);
    const found = [
      recovery.executors.length ? many(recovery.executors.length, "leftover executor") : "",
      recovery.interrupted.length ? many(recovery.interrupted.length, "interrupted session") : "",
      recovery.damaged_root_records ? many(recovery.damaged_root_records, "damaged record") : "",
    ]
      .filter(Boolean)
      .join(", ");
    setText(
      this.part.start,
      `Started ${ago(recovery.started) === "now" ? "just now" : `${ago(recovery.started)} ago`}${found ? `; it found ${found}` : "; nothing was left over from before"}.`,
    );
  }

  async gc(dry) {
    let told;
    if (
      !(await tried(async () => {
        told = await post(`${ADMIN}/gc`, {dry_run: dry});
      }, "Leftovers cannot be looked for"))
    )
      return;
    if (this.closed) return;
    if (!told.items.length) return void fill(this.part.gc, h("p", {class: "muted"}, "No worktree is left over."));
    const would = told.items.filter(item => item.action === "would_remove").length;
    fill(
      this.part.gc,
      h(
        "ul",
        {class: "plain"},
        ...told.items.map(item =>
          h(
            "li",
            null,
            h("span", {class: "path"}, item.path),
            h("span", {class: "muted"}, ` ${item.state}, ${item.action.replace("_", " ")}`),
          ),
        ),
      ),
      would
        ? h(
            "button",
            {
              class: "danger",
              onclick: async () => {
                if (
                  await confirmed(
                    "Remove leftovers?",
                    `${many(would, "worktree")} that no session owns. Commits that only they have are kept in the repository first.`,
                    "Remove",
                  )
                )
                  this.gc(false);
              },
            },
            "Remove them",
          )
        : null,
    );
  }

  // --- Models, and the policy by which runs and chats choose one ---

  async models() {
    let told;
    try {
      told = await actions.models();
    } catch (error) {
      return void fill(this.part.models, h("p", {class: "muted"}, `Not shown: ${reason(error)}.`));
    }
    if (this.closed) return;
    const {policy} = told;
    const tools = h("input", {type: "checkbox", checked: policy.require_tools}),
      vision = h("input", {type: "checkbox", checked: policy.require_vision});
    const cost = h("input", {
      type: "number",
      min: "0",
      step: "any",
      value: policy.max_cost_usd ?? "",
      placeholder: "no limit",
    });
    const preferred = h("input", {
      value: policy.preferred_models.join(", "),
      list: "models",
      placeholder: "in this order, with commas",
    });
    const save = event => {
      event.preventDefault();
      tried(async () => {
        await actions.setPolicy({
          require_tools: tools.checked,
          require_vision: vision.checked,
          max_cost_usd: cost.value === "" ? null : Number(cost.value),
          preferred_models: preferred.value
            .split(",")
            .map(each => each.trim())
            .filter(Boolean),
        });
        toast("Saved: it holds from the next choice of a model on");
      }, "It was not saved");
    };
    fill(
      this.part.models,
      ...(told.warnings || []).map(text => h("p", {class: "notice warning"}, text)),
      h("datalist", {id: "models"}, ...told.models.map(model => h("option", {value: model.id}))),
      h(
        "ul",
        {class: "plain models"},
        ...told.models
          .slice(0, 30)
          .map(model =>
            h(
              "li",
              {class: "row"},
              h("span", {class: "grow"}, model.displayName || model.id),
              h(
                "span",
                {class: "muted"},
                model.pricing && model.pricing.inputPer1M !== undefined && model.pricing.inputPer1M !== null
                  ? `$${model.pricing.inputPer1M} / $${model.pricing.outputPer1M}`
                  : "",
              ),
            ),
          ),
      ),
      told.models.length > 30 ? h("p", {class: "muted"}, `${told.models.length - 30} more`) : null,
      h(
        "form",
        {class: "fields", onsubmit: save},
        h("label", null, "Preferred models", preferred),
        h("label", null, "Budget of a session, USD", cost),
        h("label", {class: "option"}, tools, "Only models that can use tools"),
        h("label", {class: "option"}, vision, "Only models that can see images"),
        h("button", null, "Save"),
      ),
    );
  }
}

function tile(name, value, detail, href, kind) {
  return h(
    href ? "a" : "div",
    {class: `tile ${kind || ""}`, href},
    h("span", {class: "muted"}, name),
    h("b", null, String(value)),
    h("span", {class: "muted"}, detail || " "),
  );
}
