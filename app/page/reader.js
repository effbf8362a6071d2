/**
 * From the surface to the answer: a quick one while the pen moves, the whole when it rests.
 *
 * An answer that comes after the drawing has changed again is dropped: its request is aborted.
 */

import { Problem, send } from "./api.js";
import { content } from "./pad.js";
import { AGAIN_MS, BUSY, outdate, state, tell } from "./state.js";
import { toPng } from "./strokes.js";

const WHILE_DRAWING_MS = 80;
let quick = null;
let whole = null;
let waiting = 0;
let last = 0;

/** Read what is on the surface, not more often than every 80 ms. */
export function readSoon() {
  if (waiting) return;
  waiting = setTimeout(() => {
    waiting = 0;
    last = performance.now();
    readQuickly();
  }, Math.max(0, last + WHILE_DRAWING_MS - performance.now()));
}

function bodyNow() {
  const { drawing, source } = content();
  return source ? source.body : toPng(drawing);
}

/** Whether there is nothing to ask about; what was asked before is dropped. */
function isEmpty() {
  const { drawing, source } = content();
  if (source || drawing.ground || drawing.strokes.length) return false;
  quick?.abort();
  whole?.abort();
  tell("blank");
  return true;
}

async function readQuickly() {
  if (isEmpty()) return;
  quick?.abort();
  const mine = new AbortController();
  quick = mine;
  try {
    const answer = await send("predict", {}, mine.signal, bodyNow());
    if (quick === mine) tell("answer", answer);
  } catch (error) {
    report(error, mine);
  }
}

/** Read what is on the surface with every stage of its preparation, and have all parts follow. */
export async function readWholly() {
  clearTimeout(waiting);
  waiting = 0;
  if (isEmpty()) return;
  quick?.abort();
  whole?.abort();
  const mine = new AbortController();
  whole = mine;
  try {
    const { source } = content();
    const body = bodyNow();
    const [prepared, picture] = await Promise.all([
      send("preprocess", {}, mine.signal, body), source?.picture ?? createImageBitmap(body),
    ]);
    const small = await createImageBitmap(greyImage(prepared.pixels));
    if (mine.signal.aborted) return;
    Object.assign(state, { source: { body, picture }, prepared, small });
    tell("answer", prepared.prediction);
    outdate();
  } catch (error) {
    report(error, mine);
  }
}

/** A picture of rows of grey levels. */
export function greyImage(rows) {
  const image = new ImageData(rows[0].length, rows.length);
  rows.flat().forEach((value, at) => image.data.set([value, value, value, 255], 4 * at));
  return image;
}

function report(error, mine) {
  if (mine.signal.aborted || error.name === "AbortError") return;
  if (error instanceof Problem && error.kind === "blank-image") tell("blank", error);
  else if (error instanceof Problem) tell("unread", error);
  else tell("error", error);
  if (error.status === BUSY) setTimeout(readWholly, AGAIN_MS);
}
