/** Small line plots in SVG, each with a table of its numbers. */

import { disclosure, h, number, table } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, BOTTOM, TOP] = [320, 170, 34, 10];
const [MIN_LEFT, LETTER] = [44, 6.5]; // room for the labels of the vertical axis, and for a letter of them

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Format an end of the horizontal axis: whole numbers, such as epochs, are not rounded. */
const endOfAxis = (value) => (Number.isInteger(value) ? String(value) : number(value, 3));

/**
 * Plot curves over a common horizontal axis.
 *
 * @param {object} options
 * @param {string} options.label The plot's title and accessible name.
 * @param {number[]} options.x Values on the horizontal axis.
 * @param {string} options.xLabel Name of the horizontal axis.
 * @param {{name: string, values: number[], kind: "first"|"second"}[]} options.lines
 * @param {boolean} [options.log] Whether the vertical axis is logarithmic.
 * @returns {HTMLElement} Its method `mark(x)` moves a vertical line to `x`.
 */
export function curve({ label, x, xLabel, lines, log = false }) {
  const values = lines.flatMap((line) => line.values);
  const transform = log ? Math.log10 : (value) => value;
  const low = transform(Math.min(...values, ...(log ? [] : [0])));
  const high = transform(Math.max(...values));
  const [start, end] = [x[0], x.at(-1)];
  const [bottom, top] = log ? [10 ** low, 10 ** high] : [low, high];
  const left = Math.max(MIN_LEFT, 8 + LETTER * Math.max(...[bottom, top].map((end) => number(end, 2).length)));
  const toX = (value) => left + ((value - start) / (end - start || 1)) * (WIDTH - left - 8);
  const toY = (value) => TOP + (1 - (transform(value) - low) / (high - low || 1)) * (HEIGHT - TOP - BOTTOM);
  const text = (x0, y, content, anchor = "middle") => svg("text", { x: x0, y, "text-anchor": anchor }, content);
  const marker = svg("line", { class: "marker", x1: left, x2: left, y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label, class: "plot" },
    svg("path", { class: "axis", d: `M${left} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - 8}` }),
    text(left - 5, toY(top) + 4, number(top, 2), "end"), text(left - 5, toY(bottom) + 4, number(bottom, 2), "end"),
    text(toX(start), HEIGHT - BOTTOM + 14, endOfAxis(start)), text(toX(end), HEIGHT - BOTTOM + 14, endOfAxis(end), "end"),
    text((left + WIDTH) / 2, HEIGHT - 6, xLabel), marker,
    ...lines.map((line) => svg("path", { class: `line ${line.kind}`, d: line.values.map((value, index) => `${index ? "L" : "M"}${toX(x[index]).toFixed(1)} ${toY(value).toFixed(1)}`).join("") })));
  const element = h("div.plotted", h("p.key", label, ": ", lines.map((line) => h(`span.${line.kind}`, line.name))), drawing,
    disclosure("Table of the curves", () => table(label, [xLabel, ...lines.map((line) => line.name)], x.map((value, index) => [number(value, 3), ...lines.map((line) => number(line.values[index]))]))));
  element.mark = (value) => {
    marker.setAttribute("x1", toX(value));
    marker.setAttribute("x2", toX(value));
    marker.setAttribute("visibility", "visible");
  };
  return element;
}
