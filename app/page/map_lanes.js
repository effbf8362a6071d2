/** The members of an ensemble as lanes: the name, the ten outputs, the digit that it reads. A lane opens as a map. */

import { go } from "./address.js";
import { css } from "./colours.js";
import { byId, fill, h, percent } from "./dom.js";
import { valueOf } from "./map_format.js";
import { map } from "./map_view.js";
import { loadStyle } from "./panel.js";
import { emit, on, state } from "./state.js";

/** Start the lanes: they are shown for an ensemble of which no member is opened. */
export function startLanes() {
  loadStyle().catch((error) => emit("error", error));
  on("columns", show);
  on("map", show);
  show();
}

function show() {
  if (!map.members.length || map.lane) return;
  const ownShares = ({ last }) => {
    const values = state.map?.layers.find((layer) => layer.name === last.name);
    return values ? Array.from(values.values, (byte) => valueOf(values, byte)) : null;
  };
  fill(byId("lane-list"),
    map.members.map((member) => lane(member.name, `${member.columns.length} columns`, ownShares(member))),
    lane(null, "their mean", state.prediction?.probabilities ?? null));
}

/** Return the row of one member; without a name, of their vote. */
function lane(name, about, shares) {
  const best = shares ? shares.indexOf(Math.max(...shares)) : null;
  const { classes } = state.network;
  return h(name ? "li" : "li.vote", name ? { data: { lane: name } } : {},
    name ? h("button.link", { type: "button", on: { click: () => go({ lane: name, at: null }) } }, name) : h("b", "vote"),
    h("span.blocks", about),
    h("span.cells", { role: "img", aria: { label: shares ? classes.map((label, at) => `${label}: ${percent(shares[at])}`).join(", ") : "not read yet" } },
      classes.map((label, at) => cell(label, shares?.[at] ?? 0))),
    h("b", best === null ? "" : classes[best]));
}

function cell(label, share) {
  const colour = css(share, { map: "sequential", low: 0, high: 1 });
  const element = h("span", label);
  element.style.background = colour.background;
  element.style.color = colour.ink;
  return element;
}
