/** Where one number comes from: its equation with real numbers, and back from layer to layer. */

import { send } from "./api.js";
import { scaleOf } from "./colours.js";
import { fill, h, number, operand, position, table } from "./dom.js";
import { drawReceptiveField } from "./receptive_field.js";
import { matrix } from "./matrix.js";
import { extent } from "./heatmaps.js";
import { emit } from "./state.js";

/** Steps from a unit back to the pixels; each names the strongest of what entered it. */
export class UnitTrace {
  constructor() {
    this.steps = h("ol.trace");
    this.fields = h("div.fields");
    this.all = h("button", { type: "button", hidden: true, on: { click: () => this.#toThePixel() } }, "Follow the strongest input back to the pixel");
    this.element = h("div.tracing", h("h5", "Where the number comes from"), this.fields, this.steps, this.all);
  }

  /** Begin anew with a unit. */
  async start(layer, unit) {
    this.controller?.abort();
    this.controller = new AbortController();
    this.path = [];
    this.all.hidden = true; // until there is a step to go on from
    const { signal } = this.controller;
    let found = await this.#add(layer, unit, signal);
    // What only bends or shifts one number is passed at once, up to the sum behind it.
    while (found && isOneToOne(found)) {
      const to = sourceOf(found);
      found = to && to.layer !== "image" ? await this.#add(to.layer, to.unit, signal) : null;
    }
  }

  async #add(layer, unit, signal) {
    try {
      const found = await send(`layers/${layer}/unit`, unit, signal);
      if (signal.aborted) return null;
      this.path.push(found);
      const step = h("li.step", explain(found, (to) => this.#from(found, to)));
      if (this.path.length === 1) fill(this.steps, step);
      else this.steps.append(step);
      if (this.path.length === 1) drawReceptiveField(this.fields, found);
      this.all.hidden = sourceOf(found) === null || sourceOf(found).layer === "image";
      return found;
    } catch (error) {
      if (error.name !== "AbortError") emit("error", error);
      return null;
    }
  }

  /** Go on from a step to one of its inputs; what came after that step is dropped. */
  async #from(found, to) {
    const kept = this.path.indexOf(found) + 1;
    this.path.length = kept;
    while (this.steps.children.length > kept) this.steps.lastChild.remove();
    const step = await this.#add(to.layer, to.unit, this.controller.signal);
    if (step) this.steps.lastChild.querySelector("h6").focus();
  }

  async #toThePixel() {
    let found = this.path.at(-1);
    this.all.hidden = true;
    for (let to = sourceOf(found); to && to.layer !== "image"; to = found && sourceOf(found)) {
      found = await this.#add(to.layer, to.unit, this.controller.signal);
    }
    this.steps.lastChild?.querySelector("h6").focus();
  }
}

const isOneToOne = ({ operands }) => typeof operands.x === "number";

/** The input that weighed most: its layer and unit, `image` at the end, or null where none counts. */
function sourceOf({ operands, inputs, unit, layer, channel_sums: sums }) {
  const [first] = inputs;
  const { channel, y, x } = unit;
  const to = (at, from = first) => ({ layer: from, unit: at });
  if (operands.products && operands.corner) {
    let best = null;
    eachProduct(operands, (product, dy, dx, input) => {
      if (best === null || Math.abs(product) > Math.abs(best.product)) best = { product, dy, dx, input };
    });
    return best.product === 0 ? null : to(inside(operands, best));
  }
  if (operands.largest) return operands.largest[0] && operands.largest[0].product ? to({ channel: operands.largest[0].input }) : null;
  if (operands.padding) return null;
  if (operands.place) return to({ channel, y: operands.place[0], x: operands.place[1] });
  if (operands.winner) return to({ channel, y: operands.winner[0], x: operands.winner[1] });
  if (operands.source) {
    const { source } = operands;
    return source.length === 3 ? to({ channel: source[2], y: source[0], x: source[1] }) : to({ channel: source.at(-1) });
  }
  if (operands.exponentials) return to({ channel });
  if (Number.isInteger(operands.input)) return to({ channel: operands.channel, y, x }, inputs[operands.input]);
  if (operands.values && inputs.length > 1) {
    const values = operands.values.map(Math.abs);
    return to({ channel, y, x }, inputs[values.indexOf(Math.max(...values))]);
  }
  if (operands.places) {
    const values = operands.values.map(Math.abs);
    const [row, column] = operands.places[values.indexOf(Math.max(...values))];
    return to({ channel, y: row, x: column });
  }
  return layer && "x" in operands ? to({ channel, y, x }) : null;
}

function eachProduct({ products }, see) {
  products.forEach((row, dy) => row.forEach((cell, dx) => cell.forEach((product, input) => see(product, dy, dx, input))));
}

const inside = ({ corner, input_channels: [from] }, { dy, dx, input }) => ({ channel: from + input, y: corner[0] + dy, x: corner[1] + dx });

/** One step: which unit, its equation worked out, and ways on. */
function explain(found, go) {
  const { layer, unit } = found;
  const where = unit.y === null ? `unit ${unit.channel}` : `channel ${unit.channel}, ${position(unit.y, unit.x)}`;
  const to = sourceOf(found);
  const end = to?.layer === "image";
  return [
    h("h6", { tabindex: "-1" }, `${layer.name}, ${where}`),
    h("p.formula", h("code", found.formula)),
    ...working(found, go),
    h("p.sum", { data: { reconstructed: found.reconstructed, observed: found.observed } },
      h("b", `= ${number(found.reconstructed, 6)}`), ` worked out here; the network gave ${number(found.observed, 6)}; they differ by ${number(found.abs_error, 2)}.`),
    end ? h("p.notes", `This is the end of the trace: ${position(to.unit.y, to.unit.x)} of the 28 × 28 has the grey level ${number(found.operands.x)}.`)
      : to && h("button", { type: "button", on: { click: () => go(to) } }, `Step back to ${to.layer}: what weighed most`),
  ];
}

function working(found, go) {
  const { operands } = found;
  if (operands.products && operands.corner) return convolution(found, go);
  if (operands.largest) return dense(found, go);
  if (operands.exponentials) return softmax(found);
  if (operands.places) return window(found, go);
  return [h("p.equation", found.equation)];
}

/** A kernel on its patch: for one input channel three tables, for many the channels' sums first. */
function convolution(found, go) {
  const { operands, channel_sums: sums, bias, inputs } = found;
  const [from] = operands.input_channels;
  const order = sums.map((_, at) => at).sort((a, b) => Math.abs(sums[b]) - Math.abs(sums[a]));
  const detail = h("div");
  const show = (input) => fill(detail, product(operands, input, (y, x) => go({ layer: inputs[0], unit: inside(operands, { dy: y, dx: x, input }) }), sums));
  show(order[0]);
  if (sums.length === 1) return [detail, h("p.equation", found.equation)];
  const most = order.slice(0, 6);
  const rest = order.slice(6).reduce((sum, at) => sum + sums[at], 0);
  return [
    h("p", `The kernel has a table for each of ${sums.length} input channels. Their sums, the largest first; choose one to see its products.`),
    h("div.sums", most.map((at) => h("button", { type: "button", on: { click: () => show(at) } }, h("small", `channel ${from + at}`), number(sums[at]))),
      order.length > 6 ? h("span", h("small", `other ${order.length - 6}`), number(rest)) : null,
      bias === null ? null : h("span", h("small", "bias"), number(bias))),
    h("details", h("summary", `All ${sums.length} sums`), table("What each input channel adds", ["input channel", "sum"],
      [...sums.map((sum, at) => [from + at, number(sum, 7)]), ...(bias === null ? [] : [["bias", number(bias, 7)]])])),
    detail,
  ];
}

function product({ patch, kernel, products, input_channels: [from] }, input, choose, sums) {
  const plane = (array) => array.map((row) => row.map((cell) => cell[input]));
  const [values, weights, results] = [patch, kernel, products].map(plane);
  const scale = (rows) => { const [low, high] = extent(rows.flat()); const limit = Math.max(-low, high) || 1; return scaleOf(low < 0 ? -limit : 0, limit); };
  const symmetric = (rows) => { const limit = Math.max(...rows.flat().map(Math.abs)) || 1; return { map: "diverging", low: -limit, high: limit }; };
  return h("div.working",
    matrix(values, scale(values), `input ${from + input}`, choose), h("span.sign", "×"),
    matrix(weights, symmetric(weights), "kernel"), h("span.sign", "="),
    matrix(results, symmetric(results), "products"), h("span.sign", "→"),
    h("p.total", h("small", "sum of the products"), h("b", number(sums[input]))));
}

function dense(found, go) {
  const { operands, bias, inputs, reconstructed } = found;
  const listed = operands.largest;
  const rest = (found.pre_activation ?? reconstructed) - (bias ?? 0) - listed.reduce((sum, one) => sum + one.product, 0);
  const button = (one) => h("button.link", { type: "button", on: { click: () => go({ layer: inputs[0], unit: { channel: one.input } }) } }, `${one.input}`);
  const rows = [...listed.map((one) => [button(one), number(one.x), number(one.weight), number(one.product)]),
    [`other ${operands.x.length - listed.length}`, "", "", number(rest)], ...(bias === null ? [] : [["bias", "", "", number(bias)]]),
    ["sum", "", "", number(found.pre_activation ?? reconstructed, 6)]];
  return [h("p", `${operands.x.length} inputs, each times its weight. The weightiest:`), table("The weightiest inputs", ["input", "value x", "weight W", "x · W"], rows)];
}

function softmax({ operands, unit, reconstructed }) {
  const raised = operands.x.map(Math.exp);
  const sum = raised.reduce((a, b) => a + b, 0);
  return [h("p.equation", `exp(${number(operands.x[unit.channel])}) / (${operands.x.map((x) => `exp${operand(x).startsWith("(") ? operand(x) : `(${operand(x)})`}`).join(" + ")})`),
    h("p.equation", `= ${number(raised[unit.channel])} / ${number(sum)} = ${number(reconstructed, 6)}`)];
}

function window({ operands, inputs, unit }, go) {
  const { values, places, winner } = operands;
  return [h("div.sums", values.map((value, at) => {
    const [y, x] = places[at];
    const won = winner && winner[0] === y && winner[1] === x;
    return h(won ? "button.won" : "button", { type: "button", on: { click: () => go({ layer: inputs[0], unit: { channel: unit.channel, y, x } }) } }, h("small", `${y}, ${x}`), number(value));
  })), h("p.equation", winner ? `The largest of ${values.length}: ${number(Math.max(...values))}, from ${position(...winner)}.` : `The mean of ${values.length}.`)];
}
