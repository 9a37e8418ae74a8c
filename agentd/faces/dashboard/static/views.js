// What the items of a conversation look like: for each a view, {element, update}.

import {bytes, clock, duration, h, money, plain, put, setText, tokens} from "./dom.js";
import {attachment} from "./actions.js";
import {card, settledLine} from "./asks.js";
import * as state from "./state.js";
import {inputOf, Prose} from "./text.js";

const MOST_OUTPUT = 60000; // characters that are shown of what a tool printed
const PHASES = {
  plan: "Planning",
  task: "Task",
  step: "Step",
  spec: "Reading the spec",
  context: "Looking at the workspace",
  verify: "Verifying",
  prescan: "Looking for what matters",
  compact: "Summing up",
};
const WORDS = {
  writing: "writing",
  asked: "not run yet",
  running: "running",
  ok: "done",
  error: "failed",
  stopped: "stopped",
};

// *conversation*: what it is in. What is drawn is changed by update().
export function viewOf(item, conversation) {
  return (VIEWS[item.kind] || VIEWS.mark)(item, conversation);
}

function isData(text) {
  // a plan, or an answer whose form was asked for
  if (!/^\s*[{[]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

const still = element => ({element, update() {}});

function prose(item, attributes) {
  const body = h("div", {class: "prose"}),
    cut = h("p", {class: "muted", hidden: true}),
    shown = new Prose(body);
  return {
    element: h("div", attributes, cut, body),
    update() {
      cut.hidden = !item.cut;
      if (item.cut) setText(cut, `${item.cut} characters before this are left out; the export has them.`);
      shown.show(item.text);
      body.classList.toggle("live", Boolean(item.live));
    },
  };
}

const VIEWS = {
  user(item, conversation) {
    const view = prose(item, {class: item.again ? "said instructions" : "said"});
    view.element.prepend(
      h("div", {class: "by"}, item.again ? "Instructions" : "You", h("time", null, ` ${clock(item.ts)}`)),
    );
    put(view.element, [pictures(item.images, conversation)]);
    return view;
  },
  text(item) {
    const view = prose(item, {class: "reply"});
    return {
      element: view.element,
      update() {
        if (!item.live && isData(item.text))
          view.element.replaceChildren(
            h("details", {class: "mark"}, h("summary", null, "Answered with data"), h("pre", null, item.text)),
          );
        else view.update();
      },
    };
  },
  think(item) {
    const view = prose(item, {class: "thought"}),
      head = h("summary", null, "Thinking");
    const element = h("details", {class: "thought"}, head, view.element.lastChild);
    return {
      element,
      update() {
        view.update();
        setText(head, item.live ? "Thinking" : `Thought, ${item.text.length} characters`);
      },
    };
  },
  tool: (item, conversation) => tool(item, conversation),
  ask(item, conversation) {
    const session = conversation.session();
    const known = () => ({...item.ask, session_id: session.id, face: session.face, workspace: session.workspace});
    const element = h("div", {class: "inline-ask"});
    let shown = "";
    return {
      element,
      update() {
        if (shown === item.ask.state) return;
        shown = item.ask.state;
        element.replaceChildren(
          state.isOpen(item.ask)
            ? card(known())
            : h(
                "div",
                {class: "mark"},
                h("span", {class: "muted"}, `${item.ask.tool || "Question"}: `),
                settledLine(item.ask),
              ),
        );
      },
    };
  },
  notice: item =>
    still(
      h(
        "p",
        {class: `notice ${item.level}`},
        item.text,
        item.code ? h("span", {class: "muted"}, ` ${item.code}`) : null,
      ),
    ),
  job(item) {
    const line = h("span"),
      element = h("div", {class: "divider"}, line);
    return {
      element,
      update() {
        const {started, mode} = item.info;
        setText(
          line,
          [
            mode,
            started && started.resolved_model,
            started && started.permission_mode !== "default" && started.permission_mode,
            clock(item.ts),
          ]
            .filter(Boolean)
            .join(" · "),
        );
      },
    };
  },
  end(item) {
    const {diff} = item;
    const said = [
      item.outcome[0].toUpperCase() + item.outcome.slice(1),
      duration(item.duration_ms),
      item.turns ? `${item.turns} turn${item.turns > 1 ? "s" : ""}` : null,
      money(item.cost),
      diff && diff.files ? `${diff.files} file${diff.files > 1 ? "s" : ""} +${diff.added} -${diff.removed}` : null,
    ]
      .filter(Boolean)
      .join(" · ");
    return still(
      h(
        "div",
        {class: `end ${item.outcome}`},
        h("span", null, said),
        item.error ? h("p", null, item.error.message || item.error.code) : null,
      ),
    );
  },
  phase: item =>
    still(
      h(
        "p",
        {class: "phase"},
        `${PHASES[item.name] || item.name}${item.index ? ` ${item.index}` : ""}${item.count ? ` of ${item.count}` : ""}`,
        item.title && item.name !== "plan" ? h("b", null, ` ${item.title}`) : null,
      ),
    ),
  tasks(item) {
    const element = h("ul", {class: "tasks", "aria-label": "Tasks"});
    return {
      element,
      update() {
        element.replaceChildren(
          ...item.tasks.map(task =>
            h(
              "li",
              {class: task.done ? "done" : null},
              h("span", {class: "tick", role: "img", "aria-label": task.done ? "done" : "open"}),
              task.title,
            ),
          ),
        );
      },
    };
  },
  mark: item =>
    still(
      item.detail
        ? h("details", {class: "mark"}, h("summary", null, item.text), h("pre", null, item.detail))
        : h("p", {class: "mark"}, item.text),
    ),
};

function pictures(images, conversation) {
  const shown = (images || []).map(image => picture(image, conversation.session())).filter(Boolean);
  return shown.length ? h("div", {class: "pictures"}, ...shown) : null;
}

const RASTER = /^image\/(png|jpeg|gif|webp)$/;

function picture(image, session) {
  if (image.ref && session.face === "chat") {
    const href = attachment(session, image.ref),
      name = image.ref.split("/").pop();
    return h(
      "a",
      {href, download: name},
      RASTER.test(image.mime_type)
        ? h("img", {src: href, alt: name, loading: "lazy"})
        : h("span", {class: "chip"}, name),
    );
  }
  if (image.data && RASTER.test(image.media_type))
    return h("img", {src: `data:${image.media_type};base64,${image.data}`, alt: "Attached image", loading: "lazy"});
  return h("span", {class: "chip"}, `${image.media_type || "image"}${image.size ? ` ${bytes(image.size)}` : ""}`);
}

// --- Tool calls ----------------------------------------------------------------------------------------------------

function tool(item, conversation) {
  const dot = h("span", {class: "dot", role: "img"}),
    name = h("b"),
    subject = h("span", {class: "subject"}),
    told = h("span", {class: "told"});
  const body = h("div", {class: "call-body"});
  const element = h(
    "details",
    {class: "call", ontoggle: () => opened()},
    h("summary", null, dot, name, subject, told),
    body,
  );
  let parts = null,
    touched = false;
  element.firstChild.addEventListener("click", () => {
    touched = true;
  });

  function opened() {
    if (element.open && !parts) {
      parts = toolBody(body, item, conversation);
      parts.update();
    } else if (!element.open && parts) {
      body.replaceChildren();
      parts = null;
    }
  }

  return {
    element,
    update() {
      element.dataset.state = item.state;
      dot.setAttribute("aria-label", WORDS[item.state] || item.state);
      setText(name, item.name || "Tool");
      setText(subject, item.subject || subjectOf(item));
      setText(
        told,
        [
          item.state === "ok"
            ? item.summary
            : item.state === "error"
              ? item.summary || "failed"
              : item.state === "writing" && item.writing.length > 200
                ? `writing ${tokens(item.writing.length)} characters`
                : WORDS[item.state],
          item.took >= 100 ? duration(item.took) : null,
        ]
          .filter(Boolean)
          .join(" · "),
      );
      if (!touched && isEdit(item) && ["ok", "running", "asked"].includes(item.state) && !element.open)
        element.open = true; // changes are what people look for
      if (parts) parts.update();
    },
  };
}

const isEdit = item => item.input && ["Edit", "MultiEdit", "apply_patch"].includes(item.name);

function subjectOf(item) {
  const input = item.input || {};
  const found =
    input.command ||
    input.file_path ||
    input.path ||
    input.pattern ||
    input.query ||
    input.url ||
    input.description ||
    "";
  return typeof found === "string" ? found.split("\n")[0].slice(0, 200) : "";
}

function toolBody(body, item, conversation) {
  const input = h("div", {class: "input"}),
    output = h("pre", {class: "output"}),
    cut = h("p", {class: "muted", hidden: true}),
    text = document.createTextNode("");
  output.append(text);
  put(body, [input, cut, output, pictures(item.images, conversation)]);
  let drawnInput = null,
    drawn = "";
  return {
    update() {
      const wanted = item.input || item.writing;
      if (wanted !== drawnInput) {
        drawnInput = wanted;
        input.replaceChildren(
          item.input ? inputOf(item.name, item.input) : h("pre", null, item.writing.slice(-MOST_OUTPUT)),
        );
      }
      const all = item.output && item.state !== "error" ? item.output : item.told || item.output || "";
      if (all === drawn && drawn) return;
      // What grew is appended: laying out all of it again would cost more with every line.
      if (drawn && all.startsWith(drawn) && all.length < MOST_OUTPUT && !/[\x1b\r]/.test(all))
        text.appendData(all.slice(drawn.length));
      else text.data = plain(all.slice(-MOST_OUTPUT));
      drawn = all;
      const left = (item.cut || 0) + Math.max(0, all.length - MOST_OUTPUT);
      cut.hidden = !left;
      if (left) setText(cut, `The end of it: ${left} characters before this are left out.`);
      output.hidden = !all || (isEdit(item) && item.state === "ok");
    },
  };
}
