/** The products of one input channel: what lies under the kernel, times its weights. */

import { scaleOf } from "./colours.js";
import { h, number } from "./dom.js";
import { extent } from "./heatmaps.js";
import { matrix } from "./matrix.js";
import { inputUnit, workingOf } from "./unit_terms.js";

const MAX_SIDE = 7; // larger kernels are too wide for tables of numbers

const symmetric = (rows) => {
  const limit = Math.max(...rows.flat().map(Math.abs)) || 1;
  return { map: "diverging", low: -limit, high: limit };
};

const signed = (rows) => {
  const [low, high] = extent(rows.flat());
  return low < 0 ? symmetric(rows) : scaleOf(0, high || 1);
};

/**
 * Return the elements that show the products of one term of a convolution.
 *
 * @param {object} result The response of `/unit`.
 * @param {{channel: number, input: number, value: number}} term
 * @param {(to: object) => void} open Opens the number under a weight.
 */
export function products(result, { channel, input, value }, open) {
  const { values, weights, products: results } = workingOf(result, input);
  const heading = h("h3", `Channel ${channel}`);
  if (values.length > MAX_SIDE || values[0].length > MAX_SIDE) return [heading, h("p.notes", `${values.length * values[0].length} products add up to ${number(value, 4)}.`)];
  const to = (y, x) => open({ layer: result.inputs[0], unit: inputUnit(result.operands, y, x, input) });
  return [heading,
    h("div.working", matrix(values, signed(values), "what lies under the kernel", to), matrix(weights, symmetric(weights), "× its weights"),
      matrix(results, symmetric(results), `= products; sum ${number(value, 4)}`))];
}
