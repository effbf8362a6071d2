/** Helpers for elements, number formats and screen-reader messages. Knows nothing about networks. */

/**
 * Create an element. `data`, `aria` and `on` hold data attributes, ARIA attributes and event listeners.
 *
 * @param {string} tag Such as `p` or `p.lead`.
 * @param {object|string|Node|Array|null} [props] Properties, or the first child.
 * @param {...(string|number|Node|Array|null|false)} children
 * @returns {HTMLElement}
 */
export function h(tag, props, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  element.classList.add(...classes);
  if (props && typeof props === "object" && !(props instanceof Node) && !Array.isArray(props)) {
    for (const [key, value] of Object.entries(props)) {
      if (key === "data") Object.assign(element.dataset, value);
      else if (key === "aria") for (const [attribute, content] of Object.entries(value)) element.setAttribute(`aria-${attribute}`, content);
      else if (key === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
      else if (key in element && typeof value !== "string") element[key] = value;
      else if (value !== null && value !== undefined) element.setAttribute(key, value);
    }
  } else if (props !== undefined) {
    children.unshift(props);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== false && child !== undefined).map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

/** Return the element with an id. */
export const byId = (id) => document.getElementById(id);

/** Replace the children of an element. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== false && child !== undefined).map((child) => (child instanceof Node ? child : String(child))));
}

/** Format a number with `digits` significant digits and a minus sign (not a hyphen). */
export function number(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  let text;
  if (size >= 1e5 || size < 1e-4) {
    const [mantissa, power] = value.toExponential(digits - 1).split("e");
    text = `${mantissa} × 10${superscript(Number(power))}`;
  } else {
    text = String(Number(value.toPrecision(digits)));
  }
  return text.replace(/^-/, "−");
}

function superscript(power) {
  const digits = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  return (power < 0 ? "⁻" : "") + [...String(Math.abs(power))].map((digit) => digits[Number(digit)]).join("");
}

/** Format a count with thin spaces: 891 946. */
export const count = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");

/** Format a probability between 0 and 1 as a percentage. Only exactly 0 becomes 0.0 %; no network is 100 % sure. */
export function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  if (share > 0.9995) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

/** Format a shape: 28 × 28 × 32. */
export const shape = (sizes) => sizes.join(" × ");

/** Return a label with an article if it is a digit: a 7, an 8, but B. */
export const aDigit = (label) => (/^[0-9]$/.test(label) ? `${String(label) === "8" ? "an" : "a"} ${label}` : `${label}`);

/** Return a pixel's position in words. */
export const position = (y, x) => `row ${y}, column ${x}`;

let announceTimer = 0;
/** Have screen readers speak a sentence. Of several sentences within 150 ms, they speak the last. */
export function announce(text) {
  clearTimeout(announceTimer);
  announceTimer = setTimeout(() => { byId("live").textContent = text; }, 150);
}

/** Create a scrollable table with a caption. The first cell of each row is its header. */
export function table(caption, head, rows) {
  return h("div.scroll", { tabindex: "0", role: "group", aria: { label: caption } },
    h("table.numbers",
      h("caption", caption),
      h("thead", h("tr", head.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", rows.map((row) => h("tr", row.map((cell, column) => (column ? h("td", cell) : h("th", { scope: "row" }, cell))))))));
}

/** Create a `<details>` element whose content is made each time it is opened. */
export function disclosure(summary, make) {
  const body = h("div");
  const details = h("details", h("summary", summary), body);
  details.addEventListener("toggle", () => { if (details.open) fill(body, make()); });
  return details;
}

/** Return whether the user asked for reduced motion. */
export const prefersReducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Decode base64 to bytes. */
export const decodeBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** Return the data URL of a base64 PNG. */
export const pngUrl = (text) => `data:image/png;base64,${text}`;
