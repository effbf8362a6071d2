/** The receptive field: the part of the 28x28 and of the uploaded image that one unit depends on. */

import { fill, h, position } from "./dom.js";
import { state } from "./state.js";

const SIDE = 196; // CSS pixels of the longer side of each picture

/** Draw the receptive field on both pictures, with captions. */
export function drawReceptiveField(where, { trace }) {
  if (!trace.image) { fill(where, h("p.notes", "This value depends only on the padding around the picture, not on any pixel.")); return; }
  const { x, y, width, height } = trace.image;
  const small = framed(state.small, 28, 28, trace.image);
  const { picture } = state.source;
  const large = framed(picture, picture.width, picture.height, boxOnPicture(trace.image, picture));
  const size = `${height} × ${width}`;
  const whole = width === 28 && height === 28;
  fill(where,
    h("figure", small, h("figcaption", whole ? "Receptive field in the 28 × 28 picture: all of it." : `Receptive field in the 28 × 28 picture: ${size} pixels, from ${position(y, x)}.`)),
    h("figure", large, h("figcaption", "The same area in the original picture.")));
}

/** Return the rectangle of the original picture that holds a box of the 28x28. */
function boxOnPicture({ x, y, width, height }, picture) {
  const { placement, prediction } = state.prepared;
  // Pixels of what was sent, which may be another size than the picture. Pixels are placed by their centres.
  const part = picture.width / prediction.input.width;
  const columns = [];
  const rows = [];
  for (const column of [x - 0.5, x + width - 0.5]) {
    for (const row of [y - 0.5, y + height - 0.5]) {
      columns.push(part * (placement.offset_x + placement.scale_x * column + placement.shear_x * row + 0.5));
      rows.push(part * (placement.offset_y + placement.scale_y * row + placement.shear_y * column + 0.5));
    }
  }
  const [left, top] = [Math.min(...columns), Math.min(...rows)];
  return { x: left, y: top, width: Math.max(...columns) - left, height: Math.max(...rows) - top };
}

/** Draw a picture with everything outside a box darkened. */
function framed(picture, width, height, box) {
  const scale = SIDE / Math.max(width, height);
  const canvas = h("canvas", { role: "img", aria: { label: "The receptive field, framed" } });
  canvas.width = 2 * Math.round(width * scale);
  canvas.height = 2 * Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = width > 56;
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (!box) return canvas;
  const [x, y, across, down] = [box.x, box.y, box.width, box.height].map((value) => 2 * scale * value);
  context.fillStyle = "rgb(0 0 0 / 0.45)";
  context.beginPath();
  context.rect(0, 0, canvas.width, canvas.height);
  context.rect(x, y, across, down);
  context.fill("evenodd");
  context.lineWidth = 6;
  context.strokeStyle = "#000";
  context.strokeRect(x, y, across, down);
  context.lineWidth = 3;
  context.strokeStyle = "#ffb000";
  context.strokeRect(x, y, across, down);
  return canvas;
}
