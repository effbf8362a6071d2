/** Reader of the binary answers of `include=map`: a JSON head, then one byte for each value. */

/**
 * @typedef {object} MapLayer
 * @property {string} name
 * @property {number[]} shape Rows, columns and channels; rows and channels; or units.
 * @property {number} low The value of byte 0.
 * @property {number} high The value of byte 255.
 * @property {number} percentile The magnitude of full colour: 99.6 % of the values do not exceed it.
 * @property {number[]} constant Channels that have the same value everywhere.
 * @property {Uint8Array} values Channel by channel, each row by row.
 */

/**
 * Decode an answer.
 *
 * @param {ArrayBuffer} buffer
 * @returns {{prediction: object, layers: MapLayer[]}} With what else the head holds, such as the `step` of `/learn/step`.
 */
export function decodeMap(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let start = 4 + length;
  return {
    ...head,
    layers: head.layers.map((layer) => {
      const size = layer.shape.reduce((product, side) => product * side, 1);
      const values = new Uint8Array(buffer, start, size);
      start += size;
      return { ...layer, values };
    }),
  };
}

/** Return the value that a byte of a layer stands for: exact at the ends of its range, else rounded to 1/255 of it. */
export const valueOf = ({ low, high }, byte) => low + (byte / 255) * (high - low);
