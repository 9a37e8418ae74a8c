// The conversation of a session: the items of its fold, of which a window is elements, drawn once a frame.

import {h, setText} from "./dom.js";
import * as state from "./state.js";
import {viewOf} from "./views.js";

const WINDOW = 160; // items that are elements
const STEP = 80; // that come or go at an end of the window
const BATCH = 32; // items that become elements in one frame
const NEAR = 80; // pixels from the end that count as the end

export class Conversation {
  // *session*: a function that says what is known of it.
  constructor(fold, session) {
    this.fold = fold;
    this.session = session;
    this.views = new Map(); // by item
    this.from = this.to = 0; // the window, as indices into the fold's items
    this.dropped = 0;
    this.top = 0; // where it was scrolled to
    this.following = true;
    this.flow = h("div", {class: "flow"});
    this.earlier = h("p", {class: "muted edge", hidden: true});
    this.thinking = h(
      "p",
      {class: "working", hidden: true},
      h("span", {class: "spinner", "aria-hidden": "true"}),
      h("span"),
    );
    this.element = h(
      "div",
      {
        class: "conversation",
        tabindex: "0",
        role: "region",
        "aria-label": "Conversation",
        onscroll: () => this.scrolled(),
      },
      this.earlier,
      this.flow,
      this.thinking,
    );
    this.jump = h("button", {class: "jump", hidden: true, onclick: () => this.follow()}, "Latest");
    new ResizeObserver(() => {
      if (this.following) this.toEnd();
    }).observe(this.element);
  }

  reset() {
    this.flow.replaceChildren();
    this.views.clear();
    this.from = this.to = this.dropped = 0;
  }

  follow() {
    this.following = true;
    const end = this.fold.items.length;
    if (this.to < end) {
      this.reset();
      this.dropped = this.fold.dropped;
      this.from = this.to = Math.max(0, end - BATCH);
    }
    this.draw();
  }

  toEnd() {
    this.element.scrollTop = this.element.scrollHeight;
    this.top = this.element.scrollTop;
  }

  scrolled() {
    const {scrollTop, scrollHeight, clientHeight} = this.element;
    const atEnd = scrollHeight - scrollTop - clientHeight < NEAR;
    // Only a person scrolls up: what comes in meanwhile makes the end go away too.
    if (scrollTop < this.top - 1 && !atEnd) this.following = false;
    else if (atEnd && this.to >= this.fold.items.length) this.following = true;
    this.top = scrollTop;
    if (this.following) return void (this.jump.hidden = true);
    if (scrollTop < 400 && this.from > 0) this.extendUp();
    else if (atEnd && this.to < this.fold.items.length) this.extendDown();
    this.jump.hidden = this.following;
  }

  extendUp() {
    const from = Math.max(0, this.from - STEP),
      before = this.element.scrollHeight;
    this.flow.prepend(...this.fold.items.slice(from, this.from).map(item => this.made(item)));
    this.from = from;
    this.element.scrollTop += this.element.scrollHeight - before;
    this.top = this.element.scrollTop;
    while (this.to - this.from > WINDOW + STEP) this.remove(this.fold.items[--this.to]);
  }

  extendDown() {
    const to = Math.min(this.fold.items.length, this.to + STEP);
    this.flow.append(...this.fold.items.slice(this.to, to).map(item => this.made(item)));
    this.to = to;
    const before = this.element.scrollHeight;
    while (this.to - this.from > WINDOW + STEP) this.remove(this.fold.items[this.from++]);
    this.element.scrollTop -= before - this.element.scrollHeight;
    this.top = this.element.scrollTop;
  }

  remove(item) {
    const view = this.views.get(item);
    if (view) view.element.remove();
    this.views.delete(item);
  }

  made(item) {
    const view = viewOf(item, this);
    this.views.set(item, view);
    view.element.dataset.kind = item.kind;
    if (item.parent) view.element.classList.add("deeper");
    view.update();
    return view.element;
  }

  draw() {
    const {fold} = this,
      gone = fold.dropped - this.dropped;
    if (gone) {
      // items that the fold has let go of
      this.dropped = fold.dropped;
      this.from = Math.max(0, this.from - gone);
      this.to = Math.max(0, this.to - gone);
      const kept = new Set(fold.items);
      for (const item of [...this.views.keys()]) if (!kept.has(item)) this.remove(item);
    }
    for (const item of fold.changed) {
      const view = this.views.get(item);
      if (view) view.update();
    }
    fold.changed.clear();
    const end = fold.items.length;
    if (this.following && this.to < end) {
      if (end - this.to > BATCH) {
        for (const item of [...this.views.keys()]) this.remove(item);
        this.from = this.to = end - BATCH;
      }
      this.flow.append(...fold.items.slice(this.to, end).map(item => this.made(item)));
      this.to = end;
      while (this.to - this.from > WINDOW + STEP) this.remove(fold.items[this.from++]);
    }
    this.earlier.hidden = !(fold.dropped && this.from === 0);
    if (!this.earlier.hidden)
      setText(this.earlier, `${fold.dropped} earlier entries are not kept here; the export has them.`);
    this.drawWorking();
    if (this.following) this.toEnd();
    this.jump.hidden = this.following;
  }

  drawWorking() {
    const last = this.fold.items[this.fold.items.length - 1],
      job = this.fold.job;
    const working =
      job &&
      job.end === null &&
      !(
        last &&
        (last.live ||
          (last.kind === "ask" && state.isOpen(last.ask)) ||
          (last.kind === "tool" && last.state === "running"))
      );
    this.thinking.hidden = !working;
    if (working) setText(this.thinking.lastChild, job.state === "queued" ? "Waiting for its turn" : "Working");
  }
}
