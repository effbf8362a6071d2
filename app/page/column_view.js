/** An opened column: its steps one by one, each with its formula, its channels, its figures and its downloads. */

import { go } from "./address.js";
import { layerGrid } from "./channel_pictures.js";
import { rangeOf } from "./channels.js";
import { layerDownloads } from "./downloads.js";
import { count, disclosure, h, number, shape, table } from "./dom.js";
import { fetchValues } from "./layer_values.js";
import { valueText } from "./map_keys.js";
import { map, narrow, openColumn } from "./map_view.js";

/** Fetch the values of the opened step and return the content of the panel. */
export async function render({ layer, column, signal }) {
  const [values] = await fetchValues([layer.name], signal);
  const width = narrow.matches ? innerWidth - 36 : 620;
  const grid = layerGrid(values, width, layer.computable ? (channel) => go({ at: { layer: layer.name, channel, y: null, x: null } }) : null);
  const isUnits = layer.output_shape.length === 1;
  const silent = values.low === 0 && !isUnits ? values.constant.length : 0;
  return {
    content: h("div.column-view",
      steps(column, layer),
      h("div.step-values", h("h3", `What ${layer.name} gives`), grid.element,
        h("p.notes", `Values from ${number(values.low, 3)} to ${number(values.high, 3)}.${silent ? ` ${silent} of ${layer.output_shape.at(-1)} channels are silent.` : ""} Choose a ${isUnits ? "unit" : "picture"} to open it.`),
        disclosure(`Table of the ${isUnits ? "units" : "channels"}`, () => channelTable(layer, values))),
      facts(layer, column)),
    tools: neighbours(column),
    foot: [h("code", layer.formula), h("div.tools", layerDownloads(layer))],
  };
}

/** Return the list of a column's steps; the opened one is marked. */
function steps(column, opened) {
  return h("div.steps", h("h3", "Steps"), h("ol", column.layers.map((layer) => h("li",
    h("button.step-button", { type: "button", aria: layer === opened ? { current: "step" } : {}, on: { click: () => go({ at: { layer: layer.name, channel: null, y: null, x: null } }, { replace: true }) } },
      h("b", layer.name), h("span", layer.active_at_inference ? layer.type : `${layer.type}, only in training`)),
    layer === opened ? h("p", layer.description) : null))));
}

/** Return the figures of a step; with those of its column, which most of the steps do not explain. */
function facts(layer, column) {
  const { size, stride } = layer.receptive_field;
  const entry = (name, value) => h("div", h("dt", name), h("dd", value));
  const counted = (key) => {
    const whole = column.layers.reduce((sum, step) => sum + step[key], 0);
    return whole === layer[key] ? count(whole) : `${count(layer[key])}; ${count(whole)} in ${column.title}`;
  };
  return h("dl.facts",
    entry("input", layer.input_shapes.map(shape).join(" and ")),
    entry("output", shape(layer.output_shape)),
    entry("learned numbers", counted("parameters")),
    entry("multiplications", counted("multiply_adds")),
    entry("receptive field", Math.min(...size) < 28 ? `${shape(size)} of 28 × 28 pixels${stride ? `, in steps of ${stride[0]}` : ""}` : "the whole picture"));
}

function channelTable(layer, values) {
  const rows = Array.from({ length: layer.output_shape.at(-1) }, (_, channel) => {
    const { low, high } = rangeOf(values, channel);
    return layer.output_shape.length === 1 ? [channel, valueText(values, high)] : [channel, valueText(values, low), valueText(values, high)];
  });
  return table(`${layer.name}: every ${layer.output_shape.length === 1 ? "unit" : "channel"}`, layer.output_shape.length === 1 ? ["unit", "value"] : ["channel", "smallest", "largest"], rows);
}

/** Return the buttons to the columns before and after. */
export function neighbours(column) {
  const button = (other, text, label) => (other?.shown ? h("button", { type: "button", aria: { label: `${label}: ${other.title}` }, on: { click: () => openColumn(other) } }, text) : null);
  return [button(map.columns[column.index - 1], "‹", "Previous column"), button(map.columns[column.index + 1], "›", "Next column")].filter(Boolean);
}
