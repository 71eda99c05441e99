// Drawings of vectors, in SVG, each with a text alternative.

import { drawing, element } from "./dom.js";
import { shortened } from "./format.js";

const CELLS = 440;
const GUTTER = 40;

/** Every text against every other; darker is more alike. */
export function heatMap(texts, alike) {
  const size = CELLS / texts.length;
  const chart = drawing("svg", { viewBox: `0 0 ${CELLS + GUTTER} ${CELLS + GUTTER}`, role: "img", "aria-label": heatWords(texts, alike) });
  for (const [i, row] of alike.entries()) {
    for (const [j, value] of row.entries()) {
      const [x, y] = [GUTTER + j * size, GUTTER + i * size];
      const gap = Math.min(2, size / 8);
      const inside = size - gap;
      const strength = Math.max(0, value);
      const cell = drawing("rect", { class: "cell", x, y, width: inside, height: inside, rx: Math.min(4, size / 6),
        opacity: (0.06 + 0.94 * strength ** 1.6).toFixed(3) });
      cell.append(drawing("title", {}, `${texts[i]} – ${texts[j]}: ${value.toFixed(2)}`));
      chart.append(cell);
    }
    // Numbers lead to the lines beside the chart.
    if (texts.length <= 24) {
      const at = GUTTER + (i + 0.5) * size;
      chart.append(label(i + 1, at - 1, GUTTER - 12, "middle"), label(i + 1, GUTTER - 12, at + 4, "end"));
    }
  }
  return chart;
}

function label(text, x, y, anchor) {
  return drawing("text", { class: "faint", x, y, "text-anchor": anchor }, String(text));
}

function heatWords(texts, alike) {
  const pairs = pairsOf(alike);
  if (!pairs.length) return "One text, which is like itself.";
  const near = pairs[0];
  const far = pairs.at(-1);
  const say = ({ i, j, value }) => `${i + 1} and ${j + 1} (${value.toFixed(2)})`;
  return `Heat map of ${texts.length} texts. Most alike: ${say(near)}. Least alike: ${say(far)}.`;
}

/** All pairs, the most alike first. */
export function pairsOf(alike) {
  const pairs = alike.flatMap((row, i) => row.slice(i + 1).map((value, k) => ({ i, j: i + 1 + k, value })));
  return pairs.sort((a, b) => b.value - a.value);
}

/** Where texts lie; near means alike. */
export function map(texts, { points, shares }) {
  const [width, height, edge] = [480, 480, 44];
  const reach = Math.max(...points.flat().map(Math.abs), 1e-9);
  const place = ([x, y]) => [width / 2 + (x / reach) * (width / 2 - edge), height / 2 - (y / reach) * (height / 2 - edge)];
  const shown = Math.round((shares[0] + shares[1]) * 100);
  const chart = drawing("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Map of ${texts.length} texts on two axes that show ${shown}% of their variance; near points are alike.` });
  chart.append(
    drawing("line", { class: "axis", x1: 0, y1: height / 2, x2: width, y2: height / 2 }),
    drawing("line", { class: "axis", x1: width / 2, y1: 0, x2: width / 2, y2: height }),
  );
  const taken = [];
  for (const [i, point] of points.entries()) {
    const [x, y] = place(point);
    const dot = drawing("circle", { class: "point", cx: x.toFixed(1), cy: y.toFixed(1), r: 5 });
    dot.append(drawing("title", {}, texts[i]));
    chart.append(dot);
    const written = `${i + 1} ${shortened(texts[i], 20)}`;
    const left = x > width / 2;
    const row = free(taken, y + 4, left);
    if (row !== null) chart.append(drawing("text", { x: left ? x - 10 : x + 10, y: row, "text-anchor": left ? "end" : "start" }, written));
  }
  return chart;
}

/** A height near this one where no other label of that side is; `null` where all are taken. */
function free(taken, wanted, left) {
  for (const shift of [0, 19, -19, 38, -38]) {
    const y = wanted + shift;
    if (taken.some((other) => other.left === left && Math.abs(other.y - y) < 18)) continue;
    taken.push({ left, y });
    return y;
  }
  return null;
}

/** The pairs as a table, for reading and for those who do not see the chart. */
export function table(texts, alike) {
  const rows = pairsOf(alike).slice(0, 50).map(({ i, j, value }) =>
    element("tr", {}, element("td", {}, `${i + 1}. ${texts[i]}`), element("td", {}, `${j + 1}. ${texts[j]}`), element("td", {}, value.toFixed(3))),
  );
  const heads = ["Text", "Text", "Cosine"].map((head) => element("th", { scope: "col" }, head));
  return element("table", {}, element("thead", {}, element("tr", {}, heads)), element("tbody", {}, rows));
}
