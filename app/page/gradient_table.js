/** The layers of a step of learning as a table, in the order in which the gradient reaches them: from last to first. */

import { go } from "./address.js";
import { h, number } from "./dom.js";

const MAX_NAMED = 3; // layers that changed most
const HEAD = ["layer", "values’ gradient", "weights", "gradient", "relative change", "size", "change"];
const NOTE = "From the last layer to the first. All sizes are lengths (L2 norms): of the gradient of a layer’s values, of the gradient of its weights, of the weights, and of their change. In the first row it is 1 ÷ the probability of your label.";

const open = (layer) => go({ at: { layer, channel: null, y: null, x: null } });
const link = (name) => h("button.link", { type: "button", on: { click: () => open(name) } }, name);

/**
 * Return the table.
 *
 * @param {object} answer The response of `/learn/step`.
 * @param {number} steps Steps that the user took: without any, nothing has changed yet.
 */
export function layerTable({ layers, most_changed: names }, steps) {
  const largest = Math.max(...layers.flatMap(({ weights }) => weights.map((array) => array.relative_change ?? 0))) || 1;
  return h("div", h("h3", "The gradient of each layer"),
    h("p.notes", NOTE, ...(steps && names.length ? [" Changed most for their size: ", ...names.slice(0, MAX_NAMED).flatMap((name, at) => [at ? ", " : null, link(name)]), "."] : [])),
    h("div.scroll", { tabindex: "0", role: "group", aria: { label: "The gradient of each layer" } },
      h("table.numbers.gradient-table", h("caption.visually-hidden", "The gradient of each layer and of its weights"),
        h("thead", h("tr", HEAD.map((name) => h("th", { scope: "col" }, name)))),
        [...layers].reverse().map((layer) => h("tbody", rows(layer, steps, largest))))));
}

/** Return a row for each array of a layer's weights, or one row without weights. */
function rows({ name, gradient_norm: norm, weights, shares_weights_with: other }, steps, largest) {
  const count = Math.max(1, weights.length);
  const first = [h("th", { scope: "rowgroup", rowSpan: count }, link(name)), h("td", { rowSpan: count, data: { norm: name } }, number(norm, 4))];
  if (!weights.length) return [h("tr", first, h("td", { colSpan: 5 }, other ? `the weights of ${other}` : ""))];
  return weights.map((array, at) => h("tr", { data: { weights: `${name}/${array.name}` } }, at ? [] : first,
    h("th", { scope: "row" }, array.name), h("td", number(array.gradient_norm)), steps ? share(array.relative_change, largest) : h("td", "–"),
    h("td", number(array.norm)), h("td", steps ? number(array.change_norm) : "–")));
}

/** Return the cell of a relative change, with a bar. */
function share(change, largest) {
  const bar = h("span.bar");
  bar.style.width = `${(100 * (change ?? 0)) / largest}%`;
  return h("td.track", h("span.rail", bar), number(change, 3));
}

/** Say what the gradient is like in a column that it has reached. */
export function reachedText({ layers }, column) {
  const norms = column.layers.map(({ name }) => layers.find((layer) => layer.name === name)).filter((layer) => layer?.gradient_norm !== null && layer);
  const whole = column.index === 0 ? "The gradient has come back to the picture" : `The gradient has come back to ${column.title}`;
  return norms.length ? `${whole}. Its length: ${norms.reverse().map(({ name, gradient_norm: norm }) => `${name} ${number(norm, 3)}`).join(", ")}.` : `${whole}.`;
}
