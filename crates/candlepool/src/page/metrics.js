// Prometheus text, as far as this page needs it.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** The values of one metric by its label `model`. */
export function byModel(text, metric) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const [, name, labels, value] = LINE.exec(line) ?? [];
    if (name !== metric) continue;
    for (const [, label, written] of (labels ?? "").matchAll(LABEL)) {
      if (label === "model") found.set(written.replace(/\\(.)/g, "$1"), Number(value));
    }
  }
  return found;
}

/** How fast counters rise, from the last readings of some seconds. */
export class Rates {
  #readings = [];

  /** A new reading, at so many seconds. Of a counter that fell (the server began anew) nothing earlier counts. */
  read(values, at) {
    const last = this.#readings.at(-1);
    if (last && [...last.values].some(([name, value]) => (values.get(name) ?? 0) < value)) this.#readings = [];
    this.#readings.push({ values, at });
    while (this.#readings.length > 2 && at - this.#readings[1].at > 5) this.#readings.shift();
  }

  /** Of one counter, a second; `null` before there are two readings. */
  of(name) {
    const first = this.#readings[0];
    const last = this.#readings.at(-1);
    if (!last || last.at <= first.at || !last.values.has(name)) return null;
    return (last.values.get(name) - (first.values.get(name) ?? 0)) / (last.at - first.at);
  }
}
