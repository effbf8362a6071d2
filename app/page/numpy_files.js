/** NumPy's files: `.npy`, and `.npz` whose members are stored as they are. */

/** @typedef {{shape: number[], data: Float32Array}} Tensor */

/** Read a `.npy` of little-endian float32. */
export function readNpy(buffer, start = 0) {
  const view = new DataView(buffer, start);
  const length = view.getUint8(6) === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const begin = view.getUint8(6) === 1 ? 10 : 12;
  const head = new TextDecoder().decode(new Uint8Array(buffer, start + begin, length));
  const shape = head.match(/'shape': \(([^)]*)\)/)[1].split(",").filter((part) => part.trim()).map(Number);
  if (!head.includes("'<f4'")) throw new Error(`Expected float32 in the array, got ${head}.`);
  const size = shape.reduce((product, one) => product * one, 1);
  return { shape, data: new Float32Array(buffer.slice(start + begin + length, start + begin + length + 4 * size)) };
}

/** Read the arrays of an uncompressed `.npz`, by name. */
export function readNpz(buffer) {
  const view = new DataView(buffer);
  let end = buffer.byteLength - 22;
  while (view.getUint32(end, true) !== 0x06054b50) end -= 1;
  const arrays = {};
  let at = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left -= 1) {
    const [name, extra, comment] = [28, 30, 32].map((place) => view.getUint16(at + place, true));
    const local = view.getUint32(at + 42, true);
    const title = new TextDecoder().decode(new Uint8Array(buffer, at + 46, name));
    const content = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    arrays[title.replace(/\.npy$/, "")] = readNpy(buffer, content);
    at += 46 + name + extra + comment;
  }
  return arrays;
}
