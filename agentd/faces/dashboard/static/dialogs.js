// Dialogs: what is begun with New, and the keys.

import {dialog, fill, h} from "./dom.js";
import {reason} from "./net.js";
import * as actions from "./actions.js";
import * as state from "./state.js";

const KEYS = [
  ["n", "New chat or run"],
  ["/", "Search"],
  ["j, k", "Next and previous session; Enter opens it"],
  ["i", "Inbox"],
  ["o", "Overview"],
  ["c", "Write a message"],
  ["a, d", "Approve, deny the first question in sight"],
  ["x", "Cancel what the session does"],
  ["r", "Retry"],
  ["1 to 4", "Timeline, changes, details, log"],
  ["g, G", "To the beginning, to the latest"],
  ["t", "Light, dark, as the system"],
  ["Esc", "Back"],
  ["?", "These keys"],
];

export function keys() {
  dialog("Keyboard shortcuts", () =>
    h(
      "dl",
      {class: "keys"},
      ...KEYS.map(([key, what]) => [
        h(
          "dt",
          null,
          ...key
            .split(", ")
            .flatMap((each, index) => [index ? " " : null, h("kbd", null, each)])
            .filter(Boolean),
        ),
        h("dd", null, what),
      ]),
    ),
  );
}

const remembered = name => {
  try {
    return localStorage.getItem(`agentd-${name}`) || "";
  } catch {
    return "";
  }
};
const remember = (name, value) => {
  try {
    localStorage.setItem(`agentd-${name}`, value);
  } catch {
    /* for this time only, then */
  }
};

export function begin(open) {
  let kind = "chat";
  dialog("New", close => {
    const places = [
      ...new Set(
        [...state.sessions.values()]
          .filter(session => session.isolation !== "worktree")
          .map(session => session.workspace),
      ),
    ].slice(0, 50);
    const workspace = h("input", {
      required: true,
      autofocus: true,
      list: "workspaces",
      value: remembered("workspace"),
      placeholder: "/path/of/the/repository",
      spellcheck: "false",
      autocomplete: "off",
    });
    const text = h("textarea", {rows: 5}),
      system = h("textarea", {rows: 2}),
      spec = h("input", {spellcheck: "false", placeholder: "specs/feature/spec.md", value: remembered("spec")});
    const mode = h(
      "select",
      null,
      h("option", {value: "chat"}, "Chat"),
      h("option", {value: "spec"}, "Spec: write a specification together"),
    );
    const name = h("input", {spellcheck: "false", placeholder: "feature"}),
      overwrite = h("input", {type: "checkbox"});
    const error = h("p", {class: "error", role: "alert", hidden: true}),
      go = h("button", {class: "primary"}, "Start");
    const fields = h("div", {class: "fields"});
    const form = h("form", {
      class: "fields",
      onsubmit: event => {
        event.preventDefault();
        submit();
      },
    });
    const kinds = Object.entries({chat: "Chat", run: "Run of a spec", spec: "Write a spec"}).map(([key, word]) =>
      h("button", {type: "button", "aria-pressed": "false", "data-kind": key, onclick: () => choose(key)}, word),
    );

    function choose(key) {
      kind = key;
      for (const button of kinds) button.setAttribute("aria-pressed", String(button.dataset.kind === key));
      go.textContent = key === "spec" ? "Write it" : "Start";
      spec.required = key === "run";
      name.required = key === "spec";
      fill(
        fields,
        key === "chat"
          ? [
              h("label", null, "First message", text),
              h(
                "details",
                null,
                h("summary", null, "More"),
                h("label", null, "Mode", mode),
                h("label", null, "Instructions for the whole session", system),
              ),
            ]
          : key === "run"
            ? h("label", null, "Spec file, below the workspace or absolute", spec)
            : [
                h("label", null, "Name", name),
                h("label", null, "What is wanted", text),
                h("label", {class: "option"}, overwrite, "Replace the spec that has this name"),
              ],
      );
    }

    async function submit() {
      const place = workspace.value.trim();
      go.disabled = true;
      error.hidden = true;
      try {
        remember("workspace", place);
        if (kind === "chat")
          open(
            (
              await actions.startChat({
                workspace: place,
                system: system.value,
                mode: mode.value,
                spec: "",
                text: text.value.trim(),
              })
            ).session_id,
          );
        else if (kind === "run") {
          remember("spec", spec.value.trim());
          open((await actions.startRun(place, spec.value.trim())).run_id);
        } else {
          const told = await actions.writeSpec(place, name.value.trim(), text.value.trim(), overwrite.checked);
          spec.value = told.spec_path;
          remember("spec", told.spec_path);
          choose("run");
          fields.append(h("pre", {class: "spec"}, told.content));
          return;
        }
        close();
      } catch (wrong) {
        error.textContent = reason(wrong);
        error.hidden = false;
      } finally {
        go.disabled = false;
      }
    }

    choose("chat");
    form.append(
      h("div", {class: "segments", role: "group", "aria-label": "What"}, ...kinds),
      h("label", null, "Workspace", workspace),
      h("datalist", {id: "workspaces"}, ...places.map(place => h("option", {value: place}))),
      fields,
      error,
      h("div", {class: "actions"}, h("button", {type: "button", onclick: close}, "Close"), go),
    );
    return form;
  });
}
