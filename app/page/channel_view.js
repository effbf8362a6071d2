/** An opened channel: its picture, its kernel, and the way to the sum behind each of its values. */

import { go } from "./address.js";
import { channelGrid } from "./channel_pictures.js";
import { rangeOf, sidesOf } from "./channels.js";
import { layerDownloads } from "./downloads.js";
import { disclosure, fill, h, number, pngUrl, position, table } from "./dom.js";
import { drawKernel } from "./kernel_picture.js";
import { fetchKernel, fetchValues, weighingStep } from "./layer_values.js";
import { valueText } from "./map_keys.js";
import { slideTool } from "./slide.js";
import { narrow } from "./map_view.js";
import { strongestAfter, strongestBefore } from "./map_lines.js";
import { ask, sendForBytes } from "./api.js";
import { readNpy } from "./numpy_files.js";

const PICTURE_SIDE = 196; // CSS pixels

/** Fetch the values of the layer and return the content of the panel. */
export async function render({ layer, column, at, signal }) {
  const channel = Math.min(at.channel, layer.output_shape.at(-1) - 1);
  const step = weighingStep(column);
  const [[values], kernel] = await Promise.all([fetchValues([layer.name], signal), step ? fetchKernel(step) : null]);
  const { low, high, at: strongest } = rangeOf(values, channel);
  const [, columns] = sidesOf(values);
  const isRows = layer.output_shape.length === 2;
  const open = (y, x) => layer.computable && go({ at: { layer: layer.name, channel, y, x } });
  const grid = channelGrid(values, channel, PICTURE_SIDE, open);
  grid.select(strongest);
  const where = isRows ? `row ${strongest}` : position(Math.floor(strongest / columns), strongest % columns);
  const isConstant = values.constant.includes(channel);
  const [terms, feeds] = await Promise.all([strongestBefore(column, channel), strongestAfter(column, channel)]).catch(() => [[], []]);
  return {
    content: h("div.channel-view",
      h("div", h("h3", `What channel ${channel} found`), grid.element,
        h("p.notes", isConstant ? `Every value is ${valueText(values, low)}: it does not respond to this digit.` : `From ${valueText(values, low)} to ${valueText(values, high)}. Choose a square to see its sum.`),
        isConstant ? null : h("p", h("button.link", { type: "button", on: { click: () => open(Math.floor(strongest / columns), isRows ? null : strongest % columns) } }, `How the largest comes about, in ${where}`)),
        disclosure("Table of the values", () => valueTable(layer, channel))),
      kernel && step && /Conv/.test(step.type) ? h("div", h("h3", `Its kernel, in ${step.name}`), drawKernel(kernel, channel)) : null,
      layer.computable ? looksFor(layer, channel, signal) : null,
      h("div.reads", h("h3", "What it reads most"), terms.length
        ? h("ol", terms.map(({ column: source, channel: from, weight }) => h("li", h("button.link", { type: "button", on: { click: () => source.shown && go({ at: { layer: source.shown.name, channel: from, y: null, x: null } }) } }, `${source.title}, ${from}`), h("code", number(weight, 2)))))
        : h("p.notes", "Its weights are too many to list; open a number to see its largest products."))),
    tools: channelTools(layer, { ...at, channel }, column),
    foot: [h("code", layer.formula), h("div.tools", layerDownloads(layer))],
    terms: { column, channel, before: terms, after: feeds },
  };
}

/** Return the place of a picture that a channel answers strongly; it is calculated once for each network. */
function looksFor(layer, channel, signal) {
  const place = h("p.notes", "Calculating…");
  ask(`layers/${layer.name}/maximise`, { channel }, signal).then(({ image, pixels, before, after }) => {
    const isEmpty = pixels.flat().every((level) => level === 0);
    place.replaceWith(h("figure.looks-for", h("img", { src: pngUrl(image), alt: "A picture that this channel answers strongly", width: "112", height: "112" }),
      h("figcaption", after > before ? `A picture made for it, step by step: it raises the answer from ${number(before, 3)} to ${number(after, 3)}.${isEmpty ? " (No ink at all.)" : ""}` : "No picture was found that it answers.")));
  }, (error) => {
    if (error.name !== "AbortError") fill(place, error.status ? error.message : "This part did not arrive. Open the channel again.");
  });
  return h("div", h("h3", "What it looks for"), place);
}

/** Return the buttons to the neighbouring channels, for the sliding kernel, and to switch the channel off. */
export function channelTools(layer, at, column) {
  const { channel } = at;
  const channels = layer.output_shape.at(-1);
  const step = (by) => (channel + by + channels) % channels;
  const to = (next) => h("button", { type: "button", aria: { label: `${by(next)} channel: ${next}` }, on: { click: () => go({ at: { layer: layer.name, channel: next, y: null, x: null } }, { replace: true }) } }, next === step(-1) ? (narrow.matches ? "‹" : `‹ ${next}`) : narrow.matches ? "›" : `${next} ›`);
  const by = (next) => (next === step(-1) ? "Previous" : "Next");
  return [channels > 1 ? to(step(-1)) : null, channels > 1 ? to(step(1)) : null,
    /Conv/.test(weighingStep(column)?.type) ? slideTool(layer, at) : null,
    layer.ablatable ? h("button", { type: "button", aria: { label: "Switch off" }, on: { click: () => go({ mode: "whatif", off: { layer: layer.name, channels: [channel] } }) } }, narrow.matches ? "⊘" : "Switch off") : null].filter(Boolean);
}

/** Fetch the exact values and return their table. */
function valueTable(layer, channel) {
  const place = h("div", h("p.notes", "Reading…"));
  sendForBytes(`layers/${layer.name}/activations`, { format: "npy" }).then((buffer) => {
    const { data, shape } = readNpy(buffer);
    const [height, width, channels] = shape.length === 2 ? [shape[0], 1, shape[1]] : shape;
    const row = (y) => Array.from({ length: width }, (_, x) => number(data[(y * width + x) * channels + channel], 3));
    place.replaceChildren(table(`${layer.name}, channel ${channel}: every value`, ["row", ...Array(width).keys()], Array.from({ length: height }, (_, y) => [y, ...row(y)])));
  }, () => place.replaceChildren(h("p.failed", "The values did not arrive. Close and open the table to try again.")));
  return place;
}
