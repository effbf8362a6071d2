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
  // The frame is in pixels of what was sent, which may be smaller than the picture.
  const part = picture.width / state.prepared.prediction.input.width;
  const { upload } = trace;
  const box = upload && { x: upload.x * part, y: upload.y * part, width: upload.width * part, height: upload.height * part };
  const large = framed(picture, picture.width, picture.height, box);
  const size = `${height} × ${width}`;
  const whole = width === 28 && height === 28;
  fill(where,
    h("figure", small, h("figcaption", whole ? "Receptive field in the 28 × 28 picture: all of it." : `Receptive field in the 28 × 28 picture: ${size} pixels, from ${position(y, x)}.`)),
    h("figure", large, h("figcaption", "The same area in the original picture.")));
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
