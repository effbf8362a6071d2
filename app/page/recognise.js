/**
 * From the surface to the answer: a quick one while the pen moves, the whole when it rests.
 *
 * An answer that comes after the drawing has changed again is dropped: its request is aborted.
 */

import { Problem, send } from "./api.js";
import { surfaceContent } from "./drawing_surface.js";
import { RETRY_DELAY_MS, SERVICE_UNAVAILABLE, startRevision, state, emit } from "./state.js";
import { toPng } from "./strokes.js";

const MIN_INTERVAL_MS = 80;
let quick = null;
let whole = null;
let waiting = 0;
let last = 0;

/** Read what is on the surface, not more often than every 80 ms. */
export function recogniseSoon() {
  if (waiting) return;
  waiting = setTimeout(() => {
    waiting = 0;
    last = performance.now();
    predictQuickly();
  }, Math.max(0, last + MIN_INTERVAL_MS - performance.now()));
}

function bodyNow() {
  const { drawing, source } = surfaceContent();
  return source ? source.body : toPng(drawing);
}

/** Whether there is nothing to ask about; what was asked before is dropped. */
function isEmpty() {
  const { drawing, source } = surfaceContent();
  if (source || drawing.ground || drawing.strokes.length) return false;
  quick?.abort();
  whole?.abort();
  emit("blank");
  return true;
}

async function predictQuickly() {
  if (isEmpty()) return;
  quick?.abort();
  const mine = new AbortController();
  quick = mine;
  try {
    const answer = await send("predict", {}, mine.signal, bodyNow());
    if (quick === mine) emit("answer", answer);
  } catch (error) {
    report(error, mine);
  }
}

/** Read what is on the surface with every stage of its preparation, and have all parts follow. */
export async function recogniseFully() {
  clearTimeout(waiting);
  waiting = 0;
  if (isEmpty()) return;
  quick?.abort();
  whole?.abort();
  const mine = new AbortController();
  whole = mine;
  try {
    const { source } = surfaceContent();
    const body = bodyNow();
    const [prepared, picture] = await Promise.all([
      send("preprocess", {}, mine.signal, body), source?.picture ?? createImageBitmap(body),
    ]);
    const small = await createImageBitmap(greyImage(prepared.pixels));
    if (mine.signal.aborted) return;
    Object.assign(state, { source: { body, picture }, prepared, small });
    emit("answer", prepared.prediction);
    startRevision();
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
  if (error instanceof Problem && error.kind === "blank-image") emit("blank", error);
  else if (error instanceof Problem) emit("unread", error);
  else emit("error", error);
  if (error.status === SERVICE_UNAVAILABLE) setTimeout(recogniseFully, RETRY_DELAY_MS);
}
