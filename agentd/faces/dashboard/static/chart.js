// A small chart of sums over time: tokens as an area, cost as a line. Plain SVG; the numbers are beside it as text.

import {clock, h, money, tokens} from "./dom.js";

const WIDTH = 320,
  HEIGHT = 96,
  TOP = 6,
  BOTTOM = 16;

// *points*: [{ts, input, output, cost}], each the sum up to then. *since*, *until*: where the time begins and ends.
export function chart(points, since, words, until = 0) {
  if (!points.length) return h("p", {class: "muted"}, "No model has been called yet.");
  const first = {ts: Math.min(since || Infinity, points[0].ts), input: 0, output: 0, cost: 0};
  const all = [first, ...points],
    last = all[all.length - 1];
  const begin = first.ts,
    end = Math.max(last.ts, begin + 1, until);
  if (until) all.push({...last, ts: end});
  const [from, to] = words || [clock(begin), clock(end)];
  const top = Math.max(1, last.input + last.output),
    dear = last.cost || 0;
  const x = ts => ((ts - begin) / (end - begin)) * WIDTH;
  const y = (value, most) => HEIGHT - BOTTOM - (value / most) * (HEIGHT - TOP - BOTTOM);
  const steps = (value, most) =>
    all
      .map((point, index) => `${index ? `H${x(point.ts).toFixed(1)}V` : `M0 `}${y(value(point), most).toFixed(1)}`)
      .join("");
  const total = `${tokens(last.input)} tokens in, ${tokens(last.output)} out${dear ? `, ${money(dear)}` : ""}`;
  const readout = h("p", {class: "readout"}, total);
  const cursor = h("line", {class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, x1: -1, x2: -1});
  const picture = h(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      class: "chart",
      role: "img",
      "aria-label": `Tokens and cost over time: ${total}`,
      preserveAspectRatio: "none",
    },
    h("line", {class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM}),
    h("path", {class: "area", d: `${steps(point => point.input + point.output, top)}V${HEIGHT - BOTTOM}H0Z`}),
    dear ? h("path", {class: "cost", d: steps(point => point.cost, dear)}) : null,
    cursor,
  );
  picture.addEventListener("pointermove", event => {
    const box = picture.getBoundingClientRect();
    const ts = begin + ((event.clientX - box.left) / box.width) * (end - begin);
    const at = all.findLast(point => point.ts <= ts) || first;
    cursor.setAttribute("x1", x(at.ts));
    cursor.setAttribute("x2", x(at.ts));
    readout.textContent = `${clock(at.ts)}: ${tokens(at.input)} in, ${tokens(at.output)} out${dear ? `, ${money(at.cost)}` : ""}`;
  });
  picture.addEventListener("pointerleave", () => {
    readout.textContent = total;
    cursor.setAttribute("x1", -1);
    cursor.setAttribute("x2", -1);
  });
  return h(
    "figure",
    null,
    picture,
    h(
      "div",
      {class: "ends"},
      h("span", null, from),
      h(
        "span",
        {class: "key"},
        h("i", {class: "k-tokens"}),
        "tokens",
        dear ? [h("i", {class: "k-cost"}), "cost"] : null,
      ),
      h("span", null, to),
    ),
    readout,
  );
}

// Sums over the jobs that are known, from the oldest on.
export function spent(jobs) {
  const sums = {input: 0, output: 0, cost: 0};
  return jobs
    .filter(job => job.input_tokens || job.cost_usd)
    .sort((a, b) => (a.ended || a.created) - (b.ended || b.created))
    .map(job => {
      sums.input += job.input_tokens || 0;
      sums.output += job.output_tokens || 0;
      sums.cost += job.cost_usd || 0;
      return {ts: job.ended || job.created, ...sums};
    });
}
