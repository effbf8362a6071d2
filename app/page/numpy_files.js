/** Readers for NumPy's `.npy` files and for uncompressed `.npz` archives. */

/** @typedef {{shape: number[], data: Float32Array}} Tensor */

/** Read a `.npy` file of little-endian float32 values that begins at the byte `start`. */
export function readNpy(buffer, start = 0) {
  const view = new DataView(buffer, start);
  const headerLength = view.getUint8(6) === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const headerStart = view.getUint8(6) === 1 ? 10 : 12;
  const header = new TextDecoder().decode(new Uint8Array(buffer, start + headerStart, headerLength));
  const shape = header.match(/'shape': \(([^)]*)\)/)[1].split(",").filter((part) => part.trim()).map(Number);
  if (!header.includes("'<f4'")) throw new Error(`Expected an array of float32, got the header ${header}.`);
  const size = shape.reduce((product, dimension) => product * dimension, 1);
  const dataStart = start + headerStart + headerLength;
  return { shape, data: new Float32Array(buffer.slice(dataStart, dataStart + 4 * size)) };
}

/** Read the arrays of an uncompressed `.npz` archive, by name. It is a ZIP file of `.npy` files. */
export function readNpz(buffer) {
  const view = new DataView(buffer);
  let end = buffer.byteLength - 22; // start of the end-of-central-directory record
  while (view.getUint32(end, true) !== 0x06054b50) end -= 1;
  const arrays = {};
  let entry = view.getUint32(end + 16, true); // start of the central directory's next entry
  for (let remaining = view.getUint16(end + 10, true); remaining > 0; remaining -= 1) {
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((offset) => view.getUint16(entry + offset, true));
    const local = view.getUint32(entry + 42, true); // start of the member's local header
    const name = new TextDecoder().decode(new Uint8Array(buffer, entry + 46, nameLength));
    const content = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    arrays[name.replace(/\.npy$/, "")] = readNpy(buffer, content);
    entry += 46 + nameLength + extraLength + commentLength;
  }
  return arrays;
}
