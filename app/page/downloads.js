/** Take away: pictures, arrays, commands, and a link that holds the 28x28 itself. */

import { address, curl, sendForBytes } from "./api.js";
import { decodeBase64 } from "./heatmaps.js";
import { byId, fill, h, download, announce } from "./dom.js";
import { state, emit } from "./state.js";

/** Wire the section. */
export function startDownloads() {
  const link = h("button.main", { type: "button", on: { click: () => copyLink(shown) } }, "Copy a link to this digit");
  const shown = h("input", { type: "text", readonly: "", id: "permalink", aria: { label: "Link to this digit" }, hidden: true });
  const button = (text, act) => h("button", { type: "button", on: { click: () => guarded(act) } }, text);
  fill(byId("take-body"), h("div.tools", link,
    button("The 28 × 28 as PNG", () => download(new Blob([decodeBase64(state.prepared.image)], { type: "image/png" }), "digit-28x28.png")),
    button("All activations as .npz", async () => download(new Blob([await sendForBytes("layers/0/activations", { layers: "all", format: "npz" })]), `${state.model}-activations.npz`)),
    button("The stages as .npz", async () => download(new Blob([await sendForBytes("preprocess", { format: "npz" })]), "preparation.npz")),
    button("Copy the prediction as curl", () => copy(curl("predict"), "The command")),
    button("Copy the inspection as curl", () => copy(curl("inspect"), "The command"))), shown);
}

/** Buttons for one layer. */
export function layerDownloads(layer) {
  const button = (text, label, act) => h("button.small", { type: "button", aria: { label: `${text}: ${layer.name} ${label}` }, on: { click: () => guarded(act) } }, text);
  const route = `layers/${layer.name}/activations`;
  return [
    button("PNG", "as a sheet", async () => download(new Blob([await sendForBytes(route, { format: "png" })], { type: "image/png" }), `${layer.name}.png`)),
    button(".npz", "exactly", async () => download(new Blob([await sendForBytes(route, { format: "npz" })]), `${layer.name}.npz`)),
    button("curl", "as a command", () => copy(`${curl(route, { format: "npz" })} -o ${layer.name.replaceAll("/", "-")}.npz`, "The command")),
  ];
}

async function guarded(act) {
  try {
    if (state.prepared) await act();
  } catch (error) {
    emit("error", error);
  }
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    emit("done", `${what} is on the clipboard.`);
  } catch {
    emit("error", new Error(`The browser does not let this page write to the clipboard. ${what}: ${text}`));
  }
}

async function copyLink(shown) {
  if (!state.prepared) return;
  const url = await permalink();
  shown.hidden = false;
  shown.value = url;
  shown.select();
  await copy(url, "The link");
  announce("The link is on the clipboard.");
}

/** A link to the present 28x28 and network: the pixels, compressed, stand behind the `#`. */
export async function permalink() {
  const packed = await through(new CompressionStream("deflate-raw"), Uint8Array.from(state.prepared.pixels.flat()));
  const text = btoa(String.fromCharCode(...packed)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  const url = address("");
  url.search = "";
  url.hash = `d=${text}&m=${encodeURIComponent(state.model)}`;
  return url.href;
}

/**
 * Read what a link holds.
 *
 * @param {string} hash With or without `#`.
 * @returns {Promise<{pixels: number[][]|null, model: string|null}>}
 */
export async function readLink(hash) {
  const parameters = new URLSearchParams(hash.replace(/^#/, ""));
  const text = parameters.get("d");
  if (!text) return { pixels: null, model: null };
  const values = await through(new DecompressionStream("deflate-raw"), decodeBase64(text.replaceAll("-", "+").replaceAll("_", "/")));
  if (values.length !== 784) throw new Error("The link is damaged: it does not hold 28 × 28 pixels.");
  return { pixels: Array.from({ length: 28 }, (_, y) => Array.from(values.subarray(28 * y, 28 * y + 28))), model: parameters.get("m") };
}

async function through(stream, content) {
  return new Uint8Array(await new Response(new Blob([content]).stream().pipeThrough(stream)).arrayBuffer());
}
