/** The layers, a card each: what it does, its shape, its channels as a sheet, its figures. */

import { get, send } from "./api.js";
import { onColourScheme, scaleOf } from "./colours.js";
import { byId, count, disclosure, fill, h, number, percent, shape, table } from "./dom.js";
import { Grid } from "./grid.js";
import { extent, legend, paintSheet, paintValues, readSheet } from "./heatmaps.js";
import { updateWhenVisible, on, state } from "./state.js";
import { layerDownloads } from "./downloads.js";

let cards = [];
let seen = null; // the last answer of /inspect

/** Wire the section; cards are made when a model is chosen. */
export function startLayers() {
  const follow = updateWhenVisible(byId("cards"), inspect);
  byId("scale").addEventListener("change", () => follow.refresh());
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
  seen = null;
  fill(byId("cards"), cards.map((card) => card.element));
  fill(byId("network-facts"), `${layers.length} layers, ${count(parameters)} learned numbers, ${count(products)} multiplications for one digit.`);
  fill(byId("map"), h("ol", layers.map((layer) => h("li", h("a", { href: `#layer-${layer.name}`, data: { kind: layer.type } },
    h("b", layer.name), h("span", shape(layer.output_shape)))))));
  for (const link of document.querySelectorAll("#glossary a[data-kind]")) {
    const found = layers.find((layer) => layer.type === link.dataset.kind);
    if (found) link.href = `#layer-${found.name}`;
    link.hidden = !found;
  }
}

async function inspect(signal) {
  const scale = document.querySelector("#scale input:checked").value;
  const answer = await send("inspect", { include: "sheets", scale }, signal);
  const sheets = await Promise.all(answer.layers.map((layer) => (layer.values ? null : readSheet(layer.sheet))));
  if (signal.aborted) return;
  seen = answer;
  performance.mark("layers-answered");
  const room = roomForSheets();
  answer.layers.forEach((layer, at) => cards[at]?.show(layer, sheets[at], room));
  performance.measure("layers-drawn", "layers-answered");
}

function paintAll() {
  if (!seen) return;
  const room = roomForSheets();
  cards.forEach((card) => card.paint(room));
}

/** The width of a sheet, the same on every card; measured once, before anything is drawn. */
const roomForSheets = () => cards[0].grid.element.clientWidth;

/** One layer's card. */
class Card {
  constructor(layer) {
    this.layer = layer;
    this.spatial = layer.output_shape.length === 3;
    this.units = layer.output_shape.at(-1);
    this.panel = h("div.panel-place");
    this.badges = h("p.facts");
    this.table = h("div");
    const what = this.spatial ? "channels" : "units";
    this.grid = new Grid({
      label: `${layer.name}: ${this.units} ${this.units === 1 ? what.slice(0, -1) : what}`,
      gap: this.spatial ? 1 : 0,
      describe: (at) => this.#describe(at),
      open: layer.computable ? (at) => this.open(at) : null,
    });
    const picture = this.grid.element;
    this.holder = !layer.changes_values || layer.output_shape.length === 2
      ? h("details.handed-on", h("summary", "Show the values"), picture) : picture;
    this.holder.addEventListener("toggle", () => this.paint(roomForSheets()));
    this.few = !this.spatial && this.units <= 20;
    this.element = h("article.card", { id: `layer-${layer.name}`, tabindex: "-1", aria: { labelledby: `title-${layer.index}` }, data: { type: layer.type } },
      h("header", h("h3", { id: `title-${layer.index}` }, h("span.nth", layer.index), " ", layer.name), h("span.kind", layer.type)),
      h("p", layer.description),
      h("p.formula", h("code", layer.formula)),
      facts(layer),
      this.few ? this.table : this.holder,
      h("div.under", this.badges, h("div.tools", ...layerDownloads(layer))),
      this.few ? null : disclosure("Table of the figures", () => this.#table()),
      this.panel);
  }

  /** Show what the layer holds for an image. */
  show(activity, sheet, room) {
    this.activity = activity;
    this.sheet = sheet;
    const constants = this.#constant().filter(Boolean).length;
    const dead = activity.dead.length;
    fill(this.badges,
      dead ? h("span.tag", `${dead} of ${this.units} ${this.spatial ? "channels" : "units"} silent (all 0)`) : null,
      constants > dead && this.spatial ? h("span.tag", `${constants - dead} constant`) : null,
      activity.saturated.length ? h("span.tag", `${activity.saturated.length} saturated`) : null,
      h("span.tag.plain", `from ${number(activity.statistics.min)} to ${number(activity.statistics.max)}, ${percent(activity.statistics.zeros)} are 0`));
    if (this.few) fill(this.table, this.#figures());
    this.paint(room);
    this.channel?.renew();
  }

  /** Draw the sheet as wide as there is room. */
  paint(room) {
    if (!this.activity || this.few || this.holder.open === false) return;
    if (this.spatial) this.#paintSheet(room);
    else this.#paintUnits(room);
    this.grid.refresh();
  }

  #paintSheet(room) {
    const { height, width, tiles, low, high } = this.sheet;
    const times = tiles.length === 1 ? 5 : Math.max(2, Math.min(6, Math.floor(58 / width)));
    const fit = Math.max(1, Math.floor((room + times) / (times * (width + 1))));
    const columns = Math.ceil(tiles.length / Math.ceil(tiles.length / fit)); // rows of about the same length
    const constant = this.#constant();
    paintSheet(this.grid.canvas, this.sheet, columns, constant);
    this.grid.lay(tiles.length, columns, height, width);
    this.grid.setWidth(Math.min(room, times * (columns * (width + 1) - 1)));
    this.grid.mark(constant.flatMap((is, at) => (is ? [at] : [])), "const");
    const each = new Set(low).size > 1 || new Set(high).size > 1;
    const [bottom, top] = each ? [Math.min(...low), Math.max(...high)] : [low[0], high[0]];
    fill(this.grid.legend, legend(scaleOf(bottom, top), each ? "each channel has its own ends" : ""));
  }

  #paintUnits(room) {
    const { values } = this.activity;
    const columns = values.length >= 1024 ? 64 : 32;
    const scale = scaleOf(...extent(values));
    paintValues(this.grid.canvas, values, columns, scale);
    this.grid.lay(values.length, columns);
    this.grid.setWidth(Math.min(room, columns * (columns === 64 ? 9 : 14)));
    fill(this.grid.legend, legend(scale));
  }

  #constant() {
    const { channels } = this.activity;
    return channels ? channels.min.map((low, at) => low === channels.max[at]) : [];
  }

  #describe(at) {
    if (!this.activity) return `${at}`;
    const { channels, values } = this.activity;
    if (values) return `Unit ${at}: ${number(values[at])}`;
    const [low, high] = [channels.min[at], channels.max[at]];
    return low === high ? `Channel ${at}: constant ${number(low)}` : `Channel ${at}: ${number(low)} to ${number(high)}, mean ${number(channels.mean[at])}`;
  }

  #table() {
    if (!this.activity) return h("p", "Nothing was read yet.");
    const { channels, values } = this.activity;
    if (values) return table(`${this.layer.name}: every unit`, ["unit", "value"], values.map((value, at) => [at, number(value)]));
    return table(`${this.layer.name}: every channel`, ["channel", "smallest", "largest", "mean", "spread", "zeros"],
      channels.min.map((low, at) => [at, number(low), number(channels.max[at]), number(channels.mean[at]), number(channels.std[at]), percent(channels.zeros[at])]));
  }

  /** A layer of few units is its table: for a softmax with logits, exponentials and shares. */
  #figures() {
    const before = seen.layers.find((layer) => layer.name === this.layer.inputs[0])?.values;
    const soft = this.layer.activation === "softmax" && before;
    const raised = soft ? before.map((one) => Math.exp(one)) : [];
    const sum = raised.reduce((a, b) => a + b, 0);
    // Shares of a millionth have few digits left in the answer, which rounds by the largest.
    const values = soft ? raised.map((one) => one / sum) : this.activity.values;
    const best = values.indexOf(Math.max(...values));
    const choose = (at) => h("button.link", { type: "button", aria: { label: `How unit ${at} comes about` }, on: { click: () => this.open(at) } }, number(values[at]));
    const [low, high] = extent(values);
    const rows = values.map((value, at) => h(at === best ? "tr.best" : "tr", h("th", { scope: "row" }, at),
      soft ? [h("td", number(before[at])), h("td", number(raised[at]))] : null, h("td", choose(at)), h("td.track", signedBar(value, low, high))));
    const total = soft ? h("tfoot", h("tr", h("th", { scope: "row" }, "sum"), h("td", ""), h("td", number(sum)), h("td", "1"), h("td", ""))) : null;
    return h("table.figures", h("caption.visually-hidden", `${this.layer.name}, unit by unit`),
      h("thead", h("tr", ["unit", ...(soft ? ["logit x", "eˣ", "share of the sum"] : ["value"]), "picture"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", rows), total);
  }

  /** Open a channel, or a unit of a layer without places. */
  async open(at) {
    const { openChannel } = await import("./channel_panel.js");
    this.channel?.close();
    this.channel = openChannel(this.layer, at, this.panel, () => {
      this.channel = null;
      if (this.few) this.element.focus();
      else this.grid.focus();
    }, (other) => { this.grid.select(other); });
  }
}

/** Have a card open a channel or unit from elsewhere. */
export function openChannelInCard(name, at) {
  const card = cards.find((one) => one.layer.name === name);
  card?.open(at);
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
    entry("in", layer.input_shapes.map(shape).join(" and ")),
    entry("out", shape(layer.output_shape)),
    entry("learned numbers", count(layer.parameters)),
    entry("multiplications", count(layer.multiply_adds)),
    entry("each value sees", `${Math.min(...size) < 28 ? `${shape(size)} of 28 × 28` : "the whole picture"}${stride ? `, in steps of ${stride[0]}` : ""}`),
    layer.active_at_inference ? null : entry("now", "inactive: works in training only"));
}

/** Choose a model and describe its layers. */
export async function describeNetwork(name) {
  return get(`models/${encodeURIComponent(name)}/layers`);
}
