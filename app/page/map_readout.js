/** The readout: what the map's pointed picture shows, in a place of its own. Nothing floats over the map. */

import { fill, byId, h, percent, position } from "./dom.js";
import { paintChannel } from "./channels.js";
import { channelFigures, valueText } from "./map_keys.js";
import { map } from "./map_view.js";
import { on, state } from "./state.js";

/** Start the readout; it shows the text of the page while nothing is pointed at. */
export function startReadout() {
  const place = byId("readout");
  const text = [...place.childNodes];
  let pointed = null;
  const show = () => fill(place, pointed ? describe(pointed) : text);
  on("point", (hit) => { pointed = hit; show(); });
  on("painted", () => pointed && show());
}

function describe({ column, channel }) {
  if (channel === null) return steps(column);
  if (column.role === "outputs") return output(column, channel);
  const noun = column.shape.length === 1 ? "unit" : "channel";
  const title = h("p", h("b", column.role === "input" ? "input" : `${column.title}, ${noun} ${channel}`), map.meaning && `: ${map.meaning}`);
  const figures = channelFigures(column, channel);
  if (!figures) return [title, h("p", map.meaning === "gradient" ? "Its gradient is not shown yet." : "Not read yet.")];
  if (figures.size === 1) return [picture(figures.layer, channel), title, h("p", h("code", valueText(figures.layer, figures.high)))];
  const { layer, low, high, y, x } = figures;
  return [picture(layer, channel), title,
    ...(layer.constant.includes(channel) ? [h("p", h("code", valueText(layer, high)), " everywhere", map.meaning ? "." : ": it does not respond to this digit.")]
      : [h("p", h("code", valueText(layer, low)), " to ", h("code", valueText(layer, high))), h("p", `${map.meaning ? "Largest" : "Strongest"} at ${position(y, x)}.`)]),
    h("p", { id: "lines-said" })];
}

function picture(layer, channel) {
  const canvas = h("canvas", { aria: { hidden: "true" } });
  paintChannel(canvas, layer, channel);
  return canvas;
}

function steps(column) {
  const list = column.layers.map(({ name, active_at_inference: isActive }) => (isActive ? name : `${name} (only in training)`)).join(" → ");
  return [h("p", h("b", column.title)), h("p", list || "The picture as it is."), h("p", "Open it to see its steps one by one.")];
}

function output(column, channel) {
  const name = state.network.classes[channel];
  return [h("p", h("b", `output ${name}`)), h("p", `${percent(state.prediction?.probabilities[channel] ?? 0)}. Open it to see how this share comes about.`)];
}
