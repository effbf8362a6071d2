/**
 * The pictures of the map, painted on one canvas.
 *
 * For each layout, tables say which value each pixel of the canvas shows. A new answer then costs one look-up for each
 * pixel. No image buffer is made while drawing.
 */

import { fullColourPalette, edgeColour } from "./colours.js";
import { cornerOf } from "./map_layout.js";

const MIN_DASHED = 8; // CSS pixels: smaller pictures of one value get no dashed edge
const DASH = 3; // CSS pixels

export class MapCanvas {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.tables = [];
  }

  /**
   * Make the tables for a layout.
   *
   * @param {import("./columns.js").Column[]} columns
   * @param {object} layout As `layOut` returns it.
   * @param {number} ratio Device pixels for one CSS pixel.
   */
  setLayout(columns, layout, ratio) {
    this.layout = layout;
    this.ratio = ratio;
    const width = Math.round(layout.width * ratio);
    const height = Math.round(layout.height * ratio);
    this.canvas.width = width;
    this.canvas.height = height;
    this.canvas.style.width = `${layout.width}px`;
    this.canvas.style.height = `${layout.height}px`;
    this.image = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.tables = columns.map((column, at) => layout.boxes[at]?.across ? this.#table(column, layout.boxes[at]) : null);
  }

  /** Return which pixels of the canvas a column covers, and the value that each shows. */
  #table(column, box) {
    const { ratio, layout } = this;
    const [rows, columns] = column.shape.length === 1 ? [1, 1] : [column.shape[0], column.shape.length === 3 ? column.shape[1] : 1];
    const across = Math.round(box.across * ratio);
    const down = Math.round(box.down * ratio);
    const size = across * down;
    const place = new Uint32Array(column.channels * size);
    const value = new Uint32Array(place.length);
    let next = 0;
    for (let channel = 0; channel < column.channels; channel += 1) {
      const corner = cornerOf(layout, box, channel);
      const start = Math.round(corner.y * ratio) * this.canvas.width + Math.round(corner.x * ratio);
      for (let y = 0; y < down; y += 1) {
        const from = channel * rows * columns + Math.floor((y * rows) / down) * columns;
        for (let x = 0; x < across; x += 1) {
          place[next] = start + y * this.canvas.width + x;
          value[next] = from + Math.floor((x * columns) / across);
          next += 1;
        }
      }
    }
    return { box, place, value, across, down, dashed: box.across >= MIN_DASHED };
  }

  /**
   * Paint the values of all columns.
   *
   * @param {(import("./map_format.js").MapLayer|null)[]} values By column; null for a column without values yet, which
   *   becomes empty pictures.
   * @param {boolean} [byPicture] Whether each picture has a colour scale of its own, instead of each column.
   */
  paint(values, byPicture = false) {
    this.tables.forEach((table, at) => table && this.#paintColumn(table, values[at], byPicture));
    this.context.putImageData(this.image, 0, 0);
  }

  #paintColumn({ place, value, box, across, down, dashed }, layer, byPicture) {
    const { pixels } = this;
    let palette = fullColourPalette(layer);
    if (!layer) {
      for (let at = 0; at < place.length; at += 1) pixels[place[at]] = palette[0];
      return;
    }
    const { values } = layer;
    const channels = layer.shape.at(-1);
    const hasOwn = byPicture && values.length > channels;
    const size = hasOwn ? across * down : place.length; // pixels with the same colours
    for (let start = 0; start < place.length; start += size) {
      if (hasOwn) palette = fullColourPalette(ofPicture(layer, start / size));
      for (let at = start; at < start + size; at += 1) pixels[place[at]] = palette[values[value[at]]];
    }
    if (dashed) for (const channel of layer.constant) this.#dash(box, channel, across, down);
  }

  /** Draw a dashed edge inside a picture that has the same value everywhere. */
  #dash(box, channel, across, down) {
    const { pixels, ratio } = this;
    const { width } = this.canvas;
    const corner = cornerOf(this.layout, box, channel);
    const start = Math.round(corner.y * ratio) * width + Math.round(corner.x * ratio);
    const thick = Math.max(1, Math.round(ratio));
    const dash = Math.round(DASH * ratio);
    const colour = edgeColour();
    for (let y = 0; y < down; y += 1) {
      for (let x = 0; x < across; x += 1) {
        const onSide = x < thick || x >= across - thick;
        const onTop = y < thick || y >= down - thick;
        if ((onSide && Math.floor(y / dash) % 2 === 0) || (onTop && Math.floor(x / dash) % 2 === 0)) pixels[start + y * width + x] = colour;
      }
    }
  }
}

/** Return a layer whose full colour is the largest magnitude of one channel. */
function ofPicture(layer, channel) {
  const { low, high, values, shape } = layer;
  const size = values.length / shape.at(-1);
  let largest = 0;
  for (let at = channel * size; at < (channel + 1) * size; at += 1) largest = Math.max(largest, Math.abs(low + (values[at] / 255) * (high - low)));
  return { low, high, percentile: largest };
}
