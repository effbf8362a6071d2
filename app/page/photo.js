/** Makes photos smaller before they are sent. The service needs no more pixels, and a slow line takes seconds for them. */

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
