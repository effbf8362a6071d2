/** What if: channels switched off, and the bars before and after. */

import { send } from "./api.js";
import { probabilityBars } from "./prediction.js";
import { aDigit, byId, fill, h, number, percent, announce, table } from "./dom.js";
import { updateWhenVisible, state, onNetwork } from "./state.js";

const off = new Set();
let ranked = [];

/** Wire the section. */
export function startAblation() {
  const layer = h("select", { id: "off-layer" });
  const list = h("div.switches", { role: "group", aria: { label: "Channels of the layer" } });
  const said = h("p.outcome", { aria: { live: "polite" } });
  const body = h("tbody");
  const bars = probabilityBars(body, { before: true });
  const reset = h("button", { type: "button", on: { click: () => { off.clear(); show.refresh(); } } }, "All on");
  const order = h("div");
  fill(byId("whatif-body"),
    h("div.row", h("label", "Layer ", layer), reset),
    h("div.columns", h("div", list), h("div", h("table.bars", h("caption", "With the channels off; the mark is where the bar was"), body), said)), order);
  onNetwork(({ layers }) => {
    fill(layer, layers.filter((one) => one.ablatable && one.changes_values && one.output_shape.at(-1) > 10).map((one) => h("option", { value: one.name }, `${one.name} (${one.output_shape.at(-1)})`)));
    const preferred = layers.find((one) => one.activation && one.output_shape.length === 3);
    if (preferred) layer.value = preferred.name;
    off.clear();
  });
  const show = updateWhenVisible(byId("whatif-body"), async (signal) => {
    if (!layer.value) { fill(list, "The arithmetic of this network is not known to the service."); return; }
    const one = await send("ablate", { layer: layer.value }, signal);
    ranked = one.ablations;
    fill(list, switches(() => apply(), one.layer.name));
    fill(order, table(`${one.layer.name}: each channel off in turn, the weightiest first`, ["channel off", `score of ${one.target}`, "change", "read as"],
      ranked.slice(0, 12).map((entry) => [entry.channels[0], number(entry.logits[one.target]), number(entry.logit_change), entry.digit])));
    await apply(signal);
  });
  async function apply(signal) {
    const before = state.answer.probabilities;
    const most = Math.max(...ranked.map((one) => Math.abs(one.logit_change)));
    for (const button of list.querySelectorAll("button")) {
      const on = !off.has(Number(button.dataset.channel));
      button.setAttribute("aria-pressed", String(on));
      button.lastChild.style.width = `${(100 * Math.abs(Number(button.dataset.change))) / (most || 1)}%`;
    }
    reset.disabled = !off.size;
    if (!off.size) {
      bars.show(before, before);
      fill(said, "All channels are on. The line under a channel is how far the score moves without it.");
      return;
    }
    const answer = await send("ablate", { layer: layer.value, channels: [...off].join(",") }, signal);
    const [change] = answer.ablations;
    bars.show(change.probabilities, before);
    fill(said, change.changed
      ? `Without ${off.size === 1 ? "it" : "these"}, the ${answer.target} is read as ${aDigit(change.digit)}.`
      : `Still ${aDigit(change.digit)}: ${percent(change.probabilities[change.digit])}. The score of ${answer.target} went from ${number(answer.baseline_logit)} to ${number(answer.baseline_logit + change.logit_change)}.`);
    said.dataset.off = [...off].join(",");
  }
  layer.addEventListener("change", () => { off.clear(); show.refresh(); });
}

function switches(apply, layer) {
  const byChannel = [...ranked].sort((a, b) => a.channels[0] - b.channels[0]);
  return byChannel.map(({ channels: [channel], logit_change: change }) => {
    const button = h("button", {
      type: "button", data: { channel, change }, aria: { pressed: "true", label: `Channel ${channel} of ${layer}; without it the score changes by ${number(change, 2)}` },
      on: { click() { if (!off.delete(channel)) off.add(channel); announce(off.has(channel) ? `Channel ${channel} off.` : `Channel ${channel} on.`); apply(); } },
    }, channel, h("span.line"));
    return button;
  });
}
