/** Downloads of pictures and arrays, curl commands, and links that contain the 28x28 itself. */

import { address, curl, sendForBytes } from "./api.js";
import { decodeBase64 } from "./heatmaps.js";
import { byId, fill, h, download, announce } from "./dom.js";
import { state, emit } from "./state.js";

/** Start the section. */
export function startDownloads() {
  const link = h("button.main", { type: "button", on: { click: () => copyLink(linkField) } }, "Copy a link to this digit");
  const linkField = h("input", { type: "text", readonly: "", id: "permalink", aria: { label: "Link to this digit" }, hidden: true });
  const button = (text, action) => h("button", { type: "button", on: { click: () => runSafely(action) } }, text);
  fill(byId("take-body"), h("div.tools", link,
    button("28 × 28 picture (PNG)", () => download(new Blob([decodeBase64(state.prepared.image)], { type: "image/png" }), "digit-28x28.png")),
    button("All activations (.npz)", async () => download(new Blob([await sendForBytes("layers/0/activations", { layers: "all", format: "npz" })]), `${state.model}-activations.npz`)),
    button("Stages of the preparation (.npz)", async () => download(new Blob([await sendForBytes("preprocess", { format: "npz" }, undefined, state.source.original)]), "preparation.npz")),
    button("Copy curl command for the prediction", () => copy(curl("predict"), "The command")),
    button("Copy curl command for the inspection", () => copy(curl("inspect"), "The command"))), linkField);
}

/** Return the download buttons of one layer. */
export function layerDownloads(layer) {
  const button = (text, label, action) => h("button.small", { type: "button", aria: { label: `${text}: ${layer.name} ${label}` }, on: { click: () => runSafely(action) } }, text);
  const route = `layers/${layer.name}/activations`;
  return [
    button("PNG", "as a picture of all channels", async () => download(new Blob([await sendForBytes(route, { format: "png" })], { type: "image/png" }), `${layer.name}.png`)),
    button(".npz", "as exact values", async () => download(new Blob([await sendForBytes(route, { format: "npz" })]), `${layer.name}.npz`)),
    button("curl", "as a command", () => copy(`${curl(route, { format: "npz" })} -o ${layer.name.replaceAll("/", "-")}.npz`, "The command")),
  ];
}

/** Run an action if there is an image, and show its error. */
async function runSafely(action) {
  try {
    if (state.prepared) await action();
  } catch (error) {
    emit("error", error);
  }
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    emit("done", `${what} is on the clipboard.`);
  } catch {
    emit("error", new Error(`The browser blocks writing to the clipboard. ${what}: ${text}`));
  }
}

async function copyLink(linkField) {
  if (!state.prepared) return;
  const url = await permalink();
  linkField.hidden = false;
  linkField.value = url;
  linkField.select();
  await copy(url, "The link");
  announce("The link is on the clipboard.");
}

/** Return a link to the current 28x28 and model. The compressed pixels are in the part after the `#`. */
export async function permalink() {
  const compressed = await pipeThrough(new CompressionStream("deflate-raw"), Uint8Array.from(state.prepared.pixels.flat()));
  const text = btoa(String.fromCharCode(...compressed)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  const url = address("");
  url.search = "";
  url.hash = `d=${text}&m=${encodeURIComponent(state.model)}`;
  return url.href;
}

/**
 * Read the 28x28 and the model from a link; each is null if the link does not have it.
 *
 * @param {string} hash The link's part after the `#`, with or without the `#`.
 * @returns {Promise<{pixels: number[][]|null, model: string|null}>}
 */
export async function readLink(hash) {
  const parameters = new URLSearchParams(hash.replace(/^#/, ""));
  const text = parameters.get("d");
  const model = parameters.get("m");
  if (!text) return { pixels: null, model };
  const values = await pipeThrough(new DecompressionStream("deflate-raw"), decodeBase64(text.replaceAll("-", "+").replaceAll("_", "/")));
  if (values.length !== 784) throw new Error("The link is damaged: it does not contain 28 × 28 pixels.");
  return { pixels: Array.from({ length: 28 }, (_, y) => Array.from(values.subarray(28 * y, 28 * y + 28))), model };
}

/** Send bytes through a compression or decompression stream. */
async function pipeThrough(stream, content) {
  return new Uint8Array(await new Response(new Blob([content]).stream().pipeThrough(stream)).arrayBuffer());
}
