/** An opened number: how it comes about, step by step, and the terms that it adds up. */

import { go } from "./address.js";
import { channelGrid, thumbnail } from "./channel_pictures.js";
import { sidesOf } from "./channels.js";
import { columnOf } from "./columns.js";
import { channelTools } from "./channel_view.js";
import { layerDownloads } from "./downloads.js";
import { fill, h, disclosure, number, table } from "./dom.js";
import { fetchValues } from "./layer_values.js";
import { strongestAfter } from "./map_lines.js";
import { map, valuesOf } from "./map_view.js";
import { products } from "./number_products.js";
import { emit, state } from "./state.js";
import { beforePadding, fetchSteps, termsOf } from "./unit_terms.js";

const PICTURE_SIDE = 222; // CSS pixels
const STEP_SIDE = 44; // CSS pixels
const MAX_TERMS = 7; // that are listed one by one
const MAX_LINES = 8; // on the map

/** Fetch the steps of the opened number and return the content of the panel. */
export async function render({ layer, column, at, signal }) {
  const unit = { channel: at.channel, y: at.y, x: at.x };
  const names = new Set(column.layers.map(({ name }) => name));
  const steps = await fetchSteps(layer.name, unit, names, signal);
  const values = await fetchValues([...new Set(steps.map((step) => step.layer.name))].filter((name) => isSpatial(column, name)), signal);
  const sum = steps.at(-1);
  const found = termsOf(sum);
  const source = sourceOf(column, sum, found);
  const open = (to) => openNumber(to, found.kind === "convolution" ? names : new Set());
  const working = h("div.working-place");
  const show = (term) => fill(working, products(sum, term, open));
  if (found.kind === "convolution" && found.terms.length) show(found.terms[0]);
  return {
    content: h("div.number-view",
      picture(layer, values[0], at, steps[0].observed), comesAbout(steps, values), terms(sum, found, source, { show, open }), working),
    tools: channelTools(layer, at, column),
    foot: [h("code", sum.formula), h("div.tools", layerDownloads(layer))],
    terms: { ...linesOf(column, at.channel, found, source, steps[0]), after: await strongestAfter(column, at.channel).catch(() => []) },
  };
}

const isSpatial = (column, name) => column.layers.find((layer) => layer.name === name).output_shape.length > 1;

/** Open the number that a term comes from. Padding in between, of one of the layers `names`, is passed. */
async function openNumber(to, names) {
  try {
    const { layer, unit } = await beforePadding(to, names);
    go({ at: { layer, ...unit } });
  } catch (error) {
    emit("error", error);
  }
}

/** Return the column that the terms come from. Padding belongs to the column of the sum itself. */
function sourceOf(column, { inputs }, { kind }) {
  const found = columnOf(map.columns, inputs[0]);
  return found === column && kind === "convolution" ? map.columns[column.inputs[0]] : found;
}

function picture(layer, values, at, observed) {
  if (!values || values.name !== layer.name) return null;
  const [, columns] = sidesOf(values);
  const opened = at.y * columns + (at.x ?? 0);
  const grid = channelGrid(values, at.channel, PICTURE_SIDE, (y, x) => go({ at: { ...at, y, x } }, { replace: true }), new Map([[opened, observed]]));
  grid.select(opened);
  return h("div.found", h("h3", `What channel ${at.channel} found`), grid.element, h("p.notes", "Choose a square to see its sum."));
}

/** Show the steps from the sum to the number. */
function comesAbout(steps, values) {
  const [{ observed, reconstructed }] = steps;
  return h("div.comes-about", h("h3", `How ${number(observed, 3)} comes about`),
    h("ol", [...steps].reverse().map((step) => {
      const layer = values.find(({ name }) => name === step.layer.name);
      return h("li", layer ? thumbnail(layer, step.unit.channel, STEP_SIDE) : null,
        h("p", h("b", stepName(step.layer)), " ", h("code", number(step.observed, 4)), h("span", explain(step))));
    })),
    h("p.notes.sum", { data: { reconstructed, observed } }, `The service gave ${number(observed, 6)}; worked out here, ${number(reconstructed, 6)}.`));
}

const NAMES = { BatchNormalization: "batch norm", ReLU: "ReLU", Normalization: "normalise", Conv2D: "convolution", Dense: "dense", Softmax: "softmax" };
const stepName = ({ name, type }) => NAMES[type] ?? name;

/** Say in a few words what a step does. */
function explain({ operands, equation, inputs, layer }) {
  if (operands.products && operands.corner) return `${count(operands.products)} products, added up`;
  if (operands.largest) return `${operands.x.length} products, added up`;
  if (operands.scale !== undefined && operands.shift !== undefined && operands.gamma !== undefined) return `× ${operands.scale.toPrecision(4)}, ${operands.shift < 0 ? "−" : "+"} ${Math.abs(operands.shift).toPrecision(4)}`;
  if (layer.type === "ReLU" && typeof operands.x === "number") return operands.x > 0 ? "above 0, so it stays" : "not above 0, so it becomes 0";
  if (operands.winner) return `the largest of ${operands.values.length} values`;
  if (operands.exponentials) return `its share of ${operands.exponentials.length} exponentials`;
  if (inputs[0] === "image" && typeof operands.x === "number") return `from the grey level ${number(operands.x)}: ${equation}`;
  return equation;
}

/** Format a term with two decimals, so that the terms of a sum stand below each other. */
const fixed = (value) => (Math.abs(value) >= 0.005 && Math.abs(value) < 1000 ? value.toFixed(2).replace("-", "−") : number(value, 2));

const count = (array) => (Array.isArray(array) ? array.reduce((sum, part) => sum + count(part), 0) : 1);

const HEADINGS = {
  dense: (from) => `Which inputs from ${from} it comes from`, softmax: () => "The share of each output",
  merge: () => "The values that it merges", largest: (from) => `The values of ${from} under the window`, mean: (from) => `The values of ${from} that are averaged`,
};

/** Show the largest terms as bars, the others as one, and their sum. */
function terms(sum, { terms: all, rest, bias, total, kind }, source, actions) {
  if (!all.length) return h("div.terms", h("h3", "The calculation"), h("p.equation", h("code", sum.equation)));
  const from = source?.title ?? sum.inputs[0];
  const listed = all.slice(0, MAX_TERMS);
  const others = all.slice(MAX_TERMS);
  const adds = kind === "convolution" || kind === "dense";
  const restCount = others.length + (rest?.count ?? 0);
  const restValue = others.reduce((value, term) => value + term.value, rest?.value ?? 0);
  const largest = Math.max(...listed.map(({ value }) => Math.abs(value)), adds ? Math.abs(restValue) : 0) || 1;
  const rows = listed.map((term) => termRow(term, largest, source, kind, actions));
  if (adds && restCount) rows.push(row([h("span", String(restCount)), h("span", "more")], restValue, largest));
  if (bias !== null && bias !== undefined) rows.push(row([h("span", "bias"), null], bias, largest));
  return h("div.terms", h("h3", (HEADINGS[kind] ?? ((name) => `Which channels of ${name} it comes from`))(from)),
    h("ol", rows, adds ? h("li.total", h("span"), h("span"), h("b", "sum"), h("b", h("code", number(total, 4)))) : null),
    all.length > MAX_TERMS ? disclosure(`All ${all.length} ${adds ? "terms" : "values"}`, () => table("All terms", ["from", "value"], [...all.map(({ name, value }) => [name, number(value, 7)]), ...(rest ? [[`other ${rest.count}`, number(rest.value, 7)]] : []), ...(bias === null || bias === undefined ? [] : [["bias", number(bias, 7)]])])) : null);
}

function row(start, value, largest) {
  const item = h("li", ...start.map((part) => part ?? h("span")), h("span.signed", h(value < 0 ? "span.part.negative" : "span.part")), h("code", fixed(value)));
  item.style.setProperty("--size", Math.abs(value) / largest);
  return item;
}

function termRow(term, largest, source, kind, { show, open }) {
  const name = kind === "dense" && source ? String(term.channel) : kind === "softmax" ? state.network.classes[term.channel] ?? term.name : term.name;
  const layer = source && valuesOf(source);
  const isPicture = kind === "convolution" && layer && layer.values.length > layer.shape.at(-1);
  const button = h("button.link", { type: "button", aria: { label: `${name}: ${number(term.value, 3)}, open the number that it comes from` }, on: { click: () => term.to && open(term.to) } }, name);
  const item = row([button, isPicture ? thumbnail(layer, term.channel, 24) : null], term.value, largest);
  if (kind === "convolution") for (const event of ["pointerenter", "focusin"]) item.addEventListener(event, () => show(term));
  return item;
}

/** Return the lines of the map for the largest contributions, and the window on the input. */
function linesOf(column, channel, { terms: all, kind }, source, { trace }) {
  const before = all.filter(({ to }) => to).slice(0, MAX_LINES).map(({ value, to }) => {
    const from = kind === "convolution" ? source : columnOf(map.columns, to.layer);
    const isFlat = from && from.shape.length > 1 && to.unit.y === null; // a flattened input
    return from && { column: from, channel: isFlat ? to.unit.channel % from.channels : to.unit.channel, weight: value };
  }).filter(Boolean);
  return { column, channel, before: kind === "softmax" ? [] : before, window: trace.image };
}
