// Tabs: one panel at a time, by mouse, by arrow keys and by the address (#embed).
// The pattern: https://www.w3.org/WAI/ARIA/apg/patterns/tabs/.

/**
 * Makes the tab list work. `shown(name)` is called each time a panel comes up.
 */
export function start(shown) {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const names = tabs.map((tab) => tab.getAttribute("aria-controls"));

  function show(name, { focus = false } = {}) {
    for (const [index, tab] of tabs.entries()) {
      const chosen = names[index] === name;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      document.getElementById(names[index]).hidden = !chosen;
      if (chosen && focus) tab.focus();
    }
    document.title = `${tabs[names.indexOf(name)].textContent} · Candlepool`;
    if (location.hash !== `#${name}`) history.replaceState(null, "", `#${name}`);
    shown(name);
  }

  const asked = () => (names.includes(location.hash.slice(1)) ? location.hash.slice(1) : names[0]);
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => show(names[index]));
    tab.addEventListener("keydown", (event) => {
      const last = tabs.length - 1;
      const next = {
        ArrowRight: index === last ? 0 : index + 1,
        ArrowLeft: index === 0 ? last : index - 1,
        Home: 0,
        End: last,
      }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      show(names[next], { focus: true });
    });
  }
  window.addEventListener("hashchange", () => {
    if (names.includes(location.hash.slice(1))) show(asked());
  });
  show(asked());
}
