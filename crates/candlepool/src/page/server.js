// The server's state, asked for all the time: what every tab knows of models, and whether the server is there.

import { json, words } from "./api.js";

/** How often is asked; slower while nobody looks. */
const LOOKED_AT = 2000;
const HIDDEN = 15_000;

/** Tells `change` with `detail: { pools, problem }` after each answer. `pools` is the last document, `null` before the first. */
class Server extends EventTarget {
  pools = null;
  problem = null;
  #timer = 0;
  #asked = false;

  /** Begins to ask. */
  start() {
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
    window.addEventListener("online", () => this.refresh());
    return this.refresh();
  }

  /** Asks now, and from then on in turn. The person is asked for a key once; after that, only by what they do. */
  async refresh(asking = !this.#asked) {
    clearTimeout(this.#timer);
    try {
      const pools = await json("/pools", { quietly: !asking });
      Object.assign(this, { pools, problem: null });
    } catch (error) {
      this.problem = { words: words(error), lost: error.lost === true, status: error.status };
    }
    this.#asked = true;
    this.dispatchEvent(new Event("change"));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(), document.hidden ? HIDDEN : LOOKED_AT);
  }

  /** Names of the models of some modalities. */
  models(...modalities) {
    return (this.pools?.models ?? []).filter((model) => modalities.includes(model.modality)).map((model) => model.name);
  }
}

export const server = new Server();
