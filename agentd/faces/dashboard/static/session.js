// One session: its conversation, what can be done with it, and beside it what happened when, what changed and what it cost.

import {announce, base, breath, confirmed, draw, fill, h, many, money, setText, toast, tokens} from "./dom.js";
import {ADMIN, get, reason, stream, tried} from "./net.js";
import * as actions from "./actions.js";
import {approveByItself, isAutomatic, setAutomatic} from "./asks.js";
import {Composer} from "./composer.js";
import {Conversation} from "./conversation.js";
import {Fold, WHOLE} from "./fold.js";
import {Inspector} from "./inspector.js";
import {nameOf} from "./list.js";
import * as state from "./state.js";

const PAGE = 500; // records
const DONE = {
  completed: "is done",
  failed: "has failed",
  cancelled: "was cancelled",
  interrupted: "was interrupted",
  waiting: "waits for an answer",
};

export class SessionView {
  constructor(element, id) {
    this.id = id;
    this.fold = new Fold();
    this.closed = false;
    this.cursor = "";
    this.conversation = new Conversation(this.fold, () => this.session);
    this.inspector = new Inspector(this);
    this.composer = new Composer(this);
    this.note = h("p", {class: "banner", hidden: true});
    this.header = this.makeHeader();
    this.element = h(
      "div",
      {class: "session-view", "data-pane": "conversation"},
      this.header,
      this.note,
      h(
        "div",
        {class: "split"},
        h(
          "section",
          {class: "talk", "aria-label": "Session"},
          this.conversation.element,
          this.conversation.jump,
          this.composer.element,
        ),
        this.inspector.element,
      ),
    );
    element.append(this.element);
    this.unwatch = state.watch((kind, item) => this.heard(kind, item));
    this.seen = () => this.attend();
    document.addEventListener("visibilitychange", this.seen);
    this.later();
    this.begin();
  }

  get session() {
    return (
      state.sessions.get(this.id) ||
      this.known || {
        id: this.id,
        face: "",
        title: "",
        workspace: "",
        status: "idle",
        totals: {},
        last_job: null,
        executor: "absent",
      }
    );
  }

  close() {
    this.closed = true;
    this.unwatch();
    this.composer.close();
    document.removeEventListener("visibilitychange", this.seen);
    if (this.stop) this.stop();
  }

  // A browser has six connections to a host, for all its tabs: those that nobody looks at leave theirs to others.
  attend() {
    if (!this.stop) return;
    this.stop();
    if (!document.hidden) this.listen();
  }

  later() {
    draw(`session:${this.id}`, () => {
      if (!this.closed) this.draw();
    });
  }

  heard(kind, item) {
    if (item && item.gone && kind === "session" && item.id === this.id) return this.say("This session was deleted.");
    if (item && (item.session_id || item.id) !== this.id) return;
    if (kind === "ask" && item && state.isOpen(item)) approveByItself(item);
    if (kind === "session" && item && item.status !== this.spoken) {
      const word = item.status === "idle" && item.last_job ? item.last_job.state : item.status;
      if (this.spoken && DONE[word]) announce(`${nameOf(item)} ${DONE[word]}`);
      this.spoken = item.status;
    }
    if (item) this.known = {...this.session};
    this.later();
  }

  say(text, ...more) {
    this.note.hidden = !text;
    fill(this.note, text, ...more);
  }

  // --- The log: whole records first, then everything as it comes ---

  async begin() {
    try {
      if (!state.sessions.has(this.id)) await state.loadSession(this.id);
      await this.history();
    } catch (error) {
      if (this.closed) return;
      if (error.status) return this.say(error.status === 404 ? "There is no such session any more." : reason(error));
    }
    if (!this.closed) this.listen();
  }

  async history() {
    let after = "0",
      last = "";
    const path = `${ADMIN}/sessions/${encodeURIComponent(this.id)}/log?limit=${PAGE}&types=${WHOLE.join(",")}&after=`;
    while (!this.closed) {
      const page = await get(path + after);
      if (page.reset) this.forget();
      for (const record of page.items) this.fold.apply(record);
      // From the last whole record on everything is read: the pieces behind it are of what is being said now.
      const tail = page.items[page.items.length - 1];
      if (tail) last = String(tail.pos) + (page.next.includes(".") ? page.next.slice(page.next.indexOf(".")) : "");
      this.later();
      if (page.next === page.last || page.next === after) break;
      after = page.next;
      await breath();
    }
    this.cursor = last;
  }

  listen() {
    this.stop = stream(`${ADMIN}/sessions/${encodeURIComponent(this.id)}/log`, () => this.cursor, {
      event: (name, record, id) => {
        if (id) this.cursor = id;
        if (name === "reset") this.forget();
        else if (name === "record") this.fold.apply(record);
        this.later();
      },
      open: () => {
        this.say("");
      },
      lost: () => {
        if (!this.closed) this.say("The connection is lost. What happens meanwhile is shown once it is back.");
      },
      gone: error => {
        if (!this.closed) this.say(error.status === 404 ? "There is no such session any more." : error.message);
      },
    });
  }

  forget() {
    // the log begins anew: a power cut took back what had been shown
    this.fold.reset();
    this.conversation.reset();
  }

  // --- Its head ---

  makeHeader() {
    const part = (this.part = {
      dot: h("span", {class: "dot", role: "img"}),
      title: h("h1"),
      about: h("p", {class: "about"}),
      figures: h("p", {class: "figures"}),
      stop: h("button", {class: "danger", title: "Cancel (x)", onclick: () => this.cancel()}, "Cancel"),
      retry: h("button", {title: "Retry (r)", onclick: () => this.retry()}, "Retry"),
    });
    part.pane = h("button", {class: "narrow", "aria-expanded": "false", onclick: () => this.togglePane()}, "Details");
    const menu = h(
      "details",
      {class: "menu"},
      h("summary", {class: "button", role: "button", "aria-label": "More"}, "More"),
      (part.menu = h("div", {class: "popup"})),
    );
    menu.addEventListener("toggle", () => {
      if (menu.open)
        this.fillMenu(() => {
          menu.open = false;
        });
    });
    menu.addEventListener("focusout", event => {
      if (!menu.contains(event.relatedTarget)) menu.open = false;
    });
    return h(
      "header",
      {class: "session-head"},
      h("a", {class: "back", href: "#/", "aria-label": "Back to the list"}, "‹"),
      h("div", {class: "grow"}, h("div", {class: "line"}, part.dot, part.title), part.about),
      part.figures,
      h("div", {class: "row tools"}, part.stop, part.retry, part.pane, menu),
    );
  }

  togglePane() {
    const details = this.element.dataset.pane === "conversation";
    this.element.dataset.pane = details ? "details" : "conversation";
    setText(this.part.pane, details ? "Conversation" : "Details");
    this.part.pane.setAttribute("aria-expanded", String(details));
    this.inspector.draw();
    if (!details) this.conversation.draw();
  }

  fillMenu(done) {
    const {session} = this,
      item = (text, work, kind) =>
        h(
          "button",
          {
            class: kind,
            onclick: () => {
              done();
              work();
            },
          },
          text,
        );
    fill(
      this.part.menu,
      session.face === "runs" || session.face === "chat"
        ? item("Export as zip", () => actions.exported(session, "zip"))
        : null,
      item("Export as Markdown", () => actions.exported(session, "md")),
      item("Export as JSON", () => actions.exported(session, "json")),
      session.face === "chat"
        ? [item("Chat mode", () => this.mode("chat")), item("Spec mode", () => this.mode("spec"))]
        : null,
      item("Copy the id", () =>
        navigator.clipboard.writeText(session.id).then(
          () => toast("Copied"),
          () => toast(session.id),
        ),
      ),
      item(isAutomatic(this.id) ? "Ask me again" : "Approve everything", () => this.automatic()),
      item("Delete the session", () => this.remove(), "danger"),
    );
  }

  async mode(mode) {
    if (await tried(() => actions.setMode(this.session, mode), "The mode is as it was"))
      toast(`The session is in ${mode} mode`);
  }

  async automatic() {
    const on = !isAutomatic(this.id);
    if (
      on &&
      !(await confirmed(
        "Approve everything here?",
        "Every tool call of this session is approved by this page as long as it is open, commands too.",
        "Approve everything",
      ))
    )
      return;
    setAutomatic(this.id, on);
    this.later();
  }

  async cancel() {
    await tried(() => actions.cancel(this.session), "It was not cancelled");
  }
  async retry() {
    await tried(async () => {
      const told = await actions.retry(this.session, this.fold);
      if (told.run_id) location.hash = `#/s/${await actions.resolve(told.run_id)}`;
    }, "It was not started again");
  }

  async remove() {
    if (
      !(await confirmed(
        "Delete this session?",
        `The conversation of ${nameOf(this.session)} and what agentd keeps of it are removed. Files in the workspace stay, but a worktree of its own goes.`,
        "Delete",
      ))
    )
      return;
    if (await tried(() => actions.remove(this.session), "It was not deleted")) location.hash = "#/";
  }

  draw() {
    const {session, part} = this,
      asks = state.asksOf(this.id);
    const word = asks.length ? "waiting" : state.stateOf(session);
    part.dot.dataset.state = word;
    part.dot.setAttribute("aria-label", word);
    setText(part.title, nameOf(session));
    part.title.title = nameOf(session);
    setText(
      part.about,
      [word, session.face, session.workspace && base(session.workspace), session.branch, session.model]
        .filter(Boolean)
        .join(" · "),
    );
    part.about.title = session.workspace;
    const {totals} = session;
    setText(
      part.figures,
      [
        totals.turns ? many(totals.turns, "turn") : "",
        totals.input_tokens ? `${tokens(totals.input_tokens + totals.output_tokens)} tokens` : "",
        money(totals.cost_usd),
      ]
        .filter(Boolean)
        .join(" · "),
    );
    part.stop.hidden = !state.isActive(session);
    part.retry.hidden = state.isActive(session) || !session.last_job || session.last_job.state === "completed";
    if (isAutomatic(this.id))
      this.warned =
        (this.say(
          "This page approves everything in this session. ",
          h("button", {onclick: () => this.automatic()}, "Stop that"),
        ),
        true);
    else if (this.warned) this.warned = (this.say(""), false);
    this.composer.draw();
    this.conversation.draw();
    this.inspector.later();
    document.title = `${nameOf(session)} - agentd`;
  }
}
