// What is done with a session. Runs and chats have their own API; every other session is told over the admin API.

import {publicId, uuidStart} from "./names.js";
import {ADMIN, ask, get, post, Refused} from "./net.js";

const at = session => `${ADMIN}/sessions/${encodeURIComponent(session.id)}`;
const own = session => session.face === "runs" || session.face === "chat";
const absent = error =>
  error instanceof Refused && error.status === 404 && error.body && error.body.error === "unknown endpoint";

const there = session => `/v1/${session.face === "runs" ? "runs" : "sessions"}/${publicId(session)}`;

// The session that has this id in the API of runs and chats, or here. Raises Error.
export async function resolve(id) {
  const start = uuidStart(id);
  if (!start) return id;
  const {items} = await get(`${ADMIN}/sessions?limit=500&face=${id.startsWith("run_") ? "runs" : "chat"}`);
  const found = items.find(item => item.id.replaceAll("-", "").startsWith(start));
  if (!found) throw new Error("there is no such session");
  return found.id;
}

async function runsApi(work) {
  try {
    return await work();
  } catch (error) {
    if (absent(error)) throw new Error("this agentd does not serve the runs and chat API");
    throw error;
  }
}

export async function send(session, text, parts, options) {
  if (session.face === "chat")
    return runsApi(() =>
      post(`${there(session)}/messages`, {role: "user", parts: [...(text ? [{type: "text", text}] : []), ...parts]}),
    );
  if (parts.length) throw new Error("files can be attached in chats only");
  return post(`${at(session)}/message`, {text, ...options});
}

export async function attach(session, file) {
  if (session.face !== "chat") throw new Error("files can be attached in chats only");
  const form = new FormData();
  form.append("file", file, file.name);
  const told = await runsApi(() => ask("POST", `${there(session)}/attachments`, form));
  return {type: /^image\//.test(told.mime_type) ? "image" : "file", ref: told.ref, mime_type: told.mime_type};
}

export const attachment = (session, ref) =>
  `${there(session)}/attachments/${encodeURIComponent(ref.replace(/^attachments\//, ""))}`;

export const cancel = session =>
  own(session)
    ? post(`${there(session)}/cancel`).catch(error => {
        if (absent(error)) return post(`${at(session)}/cancel`);
        throw error;
      })
    : post(`${at(session)}/cancel`);
export const remove = session => ask("DELETE", at(session));
export const setMode = (session, mode) => runsApi(() => post(`${there(session)}/mode`, {mode}));
export const rewind = (session, checkpoint, dry) => post(`${at(session)}/rewind`, {checkpoint, dry_run: dry});
export const diff = session => get(`${at(session)}/diff`);

export async function retry(session, fold) {
  if (session.face === "chat") {
    const chat = await runsApi(() => get(there(session)));
    const turn = (chat.turns || []).findLast(each => each.status === "failed" || each.status === "pending");
    if (!turn) throw new Error("no turn of it has failed");
    return post(`${there(session)}/turns/${encodeURIComponent(turn.id)}/retry`);
  }
  if (session.face === "runs") {
    const run = await runsApi(() => get(there(session)));
    return startRun(run.workspace_path, run.spec_path);
  }
  if (!fold.job || !fold.job.prompt) throw new Error("what was asked is not known");
  return post(`${at(session)}/message`, {text: fold.job.prompt});
}

export const startRun = (workspace, spec) =>
  runsApi(() => post("/v1/runs", {workspace_path: workspace, spec_path: spec}));
export const writeSpec = (workspace, name, prompt, overwrite) =>
  runsApi(() => post("/v1/specs/generate", {workspace_path: workspace, spec_name: name, prompt, overwrite}));

export async function startChat({workspace, system, mode, spec, text}) {
  const made = await runsApi(() =>
    post("/v1/sessions", {workspace_path: workspace, system_prompt: system, mode, spec_path: spec, auto_run: true}),
  );
  if (text)
    await post(`/v1/sessions/${encodeURIComponent(made.session_id)}/messages`, {
      role: "user",
      parts: [{type: "text", text}],
    });
  return made;
}

export const steps = session => runsApi(() => get(there(session)));
export const files = session =>
  runsApi(() => get(`/v1/workspace/tree?workspace_path=${encodeURIComponent(session.workspace)}`));
export const models = () => runsApi(() => get("/v1/models"));
export const setPolicy = policy => runsApi(() => post("/v1/model-policy", policy));

export async function exported(session, form) {
  const link = document.createElement("a");
  link.href = form === "zip" ? `${there(session)}/export` : `${at(session)}/transcript?format=${form}`;
  link.download = `${session.id}.${form}`;
  link.click();
}
