/** The map of the difference between two pictures: the present one minus the pinned one. */

import { sendForBytes } from "./api.js";
import { decodeMap, valueOf } from "./map_format.js";
import { map, paintSoon } from "./map_view.js";
import { state } from "./state.js";

let shown = null; // the transformation of the map that is this module's
let turn = 0; // counts the calls: an answer that comes after a newer call is dropped

/**
 * Let the map show the present picture minus another one.
 *
 * @param {number[][]|null} pixels The other 28x28; null shows the present picture alone.
 * @param {AbortSignal} [signal]
 */
export async function showDifference(pixels, signal) {
  turn += 1;
  const own = turn;
  if (shown && map.transform === shown) Object.assign(map, { transform: null, meaning: null });
  shown = null;
  if (pixels && state.shownLayers.length) {
    const { layers } = decodeMap(await sendForBytes("inspect", { include: "map", layers: state.shownLayers.join() }, signal, { pixels }));
    if (own !== turn) return;
    shown = (layer) => {
      const other = layers.find(({ name }) => name === layer.name);
      return other ? difference(layer, other) : layer;
    };
    Object.assign(map, { transform: shown, meaning: "difference" });
  }
  paintSoon();
}

/** Return the difference of two answers of a layer, in a range in which byte 127 is exactly 0. */
function difference(layer, other) {
  const values = Float32Array.from(layer.values, (byte, at) => valueOf(layer, byte) - valueOf(other, other.values[at]));
  const largest = values.reduce((limit, value) => Math.max(limit, Math.abs(value)), 0);
  const bytes = Uint8Array.from(values, (value) => 127 + (largest && Math.round((127 * value) / largest)));
  return { ...layer, low: -largest, high: (largest * 128) / 127, percentile: largest, constant: [], values: bytes };
}
