// The Pools tab: models, workers, queues and memory, as they are now.

import { request } from "./api.js";
import { element } from "./dom.js";
import { bytes, count, duration } from "./format.js";
import { Rates, byModel } from "./metrics.js";
import { server } from "./server.js";

const BAD = ["unresolved", "broken"];

/** Makes the tab; `visible()` says whether anybody looks at it. */
export function start(panel, visible) {
  const computed = new Rates();
  const memory = element("div", { class: "card" });
  const models = element("div", { class: "models" });
  panel.append(
    element("div", { class: "intro" }, element("h2", {}, "Pools"), element("p", {}, "Models, their workers and what waits for them, every two seconds.")),
    element("div", { class: "stack" }, memory, models),
  );
  memory.append(element("p", { class: "quiet" }, "Waiting for the server."));

  server.addEventListener("change", async () => {
    if (!visible() || !server.pools || server.problem) return;
    // Rates are a comfort: without them the rest is shown all the same.
    const text = await request("/metrics", { quietly: true }).then((response) => response.text(), () => null);
    if (text !== null) computed.read(byModel(text, "candlepool_tokens_total"), performance.now() / 1000);
    memory.replaceChildren(...ofMemory(server.pools));
    const cards = server.pools.models.map((model) => ofModel(model, computed.of(model.name)));
    models.replaceChildren(...(cards.length ? cards : [element("p", { class: "quiet" }, "No models are configured.")]));
  });
}

function facts(pairs) {
  return element("dl", { class: "facts" }, pairs.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

function ofMemory({ memory, lanes, uptime_seconds: uptime, version }) {
  const { used_bytes: used, limit_bytes: limit, peak_bytes: peak } = memory;
  const share = limit ? Math.min(used / limit, 1) : 0;
  const words = limit ? `${bytes(used)} of ${bytes(limit)}` : `${bytes(used)}, without a limit`;
  const fill = element("div", { class: "fill" });
  fill.style.width = `${(share * 100).toFixed(1)}%`;
  const bar = element(
    "div",
    { class: "bar", role: "meter", "aria-label": "Memory used", "aria-valuemin": "0", "aria-valuemax": "100",
      "aria-valuenow": String(Math.round(share * 100)), "aria-valuetext": words },
    fill,
  );
  return [
    element("div", { class: "row" }, element("h3", {}, "Memory"), element("span", { class: "quiet" }, words)),
    ...(limit ? [bar] : []),
    facts([
      ["Pressure", memory.pressure],
      ["At its peak", bytes(peak)],
      ["Weights", bytes(memory.accounts.weights ?? 0)],
      ["Computing", `${lanes.step.busy} of ${count(lanes.step.slots, "slot")}`],
      ["Up for", duration(uptime)],
      ["Version", version],
    ]),
  ];
}

function ofModel(model, rate) {
  const { queue, jobs } = model;
  const tone = BAD.includes(model.state) || !model.healthy ? "bad" : model.state === "resident" ? "good" : "";
  const unwell = jobs.failed + jobs.expired + jobs.refused;
  const waits = queue.waiting ? `${queue.waiting}, for ${duration(queue.oldest_wait_seconds)}` : "none";
  return element(
    "article",
    { class: "card", "aria-label": model.name },
    element("div", { class: "row" }, element("h3", {}, model.name), element("span", { class: "badge", "data-tone": tone }, model.state)),
    element("p", { class: "hint" }, model.modality),
    facts([
      ["Workers", workers(model.workers)],
      ["Memory", bytes(model.resident_bytes)],
      ["Waiting", waits],
      ["Running", String(queue.leased)],
      ["Tokens a second", rate === null ? "–" : rate.toFixed(rate > 0 && rate < 10 ? 1 : 0)],
      ["Done", jobs.completed.toLocaleString("en")],
      ...(unwell ? [["Not done", unwell.toLocaleString("en")]] : []),
    ]),
    model.last_error && element("p", { class: "hint" }, model.last_error),
  );
}

/** Workers by state, such as "2 busy, 1 ready". */
function workers(list) {
  const states = new Map();
  for (const { state } of list) states.set(state, (states.get(state) ?? 0) + 1);
  return [...states].map(([state, number]) => `${number} ${state}`).join(", ") || "none";
}
