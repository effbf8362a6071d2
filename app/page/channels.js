/** One channel of a layer's values: its bytes, its range and its picture. */

import { fullColourPalette } from "./colours.js";
import { valueOf } from "./map_format.js";

/** Return the rows and the columns of a layer's channels. */
export const sidesOf = ({ shape }) => (shape.length === 3 ? shape.slice(0, 2) : shape.length === 2 ? [shape[0], 1] : [1, 1]);

/** Return the bytes of one channel. */
export function planeOf(layer, channel) {
  const [rows, columns] = sidesOf(layer);
  return layer.values.subarray(channel * rows * columns, (channel + 1) * rows * columns);
}

/** Return the smallest and the largest value of a channel, and where the largest is. */
export function rangeOf(layer, channel) {
  const plane = planeOf(layer, channel);
  let [low, high, at] = [255, 0, 0];
  plane.forEach((byte, place) => {
    if (byte < low) low = byte;
    if (byte > high) [high, at] = [byte, place];
  });
  return { low: valueOf(layer, low), high: valueOf(layer, high), at };
}

/** Paint a channel on a canvas, one pixel for each value. */
export function paintChannel(canvas, layer, channel) {
  const [rows, columns] = sidesOf(layer);
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const palette = fullColourPalette(layer);
  new Uint32Array(image.data.buffer).set(Array.from(planeOf(layer, channel), (byte) => palette[byte]));
  context.putImageData(image, 0, 0);
}
