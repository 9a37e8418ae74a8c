// What is asked of people: a card that settles it, wherever it is shown, and the inbox of all of them.

import {ago, base, duration, draw, fill, h, many, toast} from "./dom.js";
import {ADMIN, get, post, reason} from "./net.js";
import * as state from "./state.js";
import {inputOf} from "./text.js";

const VERBS = {allow: "Approve", always: "Always allow", deny: "Deny", answer: "Answer"};
const DONE = {allow: "approved", always: "always allowed", deny: "denied", answer: "answered"};
const auto = new Set(); // sessions whose calls this page approves by itself, until it is closed
const tried = new Set();
const loading = new Map();
const drafts = new Map(); // what was typed into a card, by ask: it may be drawn again

export const isAutomatic = id => auto.has(id);

export function setAutomatic(id, on) {
  if (on) auto.add(id);
  else auto.delete(id);
  for (const ask of state.asksOf(id)) approveByItself(ask);
}

export function approveByItself(ask) {
  if (!auto.has(ask.session_id) || !state.isOpen(ask) || ask.kind === "question" || tried.has(ask.id)) return;
  tried.add(ask.id);
  settle(ask, {decision: "allow", text: "approved by the dashboard, which was told to approve everything here"});
}

// An ask with the input of its call, which lists do not have.
async function whole(ask) {
  if (ask.input !== undefined) return ask;
  if (!loading.has(ask.id))
    loading.set(
      ask.id,
      get(`${ADMIN}/asks/${encodeURIComponent(ask.id)}`).finally(() => loading.delete(ask.id)),
    );
  const found = await loading.get(ask.id);
  state.learned(found);
  return found;
}

async function settle(ask, answer) {
  try {
    await post(`${ADMIN}/asks/${encodeURIComponent(ask.id)}`, answer);
    state.learned({
      ...ask,
      state: "settled",
      decision: answer.decision,
      reason: answer.text || "",
      settled: Date.now(),
    });
    drafts.delete(ask.id);
    return "";
  } catch (error) {
    if (
      error.status === 409 &&
      error.body &&
      error.body.error &&
      error.body.error.details &&
      error.body.error.details.decision
    ) {
      const decision = error.body.error.details.decision;
      toast(`It was settled before: ${DONE[decision] || decision}`);
      state.learned({...ask, state: "settled", decision});
      return "";
    }
    if (error.status === 404) {
      state.learned({...ask, gone: true});
      return "";
    }
    return reason(error);
  }
}

// --- A card --------------------------------------------------------------------------------------------------------

// *titled*: with the session that it is of.
export function card(ask, {titled = false} = {}) {
  const body = h("div", {class: "body"});
  const box = h(
    "article",
    {
      class: "ask",
      "data-ask": ask.id,
      "data-kind": ask.kind,
      tabindex: "-1",
      "aria-label": ask.question || "A question",
    },
    titled && whose(ask),
    h(
      "h3",
      null,
      ask.kind === "permission" || !ask.kind
        ? title(ask)
        : {question: "A question for you", plan: "A plan to approve", step: "A step of the run waits for you"}[
            ask.kind
          ] || title(ask),
    ),
    ask.question && !["question", "permission"].includes(ask.kind) ? h("p", {class: "question"}, ask.question) : null,
    body,
  );
  if (!state.isOpen(ask)) {
    fill(body, settledLine(ask));
    box.classList.add("settled");
    return box;
  }
  fill(body, h("p", {class: "muted"}, "Loading what it is about"));
  whole(ask).then(
    known => fill(body, ask.kind === "question" ? questions(known) : decision(known)),
    error =>
      fill(body, h("p", {class: "error"}, reason(error)), h("div", {class: "actions"}, ...buttons(ask, () => ({})))),
  );
  return box;
}

const CHANGES = new Set(["Edit", "MultiEdit", "Write", "NotebookEdit", "apply_patch"]);
const title = ask =>
  ask.tool ? `${ask.tool} wants to ${CHANGES.has(ask.tool) ? "change a file" : "run"}` : "Approval needed";

function whose(ask) {
  const session = state.sessions.get(ask.session_id);
  return h(
    "div",
    {class: "whose"},
    h("a", {href: `#/s/${ask.session_id}`}, (session && session.title) || base(ask.workspace) || "Session"),
    h("span", {class: "muted"}, ` ${ask.face} · ${base(ask.workspace)} · ${ago(ask.opened)}`),
  );
}

export function settledLine(ask) {
  const word = DONE[ask.decision] || ask.decision || "settled";
  return h(
    "p",
    {class: "outcome", "data-decision": ask.decision},
    `${word[0].toUpperCase()}${word.slice(1)}`,
    ask.by && ask.by !== "client" ? ` by ${ask.by}` : null,
    ask.reason ? `: ${ask.reason}` : null,
    ask.answer ? `: ${ask.answer}` : null,
  );
}

function deadline(ask) {
  if (!ask.deadline) return null;
  const left = ask.deadline - Date.now();
  return h("span", {class: "muted deadline"}, left > 0 ? `Refused by itself in ${duration(left)}` : "Its time is over");
}

function draft(ask) {
  if (!drafts.has(ask.id)) {
    if (drafts.size > 200) drafts.delete(drafts.keys().next().value);
    drafts.set(ask.id, {text: "", input: null, answers: {}, others: {}});
  }
  return drafts.get(ask.id);
}

function decision(ask) {
  const kept = draft(ask);
  const why = h("input", {
    class: "why",
    placeholder: ask.kind === "step" ? "Note (optional)" : "Reason, for the model (optional)",
    "aria-label": "Reason",
    value: kept.text,
    oninput: () => {
      kept.text = why.value;
    },
  });
  const editor = h("textarea", {
    class: "mono",
    rows: 8,
    spellcheck: "false",
    "aria-label": "Input as JSON",
    oninput: () => {
      kept.input = editor.value;
    },
  });
  const shown = h("div", {class: "input"}, inputOf(ask.tool, ask.input));
  const editing = h("div", {hidden: true}, editor);
  const edit = h(
    "button",
    {class: "quiet", "aria-expanded": "false", onclick: () => toggle(editing.hidden)},
    "Edit input",
  );
  const toggle = on => {
    editing.hidden = !on;
    shown.hidden = on;
    edit.textContent = on ? "Leave as it is" : "Edit input";
    edit.setAttribute("aria-expanded", String(on));
    kept.input = on ? (kept.input ?? JSON.stringify(ask.input, null, 2)) : null;
    if (on) {
      editor.value = kept.input;
      editor.focus();
    }
  };
  if (kept.input !== null) toggle(true);
  const answer = () => {
    if (editing.hidden) return {text: why.value};
    const input = JSON.parse(editor.value);
    if (!input || typeof input !== "object" || Array.isArray(input)) throw new SyntaxError("expected an object");
    return {text: why.value, updated_input: input};
  };
  const editable = ask.kind === "permission" && ask.input;
  return [shown, editing, h("div", {class: "actions"}, why, editable && edit, ...buttons(ask, answer)), deadline(ask)];
}

function buttons(ask, answer) {
  const options =
    ask.kind === "question" ? ["answer", "deny"] : ask.options && ask.options.length ? ask.options : ["allow", "deny"];
  const error = h("p", {class: "error", role: "alert", hidden: true});
  const made = ["deny", "always", "allow", "answer"]
    .filter(each => options.includes(each))
    .map(each =>
      h(
        "button",
        {
          class: {allow: "primary", answer: "primary", deny: "danger"}[each] || null,
          "data-decision": each,
          onclick: async () => {
            error.hidden = true;
            let told;
            try {
              told = {decision: each, ...answer()};
              if (each === "deny") delete told.updated_input;
            } catch (wrong) {
              error.textContent =
                wrong instanceof SyntaxError ? `That input is no JSON object: ${wrong.message}` : wrong.message;
              error.hidden = false;
              return;
            }
            for (const one of made) one.disabled = true;
            const failed = await settle(ask, told);
            for (const one of made) one.disabled = false;
            error.textContent = failed;
            error.hidden = !failed;
          },
        },
        VERBS[each],
      ),
    );
  return [...made, error];
}

// --- Questions -----------------------------------------------------------------------------------------------------

function questions(ask) {
  const kept = draft(ask);
  const input = ask.input || {};
  const asked = ask.questions ||
    input.questions || [
      {question: ask.question || input.question || "", options: (ask.options || []).map(label => ({label}))},
    ];
  const fields = asked.map((each, index) => question(ask, each, index, kept));
  const answer = () => {
    const said = {};
    for (const [index, each] of asked.entries()) {
      const chosen = [...(kept.answers[index] || [])],
        other = (kept.others[index] || "").trim();
      if (other) chosen.push(other);
      if (!chosen.length) throw new Error(`There is no answer to: ${each.question}`);
      said[each.question] = each.multiSelect ? chosen : chosen[chosen.length - 1];
    }
    const only = Object.values(said);
    return {text: only.length === 1 && typeof only[0] === "string" ? only[0] : JSON.stringify(said)};
  };
  const denied = () => ({text: ""});
  const row = buttons(ask, answer);
  const deny = buttons(ask, denied).filter(each => each.dataset && each.dataset.decision === "deny");
  return [
    ...fields,
    h("div", {class: "actions"}, ...deny, ...row.filter(each => !(each.dataset && each.dataset.decision === "deny"))),
    deadline(ask),
  ];
}

function question(ask, asked, index, kept) {
  const name = `${ask.id}-${index}`;
  const chosen = (kept.answers[index] ||= new Set());
  const options = (asked.options || []).map(option => {
    const label = typeof option === "string" ? option : option.label;
    const input = h("input", {
      type: asked.multiSelect ? "checkbox" : "radio",
      name,
      checked: chosen.has(label),
      onchange: () => {
        if (!asked.multiSelect) chosen.clear();
        if (input.checked) chosen.add(label);
        else chosen.delete(label);
      },
    });
    return h(
      "label",
      {class: "option"},
      input,
      h(
        "span",
        null,
        h("b", null, label),
        option.description ? h("span", {class: "muted"}, ` ${option.description}`) : null,
      ),
    );
  });
  const other = h("input", {
    "aria-label": "Answer in your words",
    placeholder: options.length ? "Or in your words" : "Your answer",
    value: kept.others[index] || "",
    oninput: () => {
      kept.others[index] = other.value;
    },
  });
  return h("fieldset", null, h("legend", null, asked.question), ...options, other);
}

// --- The inbox -----------------------------------------------------------------------------------------------------

const MOST_CARDS = 50;

export class Inbox {
  constructor(element) {
    this.cards = new Map();
    this.list = h("div", {class: "stack"});
    this.head = h("p", {class: "muted"});
    element.append(h("div", {class: "page inbox"}, h("h1", null, "Inbox"), this.head, this.list));
    this.stop = state.watch(kind => {
      if (kind !== "executor" && kind !== "job") this.later();
    });
    this.later();
  }

  later() {
    draw("inbox", () => this.draw());
  }

  draw() {
    const open = state.openAsks(),
      shown = open.slice(0, MOST_CARDS);
    fill(
      this.head,
      open.length
        ? `${many(open.length, "answer")} wanted. The oldest is first.`
        : "Nothing waits for you. Questions and approvals of every session appear here.",
    );
    const wanted = new Set(shown.map(ask => ask.id));
    for (const [id, made] of this.cards)
      if (!wanted.has(id)) {
        made.remove();
        this.cards.delete(id);
      }
    for (const ask of shown) {
      if (this.cards.has(ask.id)) continue;
      const made = card(ask, {titled: true});
      this.cards.set(ask.id, made);
      this.list.append(made);
    }
  }

  close() {
    this.stop();
  }
}
