/** Images that are not drawn: from a file or the camera, the clipboard, drag and drop, the samples or a link. */

import { Problem, getBytes, isLost, load } from "./api.js";
import { announce, byId, decodeBase64, h } from "./dom.js";
import { EMPTY, replaceDrawing, undo } from "./drawing_surface.js";
import { NO_PICTURE } from "./prediction.js";
import { cancelUpload, greyImage, markOutdated, recogniseFully } from "./recognise.js";
import { change, emit, on } from "./state.js";

const SAMPLE_SIDE = 28; // pixels
const IDLE_MS = 3000; // after the first answer, until what files and samples need is loaded
let reading = null; // AbortController of a file or a sample that is not on the surface yet
let waiting = null; // shows a file or a sample that the lost service has kept from the surface
let ahead = 0; // timer of `loadAhead`
let sheet = null; // the picture of the ten samples

/** Start the buttons, paste, and drag and drop. */
export function startImageInput() {
  byId("upload").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) showFile(file, "file");
  });
  byId("paste").addEventListener("click", readClipboard);
  document.addEventListener("paste", (event) => {
    const item = [...event.clipboardData.items].find((entry) => entry.type.startsWith("image/"));
    if (!item) return;
    event.preventDefault();
    showFile(item.getAsFile(), "pasted image");
  });
  const frame = byId("pad-frame");
  document.addEventListener("dragover", (event) => { event.preventDefault(); frame.classList.add("over"); });
  document.addEventListener("dragleave", () => frame.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    frame.classList.remove("over");
    const files = [...event.dataTransfer.files];
    const file = files.find(isImage) ?? files[0];
    if (file) showFile(file, "dropped image");
  });
  on("surface", stopReading);
  on("cancel", () => {
    if (stopReading()) recogniseFully();
    else if (cancelUpload()) undo();
  });
  on("back", () => { waiting?.(); loadAhead(); });
  on("revision", () => { ahead ||= setTimeout(loadAhead, IDLE_MS); });
  byId("samples").append(...Array.from({ length: 10 }, (_, digit) => sampleButton(digit)));
}

/** Return whether a file is an image. Browsers know no type for some, such as HEIC: their suffix counts. */
function isImage({ type, name }) {
  const suffixes = byId("file").accept.split(",").filter((entry) => entry.startsWith("."));
  return type.startsWith("image/") || suffixes.some((suffix) => name.toLowerCase().endsWith(suffix));
}

function sampleButton(digit) {
  const button = h("button.sample", { type: "button", aria: { label: `Sample digit ${digit}` }, on: { click: () => showSample(digit) } });
  button.style.setProperty("--digit", digit);
  return button;
}

/** Load what files and samples need, before the line may be lost. */
function loadAhead() {
  Promise.all([import("./photo.js"), loadSheet()]).catch(() => {}); // tried again when it is needed
}

async function loadSheet() {
  sheet ??= await createImageBitmap(new Blob([await getBytes("page/samples.png")], { type: "image/png" }));
  return sheet;
}

/** Show a sample digit: a part of the sheet that the buttons show too. */
async function showSample(digit) {
  const own = startReading(null);
  try {
    const picture = await loadSheet();
    if (own.signal.aborted) return;
    const canvas = h("canvas", { width: SAMPLE_SIDE, height: SAMPLE_SIDE });
    canvas.getContext("2d").drawImage(picture, -SAMPLE_SIDE * digit, 0);
    const png = decodeBase64(canvas.toDataURL("image/png").split(",")[1]); // `toBlob` waits until the page is idle
    await showFile(new Blob([png], { type: "image/png" }), `sample ${digit}`);
  } catch {
    if (own.signal.aborted) return;
    stopReading();
    if (isLost()) waiting = () => showSample(digit);
    else await recogniseFully();
  }
}

/** Mark the old answer at once, and stop what was read before: a photo may take seconds. */
function startReading(progress) {
  markOutdated();
  stopReading();
  reading = new AbortController();
  change("progress", progress);
  return reading;
}

async function readClipboard() {
  try {
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((type) => type.startsWith("image/"));
      if (type) { await showFile(await item.getType(type), "pasted image"); return; }
    }
    emit("error", new Error("The clipboard contains no image."));
  } catch {
    emit("error", new Error("The browser blocks reading the clipboard. Press Ctrl+V instead."));
  }
}

/**
 * Show an image file on the surface and read it. While the service is lost, the file is kept, and read afterwards.
 *
 * @param {Blob|Promise<Blob>} fileOrPromise
 * @param {string} name What messages call it.
 */
export async function showFile(fileOrPromise, name) {
  const own = startReading("Shrinking");
  let file = null;
  try {
    file = await fileOrPromise;
    const source = await sourceOf(file, own.signal);
    if (own.signal.aborted) return;
    stopReading();
    replaceDrawing({ ...EMPTY, background: source.picture, darkInk: hasLightBorder(source.picture) }, source);
    announce(`Showing the ${name}.`);
  } catch (error) {
    if (own.signal.aborted) return;
    stopReading();
    if (isLost() && file) {
      waiting = () => showFile(file, name);
      return;
    }
    await recogniseFully();
    emit("error", error instanceof Problem ? new Error(reasonOf(error, name)) : error); // last: a new reading hides it
  }
}

/** Say why the service has refused a file: 400 and 415 mean that it is no image. */
const reasonOf = ({ status, message }, name) => (status === 400 || status === 415
  ? NO_PICTURE
  : `The ${name} cannot be read. ${message}`);

/** Return a file as the source of the surface: made smaller, or as it is if the script for that does not arrive. */
async function sourceOf(file, signal) {
  const photo = await load("photo").catch(() => null);
  const { body, picture } = photo ? await photo.shrink(file, photo.DIGIT_SIDE) : { body: file, picture: await createImageBitmap(file).catch(() => null) };
  if (picture) return { file, body, picture, isWhole: !photo };
  return { file, ...await (photo ?? await load("photo")).readUnknown(body, signal) };
}

/** Stop reading a file that is not on the surface yet. Returns whether there was one. */
function stopReading() {
  waiting = null;
  if (!reading) return false;
  reading.abort();
  reading = null;
  change("progress", null);
  return true;
}

/** Show a 28x28 on the surface: 28 rows of 28 numbers from 0 to 255, where ink is high. */
export async function showPixels(pixels) {
  const picture = await createImageBitmap(greyImage(pixels));
  replaceDrawing({ ...EMPTY, background: picture }, { body: { pixels }, picture });
}

/** Return whether a picture is light at its border, so that its ink is dark. */
function hasLightBorder(picture) {
  const canvas = document.createElement("canvas");
  canvas.width = 16;
  canvas.height = 16;
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0, 16, 16);
  const { data } = context.getImageData(0, 0, 16, 16);
  let sum = 0;
  let values = 0;
  for (let pixel = 0; pixel < 256; pixel += 1) {
    const x = pixel % 16;
    const y = (pixel - x) / 16;
    if (x > 0 && x < 15 && y > 0 && y < 15) continue;
    sum += data[4 * pixel] + data[4 * pixel + 1] + data[4 * pixel + 2];
    values += 3;
  }
  return sum / values > 127;
}
