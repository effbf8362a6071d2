/**
 * The drawing surface for mouse, touch, pen and keyboard, with undo. Knows nothing about recognition.
 *
 * A drawing is data: a background picture and strokes on it. Lengths are in units of 1/280 of the side. A drawing is
 * never changed, only replaced. Undo therefore just restores the previous one.
 */

import { announce, byId, decodeBase64, prefersReducedMotion } from "./dom.js";

const SIDE = 280;

/** @typedef {{width: number, points: {x: number, y: number, force: number}[]}} Stroke */
/** @typedef {{background: CanvasImageSource|null, darkInk: boolean, strokes: Stroke[]}} Drawing */

/** An empty drawing: white ink on black, as in MNIST. */
export const EMPTY = { background: null, darkInk: false, strokes: [] };

const seven = [[96, 74], [122, 70], [152, 69], [188, 66], [184, 90], [170, 124], [154, 158], [141, 190], [132, 222]];

/** The 7 that the page shows at the start. */
const FIRST_DRAWING = {
  ...EMPTY,
  strokes: [{ width: 24, points: seven.map(([x, y]) => ({ x, y, force: 1 })) }],
};

const STEP = 10; // units that an arrow key moves the pen: one pixel of the 28x28
const MAX_UNDO_STEPS = 100;
const canvas = byId("pad");
const pen = byId("pen");
const undoStack = []; // previous states, for undo
let drawing = FIRST_DRAWING;
let source = null; // the image file on the surface; null once the user has drawn
let stroke = null; // the stroke that is being drawn
let cursor = { x: SIDE / 2, y: SIDE / 2, down: false };
let notifyChange = () => {};
let notifySettled = () => {};

/** Return the drawing, and the image file that it shows unchanged (or null). */
export const surfaceContent = () => ({ drawing, source });

/** Start the surface. It calls `onChange` for every change, and `onSettle` when a stroke ends. */
export function startDrawingSurface(onChange, onSettle) {
  notifyChange = onChange;
  notifySettled = onSettle;
  canvas.addEventListener("pointerdown", onPointerDown);
  canvas.addEventListener("pointermove", onPointerMove);
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, onPointerEnd);
  canvas.addEventListener("keydown", onKey);
  // With Tab, the keyup event comes here and shows the keyboard's pen. A pointer does not show it.
  canvas.addEventListener("keyup", showPen);
  canvas.addEventListener("blur", () => { hidePen(); liftPen(); });
  byId("undo").addEventListener("click", undo);
  byId("clear").addEventListener("click", () => { replaceDrawing(EMPTY, null); announce("Cleared."); });
  redraw();
}

/** Show another drawing, and the image file that it comes from (or null). Undo restores the previous one. */
export function replaceDrawing(nextDrawing, nextSource) {
  undoStack.push({ drawing, source });
  if (undoStack.length > MAX_UNDO_STEPS) undoStack.shift();
  drawing = nextDrawing;
  source = nextSource;
  redraw();
  notifyChange();
  notifySettled();
}

/** Show what was on the surface before the last change. */
export function undo() {
  const previous = undoStack.pop();
  if (!previous) { announce("Nothing to undo."); return; }
  ({ drawing, source } = previous);
  redraw();
  notifyChange();
  notifySettled();
  announce("Undone.");
}

function redraw() {
  drawAll(canvas, drawing);
  byId("undo").disabled = !undoStack.length;
}

/** Return a pointer event's position on the surface; a pen's pressure sets the width of the stroke. */
function toPoint(event) {
  const box = canvas.getBoundingClientRect();
  const force = event.pointerType === "pen" && event.pressure ? 0.4 + 1.2 * event.pressure : 1;
  return {
    x: ((event.clientX - box.left) / box.width) * SIDE,
    y: ((event.clientY - box.top) / box.height) * SIDE,
    force,
  };
}

function startStroke(point) {
  undoStack.push({ drawing, source });
  stroke = { width: Number(byId("brush").value), points: [point] };
  drawing = { ...drawing, strokes: [...drawing.strokes, stroke] };
  source = null;
  drawStroke(canvas.getContext("2d"), stroke, inkColour(drawing));
  byId("undo").disabled = false;
  notifyChange();
}

function extendStroke(points) {
  const from = stroke.points.length;
  stroke.points.push(...points);
  drawStroke(canvas.getContext("2d"), stroke, inkColour(drawing), from);
  notifyChange();
}

function onPointerDown(event) {
  if (event.button > 0 || stroke) return;
  event.preventDefault();
  canvas.focus({ preventScroll: true });
  hidePen();
  canvas.setPointerCapture(event.pointerId);
  startStroke(toPoint(event));
}

function onPointerMove(event) {
  if (!stroke || !canvas.hasPointerCapture(event.pointerId)) return;
  const events = event.getCoalescedEvents?.() ?? [];
  extendStroke((events.length ? events : [event]).map(toPoint));
}

function onPointerEnd() {
  if (!stroke || cursor.down) return;
  stroke = null;
  notifySettled();
}

function hidePen() {
  pen.hidden = true;
  byId("pad-frame").classList.remove("keys");
}

function showPen() {
  pen.hidden = false;
  byId("pad-frame").classList.add("keys");
  pen.classList.toggle("down", cursor.down);
  pen.style.left = `${(100 * cursor.x) / SIDE}%`;
  pen.style.top = `${(100 * cursor.y) / SIDE}%`;
  pen.style.transition = prefersReducedMotion() ? "none" : "";
}

function liftPen() {
  if (!cursor.down) return;
  cursor = { ...cursor, down: false };
  stroke = null;
  notifySettled();
}

function onKey(event) {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (event.key in moves) {
    event.preventDefault();
    const [right, down] = moves[event.key].map((steps) => steps * STEP * (event.shiftKey ? 4 : 1));
    const inside = (value) => Math.min(SIDE - STEP, Math.max(STEP, value));
    cursor = { ...cursor, x: inside(cursor.x + right), y: inside(cursor.y + down) };
    if (cursor.down) extendStroke([{ x: cursor.x, y: cursor.y, force: 1 }]);
    announce(`Column ${Math.round(cursor.x / STEP)}, row ${Math.round(cursor.y / STEP)}${cursor.down ? ", drawing" : ""}`);
  } else if (event.key === " ") {
    event.preventDefault();
    if (cursor.down) {
      liftPen();
      announce("Pen lifted.");
    } else {
      cursor = { ...cursor, down: true };
      startStroke({ x: cursor.x, y: cursor.y, force: 1 });
      announce("Pen down.");
    }
  } else if (event.key === "z" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    undo();
  }
}

/** Return the colour of the ink: dark on a light background, white on black. */
const inkColour = (drawing) => (drawing.darkInk ? "#111" : "#fff");

/** Draw a stroke from the point with index `from`. Its curves pass through the midpoints between points. */
function drawStroke(context, stroke, colour, from = 0) {
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
function drawAll(canvas, drawing) {
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
