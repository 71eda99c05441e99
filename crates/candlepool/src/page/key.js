// The API key: asked for where the server wants one, kept for this tab only.

const NAME = "candlepool-api-key";
let asking = null;

/** The key, or `null` where none was given. */
export function key() {
  return sessionStorage.getItem(NAME);
}

/**
 * Asks for a key, once however many want one; resolves to whether one was given. `refused` is the key that did not do.
 */
export function ask(refused) {
  // Another request may have brought a new one meanwhile.
  if (key() && key() !== refused) return Promise.resolve(true);
  asking ??= question(Boolean(refused)).finally(() => (asking = null));
  return asking;
}

function question(refused) {
  const dialog = document.getElementById("key");
  const input = document.getElementById("key-value");
  const problem = document.getElementById("key-problem");
  problem.textContent = refused ? "The server does not know that key." : "";
  problem.hidden = !refused;
  input.value = "";
  return new Promise((resolve) => {
    const closed = () => {
      const given = dialog.returnValue === "given" && input.value.trim();
      if (given) sessionStorage.setItem(NAME, given);
      else sessionStorage.removeItem(NAME);
      input.value = "";
      resolve(Boolean(given));
    };
    dialog.returnValue = "";
    dialog.addEventListener("close", closed, { once: true });
    document.getElementById("key-cancel").onclick = () => dialog.close("");
    document.getElementById("key-form").onsubmit = (event) => {
      event.preventDefault();
      dialog.close("given");
    };
    dialog.showModal();
    input.focus();
  });
}
