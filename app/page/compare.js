/** Compare two images: pin one, draw another, and see in which layers the network distinguishes them. */

import { send } from "./api.js";
import { go, pin, place, readLink } from "./address.js";
import { fill, h, number, percent } from "./dom.js";
import { showDifference } from "./map_difference.js";
import { startAnswers } from "./network_answers.js";
import { paintValues } from "./heatmaps.js";
import { emit, on, state, updateWhenVisible } from "./state.js";

let pinned = null;

/** Fill an element with the comparison of two images, and with the answers of all networks. */
export function start(element) {
  const body = h("div");
  const unpinButton = h("button", { type: "button", disabled: true, on: { click: () => keep(null) } }, "Unpin");
  const pinButton = h("button", { type: "button", on: { click: () => keep(state.prepared?.pixels ?? null) } }, "Pin this image");
  const use = (pixels) => {
    pinned = pixels;
    unpinButton.disabled = !pinned;
    show.refresh();
  };
  const keep = (pixels) => {
    use(pixels);
    pin(pixels).catch((error) => emit("error", error));
  };
  const follow = () => readLink(location.hash, "o").then(use, () => use(null)); // a damaged link: `link_check` says so
  const others = h("div.models");
  fill(element, h("div.row", pinButton, unpinButton), body, h("h3", "Every network reads the same digit"), others);
  startAnswers(others);
  on("place", ({ mode }) => showDifference(mode === "compare" ? pinned : null).catch((error) => emit("error", error)));
  on("network", () => showDifference(null));
  on("arrived", ({ withDigit }) => withDigit && follow());
  const show = updateWhenVisible(body, async (signal) => {
    await showDifference(place.mode === "compare" ? pinned : null, signal);
    if (!pinned) { fill(body, h("p.notes", "Pin the current image, then draw or choose another one. The map then shows the second image minus the first, and a table shows how similar they are in each layer.")); return; }
    const now = state.prepared.pixels;
    const response = await send("compare", {}, signal, [{ pixels: pinned }, { pixels: now }]);
    fill(body, comparison(response, now));
  });
  follow();
}

function comparison({ predictions, layers, text }, now) {
  const picture = (pixels, { label, confidence }, name) => {
    const canvas = h("canvas", { role: "img", aria: { label: `${name}: read as ${label}` } });
    paintValues(canvas, pixels.flat(), 28, { map: "grey", low: 0, high: 255 });
    return h("figure.pixels", canvas, h("figcaption", `${name}: ${label}, ${percent(confidence)}`));
  };
  const row = (entry) => {
    const bar = h("span.bar");
    bar.style.width = `${100 * Math.max(0, entry.cosine ?? 0)}%`;
    const channels = entry.channels.slice(0, 3).map((channel) => h("button.link", { type: "button", aria: { label: `Channel ${channel} of ${entry.layer.name}` }, on: { click: () => go({ mode: "look", at: { layer: entry.layer.name, channel, y: null, x: null } }) } }, channel));
    return h("tr", h("th", { scope: "row" }, entry.layer.name), h("td.track", h("span.rail", bar)), h("td", number(entry.cosine, 3)), h("td", number(entry.relative_distance, 3)), h("td", channels));
  };
  return [
    h("div.columns.small", picture(pinned, predictions[0], "Pinned"), picture(now, predictions[1], "Now")),
    h("p", text),
    h("div.scroll", { tabindex: "0", role: "group", aria: { label: "Similarity in each layer" } }, h("table.numbers.bars-inside", h("caption", "How similar the two images are in each layer. A cosine of 1 means the same pattern; a distance of 0 means the same values."),
      h("thead", h("tr", ["layer", "similarity", "cosine", "relative distance", "channels that differ most"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", layers.map(row)))),
  ];
}
