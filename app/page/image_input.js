/** Images that are not drawn: from a file, the camera, the clipboard, drag and drop, the samples or a link. */

import { Problem, address, send } from "./api.js";
import { byId, h, announce } from "./dom.js";
import { replaceDrawing } from "./drawing_surface.js";
import { decodeBase64 } from "./heatmaps.js";
import { greyImage } from "./recognise.js";
import { EMPTY } from "./strokes.js";
import { emit } from "./state.js";

const MAX_UPLOAD_BYTES = 4 * 1024 * 1024; // larger pictures are made smaller, so that they upload faster
const MAX_SIDE = 1600; // pixels, of a picture that the page makes smaller; the service needs no more

/** Start the buttons, paste, and drag and drop. */
export function startImageInput() {
  for (const [button, input] of [["upload", "file"], ["camera", "shot"]]) {
    byId(button).addEventListener("click", () => byId(input).click());
    byId(input).addEventListener("change", (event) => {
      const [file] = event.target.files;
      event.target.value = "";
      if (file) showFile(file, "file");
    });
  }
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
  byId("samples").append(...Array.from({ length: 10 }, (_, digit) => sampleButton(digit)));
}

/** Return whether a file is an image. Browsers know no type for some, such as HEIC: their suffix counts. */
function isImage({ type, name }) {
  const suffixes = byId("file").accept.split(",").filter((entry) => entry.startsWith("."));
  return type.startsWith("image/") || suffixes.some((suffix) => name.toLowerCase().endsWith(suffix));
}

function sampleButton(digit) {
  const picture = h("img", { src: address(`page/samples/${digit}.png`).href, alt: "", width: "28", height: "28", loading: "lazy" });
  return h("button.sample", { type: "button", aria: { label: `Sample digit ${digit}` }, on: {
    async click() {
      const response = await fetch(picture.src).catch(() => null);
      if (response?.ok) await showFile(await response.blob(), `sample ${digit}`);
    },
  } }, picture);
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

/** Show an image file on the surface and send it to the service unchanged, unless it is too large. */
export async function showFile(blob, name) {
  const picture = await createImageBitmap(blob, { imageOrientation: "from-image" }).catch(() => decodedByService(blob, name));
  if (!picture) return;
  const body = blob.size > MAX_UPLOAD_BYTES ? await shrink(picture) : blob;
  replaceDrawing({ ...EMPTY, background: picture, darkInk: hasLightBorder(picture) }, { body, picture });
  announce(`Showing the ${name}.`);
}

/** Let the service decode a file that the browser cannot show, such as a TIFF or HEIC. Returns null if it cannot either. */
async function decodedByService(blob, name) {
  try {
    const { stages, image } = await send("preprocess", {}, undefined, blob);
    return await createImageBitmap(new Blob([decodeBase64(stages[0]?.image ?? image)], { type: "image/png" }));
  } catch (error) {
    emit("error", error instanceof Problem ? new Error(`The ${name} cannot be read. ${error.message}`) : error);
    return null;
  }
}

/** Return a smaller JPEG of a picture whose file is large. */
function shrink(picture) {
  const scale = Math.min(1, MAX_SIDE / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(picture.width * scale);
  canvas.height = Math.round(picture.height * scale);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", 0.92); });
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
