// Pictures from a person: dropped, pasted or chosen, and made small enough to be sent.

import { element, tell } from "./dom.js";

/** Data URLs of files up to this go as they are. */
const AS_IT_IS = 3 << 20;

/**
 * A file as a data URL of at most `most` characters. One that is longer is drawn anew, smaller and smaller.
 */
export async function dataUrl(file, most = AS_IT_IS) {
  if (!file.type.startsWith("image/")) throw new Error(`${file.name || "That"} is not a picture.`);
  const plain = await read(file);
  const sendable = /^data:image\/(png|jpeg|webp|gif|bmp)[;,]/.test(plain);
  if (plain.length <= most && sendable) return plain;
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name || "That picture"} cannot be read by this browser.`);
  });
  for (let side = Math.min(2048, Math.max(bitmap.width, bitmap.height)); side >= 32; side = Math.floor(side * 0.75)) {
    const drawn = draw(bitmap, side);
    if (drawn.length <= most) return drawn;
  }
  throw new Error("The picture cannot be made small enough.");
}

function draw(bitmap, side) {
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  // JPEG has no alpha.
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.85);
}

function read(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
}

/** Has an element take pictures that are dropped on it or pasted into it. */
export function takes(place, taken) {
  const first = (list) => [...(list ?? [])].find((file) => file.type.startsWith("image/")) ?? list?.[0];
  place.addEventListener("dragover", (event) => {
    event.preventDefault();
    place.classList.add("over");
  });
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    const file = first(event.dataTransfer.files);
    if (file) taken(file);
  });
  place.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((pasted) => pasted.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    taken(file);
  });
}

/** A button that opens the system's choice of files. */
export function chooser(id, label, taken, short = label) {
  const input = element("input", { type: "file", accept: "image/*", id, class: "unseen", tabIndex: -1, "aria-label": label });
  input.addEventListener("change", () => {
    if (input.files[0]) taken(input.files[0]);
    input.value = "";
  });
  const button = element("button", { type: "button", class: "plain", "aria-label": label, title: label, onclick: () => input.click() }, short);
  return element("div", {}, button, input);
}

/** A place for one picture: `{ node, url() }`. `changed` is called when it has another. */
export function dropPlace(id, problem, changed) {
  const image = element("img", { alt: "", hidden: true });
  const words = element("p", { class: "quiet" }, "Drop a picture here, paste one, or");
  let url = null;

  async function take(file) {
    tell(problem, null);
    try {
      url = await dataUrl(file);
      Object.assign(image, { src: url, alt: `Your picture: ${file.name}`, hidden: false });
      words.hidden = true;
      changed();
    } catch (error) {
      tell(problem, error.message);
    }
  }

  const node = element("div", { class: "drop", id, role: "group", "aria-label": "Picture" }, image, words, chooser(`${id}-file`, "Choose a picture", take));
  takes(node, take);
  return { node, take, url: () => url };
}
