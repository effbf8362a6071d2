/** The layers, one card each: what the layer does, its shapes, its channels as heat maps, and its statistics. */

import { get, send } from "./api.js";
import { onColourScheme, scaleOf } from "./colours.js";
import { byId, count, disclosure, fill, h, number, percent, shape, table } from "./dom.js";
import { Grid } from "./grid.js";
import { extent, legend, paintSheet, paintValues, readSheet } from "./heatmaps.js";
import { updateWhenVisible, on, state } from "./state.js";
import { layerDownloads } from "./downloads.js";

let cards = [];
let inspection = null; // the last response of /inspect

/** Start the section. It makes its cards when a model is chosen. */
export function startLayers() {
  const updater = updateWhenVisible(byId("cards"), inspect);
  byId("scale").addEventListener("change", () => updater.refresh());
  on("network", makeCards);
  onColourScheme(paintAll);
  let width = 0;
  new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - width) < 2) return;
    width = entry.contentRect.width;
    paintAll();
  }).observe(byId("cards"));
}

function makeCards() {
  const { layers, parameters, multiply_adds: products } = state.network;
  cards.forEach((card) => card.channel?.close());
  cards = layers.map((layer) => new Card(layer));
  inspection = null;
  fill(byId("cards"), cards.map((card) => card.element));
  fill(byId("network-facts"), `${layers.length} layers, ${count(parameters)} parameters (numbers that the network has learned), ${count(products)} multiplications for one digit.`);
  fill(byId("map"), h("ol", layers.map((layer) => h("li", h("a", { href: `#layer-${layer.name}`, data: { kind: layer.type } },
    h("b", layer.name), h("span", shape(layer.output_shape)))))));
  for (const link of document.querySelectorAll("#glossary a[data-kind]")) {
    const example = layers.find((layer) => layer.type === link.dataset.kind);
    if (example) link.href = `#layer-${example.name}`;
    link.hidden = !example;
  }
}

async function inspect(signal) {
  const scale = document.querySelector("#scale input:checked").value;
  const response = await send("inspect", { include: "sheets", scale }, signal);
  const sheets = await Promise.all(response.layers.map((layer) => (layer.values || !layer.sheet ? null : readSheet(layer.sheet))));
  if (signal.aborted) return;
  inspection = response;
  performance.mark("layers-answered");
  const maxWidth = maxSheetWidth();
  response.layers.forEach((layer, index) => cards[index]?.show(layer, sheets[index], maxWidth));
  performance.measure("layers-drawn", "layers-answered");
}

function paintAll() {
  if (!inspection) return;
  const maxWidth = maxSheetWidth();
  cards.forEach((card) => card.paint(maxWidth));
}

/** Return the width that a sheet may have, the same on every card. Measured once, before anything is drawn. */
const maxSheetWidth = () => cards[0].grid.element.clientWidth;

/** The card of one layer. */
class Card {
  constructor(layer) {
    this.layer = layer;
    this.spatial = layer.output_shape.length === 3;
    this.rows = layer.output_shape.length === 2; // rows and channels, but no columns
    this.units = layer.output_shape.at(-1);
    this.panel = h("div.panel-place");
    this.badges = h("p.facts");
    this.table = h("div");
    const noun = this.spatial || this.rows ? "channels" : "units";
    this.grid = new Grid({
      label: `${layer.name}: ${this.units} ${this.units === 1 ? noun.slice(0, -1) : noun}`,
      gap: this.spatial ? 1 : 0,
      describe: (at) => this.#describe(at),
      open: layer.computable ? (at) => this.open(at % this.units) : null,
    });
    const heatmap = this.grid.element;
    this.holder = !layer.changes_values
      ? h("details.handed-on", h("summary", "Show the values"), heatmap) : heatmap;
    this.holder.addEventListener("toggle", () => this.paint(maxSheetWidth()));
    this.fewUnits = layer.output_shape.length === 1 && this.units <= 20;
    this.element = h("article.card", { id: `layer-${layer.name}`, tabindex: "-1", aria: { labelledby: `title-${layer.index}` }, data: { type: layer.type } },
      h("header", h("h3", { id: `title-${layer.index}` }, h("span.nth", layer.index), " ", layer.name), h("span.kind", layer.type)),
      h("p", layer.description),
      h("p.formula", h("code", layer.formula)),
      facts(layer),
      this.fewUnits ? this.table : this.holder,
      h("div.under", this.badges, h("div.tools", ...layerDownloads(layer))),
      this.fewUnits ? null : disclosure(`Table of the ${noun}`, () => this.#table()),
      this.panel);
  }

  /** Show the layer's values for an image: its entry of /inspect and its decoded sheet. */
  show(activity, sheet, maxWidth) {
    this.activity = activity;
    this.sheet = sheet;
    const constants = this.#constantChannels().filter(Boolean).length;
    const dead = activity.dead.length;
    fill(this.badges,
      dead ? h("span.tag", `${dead} of ${this.units} ${this.spatial || this.rows ? "channels" : "units"} silent (all 0)`) : null,
      constants > dead ? h("span.tag", `${constants - dead} constant (one value everywhere)`) : null,
      activity.saturated.length ? h("span.tag", `${activity.saturated.length} saturated (nearly all values at a limit)`) : null,
      h("span.tag.plain", `values from ${number(activity.statistics.min)} to ${number(activity.statistics.max)}; ${percent(activity.statistics.zeros)} are 0`));
    if (this.fewUnits) fill(this.table, this.#unitTable());
    this.paint(maxWidth);
    this.channel?.reload();
  }

  /** Draw the heat map, at most `maxWidth` CSS pixels wide. */
  paint(maxWidth) {
    if (!this.activity || this.fewUnits || this.holder.open === false) return;
    if (this.spatial && this.sheet) this.#paintSheet(maxWidth);
    else if (this.activity.values) this.#paintUnits(maxWidth);
    else fill(this.grid.legend, h("p.notes", "Too many values to draw; the downloads hold them."));
    this.grid.refresh();
  }

  #paintSheet(maxWidth) {
    const { height, width, tiles, low, high } = this.sheet;
    const zoom = tiles.length === 1 ? 5 : Math.max(2, Math.min(6, Math.floor(58 / width)));
    const maxColumns = Math.max(1, Math.floor((maxWidth + zoom) / (zoom * (width + 1))));
    const columns = Math.ceil(tiles.length / Math.ceil(tiles.length / maxColumns)); // rows of about the same length
    const constant = this.#constantChannels();
    paintSheet(this.grid.canvas, this.sheet, columns, constant);
    this.grid.setLayout(tiles.length, columns, height, width);
    this.grid.setWidth(Math.min(maxWidth, zoom * (columns * (width + 1) - 1)));
    this.grid.mark(constant.flatMap((is, at) => (is ? [at] : [])), "const");
    const separate = new Set(low).size > 1 || new Set(high).size > 1;
    const [bottom, top] = separate ? [Math.min(...low), Math.max(...high)] : [low[0], high[0]];
    fill(this.grid.legend, legend(scaleOf(bottom, top), separate ? "each channel has its own range" : ""));
  }

  #paintUnits(maxWidth) {
    const { values } = this.activity;
    const columns = this.rows ? this.units : values.length >= 1024 ? 64 : 32;
    const scale = scaleOf(...extent(values));
    paintValues(this.grid.canvas, values, columns, scale);
    this.grid.setLayout(values.length, columns);
    this.grid.setWidth(Math.min(maxWidth, columns * (columns >= 64 ? 9 : 14)));
    fill(this.grid.legend, legend(scale));
  }

  /** Return for each channel whether all its values are the same. */
  #constantChannels() {
    const { channels } = this.activity;
    return channels ? channels.min.map((low, at) => low === channels.max[at]) : [];
  }

  #describe(at) {
    if (!this.activity) return `${at}`;
    const { channels, values } = this.activity;
    if (this.rows) return `Row ${Math.floor(at / this.units)}, channel ${at % this.units}: ${number(values[at])}`;
    if (values) return `Unit ${at}: ${number(values[at])}`;
    const [low, high] = [channels.min[at], channels.max[at]];
    return low === high ? `Channel ${at}: constant ${number(low)}` : `Channel ${at}: ${number(low)} to ${number(high)}, mean ${number(channels.mean[at])}`;
  }

  #table() {
    if (!this.activity) return h("p", "No digit has been read yet.");
    const { channels, values } = this.activity;
    if (!channels && !values) return h("p", "Too many values for a table; the downloads hold them.");
    if (!channels) return table(`${this.layer.name}: every unit`, ["unit", "value"], values.map((value, at) => [at, number(value)]));
    return table(`${this.layer.name}: every channel`, ["channel", "smallest", "largest", "mean", "standard deviation", "zeros"],
      channels.min.map((low, at) => [at, number(low), number(channels.max[at]), number(channels.mean[at]), number(channels.std[at]), percent(channels.zeros[at])]));
  }

  /** Make the table of a layer with few units. For a softmax it shows logits, exponentials and shares. */
  #unitTable() {
    const before = inspection.layers.find((layer) => layer.name === this.layer.inputs[0])?.values;
    const isSoftmax = ["Softmax", "Activation"].includes(this.layer.type) && this.layer.activation === "softmax" && before;
    const exponentials = isSoftmax ? before.map((logit) => Math.exp(logit)) : [];
    const sum = exponentials.reduce((a, b) => a + b, 0);
    // The response rounds relative to the largest value, so it has few digits of very small shares.
    const values = isSoftmax ? exponentials.map((value) => value / sum) : this.activity.values;
    const best = values.indexOf(Math.max(...values));
    const choose = (at) => h("button.link", { type: "button", aria: { label: `How unit ${at} is calculated` }, on: { click: () => this.open(at) } }, number(values[at]));
    const [low, high] = extent(values);
    const rows = values.map((value, at) => h(at === best ? "tr.best" : "tr", h("th", { scope: "row" }, at),
      isSoftmax ? [h("td", number(before[at])), h("td", number(exponentials[at]))] : null, h("td", choose(at)), h("td.track", signedBar(value, low, high))));
    const total = isSoftmax ? h("tfoot", h("tr", h("th", { scope: "row" }, "sum"), h("td", ""), h("td", number(sum)), h("td", "1"), h("td", ""))) : null;
    return h("table.figures", h("caption.visually-hidden", `Values of ${this.layer.name}`),
      h("thead", h("tr", ["unit", ...(isSoftmax ? ["logit x", "eˣ", "share of the sum"] : ["value"]), "bar"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", rows), total);
  }

  /** Open the panel of a channel, or of a unit in a layer without rows and columns. */
  async open(at) {
    const { openChannel } = await import("./channel_panel.js");
    this.channel?.close();
    this.channel = openChannel(this.layer, at, this.panel, () => {
      this.channel = null;
      if (this.fewUnits) this.element.focus();
      else this.grid.focus();
    }, (channel) => { this.grid.select(channel); });
  }
}

/** Open a channel or unit in its layer's card and scroll there. */
export function openChannelInCard(name, channel) {
  const card = cards.find((candidate) => candidate.layer.name === name);
  card?.open(channel);
  card?.element.scrollIntoView({ block: "start" });
}

function signedBar(value, low, high) {
  const [bottom, top] = [Math.min(0, low), Math.max(0, high)];
  const span = top - bottom || 1;
  const bar = h(value < 0 ? "span.bar.negative" : "span.bar");
  bar.style.left = `${(100 * (Math.min(0, value) - bottom)) / span}%`;
  bar.style.width = `${(100 * Math.abs(value)) / span}%`;
  return h("span.rail", { aria: { hidden: "true" } }, bar);
}

function facts(layer) {
  const { size, stride } = layer.receptive_field;
  const entry = (name, value) => h("div", h("dt", name), h("dd", value));
  return h("dl.shape",
    entry("input", layer.input_shapes.map(shape).join(" and ")),
    entry("output", shape(layer.output_shape)),
    entry("parameters", count(layer.parameters)),
    entry("multiplications", count(layer.multiply_adds)),
    entry("receptive field", Math.min(...size) < 28 ? `${shape(size)} of 28 × 28 pixels${stride ? `, in steps of ${stride[0]}` : ""}` : "the whole picture"),
    layer.active_at_inference ? null : entry("status", "inactive: works only during training"));
}

/** Fetch the description of a model's layers. */
export async function fetchNetwork(name) {
  return get(`models/${encodeURIComponent(name)}/layers`);
}
