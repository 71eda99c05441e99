// The Embed tab: lines in, how alike they are out.

import { json, words } from "./api.js";
import { heatMap, map, pairsOf, table } from "./charts.js";
import { announce, element, field, tell } from "./dom.js";
import { plane, similarities } from "./geometry.js";
import { needing } from "./missing.js";

/** What can still be drawn and read. */
const MOST_LINES = 100;
const EXAMPLE = [
  "The cat sleeps on the warm windowsill",
  "A kitten naps in the sun",
  "My dog chases the ball",
  "Interest rates rose again this quarter",
  "The central bank tightened its policy",
  "Stir the soup until it thickens",
  "Bake the bread for forty minutes",
].join("\n");

export function start(panel) {
  needing(panel, {
    modalities: ["text-embedding", "image-embedding"],
    title: "Embed",
    about: "Write one text a line and see which ones are alike in meaning.",
    why: "Texts become vectors by a model that was made for it.",
    build,
  });
}

function build(select) {
  const lines = element("textarea", { id: "embed-lines", rows: 9, value: EXAMPLE, spellcheck: false });
  const problem = element("p", { class: "problem", role: "alert", hidden: true });
  const button = element("button", { class: "primary", type: "submit" }, "Compare");
  const results = element("div", { class: "stack", id: "embed-results" });

  async function submit(event) {
    event.preventDefault();
    const texts = lines.value.split("\n").map((line) => line.trim()).filter(Boolean);
    tell(problem, null);
    if (texts.length < 2) return tell(problem, "Write at least two lines: one text alone is like nothing else.");
    if (texts.length > MOST_LINES) return tell(problem, `These are ${texts.length} lines; up to ${MOST_LINES} can be drawn.`);
    button.disabled = true;
    button.textContent = "Comparing…";
    try {
      const answer = await json("/v1/embeddings", { body: { model: select.value, input: texts } });
      show(texts, answer.data.map((datum) => datum.embedding));
    } catch (error) {
      tell(problem, words(error));
    } finally {
      button.disabled = false;
      button.textContent = "Compare";
    }
  }

  function show(texts, vectors) {
    const alike = similarities(vectors);
    const where = plane(vectors);
    const shown = Math.round((where.shares[0] + where.shares[1]) * 100);
    const nearest = pairsOf(alike)[0];
    results.replaceChildren(
      element("div", { class: "halves" },
        element("figure", { class: "card" }, element("figcaption", {}, "Similarity"), heatMap(texts, alike),
          element("p", { class: "hint" }, "Rows and columns are the lines, by number; stronger is more alike.")),
        element("figure", { class: "card" }, element("figcaption", {}, "Map"), map(texts, where),
          element("p", { class: "hint" }, `The two directions in which the lines differ most: ${shown}% of all difference.`))),
      element("details", {}, element("summary", {}, "The same in numbers"),
        element("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Similarities in numbers" }, table(texts, alike))),
    );
    announce(`Compared ${texts.length} lines of ${vectors[0].length} components. Most alike are lines ${nearest.i + 1} and ${nearest.j + 1}.`);
  }

  const form = element("form", { class: "stack", onsubmit: submit },
    field("Lines", lines), field("Model", select), problem, element("div", { class: "row" }, button));
  return element("div", { class: "stack" }, form, results);
}
