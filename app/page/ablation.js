/** Ablation: switch channels off and compare the probabilities before and after. */

import { send } from "./api.js";
import { probabilityBars } from "./prediction.js";
import { aDigit, byId, fill, h, number, percent, announce, table } from "./dom.js";
import { updateWhenVisible, state, onNetwork } from "./state.js";

const switchedOff = new Set(); // channels
let ablations = []; // one entry for each channel, the largest change of the score first

/** Start the section. */
export function startAblation() {
  const layer = h("select", { id: "off-layer" });
  const list = h("div.switches", { role: "group", aria: { label: "Channels of the layer" } });
  const summary = h("p.outcome", { aria: { live: "polite" } });
  const body = h("tbody");
  let bars = null;
  const reset = h("button", { type: "button", on: { click: () => { switchedOff.clear(); show.refresh(); } } }, "All on");
  const order = h("div");
  fill(byId("whatif-body"),
    h("div.row", h("label", "Layer ", layer), reset),
    h("div.columns", h("div", list), h("div", h("table.bars", h("caption", "Probabilities with these channels off; the mark shows where each bar was before"), body), summary)), order);
  onNetwork(({ layers, classes }) => {
    bars = probabilityBars(body, classes, { before: true });
    const usable = layers.filter((entry) => entry.ablatable && entry.changes_values && entry.output_shape.at(-1) > classes.length);
    fill(layer, usable.map((entry) => h("option", { value: entry.name }, `${entry.name} (${entry.output_shape.at(-1)})`)));
    const preferred = usable.find((entry) => entry.activation && entry.output_shape.length > 1);
    if (preferred) layer.value = preferred.name;
    switchedOff.clear();
  });
  const show = updateWhenVisible(byId("whatif-body"), async (signal) => {
    if (!layer.value) { fill(list, "The service cannot recalculate the layers of this network."); return; }
    const response = await send("ablate", { layer: layer.value }, signal);
    ablations = response.ablations;
    fill(list, switches(() => apply(), response.layer.name));
    fill(order, table(`${response.layer.name}: one channel switched off at a time, largest change first`, ["channel off", `score of ${state.network.classes[response.target]}`, "change", "read as"],
      ablations.slice(0, 12).map((entry) => [entry.channels[0], number(entry.logits[response.target]), number(entry.logit_change), entry.label])));
    await apply(signal);
  });
  async function apply(signal) {
    const before = state.prediction.probabilities;
    const largestChange = Math.max(...ablations.map((entry) => Math.abs(entry.logit_change)));
    for (const button of list.querySelectorAll("button")) {
      const on = !switchedOff.has(Number(button.dataset.channel));
      button.setAttribute("aria-pressed", String(on));
      button.lastChild.style.width = `${(100 * Math.abs(Number(button.dataset.change))) / (largestChange || 1)}%`;
    }
    reset.disabled = !switchedOff.size;
    if (!switchedOff.size) {
      bars.show(before, before);
      fill(summary, "All channels are on. The line under a channel shows how much the score changes without it.");
      return;
    }
    const response = await send("ablate", { layer: layer.value, channels: [...switchedOff].join(",") }, signal);
    const [change] = response.ablations;
    bars.show(change.probabilities, before);
    fill(summary, change.changed
      ? `Without ${switchedOff.size === 1 ? "this channel" : "these channels"}, the ${state.network.classes[response.target]} is read as ${aDigit(change.label)}.`
      : `Still ${aDigit(change.label)}, with a probability of ${percent(change.probabilities[change.digit])}. The score of ${state.network.classes[response.target]} changed from ${number(response.baseline_logit)} to ${number(response.baseline_logit + change.logit_change)}.`);
    summary.dataset.off = [...switchedOff].join(",");
  }
  layer.addEventListener("change", () => { switchedOff.clear(); show.refresh(); });
}

/** Return a switch for each channel. */
function switches(apply, layer) {
  const byChannel = [...ablations].sort((a, b) => a.channels[0] - b.channels[0]);
  return byChannel.map(({ channels: [channel], logit_change: change }) => {
    const button = h("button", {
      type: "button", data: { channel, change }, aria: { pressed: "true", label: `Channel ${channel} of ${layer}; without it the score changes by ${number(change, 2)}` },
      on: { click() { if (!switchedOff.delete(channel)) switchedOff.add(channel); announce(switchedOff.has(channel) ? `Channel ${channel} off.` : `Channel ${channel} on.`); apply(); } },
    }, channel, h("span.line"));
    return button;
  });
}
