/** What the service says about steps of learning: the requests of the mode `learn`, each sent once for a digit. */

import { send, sendForBytes } from "./api.js";
import { decodeMap } from "./map_format.js";
import { readNpy } from "./numpy_files.js";
import { state } from "./state.js";

const MAX_KEPT = 60; // answers: one for each step that the user took, and what was opened
const kept = { of: "", answers: new Map() }; // the answers about one network and one digit, by what was asked

/** Return the present 28x28 as text, to tell it from another drawing; null if there is none yet. */
export const drawing = () => state.source?.body.image ?? null;

/** Return the answer to a question about the present network and digit, from the service or as it was kept. */
async function once(question, request) {
  const of = `${state.model} ${drawing()}`;
  if (kept.of !== of) Object.assign(kept, { of, answers: new Map() });
  const { answers } = kept;
  const key = JSON.stringify(question);
  if (answers.has(key)) return answers.get(key);
  const answer = await request();
  if (answers.size >= MAX_KEPT) answers.delete(answers.keys().next().value);
  answers.set(key, answer);
  return answer;
}

/**
 * Let a copy of the network learn the present digit.
 *
 * @param {{label: number, learning_rate: number, optimizer: string, steps: number}} query
 * @param {AbortSignal} signal
 * @returns {Promise<object>} The response of `/learn/step`: loss and probabilities before and after each step, and layers.
 */
export const takeSteps = (query, signal) => once(query, () => send("learn/step", query, signal));

/**
 * Fetch the gradient of the loss for the values of all layers, before the first step.
 *
 * @param {number} label
 * @param {AbortSignal} signal
 * @returns {Promise<{layers: import("./map_format.js").MapLayer[], step: object}>} With the response of one step.
 */
export function fetchGradients(label, signal) {
  const query = { label, include: "map" };
  return once(query, async () => decodeMap(await sendForBytes("learn/step", query, signal)));
}

/** Fetch the exact gradient of the loss for an array of weights, before the first step, as a `Tensor`. */
export function fetchWeightGradient(label, layer, name, signal) {
  const query = { label, layer, of: name, format: "npy" };
  return once(query, async () => readNpy(await sendForBytes("learn/step", query, signal)));
}

/**
 * Fetch the gradient of the loss for one number, as the sum of its products.
 *
 * @param {number} label
 * @param {string} layer
 * @param {object} number Either `channel`, `y` and `x`, or `weight` and `index`.
 * @param {AbortSignal} signal
 * @returns {Promise<object>} The response of `/layers/{layer}/gradient-unit`.
 */
export function fetchSum(label, layer, number, signal) {
  const query = { label, ...number };
  return once([layer, query], () => send(`layers/${layer}/gradient-unit`, query, signal));
}
