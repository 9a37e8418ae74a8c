// Where a person writes: the next message of a session, with files for a chat.

import {bytes, fill, h, toast} from "./dom.js";
import {reason} from "./net.js";
import * as actions from "./actions.js";
import * as state from "./state.js";

const MODES = ["ask", "search", "code", "architect", "lutz"];
const LARGEST = 25 * 1024 * 1024; // of an attachment: contract of the runs API, section 1
const drafts = new Map();

export class Composer {
  constructor(view) {
    this.view = view;
    this.files = [];
    this.busy = false;
    this.text = h("textarea", {
      rows: 1,
      placeholder: "Message",
      "aria-label": "Message",
      value: drafts.get(view.id) || "",
      title: "Enter sends, Shift+Enter is a new line (c)",
      oninput: () => this.typed(),
      onkeydown: event => this.key(event),
      onpaste: event => this.drop(event, event.clipboardData),
    });
    this.mode = h(
      "select",
      {"aria-label": "Mode", title: "How the next message is worked on"},
      h("option", {value: ""}, "Mode: as before"),
      ...MODES.map(mode => h("option", {value: mode}, mode)),
    );
    this.picker = h("input", {
      type: "file",
      multiple: true,
      hidden: true,
      onchange: () => {
        this.add(this.picker.files);
        this.picker.value = "";
      },
    });
    this.pick = h("button", {type: "button", class: "quiet", onclick: () => this.picker.click()}, "Attach");
    this.go = h("button", {class: "primary"}, "Send");
    this.chips = h("div", {class: "chips"});
    this.error = h("p", {class: "error", role: "alert", hidden: true});
    this.element = h(
      "form",
      {
        class: "composer",
        onsubmit: event => {
          event.preventDefault();
          this.send();
        },
      },
      this.error,
      this.chips,
      this.text,
      h("div", {class: "row"}, this.pick, this.picker, this.mode, h("span", {class: "grow"}), this.go),
    );
    this.over = event => this.dragged(event);
    for (const name of ["dragover", "dragleave", "drop"]) addEventListener(name, this.over);
  }

  close() {
    for (const name of ["dragover", "dragleave", "drop"]) removeEventListener(name, this.over);
  }

  get isChat() {
    return this.view.session.face === "chat";
  }

  draw() {
    const {session} = this.view;
    this.element.hidden = session.face === "runs";
    this.pick.hidden = !this.isChat;
    this.mode.hidden = this.isChat;
    this.text.placeholder = state.isActive(session)
      ? this.isChat
        ? "Message, for when the turn is over"
        : "Message, once the job is over"
      : "Message";
    this.typed();
  }

  typed() {
    drafts.set(this.view.id, this.text.value);
    if (drafts.size > 100) drafts.delete(drafts.keys().next().value);
    if (this.text.value.length !== this.measured) {
      // measuring costs a layout of the page
      this.measured = this.text.value.length;
      this.text.style.height = "auto";
      this.text.style.height = `${Math.min(220, Math.max(38, this.text.scrollHeight))}px`;
    }
    this.go.disabled = this.busy || (!this.text.value.trim() && !this.files.length);
  }

  key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.send();
    }
  }

  dragged(event) {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    document.body.classList.toggle("dropping", event.type === "dragover" && this.isChat);
    if (event.type === "drop") this.drop(event, event.dataTransfer);
  }

  drop(event, data) {
    if (!data.files.length) return;
    event.preventDefault();
    if (this.isChat) this.add(data.files);
    else toast("Files can be attached in chats only", true);
  }

  add(files) {
    for (const file of files) {
      if (file.size > LARGEST) toast(`${file.name} has ${bytes(file.size)}; ${bytes(LARGEST)} is the most`, true);
      else this.files.push(file);
    }
    this.drawFiles();
  }

  drawFiles() {
    fill(
      this.chips,
      ...this.files.map(file =>
        h(
          "span",
          {class: "chip"},
          `${file.name} ${bytes(file.size)}`,
          h(
            "button",
            {
              type: "button",
              class: "quiet",
              "aria-label": `Leave out ${file.name}`,
              onclick: () => {
                this.files = this.files.filter(each => each !== file);
                this.drawFiles();
              },
            },
            "×",
          ),
        ),
      ),
    );
    this.typed();
  }

  async send() {
    const text = this.text.value.trim(),
      {session} = this.view;
    if (this.busy || (!text && !this.files.length)) return;
    this.busy = true;
    this.error.hidden = true;
    this.typed();
    try {
      const parts = [];
      for (const file of this.files) parts.push(await actions.attach(session, file));
      await actions.send(session, text, parts, this.mode.value ? {mode: this.mode.value} : {});
      this.text.value = "";
      this.files = [];
      this.drawFiles();
      this.view.conversation.follow();
    } catch (error) {
      this.error.textContent = `It was not sent: ${reason(error)}`;
      this.error.hidden = false;
    } finally {
      this.busy = false;
      this.typed();
    }
  }
}
