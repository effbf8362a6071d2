/**
 * Makes photos smaller before they are sent, and sends them. The service needs no more pixels, and a slow line takes
 * seconds for them. Loaded after the first answer, so that it is there when the line is lost.
 */

import { MAX_SILENCE_MS, parse, sendForBytes } from "./api.js";
import { decodeBase64 } from "./dom.js";
import { change } from "./state.js";

const MAX_UNCHANGED_BYTES = 200_000; // smaller files are sent as they are
const QUALITY = 0.85; // of JPEG
const LOW_QUALITY = 0.7; // of JPEG, for grainy photos that would be larger than this:
const MAX_BYTES = 300_000; // take 3 s on a line of 750 kbit/s
export const DIGIT_SIDE = 1600; // pixels, of a picture of one digit
export const PAGE_SIDE = 2600; // pixels, of a page of many digits

/**
 * Decode a file and make its picture smaller, upright as its EXIF data say.
 *
 * @param {Blob} file
 * @param {number} maxSide Largest width and height of the result, in pixels.
 * @returns {Promise<{body: Blob, picture: ImageBitmap|null}>} What to send, and its picture. A file that the browser
 *   cannot decode, such as HEIC or TIFF, is returned as it is, without a picture.
 */
export async function shrink(file, maxSide) {
  const picture = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => null);
  if (!picture) return { body: file, picture: null };
  const scale = Math.min(1, maxSide / Math.max(picture.width, picture.height));
  if (scale === 1 && file.size <= MAX_UNCHANGED_BYTES) return { body: file, picture };
  const canvas = drawScaled(picture, scale);
  picture.close(); // frees the pixels of the photo, up to 50 MB
  const reduced = await encode(canvas, file.type);
  const isSmaller = scale < 1 || reduced.size < file.size;
  return { body: isSmaller ? reduced : file, picture: await createImageBitmap(canvas) };
}

function drawScaled(picture, scale) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** Return a canvas as JPEG, or as PNG if parts of it are transparent: JPEG would make them black. */
async function encode(canvas, type) {
  const to = (format, quality) => new Promise((resolve) => { canvas.toBlob(resolve, format, quality); });
  if (type !== "image/jpeg" && hasTransparency(canvas)) return to("image/png");
  const good = await to("image/jpeg", QUALITY);
  return good.size <= MAX_BYTES ? good : to("image/jpeg", LOW_QUALITY);
}

function hasTransparency(canvas) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  for (let alpha = 3; alpha < data.length; alpha += 4) if (data[alpha] < 255) return true;
  return false;
}

/** Let the service decode a file that the browser cannot, such as a TIFF or HEIC. */
export async function readUnknown(body, signal) {
  const prepared = await upload("preprocess", {}, body, signal);
  const shown = new Blob([decodeBase64(prepared.stages[0]?.image ?? prepared.image)], { type: "image/png" });
  return { body, prepared, picture: await createImageBitmap(shown) };
}

/** Send an image file, say how much of it has been sent, and return the JSON response. */
export async function upload(route, query, body, signal) {
  return parse(await sendForBytes(route, query, signal, body, transferWithProgress));
}

/** Say how much of a file has been sent. The last 100 to 400 kB count as sent while the system still holds them. */
function showProgress(sent, all) {
  const inKb = (bytes) => Math.ceil(bytes / 1000);
  change("progress", sent < all ? `Sending ${inKb(sent)} of ${inKb(all)} kB` : `Sending ${inKb(all)} kB, then reading`);
}

/** Send a large body. `fetch` does not tell how much of it has been sent. */
function transferWithProgress({ url, method, body, headers, signal }) {
  return new Promise((resolve, reject) => {
    const exchange = new XMLHttpRequest();
    let timer = 0;
    const waitOn = () => {
      clearTimeout(timer);
      timer = setTimeout(() => exchange.abort(), MAX_SILENCE_MS);
    };
    const fail = () => reject(new TypeError("The service did not answer."));
    exchange.open(method, url);
    exchange.responseType = "arraybuffer";
    for (const [name, value] of Object.entries(headers)) exchange.setRequestHeader(name, value);
    exchange.upload.addEventListener("progress", ({ loaded, total }) => { waitOn(); showProgress(loaded, total); });
    exchange.addEventListener("progress", waitOn);
    exchange.addEventListener("load", () => resolve({ status: exchange.status, id: exchange.getResponseHeader("X-Request-ID"), content: exchange.response }));
    exchange.addEventListener("error", fail);
    exchange.addEventListener("abort", fail);
    exchange.addEventListener("loadend", () => clearTimeout(timer));
    signal?.addEventListener("abort", () => exchange.abort());
    waitOn();
    if (signal?.aborted) fail();
    else exchange.send(body);
  });
}
