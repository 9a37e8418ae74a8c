// What there is: sessions, jobs and asks of every API, kept as they are now by the stream of changes.

import {draw} from "./dom.js";
import {ADMIN, get, stream} from "./net.js";

const MOST = {session: 4000, job: 2000, ask: 1000, executor: 500}; // kept in memory; the rest is asked for again
const PAGE = 200;

export const sessions = new Map();
export const jobs = new Map();
export const asks = new Map();
export const executors = new Map(); // by session
export const link = {state: "connecting", retry: 0, loaded: false, error: ""};
export const more = {sessions: null}; // the cursor of the sessions behind those that are loaded

const watchers = new Set(); // of (kind, item): item is null after everything was loaded again
export function watch(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}
function tell(kind, item) {
  for (const watcher of watchers) watcher(kind, item);
}

const TABLES = {session: sessions, job: jobs, ask: asks};

export const isOpen = ask => ask.state === "open";
export const openAsks = () => [...asks.values()].filter(isOpen).sort((a, b) => a.opened - b.opened);
export const asksOf = id => [...asks.values()].filter(ask => ask.session_id === id && isOpen(ask));
export const isActive = session => session.status !== "idle";
export const hasFailed = session =>
  !isActive(session) && ["failed", "interrupted"].includes(session.last_job && session.last_job.state);

// One word for how a session is, which is also its colour.
export function stateOf(session) {
  if (isActive(session)) return session.status;
  return session.last_job ? session.last_job.state : "idle";
}

function keep(kind, item) {
  const table = TABLES[kind];
  table.delete(item.id); // the latest change is the last one
  table.set(item.id, item);
  for (const key of table.keys()) {
    if (table.size <= MOST[kind]) break;
    table.delete(key);
  }
}

function changed(kind, data) {
  if (kind === "executor") {
    if (data.state === "absent" && !data.died) executors.delete(data.session_id);
    else
      executors.set(data.session_id, {
        ...executors.get(data.session_id),
        ...data,
        memory_bytes: data.memory_bytes ?? executors.get(data.session_id)?.memory_bytes,
      });
    while (executors.size > MOST.executor) executors.delete(executors.keys().next().value);
    const session = sessions.get(data.session_id);
    if (session) session.executor = data.state;
  } else if (data.gone) {
    if (kind === "session") forget(data.id);
    else TABLES[kind].delete(data.id);
  } else if (TABLES[kind]) {
    const known = TABLES[kind].get(data.id);
    keep(kind, known ? {...known, ...data} : data);
  }
  tell(kind, data);
}

function forget(id) {
  sessions.delete(id);
  for (const table of [jobs, asks]) for (const [key, each] of table) if (each.session_id === id) table.delete(key);
}

// An ask as its page has it, with the input of its call; and what we know ourselves of one that was just settled.
export function learned(ask) {
  changed("ask", ask);
}

async function list(path) {
  try {
    return await get(ADMIN + path);
  } catch (error) {
    if (error.status === 403) return {items: [], next: null}; // this token is not for that
    throw error;
  }
}

async function load() {
  const [a, b, c] = await Promise.all([
    list(`/sessions?limit=${PAGE}`),
    list(`/jobs?limit=${PAGE}`),
    list("/asks?state=open&limit=500"),
  ]);
  for (const table of Object.values(TABLES)) table.clear();
  for (const [kind, page] of [
    ["session", a],
    ["job", b],
    ["ask", c],
  ])
    for (const item of page.items.reverse()) keep(kind, item);
  more.sessions = a.next;
  link.loaded = true;
  link.error = "";
  tell("all", null);
}

export async function loadMore() {
  const cursor = more.sessions;
  if (!cursor || sessions.size >= MOST.session) return;
  more.sessions = null;
  const page = await list(`/sessions?limit=${PAGE}&cursor=${encodeURIComponent(cursor)}`);
  for (const item of page.items) if (!sessions.has(item.id)) sessions.set(item.id, item);
  more.sessions = page.next;
  tell("all", null);
}

// Sessions that a search finds beyond those that are loaded.
export async function find(words) {
  const page = await list(`/sessions?limit=${PAGE}&q=${encodeURIComponent(words)}`);
  for (const item of page.items) if (!sessions.has(item.id)) sessions.set(item.id, item);
  tell("all", null);
  return new Set(page.items.map(item => item.id));
}

export async function loadSession(id) {
  const session = await get(`${ADMIN}/sessions/${encodeURIComponent(id)}`);
  keep("session", session);
  tell("session", session);
  return session;
}

export function connect(drawLink) {
  const say = state => {
    link.state = state;
    draw("link", drawLink);
  };
  let stale = true; // the lists have to be loaded: at first, and when changes were missed
  const reload = async () => {
    stale = true;
    await load();
    stale = false;
  };
  stream(`${ADMIN}/events`, () => "", {
    async open(last) {
      if (stale || !last) await reload(); // behind no event: what changed while nobody heard is in no event to come
      say("live");
    },
    event(name, data) {
      if (name === "reset")
        reload().then(
          () => say("live"),
          () => {
            /* the stream is as dead, and says so */
          },
        );
      else changed(name, data);
    },
    lost(wait) {
      link.retry = wait;
      say("lost");
    },
    gone(error) {
      link.error = error.status === 403 ? "This token may not see sessions." : error.message;
      say("gone");
    },
  });
}
