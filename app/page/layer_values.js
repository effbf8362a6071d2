/** Values and weights of single layers, fetched when something is opened or pointed at. */

import { getBytes, sendForBytes } from "./api.js";
import { decodeMap } from "./map_format.js";
import { readNpz } from "./numpy_files.js";
import { state } from "./state.js";

const MAX_WEIGHTS = 100_000; // of a layer whose weights are fetched to draw lines: 400 kB
const weights = new Map(); // promises of weights, by `model/layer`

/**
 * Fetch the values of layers for the current digit.
 *
 * @param {string[]} names
 * @param {AbortSignal} signal
 * @returns {Promise<import("./map_format.js").MapLayer[]>}
 */
export async function fetchValues(names, signal) {
  if (!names.length) return [];
  return decodeMap(await sendForBytes("inspect", { include: "map", layers: names.join() }, signal)).layers;
}

/** Fetch the weights of a layer by name, once for each network. */
export function fetchWeights(layer) {
  const key = `${state.model}/${layer.name}`;
  if (!weights.has(key)) {
    const response = getBytes(`models/${encodeURIComponent(state.model)}/layers/${layer.name}/weights`, { format: "npz" });
    weights.set(key, response.then(readNpz).catch((error) => { weights.delete(key); throw error; }));
  }
  return weights.get(key);
}

/** Return the layer's table of weights, such as a kernel: the largest of its arrays with more than one axis. */
export async function fetchKernel(layer) {
  const arrays = await fetchWeights(layer);
  return arrays.kernel ?? arrays.depthwise_kernel ?? Object.values(arrays).find(({ shape }) => shape.length > 1) ?? null;
}

/** Return whether a layer's weights are few enough to be fetched for lines on the map. */
export const hasFewWeights = ({ parameters }) => parameters <= MAX_WEIGHTS;

/** Return the step of a column that has a table of weights, or undefined. */
export const weighingStep = ({ layers }) => layers.find((layer) => layer.weights.some(({ shape }) => shape.length > 1));

/**
 * Return the strength of each input channel for one output channel: the size of its weights, with the sign of their sum.
 *
 * @param {{shape: number[], data: Float32Array}} kernel Its last axes are inputs and outputs.
 * @param {number} output
 * @param {number} channels Channels of the layer before: after a flattening, several inputs belong to one channel.
 * @returns {Float32Array} By input channel.
 */
export function inputStrengths({ shape, data }, output, channels) {
  const [inputs, outputs] = shape.slice(-2);
  const places = data.length / (inputs * outputs);
  const squares = new Float32Array(channels);
  const sums = new Float32Array(channels);
  for (let at = 0; at < places; at += 1) {
    for (let input = 0; input < inputs; input += 1) {
      const weight = data[(at * inputs + input) * outputs + output];
      squares[input % channels] += weight * weight;
      sums[input % channels] += weight;
    }
  }
  return squares.map((square, channel) => Math.sqrt(square) * Math.sign(sums[channel] || 1));
}

/** Return the strength of one input channel for each output channel. */
export function outputStrengths({ shape, data }, channel, channels) {
  const [inputs, outputs] = shape.slice(-2);
  const places = data.length / (inputs * outputs);
  const squares = new Float32Array(outputs);
  const sums = new Float32Array(outputs);
  for (let at = 0; at < places; at += 1) {
    for (let input = channel; input < inputs; input += channels) {
      for (let output = 0; output < outputs; output += 1) {
        const weight = data[(at * inputs + input) * outputs + output];
        squares[output] += weight * weight;
        sums[output] += weight;
      }
    }
  }
  return squares.map((square, output) => Math.sqrt(square) * Math.sign(sums[output] || 1));
}
