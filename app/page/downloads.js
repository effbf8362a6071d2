/** Downloads of pictures and arrays, curl commands, and the link to what the page shows. */

import { permalink } from "./address.js";
import { address, apiKey, sendForBytes } from "./api.js";
import { decodeBase64, h } from "./dom.js";
import { state, emit } from "./state.js";

const NETWORK = {
  pixels: () => download(new Blob([decodeBase64(state.prepared.image)], { type: "image/png" }), "digit-28x28.png"),
  values: async () => download(new Blob([await sendForBytes("layers/0/activations", { layers: "all", format: "npz" })]), `${state.model}-activations.npz`),
  stages: async () => download(new Blob([await sendForBytes("preprocess", { format: "npz" }, undefined, state.source.original)]), "preparation.npz"),
  predict: () => copy(curl("predict"), "The command"),
  inspect: () => copy(curl("inspect"), "The command"),
};

/** Let the browser download a blob as a file. */
function download(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** Download or copy something about the digit and the whole network: one of `NETWORK`. */
export const takeNetwork = (name) => runSafely(NETWORK[name]);

/** Return the download buttons of one layer. */
export function layerDownloads(layer) {
  const button = (text, label, action) => h("button.link", { type: "button", aria: { label: `${text}: ${layer.name} ${label}` }, on: { click: () => runSafely(action) } }, text);
  const route = `layers/${layer.name}/activations`;
  return [
    button("PNG", "as a picture of all channels", async () => download(new Blob([await sendForBytes(route, { format: "png" })], { type: "image/png" }), `${layer.name}.png`)),
    button(".npz", "as exact values", async () => download(new Blob([await sendForBytes(route, { format: "npz" })]), `${layer.name}.npz`)),
    button("Copy as curl", "as a command", () => copy(`${curl(route, { format: "npz" })} -o ${layer.name.replaceAll("/", "-")}.npz`, "The command")),
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

/** Copy a link to the digit and to what is opened. */
export async function copyLink() {
  await runSafely(async () => copy(await permalink(), "The link"));
}

/** Return a curl command that sends the current 28x28 to a route. It names the API key, but does not hold it. */
function curl(route, query = {}) {
  const url = address(route, { model: state.model, preprocess: "none", ...query });
  const image = state.prepared.image;
  const header = apiKey() ? ' -H "X-API-Key: $DIGITSCOPE_API_KEY"' : "";
  return `curl -X POST '${url}'${header} -H 'Content-Type: application/json' -d '{"image": "${image}"}'`;
}
