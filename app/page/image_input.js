/** Images that are not drawn: from a file or the camera, the clipboard, drag and drop, the samples or a link. */

import { Problem, address, getBytes, upload } from "./api.js";
import { announce, byId, decodeBase64, h } from "./dom.js";
import { EMPTY, replaceDrawing, undo } from "./drawing_surface.js";
import { cancelUpload, greyImage, markOutdated, recogniseFully, showProgress } from "./recognise.js";
import { change, emit, on } from "./state.js";

const SAMPLE_SIDE = 28; // pixels
let reading = null; // AbortController of a file that is not on the surface yet

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
    const file = [...event.dataTransfer.files].find(isImage);
    if (file) showFile(file, "dropped image");
  });
  on("surface", stopReading);
  on("cancel", () => {
    if (stopReading()) recogniseFully();
    else if (cancelUpload()) undo();
  });
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

/** Show a sample digit: a part of the sheet that the buttons show too, so that no request is needed. */
async function showSample(digit) {
  markOutdated();
  const response = await fetch(address("page/samples.png")).catch(() => null);
  if (!response?.ok) { await recogniseFully(); return; }
  const canvas = h("canvas", { width: SAMPLE_SIDE, height: SAMPLE_SIDE });
  canvas.getContext("2d").drawImage(await createImageBitmap(await response.blob()), -SAMPLE_SIDE * digit, 0);
  const png = decodeBase64(canvas.toDataURL("image/png").split(",")[1]); // `toBlob` waits until the page is idle
  await showFile(new Blob([png], { type: "image/png" }), `sample ${digit}`);
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
 * Show an image file on the surface and read it. The old answer is marked at once: a photo may take seconds.
 *
 * @param {Blob|Promise<Blob>} fileOrPromise
 * @param {string} name What messages call it.
 */
export async function showFile(fileOrPromise, name) {
  markOutdated();
  stopReading();
  const own = new AbortController();
  reading = own;
  change("progress", "Shrinking");
  try {
    const file = await fileOrPromise;
    const { DIGIT_SIDE, shrink } = await import("./photo.js");
    const { body, picture } = await shrink(file, DIGIT_SIDE);
    const source = { file, ...(picture ? { body, picture } : await readUnknown(body, own.signal)) };
    if (own.signal.aborted) return;
    reading = null;
    replaceDrawing({ ...EMPTY, background: source.picture, darkInk: hasLightBorder(source.picture) }, source);
    announce(`Showing the ${name}.`);
  } catch (error) {
    if (own.signal.aborted) return;
    stopReading();
    emit("error", error instanceof Problem ? new Error(`The ${name} cannot be read. ${error.message}`) : error);
    await recogniseFully();
  }
}

/** Stop reading a file that is not on the surface yet. Returns whether there was one. */
function stopReading() {
  if (!reading) return false;
  reading.abort();
  reading = null;
  change("progress", null);
  return true;
}

/** Let the service decode a file that the browser cannot, such as a TIFF or HEIC. */
async function readUnknown(body, signal) {
  const prepared = await upload("preprocess", {}, body, signal, showProgress);
  const shown = new Blob([decodeBase64(prepared.stages[0]?.image ?? prepared.image)], { type: "image/png" });
  return { body, prepared, picture: await createImageBitmap(shown) };
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
