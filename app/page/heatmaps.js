/** Heat maps: numbers painted as colours on a canvas, from 8-bit PNG sheets or from arrays, with legends. */

import { colours, indexOf, neutral, scaleOf } from "./colours.js";
import { decodeBase64, h, number } from "./dom.js";

const scratch = document.createElement("canvas");
const scratchContext = scratch.getContext("2d", { willReadFrequently: true });

/**
 * Decode the tiles of a sheet: a PNG with one tile for each channel of a layer.
 *
 * @param {object} sheet As `/inspect` returns it.
 * @returns {Promise<{tiles: Uint8Array[], height: number, width: number, low: number[], high: number[]}>}
 *   The pixels of each tile, from 0 to 255, and the values that 0 and 255 stand for.
 */
export async function readSheet(sheet) {
  const blob = new Blob([decodeBase64(sheet.png)], { type: "image/png" });
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  scratch.width = bitmap.width;
  scratch.height = bitmap.height;
  scratchContext.drawImage(bitmap, 0, 0);
  const { data } = scratchContext.getImageData(0, 0, bitmap.width, bitmap.height);
  const [height, width] = sheet.tile;
  const tiles = Array.from({ length: sheet.tiles }, (_, tile) => {
    const top = Math.floor(tile / sheet.columns) * (height + sheet.gap);
    const left = (tile % sheet.columns) * (width + sheet.gap);
    const pixels = new Uint8Array(height * width);
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        pixels[y * width + x] = data[4 * ((top + y) * bitmap.width + left + x)];
      }
    }
    return pixels;
  });
  bitmap.close();
  const perTile = (limits) => (Array.isArray(limits) ? limits : Array(sheet.tiles).fill(limits));
  return { tiles, height, width, low: perTile(sheet.vmin), high: perTile(sheet.vmax) };
}

/** Return the colours of the pixel values 0 to 255, where 0 and 255 stand for `low` and `high`. */
function tileColours(low, high, scale) {
  const palette = colours(scale.map);
  return Uint32Array.from({ length: 256 }, (_, pixel) => palette[indexOf(low + (pixel / 255) * (high - low), scale)]);
}

/**
 * Paint tiles in rows, one canvas pixel for each value. CSS enlarges the canvas.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {{tiles: Uint8Array[], height: number, width: number, low: number[], high: number[]}} sheet
 * @param {number} columns Tiles in a row.
 * @param {boolean[]} constant Which tiles have the same value everywhere; they get a neutral colour.
 */
export function paintSheet(canvas, sheet, columns, constant) {
  const { tiles, height, width, low, high } = sheet;
  const canvasWidth = columns * (width + 1) - 1;
  const canvasHeight = Math.ceil(tiles.length / columns) * (height + 1) - 1;
  canvas.width = canvasWidth;
  canvas.height = canvasHeight;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvasWidth, canvasHeight);
  const out = new Uint32Array(image.data.buffer);
  let palette = null;
  tiles.forEach((pixels, tile) => {
    if (!tile || low[tile] !== low[tile - 1] || high[tile] !== high[tile - 1]) {
      palette = tileColours(low[tile], high[tile], scaleOf(low[tile], high[tile]));
    }
    const top = Math.floor(tile / columns) * (height + 1);
    const left = (tile % columns) * (width + 1);
    const plainColour = constant[tile] ? neutral() : null;
    for (let y = 0; y < height; y += 1) {
      const start = (top + y) * canvasWidth + left;
      for (let x = 0; x < width; x += 1) out[start + x] = plainColour ?? palette[pixels[y * width + x]];
    }
  });
  context.putImageData(image, 0, 0);
}

/**
 * Paint numbers, one canvas pixel for each.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {ArrayLike<number>} values Row by row.
 * @param {number} columns
 * @param {{map: string, low: number, high: number}} scale
 */
export function paintValues(canvas, values, columns, scale) {
  const rows = Math.ceil(values.length / columns);
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const out = new Uint32Array(image.data.buffer);
  const palette = colours(scale.map);
  for (let index = 0; index < values.length; index += 1) out[index] = palette[indexOf(values[index], scale)];
  context.putImageData(image, 0, 0);
}

/** Return the smallest and the largest number. */
export function extent(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** Create a legend: the colours of a scale with the numbers at its ends. */
export function legend(scale, note = "") {
  const canvas = h("canvas", { aria: { hidden: "true" } });
  paintValues(canvas, Float32Array.from({ length: 128 }, (_, step) => step), 128, { map: scale.map, low: 0, high: 127 });
  return h("p.legend",
    h("span", number(scale.low, 3)), canvas, h("span", number(scale.high, 3)),
    scale.map === "diverging" ? h("span.note", "the middle is 0") : null,
    note ? h("span.note", note) : null);
}
