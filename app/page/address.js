/**
 * The page's address. The part after the `#`, which browsers do not send, holds the digit and what is opened.
 *
 * `#d=…&m=compact&v=look&at=relu_2:4:1,1`: `d` the compressed 28x28, `o` the one that is pinned, `m` the network, `v` the mode, `at` the opened
 * layer, channel and number, `off` the channels that are switched off, `lane` the opened member of an ensemble, `map`
 * how the map is shown, `t` the right label of the mode `learn` and `w` a weight of the opened layer. Each mode may have
 * settings of its own (`SETTINGS`). Unknown keys are ignored.
 */

import { emit, on, state } from "./state.js";

export const MODES = ["look", "why", "whatif", "compare", "training", "learn", "received"];

/** The keys of the address that hold the settings of a mode. */
const SETTINGS = { learn: ["r", "n", "by"], training: ["e", "l"] };

/**
 * @typedef {object} Place What is opened.
 * @property {string} mode One of `MODES`.
 * @property {{layer: string, channel: number|null, y: number|null, x: number|null}|null} at
 * @property {{layer: string, channels: number[]}|null} off
 * @property {string|null} lane
 * @property {number|null} target The class that the mode `learn` takes as the right label.
 * @property {string|null} weight Such as `kernel:0,1,3,5`: an array of the layer `at` and an index.
 * @property {Record<string, string>} settings By key of the address, as text; what is not there has its usual value.
 * @property {boolean} asTable Whether the map is shown as a table.
 */

const NOWHERE = { mode: "look", at: null, off: null, lane: null, target: null, weight: null, settings: {}, asTable: false };

/** @type {Place} */
export let place = NOWHERE;
let digit = null; // the compressed 28x28 of the current revision
let other = null; // the compressed 28x28 that is pinned to be compared with

/** Read what is opened from the part of an address after the `#`. */
export function parsePlace(hash) {
  const parameters = new URLSearchParams(hash.replace(/^#/, ""));
  const mode = parameters.get("v");
  return {
    mode: MODES.includes(mode) ? mode : "look",
    at: parseAt(parameters.get("at")),
    off: parseOff(parameters.get("off")),
    lane: parameters.get("lane"),
    target: wholeNumber(parameters.get("t")),
    weight: parameters.get("w"),
    settings: Object.fromEntries((SETTINGS[mode] ?? []).filter((key) => parameters.get(key)).map((key) => [key, parameters.get(key)])),
    asTable: parameters.get("map") === "table",
  };
}

const wholeNumber = (text) => (/^\d{1,6}$/.test(text ?? "") ? Number(text) : null);

// Names of imported layers may hold the sign that separates a layer from its channel.
const escapeName = (name) => name.replace(/[%:]/g, encodeURIComponent);
const unescapeName = (text) => text.replace(/%(25|3A)/g, decodeURIComponent);

function parseAt(text) {
  if (!text) return null;
  const [name, channel, position = ""] = text.split(":");
  const layer = unescapeName(name);
  const [y, x] = position.split(",").map(wholeNumber);
  const at = { layer, channel: wholeNumber(channel), y: y ?? null, x: x ?? null };
  return at.channel === null ? { ...at, y: null, x: null } : at;
}

function parseOff(text) {
  if (!text?.includes(":")) return null;
  const [name, list] = text.split(":");
  const layer = unescapeName(name);
  const channels = list.split(",").map(wholeNumber).filter((channel) => channel !== null);
  return channels.length ? { layer, channels } : null;
}

function formatAt({ layer, channel, y, x }) {
  const position = [y, x].filter((value) => value !== null).join(",");
  return [escapeName(layer), channel, position].filter((part) => part !== null && part !== "").join(":");
}

/** Return the part of the address that says a place, with the digit if it is known. */
function hashOf({ mode, at, off, lane, target, weight, settings, asTable }) {
  const parts = [];
  const add = (name, value) => value && parts.push(`${name}=${encodeURIComponent(value).replaceAll("%3A", ":").replaceAll("%2C", ",").replaceAll("%2F", "/")}`);
  add("d", digit);
  add("o", other);
  add("m", state.model);
  if (mode !== "look") add("v", mode);
  if (lane) add("lane", lane);
  for (const key of SETTINGS[mode] ?? []) add(key, settings[key]);
  if (target !== null) add("t", String(target));
  if (at) add("at", formatAt(at));
  add("w", weight);
  if (off) add("off", `${escapeName(off.layer)}:${off.channels.join(",")}`);
  if (asTable) add("map", "table");
  return `#${parts.join("&")}`;
}

/**
 * Open or close something: change the place, the address, and what the page shows. Opening a layer closes the weight.
 *
 * @param {Partial<Place>} changes
 * @param {{replace?: boolean}} [options] Opening makes an entry of the history; neighbours and sliders replace it.
 */
export function go(changes, { replace = false } = {}) {
  place = { ...place, ...("at" in changes && { weight: null }), ...changes };
  write(replace ? "replaceState" : "pushState");
  emit("place", place);
}

const write = (method) => history[method]({ own: true }, "", location.pathname + location.search + hashOf(place));

/** Keep a second 28x28 in the address; null removes it. */
export async function pin(pixels) {
  other = pixels && await compress(pixels);
  write("replaceState");
}

/** Change settings of a mode, which makes no entry of the history; null is the usual value. */
export const set = (changes) => go({ settings: { ...place.settings, ...changes } }, { replace: true });

/** Close the innermost level that is shown: a mode without levels, weight or number, channel, layer, lane, mode. Returns whether there was one. */
export function goUp() {
  const { at, lane, mode, weight } = place;
  const hasLevels = mode === "look" || mode === "learn"; // other modes do not show what is opened: they keep it
  if (!hasLevels) go({ mode: "look" });
  else if (weight) go({ weight: null });
  else if (at && at.y !== null) go({ at: { ...at, y: null, x: null } });
  else if (at && at.channel !== null) go({ at: { ...at, channel: null } });
  else if (at) go({ at: null });
  else if (lane) go({ lane: null });
  else if (mode !== "look") go({ mode: "look" });
  else return false;
  return true;
}

/** Keep the address up to date with each new digit, and read it when the user goes back or edits it. */
export function startAddress(openLink) {
  place = parsePlace(location.hash);
  other = valueOf(location.hash, "o");
  on("revision", async () => {
    if (!state.prepared) return;
    digit = await compress(state.prepared.pixels);
    if (state.revision > 1 || location.hash) write("replaceState");
  });
  addEventListener("popstate", async ({ state: entry }) => {
    place = parsePlace(location.hash);
    const withDigit = !entry?.own;
    if (withDigit) other = valueOf(location.hash, "o");
    emit("arrived", { withDigit });
    await openLink({ withDigit });
    emit("place", place);
  });
}

/** Return a link to the digit and to what is opened. */
export async function permalink() {
  digit = await compress(state.prepared.pixels);
  const url = new URL(location.href);
  url.hash = hashOf(place);
  return url.href;
}

async function compress(pixels) {
  const bytes = await pipeThrough(new CompressionStream("deflate-raw"), Uint8Array.from(pixels.flat()));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

const valueOf = (hash, name) => new URLSearchParams(hash.replace(/^#/, "")).get(name);

/** Return the name of the network in a link, or null. */
export const modelOf = (hash) => valueOf(hash, "m");

/**
 * Read the 28x28 from a link; null if the link does not have it. Throws an error if it is damaged.
 *
 * @param {string} hash The link's part after the `#`, with or without the `#`.
 * @param {string} [name] `d`, or `o` for the one that is pinned.
 * @returns {Promise<number[][]|null>}
 */
export async function readLink(hash, name = "d") {
  const text = valueOf(hash, name);
  if (!text) return null;
  const compressed = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
  const values = await pipeThrough(new DecompressionStream("deflate-raw"), compressed);
  if (values.length !== 784) throw new Error("not 28 × 28 pixels");
  return Array.from({ length: 28 }, (_, y) => Array.from(values.subarray(28 * y, 28 * y + 28)));
}

/** Send bytes through a compression or decompression stream. */
async function pipeThrough(stream, content) {
  return new Uint8Array(await new Response(new Blob([content]).stream().pipeThrough(stream)).arrayBuffer());
}
