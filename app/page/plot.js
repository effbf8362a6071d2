/** Small line plots, as SVG, each with a table of its numbers. */

import { disclosure, h, number, table } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [320, 170, 44, 34, 10];

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * Draw curves over one axis.
 *
 * @param {object} options
 * @param {string} options.label What is shown, in words.
 * @param {number[]} options.x
 * @param {string} options.across Name of the horizontal axis.
 * @param {{name: string, values: number[], kind: "first"|"second"}[]} options.lines
 * @param {boolean} [options.log] Whether the vertical axis is logarithmic.
 * @returns {HTMLElement} With `mark(x)`, which puts a line at a place.
 */
export function curve({ label, x, across, lines, log = false }) {
  const raw = lines.flatMap((line) => line.values);
  const bend = log ? Math.log10 : (value) => value;
  const low = bend(Math.min(...raw, ...(log ? [] : [0])));
  const high = bend(Math.max(...raw));
  const [start, end] = [x[0], x.at(-1)];
  const toX = (value) => LEFT + ((value - start) / (end - start || 1)) * (WIDTH - LEFT - 8);
  const toY = (value) => TOP + (1 - (bend(value) - low) / (high - low || 1)) * (HEIGHT - TOP - BOTTOM);
  const text = (at, y, words, anchor = "middle") => svg("text", { x: at, y, "text-anchor": anchor }, words);
  const marker = svg("line", { class: "marker", x1: LEFT, x2: LEFT, y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  const bottom = log ? 10 ** low : low;
  const top = log ? 10 ** high : high;
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label, class: "plot" },
    svg("path", { class: "axis", d: `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - 8}` }),
    text(LEFT - 5, toY(top) + 4, number(top, 2), "end"), text(LEFT - 5, toY(bottom) + 4, number(bottom, 2), "end"),
    text(toX(start), HEIGHT - BOTTOM + 14, number(start, 2)), text(toX(end), HEIGHT - BOTTOM + 14, number(end, 2), "end"),
    text((LEFT + WIDTH) / 2, HEIGHT - 6, across), marker,
    ...lines.map((line) => svg("path", { class: `line ${line.kind}`, d: line.values.map((value, at) => `${at ? "L" : "M"}${toX(x[at]).toFixed(1)} ${toY(value).toFixed(1)}`).join("") })));
  const element = h("div.plotted", h("p.key", label, ": ", lines.map((line) => h(`span.${line.kind}`, line.name))), drawing,
    disclosure("Table", () => table(label, [across, ...lines.map((line) => line.name)], x.map((value, at) => [number(value, 3), ...lines.map((line) => number(line.values[at]))]))));
  element.mark = (value) => {
    marker.setAttribute("x1", toX(value));
    marker.setAttribute("x2", toX(value));
    marker.setAttribute("visibility", "visible");
  };
  return element;
}
