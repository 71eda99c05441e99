// The Imagine tab: words in, a picture out, shown while it is drawn.

import { failureOfEvent, request, words } from "./api.js";
import { announce, element, field, tell } from "./dom.js";
import { shortened } from "./format.js";
import { needing } from "./missing.js";
import { events } from "./sse.js";

const MOST_KEPT = 24;
const SCHEDULERS = ["ddim", "pndm", "euler", "euler_a", "dpm++2m", "lcm", "unipc"];

export function start(panel) {
  needing(panel, {
    modalities: ["text-to-image"],
    title: "Imagine",
    about: "Say what you want to see, and watch it appear.",
    why: "Pictures are drawn by a diffusion model.",
    build,
  });
}

/** The controls, and the request that they say; what is left empty is the model's to choose. */
function controls() {
  const number = (id, properties) => element("input", { id: `imagine-${id}`, type: "number", placeholder: "Model's own", ...properties });
  const made = {
    prompt: element("textarea", { id: "imagine-prompt", rows: 3, placeholder: "A lighthouse at dusk, oil on canvas" }),
    negative: element("input", { id: "imagine-negative", type: "text", autocomplete: "off" }),
    steps: number("steps", { min: 1, max: 1000, step: 1 }),
    guidance: number("guidance", { min: 0, step: "any" }),
    seed: number("seed", { min: 0, step: 1, placeholder: "Random" }),
    width: number("width", { min: 8, step: 8 }),
    height: number("height", { min: 8, step: 8 }),
    scheduler: element("select", { id: "imagine-scheduler" },
      element("option", { value: "" }, "Model's own"), SCHEDULERS.map((name) => element("option", { value: name }, name))),
  };
  const body = () => {
    const asked = { prompt: made.prompt.value.trim(), stream: true, partial_images: 3 };
    if (made.negative.value.trim()) asked.negative_prompt = made.negative.value.trim();
    for (const name of ["steps", "guidance", "seed"]) if (made[name].value !== "") asked[name] = Number(made[name].value);
    if (made.width.value && made.height.value) asked.size = `${made.width.value}x${made.height.value}`;
    if (made.scheduler.value) asked.scheduler = made.scheduler.value;
    return asked;
  };
  return { made, body };
}

function build(select) {
  const { made, body } = controls();
  const problem = element("p", { class: "problem", role: "alert", hidden: true });
  const draw = element("button", { class: "primary", type: "submit" }, "Draw");
  const stop = element("button", { class: "plain", type: "button", hidden: true, onclick: () => running?.abort() }, "Stop");
  const canvas = element("div", { class: "canvas", id: "imagine-canvas" }, element("p", {}, "The picture appears here."));
  const fill = element("div", { class: "fill" });
  const bar = element("div", { class: "bar", role: "progressbar", "aria-label": "Steps drawn", "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": "0" }, fill);
  const caption = element("p", { class: "hint", id: "imagine-caption" });
  const history = element("ul", { class: "history", "aria-label": "Pictures drawn so far" });
  const earlier = element("div", { hidden: true }, element("h3", {}, "Drawn so far"), history);
  let running = null;

  async function submit(event) {
    event.preventDefault();
    if (running) return;
    tell(problem, null);
    if (!made.prompt.value.trim()) {
      tell(problem, "Say first what the picture shows.");
      return made.prompt.focus();
    }
    if (Boolean(made.width.value) !== Boolean(made.height.value)) return tell(problem, "Give both width and height, or neither.");
    running = new AbortController();
    busy(true);
    progress(0, "Waiting for its turn");
    try {
      await stream({ model: select.value, ...body() }, running.signal);
    } catch (error) {
      tell(problem, words(error));
      caption.textContent = error.name === "AbortError" ? "Stopped." : "";
      canvas.classList.remove("rough");
    } finally {
      running = null;
      busy(false);
    }
  }

  async function stream(asked, signal) {
    let whole = false;
    for await (const { data } of events(await request("/v1/images/generations", { body: asked, signal }))) {
      const event = JSON.parse(data);
      if (event.error) throw failureOfEvent(event.error);
      const kind = event.type.split(".")[1];
      if (kind === "progress") progress(event.step / event.steps, `Step ${event.step} of ${event.steps}`);
      if (kind === "partial_image") show(asked.prompt, url(event), true);
      if (kind === "completed") {
        whole = true;
        finish({ prompt: asked.prompt, url: url(event), words: `${event.size}, seed ${event.seed}` });
      }
    }
    if (!whole) throw new TypeError("no picture came");
  }

  function finish(picture) {
    progress(1, picture.words);
    show(picture.prompt, picture.url, false);
    const again = element("button", { type: "button", "aria-label": `Show: ${shortened(picture.prompt, 80)}, ${picture.words}`,
      onclick: () => {
        show(picture.prompt, picture.url, false);
        caption.textContent = picture.words;
      } }, element("img", { src: picture.url, alt: "" }));
    history.prepend(element("li", {}, again));
    while (history.children.length > MOST_KEPT) history.lastChild.remove();
    earlier.hidden = false;
    announce(`Drawn: ${picture.prompt}. ${picture.words}.`);
  }

  function show(prompt, source, rough) {
    canvas.classList.toggle("rough", rough);
    canvas.replaceChildren(element("img", { src: source, alt: rough ? `Being drawn: ${prompt}` : prompt }));
  }

  function progress(share, text) {
    fill.style.width = `${share * 100}%`;
    bar.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    caption.textContent = text;
  }

  function busy(now) {
    draw.disabled = now;
    draw.textContent = now ? "Drawing…" : "Draw";
    stop.hidden = !now;
  }

  const form = element("form", { class: "stack", onsubmit: submit, noValidate: true },
    field("What the picture shows", made.prompt),
    field("What it does not show", made.negative),
    element("div", { class: "few" }, field("Steps", made.steps), field("Guidance", made.guidance), field("Seed", made.seed)),
    element("div", { class: "few" }, field("Width", made.width), field("Height", made.height), field("Scheduler", made.scheduler)),
    field("Model", select), problem, element("div", { class: "row" }, draw, stop));
  const drawn = element("div", { class: "stack" }, canvas, element("div", { class: "field" }, bar, caption), earlier);
  return element("div", { class: "halves" }, form, drawn);
}

function url(event) {
  return `data:image/${event.output_format};base64,${event.b64_json}`;
}
