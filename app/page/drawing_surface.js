/** The surface to draw on, by mouse, touch, pen and keyboard, with undo. Knows nothing of reading. */

import { byId, prefersReducedMotion, announce } from "./dom.js";
import { drawAll, drawStroke, EMPTY, FIRST, ink, SIDE } from "./strokes.js";

const STEP = 10; // units; one pixel of the 28x28
const canvas = byId("pad");
const pen = byId("pen");
const past = [];
let drawing = FIRST;
let source = null; // what came as a file and is not drawn on yet
let stroke = null;
let cursor = { x: SIDE / 2, y: SIDE / 2, down: false };
let changed = () => {};
let settled = () => {};

/** What is on the surface: the drawing, and the file it shows unchanged, if it does. */
export const surfaceContent = () => ({ drawing, source });

/** Start: `onChange` hears of every change while drawing, `onSettle` of the end of a stroke. */
export function startDrawingSurface(onChange, onSettle) {
  changed = onChange;
  settled = onSettle;
  canvas.addEventListener("pointerdown", begin);
  canvas.addEventListener("pointermove", go);
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, finish);
  canvas.addEventListener("keydown", key);
  // Who comes by keyboard lets the Tab key go here; who comes by pointer sees no keyboard's pen.
  canvas.addEventListener("keyup", showPen);
  canvas.addEventListener("blur", () => { hidePen(); liftPen(); });
  byId("undo").addEventListener("click", undo);
  byId("clear").addEventListener("click", () => { replaceDrawing(EMPTY, null); announce("Cleared."); });
  redraw();
}

/** Put something else on the surface; undo brings back what was there. */
export function replaceDrawing(next, from) {
  past.push({ drawing, source });
  if (past.length > 100) past.shift();
  drawing = next;
  source = from;
  redraw();
  changed();
  settled();
}

function undo() {
  const before = past.pop();
  if (!before) { announce("Nothing to undo."); return; }
  ({ drawing, source } = before);
  redraw();
  changed();
  settled();
  announce("Undone.");
}

function redraw() {
  drawAll(canvas, drawing);
  byId("undo").disabled = !past.length;
}

function where(event) {
  const box = canvas.getBoundingClientRect();
  const force = event.pointerType === "pen" && event.pressure ? 0.4 + 1.2 * event.pressure : 1;
  return {
    x: ((event.clientX - box.left) / box.width) * SIDE,
    y: ((event.clientY - box.top) / box.height) * SIDE,
    force,
  };
}

function startStroke(point) {
  past.push({ drawing, source });
  stroke = { width: Number(byId("brush").value), points: [point] };
  drawing = { ...drawing, strokes: [...drawing.strokes, stroke] };
  source = null;
  drawStroke(canvas.getContext("2d"), stroke, ink(drawing));
  byId("undo").disabled = false;
  changed();
}

function extend(points) {
  const from = stroke.points.length;
  stroke.points.push(...points);
  drawStroke(canvas.getContext("2d"), stroke, ink(drawing), from);
  changed();
}

function begin(event) {
  if (event.button > 0 || stroke) return;
  event.preventDefault();
  canvas.focus({ preventScroll: true });
  hidePen();
  canvas.setPointerCapture(event.pointerId);
  startStroke(where(event));
}

function go(event) {
  if (!stroke || !canvas.hasPointerCapture(event.pointerId)) return;
  const events = event.getCoalescedEvents?.() ?? [];
  extend((events.length ? events : [event]).map(where));
}

function finish() {
  if (!stroke || cursor.down) return;
  stroke = null;
  settled();
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
  settled();
}

function key(event) {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (event.key in moves) {
    event.preventDefault();
    const [right, down] = moves[event.key].map((way) => way * STEP * (event.shiftKey ? 4 : 1));
    const inside = (value) => Math.min(SIDE - STEP, Math.max(STEP, value));
    cursor = { ...cursor, x: inside(cursor.x + right), y: inside(cursor.y + down) };
    if (cursor.down) extend([{ x: cursor.x, y: cursor.y, force: 1 }]);
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
