/**
 * A drawing as data: a background picture and strokes on it. Lengths are in units of 1/280 of the side.
 *
 * A drawing is never changed, only replaced. Undo therefore just restores the previous one.
 */

import { decodeBase64 } from "./heatmaps.js";

export const SIDE = 280;

/** @typedef {{width: number, points: {x: number, y: number, force: number}[]}} Stroke */
/** @typedef {{background: CanvasImageSource|null, darkInk: boolean, strokes: Stroke[]}} Drawing */

/** An empty drawing: white ink on black, as in MNIST. */
export const EMPTY = { background: null, darkInk: false, strokes: [] };

const seven = [[96, 74], [122, 70], [152, 69], [188, 66], [184, 90], [170, 124], [154, 158], [141, 190], [132, 222]];

/** The 7 that the page shows at the start. */
export const FIRST_DRAWING = {
  ...EMPTY,
  strokes: [{ width: 24, points: seven.map(([x, y]) => ({ x, y, force: 1 })) }],
};

/** Return the colour of the ink: dark on a light background, white on black. */
export const inkColour = (drawing) => (drawing.darkInk ? "#111" : "#fff");

/** Draw a stroke from the point with index `from`. Its curves pass through the midpoints between points. */
export function drawStroke(context, stroke, colour, from = 0) {
  const { points, width } = stroke;
  context.strokeStyle = colour;
  context.lineCap = "round";
  context.lineJoin = "round";
  const midpoint = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
  if (points.length === 1) {
    context.lineWidth = width * points[0].force;
    context.beginPath();
    context.moveTo(points[0].x, points[0].y);
    context.lineTo(points[0].x + 0.01, points[0].y);
    context.stroke();
    return;
  }
  for (let index = Math.max(1, from); index < points.length; index += 1) {
    const here = points[index];
    const previous = points[index - 1];
    const start = index > 1 ? midpoint(points[index - 2], previous) : previous;
    const end = index === points.length - 1 ? here : midpoint(previous, here);
    context.lineWidth = width * here.force;
    context.beginPath();
    context.moveTo(start.x, start.y);
    context.quadraticCurveTo(previous.x, previous.y, end.x, end.y);
    context.stroke();
  }
}

/** Draw a whole drawing on a square canvas. */
export function drawAll(canvas, drawing) {
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.scale(canvas.width / SIDE, canvas.height / SIDE);
  if (drawing.background) drawBackground(context, drawing.background);
  for (const stroke of drawing.strokes) drawStroke(context, stroke, inkColour(drawing));
}

function drawBackground(context, picture) {
  const scale = SIDE / Math.max(picture.width, picture.height);
  const width = picture.width * scale;
  const height = picture.height * scale;
  // A picture that is not square gets borders in the colour of its corner, not in black.
  context.drawImage(picture, 0, 0, 1, 1, 0, 0, SIDE, SIDE);
  context.imageSmoothingEnabled = picture.width > 2 * 28;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
}

/** Encode a drawing as a PNG of 280x280. Not with `toBlob`, which waits until the page is idle. */
export function toPng(drawing) {
  const canvas = document.createElement("canvas");
  canvas.width = SIDE;
  canvas.height = SIDE;
  drawAll(canvas, drawing);
  return new Blob([decodeBase64(canvas.toDataURL("image/png").split(",")[1])], { type: "image/png" });
}
