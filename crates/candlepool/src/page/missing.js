// What a tab says that has no model: how to get one.

import { element } from "./dom.js";
import { server } from "./server.js";

const SUGGESTED = {
  "text-embedding": ["words", "builtin"],
  "llava-vision": ["eyes", "hf:llava-hf/llava-interleave-qwen-0.5b-hf"],
  "text-to-image": ["brush", "hf:stable-diffusion-v1-5/stable-diffusion-v1-5"],
  "text-to-text": ["chat", "hf:HuggingFaceTB/SmolLM2-135M-Instruct"],
};

/** The explanation for a modality. */
export function missing(modality, why) {
  const [name, source] = SUGGESTED[modality];
  return element(
    "div",
    { class: "card missing" },
    element("h3", {}, `There is no ${modality} model on this server`),
    element("p", { class: "quiet" }, `${why} Start the server with one:`),
    element("pre", {}, `candlepool serve --model ${name}=${modality}:${source}`),
    element("p", { class: "quiet" }, "or add one to candlepool.toml and start it again:"),
    element("pre", {}, `[models.${name}]\nmodality = "${modality}"\nsource = "${source}"`),
  );
}

/**
 * A panel that needs a model: its form where there is one, an explanation where there is none. `build(select)` makes the form,
 * once, around a choice of models that is kept up to date.
 */
export function needing(panel, { modalities, title, about, why, build }) {
  const intro = element("div", { class: "intro" }, element("h2", {}, title), element("p", {}, about));
  const place = element("div");
  const select = element("select", { id: `${panel.id}-model` });
  panel.append(intro, place);
  let form = null;
  let known = null;

  function update() {
    if (!server.pools) return;
    const names = server.models(...modalities);
    if (JSON.stringify(names) === known) return;
    known = JSON.stringify(names);
    const chosen = select.value;
    select.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    if (names.includes(chosen)) select.value = chosen;
    if (names.length === 0) return place.replaceChildren(missing(modalities[0], why));
    form ??= build(select);
    place.replaceChildren(form);
  }

  server.addEventListener("change", update);
  update();
}
