// Elements, made without HTML: whatever a person or a model wrote goes in as text.

/**
 * An element with properties and children. `class`, `aria-*`, `data-*`, `role` and `for` are attributes, `on*` are listeners,
 * everything else is a property. Children that are texts become text nodes; `null` and `false` are left out.
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  assign(made, properties);
  made.append(...children.flat().filter((child) => child !== null && child !== false && child !== undefined));
  return made;
}

/** The same for SVG, where everything is an attribute. */
export function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function assign(made, properties) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class" || name === "role" || name === "for" || name === "list" || name.includes("-")) {
      made.setAttribute(name, value);
    } else made[name] = value;
  }
}

/** A labelled control: the label above, a hint below if there is one. */
export function field(label, control, hint) {
  const note = hint ? element("p", { class: "hint", id: `${control.id}-hint` }, hint) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return element("div", { class: "field" }, element("label", { for: control.id }, label), control, note);
}

/** Shows a line in a place for messages, or hides the place where there is none. */
export function tell(place, text) {
  place.textContent = text ?? "";
  place.hidden = !text;
}

/** Says something to those who hear the page. The same words twice are said twice. */
export function announce(text) {
  const place = document.getElementById("announcer");
  place.textContent = "";
  setTimeout(() => (place.textContent = text), 50);
}
