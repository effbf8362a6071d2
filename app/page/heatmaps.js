/** Pictures of numbers: sheets that came as 8-bit PNG, arrays, legends. */

import { colours, indexOf, neutral, scaleOf } from "./colours.js";
import { h, number } from "./dom.js";

const scratch = document.createElement("canvas");
const scratchContext = scratch.getContext("2d", { willReadFrequently: true });

/** Bytes of base64. */
export const decodeBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** The address of a PNG that came as base64. */
export const pngUrl = (text) => `data:image/png;base64,${text}`;

/**
 * Read a sheet's tiles.
 *
 * @param {object} sheet As `/inspect` gives it.
 * @returns {Promise<{tiles: Uint8Array[], height: number, width: number, low: number[], high: number[]}>}
 *   The tiles' pixels, 0..255, and what 0 and 255 stand for in each.
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
  const each = (ends) => (Array.isArray(ends) ? ends : Array(sheet.tiles).fill(ends));
  return { tiles, height, width, low: each(sheet.vmin), high: each(sheet.vmax) };
}

/** Colours by pixel, 0..255, of a tile whose 0 and 255 stand for `low` and `high`. */
function tileColours(low, high, scale) {
  const chosen = colours(scale.map);
  return Uint32Array.from({ length: 256 }, (_, at) => chosen[indexOf(low + (at / 255) * (high - low), scale)]);
}

/**
 * Paint tiles in rows, a pixel for a value; CSS enlarges the canvas.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {{tiles: Uint8Array[], height: number, width: number, low: number[], high: number[]}} sheet
 * @param {number} columns Tiles in a row.
 * @param {boolean[]} constant Which tiles hold one value only.
 */
export function paintSheet(canvas, sheet, columns, constant) {
  const { tiles, height, width, low, high } = sheet;
  const across = columns * (width + 1) - 1;
  const down = Math.ceil(tiles.length / columns) * (height + 1) - 1;
  canvas.width = across;
  canvas.height = down;
  const context = canvas.getContext("2d");
  const image = context.createImageData(across, down);
  const out = new Uint32Array(image.data.buffer);
  let table = null;
  tiles.forEach((pixels, tile) => {
    if (!tile || low[tile] !== low[tile - 1] || high[tile] !== high[tile - 1]) {
      table = tileColours(low[tile], high[tile], scaleOf(low[tile], high[tile]));
    }
    const top = Math.floor(tile / columns) * (height + 1);
    const left = (tile % columns) * (width + 1);
    const plain = constant[tile] ? neutral() : null;
    for (let y = 0; y < height; y += 1) {
      const start = (top + y) * across + left;
      for (let x = 0; x < width; x += 1) out[start + x] = plain ?? table[pixels[y * width + x]];
    }
  });
  context.putImageData(image, 0, 0);
}

/**
 * Paint numbers, a pixel for each.
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
  const chosen = colours(scale.map);
  for (let at = 0; at < values.length; at += 1) out[at] = chosen[indexOf(values[at], scale)];
  context.putImageData(image, 0, 0);
}

/** The smallest and the largest of numbers. */
export function extent(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** A legend: the map's colours with the numbers that they stand for. */
export function legend(scale, note = "") {
  const canvas = h("canvas", { aria: { hidden: "true" } });
  paintValues(canvas, Float32Array.from({ length: 128 }, (_, at) => at), 128, { map: scale.map, low: 0, high: 127 });
  return h("p.legend",
    h("span", number(scale.low, 3)), canvas, h("span", number(scale.high, 3)),
    scale.map === "diverging" ? h("span.note", "neutral is 0") : null,
    note ? h("span.note", note) : null);
}
