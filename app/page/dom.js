/** Elements, numbers in words, and what is spoken. Knows nothing of networks. */

/**
 * Make an element. Properties are set as properties, `data`, `aria` and `on` as what they say.
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
      else if (key === "aria") for (const [at, to] of Object.entries(value)) element.setAttribute(`aria-${at}`, to);
      else if (key === "on") for (const [at, to] of Object.entries(value)) element.addEventListener(at, to);
      else if (key in element && typeof value !== "string") element[key] = value;
      else if (value !== null && value !== undefined) element.setAttribute(key, value);
    }
  } else if (props !== undefined) {
    children.unshift(props);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== false && child !== undefined).map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

/** Find one element by id. */
export const byId = (id) => document.getElementById(id);

/** Put children in place of what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== false && child !== undefined).map((child) => (child instanceof Node ? child : String(child))));
}

/** Write a number with about `digits` significant digits and a proper minus. */
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

/** Write a number that may stand inside a product or a sum. */
export const operand = (value) => (value < 0 ? `(${number(value)})` : number(value));

/** Write a count with thin spaces: 891 946. */
export const count = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");

/** Write a share of 1 as per cent; what is neither 0 nor 1 is not written as such. */
export function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  if (share < 1 && share > 0.9995) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

/** Write a shape: 28 × 28 × 32. */
export const shape = (sizes) => sizes.join(" × ");

/** A digit with its article: a 7, an 8. */
export const aDigit = (digit) => `${digit === 8 ? "an" : "a"} ${digit}`;

/** A place in words. */
export const position = (y, x) => `row ${y}, column ${x}`;

let pending = 0;
/** Have a sentence spoken by screen readers, the last one if several come at once. */
export function announce(text) {
  clearTimeout(pending);
  pending = setTimeout(() => { byId("live").textContent = text; }, 150);
}

/** Make a table with a caption, a head of column names and rows, the first cell of each its head. */
export function table(caption, head, rows) {
  return h("div.scroll", { tabindex: "0", role: "group", aria: { label: caption } },
    h("table.numbers",
      h("caption", caption),
      h("thead", h("tr", head.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", rows.map((row) => h("tr", row.map((cell, at) => (at ? h("td", cell) : h("th", { scope: "row" }, cell))))))));
}

/** Make a disclosure whose content is made when it is first opened. */
export function disclosure(summary, make) {
  const body = h("div");
  const details = h("details", h("summary", summary), body);
  details.addEventListener("toggle", () => { if (details.open) fill(body, make()); });
  return details;
}

/** Whether movement is to be kept down. */
export const prefersReducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Have a file saved by the browser. */
export function download(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
