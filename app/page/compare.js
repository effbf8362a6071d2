/** Pin an image, draw another, and see in which layer the network begins to tell them apart. */

import { send } from "./api.js";
import { byId, fill, h, number, percent } from "./dom.js";
import { openChannelInCard } from "./layers.js";
import { paintValues } from "./heatmaps.js";
import { updateWhenVisible, state } from "./state.js";

let pinned = null;

/** Wire the section. */
export function startCompare() {
  const body = h("div");
  const unpin = h("button", { type: "button", disabled: true, on: { click: () => { pinned = null; unpin.disabled = true; show.refresh(); } } }, "Take the pin out");
  const pin = h("button", { type: "button", on: { click: () => { pinned = state.prepared?.pixels ?? null; unpin.disabled = !pinned; show.refresh(); } } }, "Pin this image");
  fill(byId("compare-body"), h("div.row", pin, unpin), body);
  const show = updateWhenVisible(byId("compare-body"), async (signal) => {
    if (!pinned) { fill(body, h("p.notes", "Pin the image, then draw or choose another. The two are shown to the network side by side.")); return; }
    const now = state.prepared.pixels;
    const answer = await send("compare", {}, signal, [{ pixels: pinned }, { pixels: now }]);
    fill(body, comparison(answer, now));
  });
}

function comparison({ predictions, layers, text }, now) {
  const picture = (pixels, { digit, confidence }, name) => {
    const canvas = h("canvas", { role: "img", aria: { label: `${name}: read as ${digit}` } });
    paintValues(canvas, pixels.flat(), 28, { map: "grey", low: 0, high: 255 });
    return h("figure.pixels", canvas, h("figcaption", `${name}: ${digit}, ${percent(confidence)}`));
  };
  const row = (one) => {
    const bar = h("span.bar");
    bar.style.width = `${100 * Math.max(0, one.cosine ?? 0)}%`;
    const channels = one.channels.slice(0, 3).map((channel) => h("button.link", { type: "button", aria: { label: `Channel ${channel} of ${one.layer.name}` }, on: { click: () => openChannelInCard(one.layer.name, channel) } }, channel));
    return h("tr", h("th", { scope: "row" }, one.layer.name), h("td.track", h("span.rail", bar)), h("td", number(one.cosine, 3)), h("td", number(one.relative_distance, 3)), h("td", channels));
  };
  return [
    h("div.columns.small", picture(pinned, predictions[0], "Pinned"), picture(now, predictions[1], "Now")),
    h("p", text),
    h("div.scroll", { tabindex: "0", role: "group", aria: { label: "How alike, layer by layer" } }, h("table.numbers.bars-inside", h("caption", "How alike the two are, layer by layer"),
      h("thead", h("tr", ["layer", "alike", "cosine", "distance", "channels that differ most"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", layers.map(row)))),
  ];
}
