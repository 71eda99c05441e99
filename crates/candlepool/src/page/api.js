// Requests to the server this page came from: the key with each, and failures in plain words.

import { ask, key } from "./key.js";

/** A failure that can be shown as it is. `lost` says that the server was not reached. */
export class Failure extends Error {
  constructor(message, { status = 0, code = null, lost = false } = {}) {
    super(message);
    this.name = "Failure";
    Object.assign(this, { status, code, lost });
  }
}

const PLAIN = {
  overloaded: "The server has more to do than it can take right now.",
  model_not_ready: "The model is not ready yet.",
  model_not_loaded: "The model could not be loaded.",
  model_unavailable: "The model rests after failures.",
  shutting_down: "The server is shutting down.",
  deadline_exceeded: "It took longer than the server allows.",
  request_too_large: "That is more than the server takes at once.",
  context_length_exceeded: "That is longer than the model can read.",
};

/** What an error document says, for people. */
export function inWords(status, error, retryAfter) {
  const plain = PLAIN[error?.code];
  const told = error?.message ? `${error.message[0].toUpperCase()}${error.message.slice(1)}` : null;
  const message = [plain, told ?? (plain ? null : `The server answered ${status}.`)].filter(Boolean).join(" ");
  const again = Number(retryAfter) > 0 ? ` Try again in ${retryAfter} s.` : "";
  return `${message.replace(/([^.!?])$/, "$1.")}${again}`;
}

/**
 * Asks the server. A body is sent as JSON. Where the server wants a key, the person is asked for one and the request is sent
 * again; `quietly` leaves the person alone.
 */
export async function request(path, { body, signal, quietly = false } = {}) {
  for (;;) {
    const used = key();
    const headers = used ? { authorization: `Bearer ${used}` } : {};
    if (body !== undefined) headers["content-type"] = "application/json";
    const method = body === undefined ? "GET" : "POST";
    let response;
    try {
      response = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body), cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Failure("The server cannot be reached. Is it still running?", { lost: true });
    }
    if (response.ok) return response;
    if (response.status === 401 && !quietly && (await ask(used))) continue;
    throw await failure(response);
  }
}

/** The answer as JSON. */
export async function json(path, options) {
  return (await request(path, options)).json();
}

async function failure(response) {
  const error = (await response.json().catch(() => null))?.error ?? null;
  const message = inWords(response.status, error, response.headers.get("retry-after"));
  return new Failure(message, { status: response.status, code: error?.code ?? null });
}

/** A failure that an event of a stream tells. */
export function failureOfEvent(error) {
  return new Failure(inWords(500, error), { code: error?.code ?? null });
}

/** What can be shown of anything that was thrown, or `null` where a person stopped it. */
export function words(error) {
  if (error.name === "AbortError") return null;
  if (error instanceof Failure) return error.message;
  // A body that breaks off is a TypeError of fetch's.
  if (error instanceof TypeError) return "The connection to the server broke off.";
  return String(error.message ?? error);
}
