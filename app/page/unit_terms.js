/** The sum behind one number: the response of `/layers/{layer}/unit` as steps and terms. Knows nothing about elements. */

import { send } from "./api.js";
import { position } from "./dom.js";

const IMAGE = "image"; // the input of the first layer

/**
 * @typedef {object} Term One part of a sum.
 * @property {number} value What it adds.
 * @property {string} name
 * @property {number|null} channel The channel of the input that it comes from.
 * @property {{layer: string, unit: {channel: number, y: number|null, x: number|null}}|null} to The number it comes from.
 */

/**
 * Fetch a number and the steps before it, back to the step that adds terms.
 *
 * @param {string} layer
 * @param {{channel: number, y: number|null, x: number|null}} unit
 * @param {Set<string>} names Layers of the column: a step outside it ends the list.
 * @param {AbortSignal} signal
 * @returns {Promise<object[]>} Responses, the number itself first.
 */
export async function fetchSteps(layer, unit, names, signal) {
  const steps = [await send(`layers/${layer}/unit`, unit, signal)];
  for (let to = handedOn(steps[0]); to && names.has(to.layer); to = handedOn(steps.at(-1))) {
    steps.push(await send(`layers/${to.layer}/unit`, to.unit, signal));
  }
  return steps;
}

/** Return the number before the padding of a column; the padded one itself if it lies outside the picture. */
export async function beforePadding(to, names) {
  let number = to;
  while (names.has(number.layer)) {
    const next = handedOn(await send(`layers/${number.layer}/unit`, number.unit));
    if (!next) break;
    number = next;
  }
  return number;
}

/** Return the number that a step changes, if it reads a single one. */
function handedOn({ operands, inputs, unit }) {
  if (typeof operands.x !== "number" || operands.padding || inputs[0] === IMAGE) return null;
  const { channel, y, x } = unit;
  if (operands.place) return { layer: inputs[0], unit: unitAt([...operands.place, channel]) };
  if (operands.source) return { layer: inputs[0], unit: unitAt(operands.source) };
  if (Number.isInteger(operands.input)) return { layer: inputs[operands.input], unit: unitAt(operands.index) };
  return { layer: inputs[0], unit: { channel, y, x } };
}

/** Return the unit with an index of one, two or three numbers, the channel last. */
export const unitAt = (index) => ({ channel: index.at(-1), y: index.length > 1 ? index[0] : null, x: index.length > 2 ? index[1] : null });

/** Return a unit's position in words: a layer over rows alone has no columns. */
export const placeOf = ({ y, x }) => (x === null ? `row ${y}` : position(y, x));

/** Return an array of a kernel as rows, columns and channels: one over rows alone gets one column. */
const asPlanes = (array) => (Array.isArray(array[0][0]) ? array : array.map((cell) => [cell]));

/** Return the input unit that a kernel's weight is multiplied by. */
export const inputUnit = ({ corner, input_channels: [from] }, dy, dx, input) => unitAt([...corner.map((start, axis) => start + [dy, dx][axis]), from + input]);

/**
 * Return the terms of a step, largest first, without those that it does not list.
 *
 * @returns {{terms: Term[], rest: {value: number, count: number}|null, bias: number|null, total: number, kind: string}}
 */
export function termsOf(result) {
  const { operands, channel_sums: sums, bias, inputs, unit } = result;
  const total = result.pre_activation ?? result.reconstructed;
  if (operands.products && operands.corner) return { ...convolutionTerms(result, sums, inputs[0]), bias, total, kind: "convolution" };
  if (operands.largest) return { ...denseTerms(result, total), bias, total, kind: "dense" };
  if (operands.exponentials) {
    const terms = operands.exponentials.map((value, channel) => ({ value: value / operands.sum, name: `e to the power of ${operands.x[channel].toFixed(2)}`, channel, to: { layer: inputs[0], unit: { ...unit, channel } } }));
    return { terms: sorted(terms), rest: null, bias: null, total, kind: "softmax" };
  }
  if (operands.places) {
    const terms = operands.values.map((value, at) => ({ value, name: placeOf(unitAt([...operands.places[at], unit.channel])), channel: unit.channel, to: { layer: inputs[0], unit: unitAt([...operands.places[at], unit.channel]) } }));
    return { terms: sorted(terms), rest: null, bias: null, total, kind: operands.winner ? "largest" : "mean" };
  }
  if (operands.values) return { ...valueTerms(result), bias: null, total, kind: inputs.length > 1 ? "merge" : "mean" };
  return { terms: [], rest: null, bias: null, total, kind: "other" };
}

const sorted = (terms) => [...terms].sort((a, b) => Math.abs(b.value) - Math.abs(a.value));

function convolutionTerms({ operands }, sums, layer) {
  const [from] = operands.input_channels;
  const planes = asPlanes(operands.products);
  const terms = sums.map((value, input) => ({ value, name: String(from + input), channel: from + input, input, to: { layer, unit: strongestPlace(operands, planes, input) } }));
  return { terms: sorted(terms), rest: null };
}

/** Return the input unit with the largest product of one input channel. */
function strongestPlace(operands, planes, input) {
  let [best, dy, dx] = [-1, 0, 0];
  planes.forEach((row, y) => row.forEach((cell, x) => {
    if (Math.abs(cell[input]) > best) [best, dy, dx] = [Math.abs(cell[input]), y, x];
  }));
  return inputUnit(operands, dy, dx, input);
}

function denseTerms({ operands, bias, inputs, unit }, total) {
  const terms = operands.largest.map(({ input, x, weight, product }) => ({ value: product, name: String(input), channel: input, x, weight, to: { layer: inputs[0], unit: { ...unit, channel: input } } }));
  const count = operands.x.length - terms.length;
  const value = total - (bias ?? 0) - terms.reduce((sum, term) => sum + term.value, 0);
  return { terms: sorted(terms), rest: count ? { value, count } : null };
}

/** Return the values that are merged or averaged: one from each input layer, or all places of a channel. */
function valueTerms({ operands, inputs, unit }) {
  const { values } = operands;
  if (inputs.length > 1) {
    return { terms: sorted(values.map((value, at) => ({ value, name: inputs[at], channel: unit.channel, to: { layer: inputs[at], unit } }))), rest: null };
  }
  const places = values.flatMap((row, y) => (Array.isArray(row)
    ? row.map((value, x) => ({ value, index: [y, x] })) : [{ value: row, index: [y] }]));
  return { terms: sorted(places.map(({ value, index }) => {
    const to = unitAt([...index, unit.channel]);
    return { value, name: placeOf(to), channel: unit.channel, to: { layer: inputs[0], unit: to } };
  })), rest: null };
}

/** Return what lies under the kernel, the weights and the products of one input channel, each as rows. */
export function workingOf({ operands }, input) {
  const plane = (array) => asPlanes(array).map((row) => row.map((cell) => cell[input]));
  return { values: plane(operands.patch), weights: plane(operands.kernel), products: plane(operands.products) };
}
