/**
 * The lines of the map: what the pointed picture reads and feeds, or what the opened number comes from.
 *
 * Pointing draws the largest weights; an opened number draws its largest contributions. Width is size, colour is sign.
 */

import { columnOf } from "./columns.js";
import { byId, fill } from "./dom.js";
import { fetchKernel, hasFewWeights, inputStrengths, outputStrengths, weighingStep } from "./layer_values.js";
import { map, rectangleOf, svg } from "./map_view.js";
import { loadStyle } from "./panel.js";
import { emit, on } from "./state.js";

const MAX_LINES = 8; // on each side
const REST_MS = 60; // that the pointer stays on a picture before its lines are drawn
const [THIN, THICK] = [1, 4]; // CSS pixels

/** @typedef {{column: object, channel: number, weight: number}} End The other end of a line. */

let timer = 0;
let wanted = null; // what was pointed at last

/** Start the lines. */
export function startLines() {
  loadStyle().catch((error) => emit("error", error));
  on("point", (hit) => {
    wanted = hit;
    clearTimeout(timer);
    timer = setTimeout(() => pointAt(hit), hit ? REST_MS : 0);
  });
  on("terms", drawOpened);
  on("columns", () => { map.terms = null; fill(byId("map-lit")); });
  on("arranged", drawOpened);
  drawOpened();
}

const drawOpened = () => !wanted && draw(map.terms);

async function pointAt(hit) {
  if (!hit || hit.channel === null) { draw(map.terms); return; }
  const { column, channel } = hit;
  draw({ column, channel, before: [], after: [] });
  const [before, after] = await Promise.all([strongestBefore(column, channel), strongestAfter(column, channel)]).catch(() => [[], []]);
  if (wanted !== hit) return;
  draw({ column, channel, before, after });
  const said = byId("lines-said");
  if (said && before.length + after.length) fill(said, map.meaning ? "Lines: weights; blue is above 0." : "Lines: its largest weights. Blue adds, orange takes away; thicker is more.");
}

/** Return the ends with the largest weights. */
function largest(column, strengths) {
  return Array.from(strengths, (weight, channel) => ({ column, channel, weight }))
    .filter(({ weight }) => weight).sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight)).slice(0, MAX_LINES);
}

/** Return what a channel reads. */
export async function strongestBefore(column, channel) {
  const step = weighingStep(column);
  const sources = column.inputs.map((at) => map.columns[at]);
  if (!step) return sources.filter(({ channels }) => channel < channels).map((source) => ({ column: source, channel, weight: 1 }));
  const [source] = sources;
  if (!source || !hasFewWeights(step)) return [];
  const kernel = await fetchKernel(step);
  if (/Depthwise/.test(step.type)) return [{ column: source, channel: Math.floor(channel / kernel.shape.at(-1)), weight: 1 }];
  return channel < kernel.shape.at(-1) ? largest(source, inputStrengths(kernel, channel, source.channels)) : [];
}

/** Return what a channel feeds. */
export async function strongestAfter(column, channel) {
  const targets = map.columns.filter(({ inputs }) => inputs.includes(column.index));
  const ends = await Promise.all(targets.map(async (target) => {
    const step = weighingStep(target);
    if (!step) return channel < target.channels ? [{ column: target, channel, weight: 1 }] : [];
    if (!hasFewWeights(step) || /Depthwise/.test(step.type)) return [];
    return largest(target, outputStrengths(await fetchKernel(step), channel, column.channels));
  }));
  return ends.flat().slice(0, MAX_LINES);
}

/** Draw lines, frames and veils; null removes them. */
function draw(lines) {
  const place = byId("map-lit");
  const own = lines && columnOf(map.columns, lines.column.shown?.name) === lines.column && rectangleOf(lines.column, lines.channel);
  if (!own) { fill(place); return; }
  const size = Math.max(...[...lines.before, ...lines.after].map(({ weight }) => Math.abs(weight)), 0) || 1;
  const ends = [...lines.before.map((end) => ({ ...end, isBefore: true })), ...lines.after]
    .map((end) => ({ ...end, box: rectangleOf(end.column, end.channel), size: Math.abs(end.weight) / size })).filter(({ box }) => box);
  const lit = new Map([[lines.column, [own]]]);
  for (const { column, box } of ends) lit.set(column, [...(lit.get(column) ?? []), box]);
  fill(place,
    ends.length ? [...lit].map(([column, boxes]) => veil(column, boxes)) : [],
    ends.map(({ box, weight, size: share, isBefore }) => svg("path", {
      class: weight < 0 ? "less" : "more", d: isBefore ? curve(box, own) : curve(own, box), "stroke-width": (THIN + (THICK - THIN) * share).toFixed(1), "stroke-opacity": 0.85,
    })),
    ends.map(({ box, weight }) => frame(box, weight < 0 ? "less" : "more")), frame(own, "pointed"),
    lines.window ? windowOn(lines.window) : []);
}

const frame = ({ x, y, width, height }, name) => svg("rect", { class: name, x: x - 1, y: y - 1, width: width + 2, height: height + 2, rx: 2 });

/** Fade the other pictures of a column by half. */
function veil(column, boxes) {
  const box = map.layout.boxes[column.index];
  if (!box?.across) return svg("g", {});
  const rectangle = ({ x, y, width, height }) => `M${x} ${y}h${width}v${height}h${-width}z`;
  return svg("path", { class: "veil", d: rectangle(box) + boxes.map(rectangle).join("") });
}

/** Return the path from one picture to another, in the direction in which the map flows. */
function curve(from, to) {
  if (map.layout.flow === "rows") {
    const [x0, y0, x1, y1] = [from.x + from.width / 2, from.y + from.height, to.x + to.width / 2, to.y];
    const bend = Math.max(8, (y1 - y0) / 2);
    return `M${x0} ${y0}C${x0} ${y0 + bend} ${x1} ${y1 - bend} ${x1} ${y1}`;
  }
  const [x0, y0, x1, y1] = [from.x + from.width, from.y + from.height / 2, to.x, to.y + to.height / 2];
  const bend = Math.max(12, Math.abs(x1 - x0) / 2);
  return `M${x0} ${y0}C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}`;
}

/** Frame the part of the input that the opened number depends on; `window` is in pixels of the 28x28. */
function windowOn({ x, y, width, height }) {
  const input = map.columns.find(({ role }) => role === "input");
  const box = input && rectangleOf(input, 0);
  if (!box) return [];
  const [down, across] = [box.height / input.shape[0], box.width / input.shape[1]];
  return [svg("rect", { class: "window", x: box.x + x * across, y: box.y + y * down, width: width * across, height: height * down })];
}
