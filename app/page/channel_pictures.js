/** Pictures of channels outside the map: one channel enlarged, or all channels of a layer as a grid. */

import { paintChannel, planeOf, rangeOf, sidesOf } from "./channels.js";
import { fullColourPalette } from "./colours.js";
import { h, number, position } from "./dom.js";
import { Grid } from "./grid.js";
import { valueText } from "./map_keys.js";
import { valueOf } from "./map_format.js";
import { narrow } from "./map_view.js";

/** Create a small picture of a channel. */
export function thumbnail(layer, channel, side) {
  const canvas = h("canvas.thumbnail", { aria: { hidden: "true" } });
  paintChannel(canvas, layer, channel);
  canvas.style.width = `${side}px`;
  const [rows, columns] = sidesOf(layer);
  canvas.style.height = `${Math.round((side * rows) / columns)}px`;
  return canvas;
}

/**
 * Create a channel's picture whose values can be chosen.
 *
 * @param {object} layer Its values.
 * @param {number} channel
 * @param {number} side CSS pixels of the longer side.
 * @param {(y: number, x: number|null) => void} choose
 * @param {Map<number, number>} exact Exact values, by place.
 */
export function channelGrid(layer, channel, side, choose, exact = new Map()) {
  const [rows, columns] = sidesOf(layer);
  const isRows = layer.shape.length === 2;
  const plane = planeOf(layer, channel);
  const placeOf = (at) => (isRows ? `row ${at}` : position(Math.floor(at / columns), at % columns));
  const grid = new Grid({
    label: `${layer.name}, channel ${channel}: its values`,
    describe: (at) => `${placeOf(at)}: ${exact.has(at) ? number(exact.get(at), 3) : valueText(layer, valueOf(layer, plane[at]))}`,
    open: (at) => choose(Math.floor(at / columns), isRows ? null : at % columns),
  });
  paintChannel(grid.canvas, layer, channel);
  grid.setLayout(rows * columns, columns);
  grid.setWidth(Math.max(isRows ? 24 : 0, Math.round((side * columns) / Math.max(rows, columns))));
  return grid;
}

/** Create a grid of all channels of a layer, at most `width` CSS pixels wide. */
export function layerGrid(layer, width, open) {
  const [rows, columns] = sidesOf(layer);
  const channels = layer.shape.at(-1);
  const largest = narrow.matches ? 8 : 4; // on a phone, pictures are large enough for a finger
  const zoom = rows * columns === 1 ? (narrow.matches ? 28 : 14) : Math.max(1, Math.min(largest, Math.floor(56 / Math.max(rows, columns))));
  const gap = rows * columns === 1 ? 0 : 1;
  const most = Math.max(1, Math.floor((width / zoom + gap) / (columns + gap)));
  const across = Math.ceil(channels / Math.ceil(channels / most));
  const grid = new Grid({
    label: `${layer.name}: ${channels} ${rows * columns === 1 ? "units" : "channels"}`, gap, open,
    describe: (channel) => {
      const { low, high } = rangeOf(layer, channel);
      return rows * columns === 1 ? `Unit ${channel}: ${valueText(layer, high)}` : `Channel ${channel}: ${valueText(layer, low)} to ${valueText(layer, high)}`;
    },
  });
  paintAll(grid.canvas, layer, across, gap);
  grid.setLayout(channels, across, rows, columns);
  grid.setWidth(zoom * (across * (columns + gap) - gap));
  return grid;
}

function paintAll(canvas, layer, across, gap) {
  const [rows, columns] = sidesOf(layer);
  const channels = layer.shape.at(-1);
  canvas.width = across * (columns + gap) - gap;
  canvas.height = Math.ceil(channels / across) * (rows + gap) - gap;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  const palette = fullColourPalette(layer);
  for (let channel = 0; channel < channels; channel += 1) {
    const plane = planeOf(layer, channel);
    const start = Math.floor(channel / across) * (rows + gap) * canvas.width + (channel % across) * (columns + gap);
    plane.forEach((byte, at) => { pixels[start + Math.floor(at / columns) * canvas.width + (at % columns)] = palette[byte]; });
  }
  context.putImageData(image, 0, 0);
}
