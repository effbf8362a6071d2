/** Compare two images: pin one, draw another, and see in which layers the network distinguishes them. */

import { send } from "./api.js";
import { byId, fill, h, number, percent } from "./dom.js";
import { openChannelInCard } from "./layers.js";
import { paintValues } from "./heatmaps.js";
import { updateWhenVisible, state } from "./state.js";

let pinned = null;

/** Start the section. */
export function startCompare() {
  const body = h("div");
  const unpin = h("button", { type: "button", disabled: true, on: { click: () => { pinned = null; unpin.disabled = true; show.refresh(); } } }, "Unpin");
  const pin = h("button", { type: "button", on: { click: () => { pinned = state.prepared?.pixels ?? null; unpin.disabled = !pinned; show.refresh(); } } }, "Pin this image");
  fill(byId("compare-body"), h("div.row", pin, unpin), body);
  const show = updateWhenVisible(byId("compare-body"), async (signal) => {
    if (!pinned) { fill(body, h("p.notes", "Pin the current image, then draw or choose another one. A table will show how similar the two images are in each layer.")); return; }
    const now = state.prepared.pixels;
    const response = await send("compare", {}, signal, [{ pixels: pinned }, { pixels: now }]);
    fill(body, comparison(response, now));
  });
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
    const channels = entry.channels.slice(0, 3).map((channel) => h("button.link", { type: "button", aria: { label: `Channel ${channel} of ${entry.layer.name}` }, on: { click: () => openChannelInCard(entry.layer.name, channel) } }, channel));
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
