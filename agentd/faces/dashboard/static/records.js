// What each type of record does to a fold. The types: agentd/domain.py.

const MOST_TEXT = 200000; // characters of one item; the end stays
const MOST_POINTS = 400; // of the chart

function piece(fold, key, kind, data, record) {
  const item = fold.find(key) || fold.add(key, kind, record, {text: "", cut: 0, live: true, message: data.message});
  grow(fold, item, "text", data.text);
  fold.touch(item);
}

function grow(fold, item, field, text) {
  item[field] += text;
  fold.weight += text.length;
  if (item[field].length > 1.5 * MOST_TEXT) {
    item.cut = (item.cut || 0) + item[field].length - MOST_TEXT;
    item[field] = item[field].slice(-MOST_TEXT);
  }
}

function call(fold, id, record, fields) {
  const key = `call:${record.job}:${id}`;
  let item = fold.find(key);
  if (item && item.state !== "writing" && item.state !== "asked" && fields.state === "writing") return item;
  if (!item)
    item = fold.add(key, "tool", record, {
      id,
      name: "",
      input: null,
      writing: "",
      output: "",
      cut: 0,
      subject: "",
      state: "asked",
      summary: "",
      took: null,
    });
  Object.assign(item, fields);
  fold.touch(item);
  return item;
}

function said(fold, data, record) {
  for (const block of data.content) fold.weight += (block.text || block.thinking || "").length;
  if (data.role === "user") {
    const texts = data.content.filter(block => block.type === "text").map(block => block.text);
    const images = data.content.filter(block => block.type === "image");
    const job = fold.jobs.get(record.job),
      again = Boolean(record.parent || (job && job.said)); // only the first is a person's
    if (job) job.said = true;
    if ((texts.length || images.length) && !fold.find(`said:${data.id}`))
      fold.add(`said:${data.id}`, "user", record, {text: texts.join("\n\n"), images, again});
    return;
  }
  data.content.forEach((block, index) => {
    const kind = {text: "text", thinking: "think"}[block.type];
    if (kind) {
      const key = `${data.id}:${index}`,
        text = block.text || block.thinking || "";
      const item = fold.find(key) || (text && fold.add(key, kind, record, {text: "", cut: 0, message: data.id}));
      if (!item) return;
      Object.assign(item, {text: text.slice(-MOST_TEXT), cut: Math.max(0, text.length - MOST_TEXT), live: false, kind});
      fold.touch(item);
    } else if (block.type === "tool_use") {
      const known = fold.find(`call:${record.job}:${block.id}`);
      if (known && !["writing", "asked"].includes(known.state)) return;
      call(fold, block.id, record, {name: block.name, input: block.input, writing: "", state: "asked"});
    }
  });
}

function ended(fold, data, record) {
  for (const item of fold.items.slice(-200)) {
    if (item.kind === "ask" && item.job === record.job && item.ask.state === "open") {
      item.ask = {...item.ask, state: "settled", decision: "withdrawn"}; // nobody waits for the answer any more
      fold.touch(item);
    }
    if (item.live) {
      item.live = false;
      fold.touch(item);
    }
    if (item.kind === "tool" && ["writing", "asked", "running"].includes(item.state) && item.job === record.job) {
      item.state = "stopped";
      fold.touch(item);
    }
  }
  for (const step of fold.steps)
    if (step.end === null && step.job === record.job) {
      step.end = record.ts;
      step.state = data.outcome === "completed" ? "ok" : data.outcome;
    }
  const job = fold.jobs.get(record.job);
  if (job) Object.assign(job, {state: data.outcome, end: record.ts, error: data.error});
  fold.add(`end:${record.job}`, "end", record, data);
}

const mark = (fold, record, text, detail) => fold.add(`mark:${record.pos}`, "mark", record, {text, detail});

// By type; each is given the fold, the record's data and the record.
export const HANDLERS = {
  "session.created": (fold, data, record) => {
    fold.begun = record.ts;
  },
  "job.created"(fold, data, record) {
    const spec = data.spec || {};
    const job = {
      id: record.job,
      start: record.ts,
      end: null,
      state: "queued",
      mode: spec.mode,
      prompt: spec.prompt,
      models: spec.models,
      limits: spec.limits,
      permission_mode: spec.tools && spec.tools.permission_mode,
      face: spec.face || {},
    };
    fold.jobs.set(record.job, job);
    if (fold.jobs.size > 500) fold.jobs.delete(fold.jobs.keys().next().value);
    fold.job = job;
    fold.add(`job:${record.job}`, "job", record, {info: job});
  },
  "job.started"(fold, data, record) {
    const job = fold.jobs.get(record.job);
    if (!job) return;
    Object.assign(job, {state: "running", started: data});
    const item = fold.find(`job:${record.job}`);
    if (item) fold.touch(item);
    fold.step(`job:${record.job}`, record.ts, {
      name: job.mode || "job",
      kind: "job",
      job: record.job,
      state: "running",
    });
  },
  "job.finished": (fold, data, record) => ended(fold, data, record),
  phase(fold, data, record) {
    if (data.name === "turn") return; // of a chat: its job says the same
    const key = `phase:${record.job}:${data.name.replace(".done", "")}:${data.index}`;
    const name = data.title || data.name;
    if (data.name.endsWith(".done"))
      return fold.endStep(key, record.ts, data.details && data.details.ok === false ? "failed" : "ok");
    if (data.name === "planned") return fold.endStep(`phase:${record.job}:plan:0`, record.ts, "ok");
    for (const step of fold.steps)
      if (step.kind === "phase" && step.end === null && step.job === record.job) {
        step.end = record.ts;
        step.state = "ok";
      }
    fold.step(key, record.ts, {
      name: data.name === "task" || data.name === "step" ? name : `${data.name}${data.title ? `: ${data.title}` : ""}`,
      kind: "phase",
      job: record.job,
      index: data.index,
      count: data.count,
    });
    fold.add(`phase:${record.pos}`, "phase", record, data);
  },
  tasks(fold, data, record) {
    fold.tasks = data.tasks;
    const known = fold.find(`tasks:${record.job}`);
    if (known) {
      known.tasks = data.tasks;
      fold.touch(known);
    } else fold.add(`tasks:${record.job}`, "tasks", record, {tasks: data.tasks});
  },
  "text.delta": (fold, data, record) => piece(fold, `${data.message}:${data.block}`, "text", data, record),
  "thinking.delta": (fold, data, record) => piece(fold, `${data.message}:${data.block}`, "think", data, record),
  "input.delta"(fold, data, record) {
    const item = call(fold, data.call, record, {name: data.name, state: "writing"});
    if (item.state === "writing") grow(fold, item, "writing", data.text);
  },
  message: (fold, data, record) => said(fold, data, record),
  "message.changed"(fold, data) {
    const item = fold.find(`said:${data.id}`);
    if (!item) return;
    item.text = data.content
      .filter(block => block.type === "text")
      .map(block => block.text)
      .join("\n\n");
    fold.touch(item);
  },
  "tool.started"(fold, data, record) {
    call(fold, data.call, record, {
      name: data.name,
      input: data.input,
      subject: data.subject || "",
      state: "running",
      began: record.ts,
      writing: "",
    });
    fold.step(`call:${record.job}:${data.call}`, record.ts, {
      name: data.name,
      detail: data.subject || "",
      kind: "tool",
      job: record.job,
      parent: record.parent,
      call: data.call,
    });
  },
  "tool.output"(fold, data, record) {
    const item = fold.find(`call:${record.job}:${data.call}`);
    if (!item) return;
    grow(fold, item, "output", data.text);
    fold.touch(item);
  },
  "tool.finished"(fold, data, record) {
    const told = (data.content || [])
      .filter(block => block.type === "text")
      .map(block => block.text)
      .join("\n");
    const item = call(fold, data.call, record, {
      name: data.name,
      state: data.ok ? "ok" : "error",
      summary: data.summary || "",
      took: data.duration_ms,
      artifact: data.artifact,
    });
    if (data.subject) item.subject = data.subject;
    item.told = told.slice(-MOST_TEXT);
    fold.weight += item.told.length;
    item.images = (data.content || []).filter(block => block.type === "image");
    fold.endStep(`call:${record.job}:${data.call}`, record.ts, data.ok ? "ok" : "failed");
  },
  "ask.opened"(fold, data, record) {
    fold.add(`ask:${data.id}`, "ask", record, {
      ask: {...data, state: "open", opened: record.ts, job_id: record.job, call_id: data.call},
    });
    fold.step(`ask:${data.id}`, record.ts, {
      name: "Waiting for an answer",
      detail: data.question,
      kind: "ask",
      job: record.job,
    });
  },
  "ask.settled"(fold, data, record) {
    const item = fold.find(`ask:${data.id}`);
    fold.endStep(`ask:${data.id}`, record.ts, data.decision === "deny" ? "failed" : "ok");
    if (!item) return;
    item.ask = {...item.ask, ...data, state: "settled", settled: record.ts};
    fold.touch(item);
  },
  notice: (fold, data, record) =>
    fold.add(`notice:${record.pos}`, "notice", record, {level: data.level, text: data.text, code: data.code}),
  hook(fold, data, record) {
    if (data.error || (data.decision && data.decision !== "allow"))
      mark(fold, record, `Hook ${data.event}: ${data.error || data.decision}`, data.reason || data.url);
  },
  usage(fold, data, record) {
    const last = fold.points[fold.points.length - 1] || {
      input: 0,
      output: 0,
      cached: 0,
      cost: 0,
      calls: 0,
      known: true,
    };
    fold.points.push({
      ts: record.ts,
      input: last.input + data.input_tokens,
      output: last.output + data.output_tokens,
      cached: last.cached + (data.cached_tokens || 0),
      cost: last.cost + (data.cost || 0),
      calls: last.calls + 1,
      known: last.known && data.cost !== null,
    });
    if (fold.points.length > 2 * MOST_POINTS)
      fold.points = fold.points.filter((_, index) => index % 2 || index === fold.points.length - 1);
  },
  "files.saved"(fold, data, record) {
    const known = fold.checkpoints.find(each => each.id === data.checkpoint);
    if (known) known.files += data.files.length;
    else fold.checkpoints.push({id: data.checkpoint, ts: record.ts, files: data.files.length});
  },
  "files.rewound": (fold, data, record) =>
    mark(
      fold,
      record,
      `Rewound to a checkpoint: ${data.restored.length ?? data.restored} restored, ${data.removed.length ?? data.removed} removed`,
    ),
  "history.compacted": (fold, data, record) =>
    mark(fold, record, `Earlier conversation summed up: about ${data.before} to ${data.after} tokens`, data.text),
  "history.cleared": (fold, data, record) => mark(fold, record, "What was said before is forgotten"),
  "session.imported": (fold, data, record) => mark(fold, record, `Imported: ${data.name || ""}`),
  commit: (fold, data, record) =>
    mark(fold, record, `Commit ${String(data.sha).slice(0, 10)}: ${data.message}`, (data.files || []).join("\n")),
  "chat.message"(fold, data, record) {
    const parts = data.parts || [];
    const text = parts
      .filter(part => part.type === "text")
      .map(part => part.text)
      .join("\n\n");
    if (data.role !== "tool")
      fold.add(`said:${data.id}`, "user", record, {
        text,
        images: parts.filter(part => part.ref),
        again: data.role !== "user",
      });
  },
  "chat.set": (fold, data, record) => {
    if (data.why !== "created")
      mark(
        fold,
        record,
        `${data.mode === "spec" ? "Spec" : "Chat"} mode${data.spec_path ? `: ${data.spec_path}` : ""}`,
      );
  },
  "chat.failed": (fold, data, record) =>
    fold.add(`notice:${record.pos}`, "notice", record, {level: "error", text: data.error, code: ""}),
  "chat.canceled": (fold, data, record) => mark(fold, record, "Cancelled, and what was queued too"),
};
