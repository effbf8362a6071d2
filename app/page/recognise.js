/**
 * Recognise the drawing: only the digit while the pen moves, with all stages when it rests.
 *
 * If the drawing changes before the response has come, the request is aborted.
 */

import { Problem, send } from "./api.js";
import { surfaceContent } from "./drawing_surface.js";
import { RETRY_DELAY_MS, SERVICE_UNAVAILABLE, startRevision, state, emit } from "./state.js";
import { toPng } from "./strokes.js";

const MIN_INTERVAL_MS = 80; // between two requests while the pen moves
let quickRequest = null; // AbortController of the last request of each kind
let fullRequest = null;
let timer = 0;
let lastRequestAt = 0;

/** Predict the digit on the surface, at most once every 80 ms. */
export function recogniseSoon() {
  if (timer) return;
  timer = setTimeout(() => {
    timer = 0;
    lastRequestAt = performance.now();
    predictQuickly();
  }, Math.max(0, lastRequestAt + MIN_INTERVAL_MS - performance.now()));
}

/** Return the request body: the unchanged image file, or the drawing as PNG. */
function currentBody() {
  const { drawing, source } = surfaceContent();
  return source ? source.body : toPng(drawing);
}

/** Return whether the surface is empty. If so, abort running requests and emit `blank`. */
function isBlank() {
  const { drawing, source } = surfaceContent();
  if (source || drawing.background || drawing.strokes.length) return false;
  quickRequest?.abort();
  fullRequest?.abort();
  emit("blank");
  return true;
}

async function predictQuickly() {
  if (isBlank()) return;
  quickRequest?.abort();
  const controller = new AbortController();
  quickRequest = controller;
  try {
    const prediction = await send("predict", {}, controller.signal, currentBody());
    if (quickRequest === controller) emit("prediction", prediction);
  } catch (error) {
    reportError(error, controller);
  }
}

/** Recognise the surface with every stage of the preparation, then start a new revision of the whole page. */
export async function recogniseFully() {
  clearTimeout(timer);
  timer = 0;
  if (isBlank()) return;
  quickRequest?.abort();
  fullRequest?.abort();
  const controller = new AbortController();
  fullRequest = controller;
  try {
    const { source } = surfaceContent();
    const body = currentBody();
    const [prepared, picture] = await Promise.all([
      send("preprocess", {}, controller.signal, body), source?.picture ?? createImageBitmap(body),
    ]);
    const small = await createImageBitmap(greyImage(prepared.pixels));
    if (controller.signal.aborted) return;
    Object.assign(state, { source: { body, picture }, prepared, small });
    emit("prediction", prepared.prediction);
    startRevision();
  } catch (error) {
    reportError(error, controller);
  }
}

/** Return rows of grey levels as ImageData. */
export function greyImage(rows) {
  const image = new ImageData(rows[0].length, rows.length);
  rows.flat().forEach((value, pixel) => image.data.set([value, value, value, 255], 4 * pixel));
  return image;
}

/** Emit an error, unless the request was aborted. Retry later if the service is overloaded. */
function reportError(error, controller) {
  if (controller.signal.aborted || error.name === "AbortError") return;
  if (error instanceof Problem && error.kind === "blank-image") emit("blank", error);
  else if (error instanceof Problem) emit("unread", error);
  else emit("error", error);
  if (error.status === SERVICE_UNAVAILABLE) setTimeout(recogniseFully, RETRY_DELAY_MS);
}
