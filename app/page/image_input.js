/** How images come in other than by drawing: file, camera, clipboard, drop, samples, a link. */

import { Problem, address, send } from "./api.js";
import { byId, h, announce } from "./dom.js";
import { replaceDrawing } from "./drawing_surface.js";
import { decodeBase64 } from "./heatmaps.js";
import { greyImage } from "./recognise.js";
import { EMPTY } from "./strokes.js";
import { emit } from "./state.js";

const MAX_UPLOAD_BYTES = 4 * 1024 * 1024; // the service takes 5 MiB unless told otherwise
const MAX_SIDE = 1600;

/** Wire the buttons, the clipboard and the surface. */
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
    const item = [...event.clipboardData.items].find((one) => one.type.startsWith("image/"));
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
    const file = [...event.dataTransfer.files].find((one) => one.type.startsWith("image/"));
    if (file) showFile(file, "dropped image");
  });
  byId("samples").append(...Array.from({ length: 10 }, (_, digit) => sampleButton(digit)));
}

function sampleButton(digit) {
  const picture = h("img", { src: address(`page/samples/${digit}.png`).href, alt: "", width: "28", height: "28", loading: "lazy" });
  return h("button.sample", { type: "button", aria: { label: `Sample digit ${digit}` }, on: {
    async click() {
      const answer = await fetch(picture.src).catch(() => null);
      if (answer?.ok) await showFile(await answer.blob(), `sample ${digit}`);
    },
  } }, picture);
}

async function readClipboard() {
  try {
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((one) => one.startsWith("image/"));
      if (type) { await showFile(await item.getType(type), "pasted image"); return; }
    }
    emit("error", new Error("The clipboard holds no image."));
  } catch {
    emit("error", new Error("The browser does not let this page read the clipboard; press Ctrl+V instead."));
  }
}

/** Show an image file on the surface and have it read as it is. */
export async function showFile(blob, name) {
  const ground = await createImageBitmap(blob, { imageOrientation: "from-image" }).catch(() => asTheServiceSees(blob, name));
  if (!ground) return;
  const body = blob.size > MAX_UPLOAD_BYTES ? await smaller(ground) : blob;
  replaceDrawing({ ...EMPTY, ground, dark: isLight(ground) }, { body, picture: ground });
  announce(`Showing the ${name}.`);
}

/** The picture that the service makes of a file that the browser cannot show, such as a TIFF; null if it cannot either. */
async function asTheServiceSees(blob, name) {
  try {
    const { stages, image } = await send("preprocess", {}, undefined, blob);
    return await createImageBitmap(new Blob([decodeBase64(stages[0]?.image ?? image)], { type: "image/png" }));
  } catch (error) {
    emit("error", error instanceof Problem ? new Error(`The ${name} cannot be read. ${error.message}`) : error);
    return null;
  }
}

/** A photo as it comes from a camera is more than the service takes; a digit needs far less. */
function smaller(picture) {
  const scale = Math.min(1, MAX_SIDE / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(picture.width * scale);
  canvas.height = Math.round(picture.height * scale);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", 0.92); });
}

/** Put a 28x28 on the surface: 28 rows of 28 numbers, 0..255, ink high. */
export async function showPixels(pixels) {
  const ground = await createImageBitmap(greyImage(pixels));
  replaceDrawing({ ...EMPTY, ground, dark: false }, { body: { pixels }, picture: ground });
}

/** Whether a picture is light at its border, so that ink on it is dark. */
function isLight(picture) {
  const canvas = document.createElement("canvas");
  canvas.width = 16;
  canvas.height = 16;
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0, 16, 16);
  const { data } = context.getImageData(0, 0, 16, 16);
  let sum = 0;
  let seen = 0;
  for (let at = 0; at < 256; at += 1) {
    const x = at % 16;
    const y = (at - x) / 16;
    if (x > 0 && x < 15 && y > 0 && y < 15) continue;
    sum += data[4 * at] + data[4 * at + 1] + data[4 * at + 2];
    seen += 3;
  }
  return sum / seen > 127;
}
