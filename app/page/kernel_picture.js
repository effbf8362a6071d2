/** The kernel of one channel: a table of weights for each input channel. */

import { scaleOf } from "./colours.js";
import { disclosure, h, number, table } from "./dom.js";
import { Grid } from "./grid.js";
import { matrix } from "./matrix.js";
import { extent, legend, paintSheet } from "./heatmaps.js";

const MAX_WIDTH = 260; // CSS pixels

/** Return the weights of one output channel, input by input, each row by row. */
function weightsOf({ shape, data }, output) {
  const [rows, columns, inputs, outputs] = shape.length === 3 ? [shape[0], 1, ...shape.slice(1)] : shape;
  const size = rows * columns;
  const all = Float32Array.from({ length: size * inputs }, (_, at) => data[((at % size) * inputs + Math.floor(at / size)) * outputs + output]);
  return { rows, columns, inputs, size, all };
}

/** Return the elements that show the kernel of one output channel. */
export function drawKernel(kernel, output) {
  const { rows, columns, inputs, size, all } = weightsOf(kernel, output);
  const limit = Math.max(...extent(all).map(Math.abs)) || 1;
  const scale = { ...scaleOf(-limit, limit), map: "diverging" };
  if (inputs === 1) {
    return [matrix(Array.from({ length: rows }, (_, y) => Array.from(all.subarray(y * columns, (y + 1) * columns))), scale, "The kernel's weights"),
      h("p.notes", "Blue weights: ink here raises the sum. Orange weights: ink here lowers it.")];
  }
  const grid = new Grid({
    label: `Kernel: ${inputs} tables of ${rows} × ${columns}, one for each input channel`, gap: 1,
    describe: (at) => `Input channel ${at}: ${Array.from(all.subarray(at * size, (at + 1) * size), (value) => number(value, 2)).join(", ")}`,
  });
  const byteOf = (value) => Math.round((255 * (value + limit)) / (2 * limit));
  const across = Math.min(inputs, 12);
  paintSheet(grid.canvas, {
    tiles: Array.from({ length: inputs }, (_, at) => Uint8Array.from(all.subarray(at * size, (at + 1) * size), byteOf)),
    height: rows, width: columns, low: Array(inputs).fill(-limit), high: Array(inputs).fill(limit),
  }, across, []);
  grid.setLayout(inputs, across, rows, columns);
  grid.setWidth(Math.min(MAX_WIDTH, across * 30));
  return [grid.element, legend(scale), h("p.notes", `${inputs} tables of ${rows} × ${columns}, one for each channel that it reads.`),
    disclosure("Table of the weights", () => table("Weights by input channel", ["input channel", ...Array.from({ length: size }, (_, at) => `${Math.floor(at / columns)}, ${at % columns}`)],
      Array.from({ length: inputs }, (_, input) => [input, ...Array.from(all.subarray(input * size, (input + 1) * size), (value) => number(value, 3))])))];
}
