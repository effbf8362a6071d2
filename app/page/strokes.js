/**
 * What is drawn, as data: a ground, and strokes on it. Lengths are in units of 1/280 of the side.
 *
 * A drawing is never changed, only replaced, so that undoing is going back to the one before.
 */

import { decodeBase64 } from "./heatmaps.js";

export const SIDE = 280;

/** @typedef {{width: number, points: {x: number, y: number, force: number}[]}} Stroke */
/** @typedef {{ground: CanvasImageSource|null, dark: boolean, strokes: Stroke[]}} Drawing */

/** Nothing drawn: white ink on black, as in MNIST. */
export const EMPTY = { ground: null, dark: false, strokes: [] };

const seven = [[96, 74], [122, 70], [152, 69], [188, 66], [184, 90], [170, 124], [154, 158], [141, 190], [132, 222]];

/** The 7 that is there at first. */
export const FIRST = {
  ...EMPTY,
  strokes: [{ width: 24, points: seven.map(([x, y]) => ({ x, y, force: 1 })) }],
};

/** The colour of ink: black on a light ground. */
export const ink = (drawing) => (drawing.dark ? "#111" : "#fff");

/** Draw the part of a stroke from a point on; curves go through the middles between points. */
export function drawStroke(context, stroke, colour, from = 0) {
  const { points, width } = stroke;
  context.strokeStyle = colour;
  context.lineCap = "round";
  context.lineJoin = "round";
  const middle = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
  if (points.length === 1) {
    context.lineWidth = width * points[0].force;
    context.beginPath();
    context.moveTo(points[0].x, points[0].y);
    context.lineTo(points[0].x + 0.01, points[0].y);
    context.stroke();
    return;
  }
  for (let at = Math.max(1, from); at < points.length; at += 1) {
    const here = points[at];
    const before = points[at - 1];
    const start = at > 1 ? middle(points[at - 2], before) : before;
    const end = at === points.length - 1 ? here : middle(before, here);
    context.lineWidth = width * here.force;
    context.beginPath();
    context.moveTo(start.x, start.y);
    context.quadraticCurveTo(before.x, before.y, end.x, end.y);
    context.stroke();
  }
}

/** Draw all of it on a square canvas. */
export function drawAll(canvas, drawing) {
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.scale(canvas.width / SIDE, canvas.height / SIDE);
  if (drawing.ground) drawGround(context, drawing);
  for (const stroke of drawing.strokes) drawStroke(context, stroke, ink(drawing));
}

function drawGround(context, { ground }) {
  const scale = SIDE / Math.max(ground.width, ground.height);
  const width = ground.width * scale;
  const height = ground.height * scale;
  // Beside a picture that is not square lies the colour of its corner, not a black bar.
  context.drawImage(ground, 0, 0, 1, 1, 0, 0, SIDE, SIDE);
  context.imageSmoothingEnabled = ground.width > 2 * 28;
  context.imageSmoothingQuality = "high";
  context.drawImage(ground, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
}

/** The drawing as a PNG of 280x280. At once: `toBlob` waits for an idle moment, which a busy page does not have. */
export function toPng(drawing) {
  const canvas = document.createElement("canvas");
  canvas.width = SIDE;
  canvas.height = SIDE;
  drawAll(canvas, drawing);
  return new Blob([decodeBase64(canvas.toDataURL("image/png").split(",")[1])], { type: "image/png" });
}
