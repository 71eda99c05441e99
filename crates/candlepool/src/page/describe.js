// The Describe tab: a picture and a question in, an answer out as it is written.

import { failureOfEvent, request, words } from "./api.js";
import { announce, element, field, tell } from "./dom.js";
import { needing } from "./missing.js";
import { dropPlace, takes } from "./picture.js";
import { events } from "./sse.js";

export function start(panel) {
  needing(panel, {
    modalities: ["llava-vision"],
    title: "Describe",
    about: "Show a picture to a model and ask about it.",
    why: "Pictures are read by a vision model.",
    build,
  });
}

function build(select) {
  const problem = element("p", { class: "problem", role: "alert", hidden: true });
  const question = element("textarea", { id: "describe-question", rows: 2, value: "What is in this picture?" });
  const ask = element("button", { class: "primary", type: "submit", disabled: true }, "Ask");
  const stop = element("button", { class: "plain", type: "button", hidden: true, onclick: () => running?.abort() }, "Stop");
  const answer = element("div", { class: "card answer quiet", id: "describe-answer", role: "region", "aria-label": "Answer" }, "The answer appears here.");
  const picture = dropPlace("describe-picture", problem, () => (ask.disabled = false));
  let running = null;

  async function submit(event) {
    event.preventDefault();
    if (running || !picture.url()) return;
    running = new AbortController();
    busy(true);
    tell(problem, null);
    answer.textContent = "";
    answer.classList.remove("quiet");
    try {
      await stream(running.signal);
      announce(`Answer: ${answer.textContent}`);
    } catch (error) {
      tell(problem, words(error));
    } finally {
      running = null;
      busy(false);
      if (!answer.textContent) answer.textContent = "No answer.";
    }
  }

  async function stream(signal) {
    const content = [
      { type: "text", text: question.value.trim() || "What is in this picture?" },
      { type: "image_url", image_url: { url: picture.url() } },
    ];
    const body = { model: select.value, messages: [{ role: "user", content }], max_tokens: 400, stream: true };
    for await (const { data } of events(await request("/v1/chat/completions", { body, signal }))) {
      const piece = JSON.parse(data);
      if (piece.error) throw failureOfEvent(piece.error);
      answer.append(piece.choices[0]?.delta?.content ?? "");
    }
  }

  function busy(now) {
    ask.disabled = now;
    stop.hidden = !now;
    ask.textContent = now ? "Looking…" : "Ask";
    answer.setAttribute("aria-busy", String(now));
  }

  question.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  const form = element("form", { class: "stack", onsubmit: submit },
    field("Question", question, "Enter asks; Shift and Enter begin a new line."), field("Model", select), problem,
    element("div", { class: "row" }, ask, stop), answer);
  takes(form, picture.take);
  return element("div", { class: "halves" }, picture.node, form);
}
