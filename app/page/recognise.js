/**
 * The loop that reads the surface: the map of the network while the pen moves, and the preparation when it rests.
 *
 * One request of each kind is in flight; when its answer is there, the newest picture is sent. An answer is shown even
 * if the pen has moved on since, so that on a slow line, too, the answer follows the pen. `state.late` then says that
 * what is shown is out of date.
 */

import { Problem, isLost, load, send, sendForBytes } from "./api.js";
import { surfaceContent, toPng } from "./drawing_surface.js";
import { decodeMap } from "./map_format.js";
import { RETRY_DELAY_MS, change, isBusy, emit, markChanged, on, startRevision, state } from "./state.js";

const MIN_INTERVAL_MS = 33; // between two requests while the pen moves
const MAX_LAG_MS = 120; // what is out of date for longer fades

let version = 0; // of the surface; grows with each change
let pending = []; // {version, at} of the changes whose answer is not shown yet
let isLive = false; // whether a request of the moving pen is in flight
let full = null; // the reading of the resting pen that is in flight
let again = false; // whether the pen has rested again since it started
let liveTimer = 0;
let lateTimer = 0;
let retryTimer = 0;
let lastSentAt = -Infinity;

/** Read the surface while it changes. */
export function recogniseSoon() {
  version += 1;
  pending.push({ version, at: performance.now() });
  emit("surface");
  cancelUpload();
  if (isBlank()) return;
  markOutdated();
  sendSoon();
}

/**
 * Read the surface with every stage of the preparation, then start a new revision of the whole page.
 *
 * @returns {Promise<void>} Done when the surface, as it is by then, has been read.
 */
export async function recogniseFully() {
  clearTimeout(liveTimer);
  clearTimeout(retryTimer);
  liveTimer = 0;
  if (isBlank()) return undefined;
  markOutdated();
  if (isLost()) return undefined; // read when the service is back
  const { source } = surfaceContent();
  return readFully(source ? { ...source, isFile: source.body instanceof Blob } : { body: drawnPicture() });
}

/**
 * Read one of several digits of the surface.
 *
 * @param {{body: {image: string}, picture: ImageBitmap}} part Its 28x28, as PNG in base64 and as a picture.
 */
export async function recognisePart(part) {
  markOutdated();
  await readFully({ ...part, isPart: true });
}

/** Stop reading a photo that is being sent. Returns whether there was one. */
export function cancelUpload() {
  if (!full?.image.isFile) return false;
  full.controller.abort();
  full = null;
  change("progress", null);
  return true;
}

/** Say that what is shown belongs to another picture, or may do so soon. */
export function markOutdated() {
  if (state.rested || !state.prepared) markChanged();
  if (!pending.length) pending.push({ version, at: performance.now() });
  change("reading", isLost() ? "offline" : "reading");
  checkLate();
}

/** Return the drawing as PNG. */
const drawnPicture = () => toPng(surfaceContent().drawing);

/** Return whether the surface is empty. If so, no answer is waited for any more, and `blank` is emitted. */
function isBlank() {
  const { drawing, source } = surfaceContent();
  if (source || drawing.background || drawing.strokes.length) return false;
  full?.controller.abort();
  full = null;
  change("progress", null);
  if (state.rested) markChanged();
  settle(version);
  emit("blank");
  return true;
}

/** Note that the answer for a version is shown. */
function settle(shown) {
  pending = pending.filter((each) => each.version > shown);
  if (!pending.length) change("reading", isLost() ? "offline" : "answered");
  checkLate();
}

/** Set `state.late`, now and when the oldest change without an answer becomes too old. */
function checkLate() {
  clearTimeout(lateTimer);
  const left = pending.length ? pending[0].at + MAX_LAG_MS - performance.now() : Infinity;
  change("late", left <= 0);
  if (left > 0 && left < Infinity) lateTimer = setTimeout(checkLate, left);
}

// The default model may answer before its name is known.
const isOfModel = (model) => model === state.model || (model === null && state.model === state.fallback);

/** Request the map, or the prediction alone if nothing of the map is in view. */
async function requestAnswer(body, signal) {
  if (!state.shownLayers.length) return { prediction: await send("predict", {}, signal, body), layers: null };
  return decodeMap(await sendForBytes("inspect", { include: "map", layers: state.shownLayers.join() }, signal, body));
}

function showAnswer(ofVersion, answer) {
  if (answer.layers) {
    state.map = answer;
    emit("map", answer);
  }
  const { input } = answer.prediction;
  emit("prediction", { ...answer.prediction, input: { ...input, warnings: input.warnings.filter((text) => !saysSeveral(text)) } });
  settle(ofVersion);
}

function sendSoon() {
  // A file is read as a whole when it rests; a reading in flight may be of this version already.
  if (isLive || liveTimer || isLost() || surfaceContent().source || full?.version === version) return;
  liveTimer = setTimeout(sendLive, Math.max(0, lastSentAt + MIN_INTERVAL_MS - performance.now()));
}

async function sendLive() {
  liveTimer = 0;
  const own = { version, model: state.model };
  isLive = true;
  lastSentAt = performance.now();
  try {
    const answer = await requestAnswer(drawnPicture());
    const isNewer = pending.some((each) => each.version <= own.version);
    if (isOfModel(own.model) && isNewer) showAnswer(own.version, answer);
  } catch (error) {
    // Other errors come again when the pen rests, and are shown then.
    if (error instanceof Problem && error.kind === "blank-image") emit("blank", error);
    if (isBusy(error)) lastSentAt = performance.now() + RETRY_DELAY_MS;
  } finally {
    isLive = false;
    if (version > own.version) sendSoon();
  }
}

/** Read an image and start a new revision; if another one is being read, after that one. */
function readFully(image) {
  if (full && (full.image.isFile || image.isPart || !isOfModel(full.model))) {
    full.controller.abort();
    full = null;
  }
  if (full) {
    again = true;
    return full.done;
  }
  const own = { image, version, model: state.model, controller: new AbortController() };
  full = own;
  own.done = read(own).catch((error) => showError(error, own)).then(() => {
    if (full !== own) return undefined;
    full = null;
    change("progress", null);
    if (!again) return undefined;
    again = false;
    return recogniseFully();
  });
  return own.done;
}

async function read(own) {
  const { image, controller: { signal } } = own;
  const prepared = image.prepared ? Promise.resolve(image.prepared) : prepare(image, signal);
  // A drawing is so small that it is sent twice at once; of a file the 28x28 follows.
  const answer = image.isFile ? prepared.then(({ image: small }) => requestAnswer({ image: small }, signal)) : requestAnswer(image.body, signal);
  const results = await Promise.all([prepared, answer, image.picture ?? createImageBitmap(image.body)]);
  const [ready, { prediction, layers }, picture] = results;
  const small = await createImageBitmap(greyImage(ready.pixels));
  if (signal.aborted || !isOfModel(own.model)) return;
  if (own.version < version) {
    showAnswer(own.version, { prediction, layers });
    return;
  }
  const source = { body: { image: ready.image }, original: image.body, file: image.file ?? null, picture, isPart: Boolean(image.isPart) };
  Object.assign(state, { source, prepared: ready, small });
  // The 28x28 of a file has no other views that could disagree, and no warnings: those of the file count.
  const { verdict, input } = ready.prediction;
  showAnswer(own.version, { prediction: { ...prediction, verdict, input }, layers });
  startRevision();
}

async function prepare(image, signal) {
  if (!image.isFile) return send("preprocess", {}, signal, image.body);
  const { DIGIT_SIDE, shrink, upload } = await load("photo");
  if (image.isWhole) image.body = (await shrink(image.file, DIGIT_SIDE)).body;
  return upload("preprocess", {}, image.body, signal);
}

/** Return whether a warning says that there are several digits: `several` then reads them. */
export const saysSeveral = (warning) => warning.startsWith("The image seems to show");

/** Return rows of grey levels as ImageData. */
export function greyImage(rows) {
  const image = new ImageData(rows[0].length, rows.length);
  rows.flat().forEach((value, pixel) => image.data.set([value, value, value, 255], 4 * pixel));
  return image;
}

/** Show why an image was not read. An overloaded service is asked again by itself. */
function showError(error, own) {
  if (own.controller.signal.aborted || own.version < version || !isOfModel(own.model)) return;
  if (!(error instanceof Problem)) {
    change("reading", isLost() ? "offline" : "failed");
  } else if (isBusy(error)) {
    change("reading", "busy");
    retryTimer = setTimeout(recogniseFully, RETRY_DELAY_MS);
  } else {
    settle(own.version);
    emit(error.kind === "blank-image" ? "blank" : "unread", error);
  }
}

/** Request the map again if it lacks layers that have come into view. */
async function completeMap() {
  const isThere = (name) => state.map?.layers.some((layer) => layer.name === name);
  if (!state.rested || state.shownLayers.every(isThere)) return;
  const { revision } = state;
  const answer = await requestAnswer(state.source.body).catch(() => null); // what is lost comes with the next answer
  if (!answer?.layers || revision !== state.revision || !state.rested) return;
  state.map = answer;
  emit("map", answer);
}

on("shown", completeMap);
on("revision", completeMap);
on("lost", () => change("reading", "offline"));
