/** The calculation of one value: its equation with actual numbers, and the same for its inputs, layer by layer. */

import { send } from "./api.js";
import { scaleOf } from "./colours.js";
import { fill, h, number, operand, position, table } from "./dom.js";
import { drawReceptiveField } from "./receptive_field.js";
import { matrix } from "./matrix.js";
import { extent } from "./heatmaps.js";
import { emit } from "./state.js";

/** A list of steps from a unit back to a pixel. Each step shows one calculation and offers its strongest input. */
export class UnitTrace {
  constructor() {
    this.steps = h("ol.trace");
    this.fields = h("div.fields");
    this.followAll = h("button", { type: "button", hidden: true, on: { click: () => this.#followToPixel() } }, "Follow the strongest input back to the pixel");
    this.element = h("div.tracing", h("h5", "How this value is calculated"), this.fields, this.steps, this.followAll);
  }

  /** Start a new trace at a unit. */
  async start(layer, unit) {
    this.controller?.abort();
    this.controller = new AbortController();
    this.path = [];
    this.followAll.hidden = true; // until a step is shown
    const { signal } = this.controller;
    let result = await this.#add(layer, unit, signal);
    // Steps that change a single number, such as a ReLU, continue at once to the sum before them.
    while (result && isOneToOne(result)) {
      const to = strongestInput(result);
      result = to && to.layer !== "image" ? await this.#add(to.layer, to.unit, signal) : null;
    }
  }

  /** Fetch and show one step. Returns null if the request failed or was aborted. */
  async #add(layer, unit, signal) {
    try {
      const result = await send(`layers/${layer}/unit`, unit, signal);
      if (signal.aborted) return null;
      this.path.push(result);
      const step = h("li.step", renderStep(result, (to) => this.#goFrom(result, to)));
      if (this.path.length === 1) fill(this.steps, step);
      else this.steps.append(step);
      if (this.path.length === 1) drawReceptiveField(this.fields, result);
      this.followAll.hidden = strongestInput(result) === null || strongestInput(result).layer === "image";
      return result;
    } catch (error) {
      if (error.name !== "AbortError") emit("error", error);
      return null;
    }
  }

  /** Continue from a step with one of its inputs, and remove all later steps. */
  async #goFrom(result, to) {
    const kept = this.path.indexOf(result) + 1;
    this.path.length = kept;
    while (this.steps.children.length > kept) this.steps.lastChild.remove();
    const step = await this.#add(to.layer, to.unit, this.controller.signal);
    if (step) this.steps.lastChild.querySelector("h6").focus();
  }

  /** Follow the strongest input of each step until a pixel is reached. */
  async #followToPixel() {
    let result = this.path.at(-1);
    this.followAll.hidden = true;
    for (let to = strongestInput(result); to && to.layer !== "image"; to = result && strongestInput(result)) {
      result = await this.#add(to.layer, to.unit, this.controller.signal);
    }
    this.steps.lastChild?.querySelector("h6").focus();
  }
}

/** Return a unit's position in words: a layer over rows alone has no columns. */
const placeOf = ({ y, x }) => (x === null ? `row ${y}` : position(y, x));

/** Return whether a unit has a single input number. */
const isOneToOne = ({ operands }) => typeof operands.x === "number";

/** Return the layer and unit of the input with the largest contribution: layer `image` at the end, null if all are 0. */
function strongestInput({ operands, inputs, unit, layer, channel_sums: sums }) {
  const [first] = inputs;
  const { channel, y, x } = unit;
  const to = (target, from = first) => ({ layer: from, unit: target });
  if (operands.products && operands.corner) {
    let strongest = null;
    forEachProduct(operands, (product, dy, dx, input) => {
      if (strongest === null || Math.abs(product) > Math.abs(strongest.product)) strongest = { product, dy, dx, input };
    });
    return strongest.product === 0 ? null : to(inputUnit(operands, strongest));
  }
  if (operands.largest) return operands.largest[0] && operands.largest[0].product ? to({ channel: operands.largest[0].input, y, x }) : null;
  if (operands.padding) return null;
  if (operands.place) return to(unitAt([...operands.place, channel]));
  if (operands.winner) return to(unitAt([...operands.winner, channel]));
  if (operands.source) return to(unitAt(operands.source));
  if (operands.exponentials) return to({ channel, y, x });
  if (Number.isInteger(operands.input)) return to(unitAt(operands.index), inputs[operands.input]);
  if (operands.values && inputs.length > 1) {
    const values = operands.values.map(Math.abs);
    return to({ channel, y, x }, inputs[values.indexOf(Math.max(...values))]);
  }
  if (operands.places) {
    const values = operands.values.map(Math.abs);
    return to(unitAt([...operands.places[values.indexOf(Math.max(...values))], channel]));
  }
  return layer && "x" in operands ? to({ channel, y, x }) : null;
}

/** Return the unit with an index of one, two or three numbers, the channel last. */
const unitAt = (index) => ({ channel: index.at(-1), y: index.length > 1 ? index[0] : null, x: index.length > 2 ? index[1] : null });

/** Return an array of a kernel as rows, columns and channels: one over rows alone gets one column. */
const asPlanes = (array) => (Array.isArray(array[0][0]) ? array : array.map((cell) => [cell]));

function forEachProduct({ products }, visit) {
  asPlanes(products).forEach((row, dy) => row.forEach((cell, dx) => cell.forEach((product, input) => visit(product, dy, dx, input))));
}

/** Return the input unit that a kernel's weight is multiplied by. */
const inputUnit = ({ corner, input_channels: [from] }, { dy, dx, input }) => unitAt([...corner.map((start, axis) => start + [dy, dx][axis]), from + input]);

/** Return the elements of one step: the unit, its calculation, and a button to its strongest input. */
function renderStep(result, go) {
  const { layer, unit } = result;
  const where = unit.y === null ? `unit ${unit.channel}` : `channel ${unit.channel}, ${placeOf(unit)}`;
  const to = strongestInput(result);
  const isPixel = to?.layer === "image";
  return [
    h("h6", { tabindex: "-1" }, `${layer.name}, ${where}`),
    h("p.formula", h("code", result.formula)),
    ...calculation(result, go),
    h("p.sum", { data: { reconstructed: result.reconstructed, observed: result.observed } },
      h("b", `= ${number(result.reconstructed, 6)}`), ` is the calculated value. The network's own value is ${number(result.observed, 6)}; the difference is ${number(result.abs_error, 2)}.`),
    isPixel ? h("p.notes", `The trace ends here: the pixel in ${position(to.unit.y, to.unit.x)} of the 28 × 28 picture has the grey level ${number(result.operands.x)}.`)
      : to && h("button", { type: "button", on: { click: () => go(to) } }, `Go to the strongest input, in ${to.layer}`),
  ];
}

/** Return the elements that show a unit's calculation, by the kind of its operands. */
function calculation(result, go) {
  const { operands } = result;
  if (operands.products && operands.corner) return convolution(result, go);
  if (operands.largest) return dense(result, go);
  if (operands.exponentials) return softmax(result);
  if (operands.places) return pooling(result, go);
  return [h("p.equation", result.equation)];
}

/** Show a kernel on its patch: three tables for one input channel; with several channels, first the sum of each. */
function convolution(result, go) {
  const { operands, channel_sums: sums, bias, inputs } = result;
  const [from] = operands.input_channels;
  const order = sums.map((_, at) => at).sort((a, b) => Math.abs(sums[b]) - Math.abs(sums[a]));
  const detail = h("div");
  const show = (input) => fill(detail, product(operands, input, (y, x) => go({ layer: inputs[0], unit: inputUnit(operands, { dy: y, dx: x, input }) }), sums));
  show(order[0]);
  if (sums.length === 1) return [detail, h("p.equation", result.equation)];
  const largest = order.slice(0, 6);
  const rest = order.slice(6).reduce((sum, at) => sum + sums[at], 0);
  return [
    h("p", `The kernel has one table of weights for each of the ${sums.length} input channels. Below is the sum of each channel, largest first. Choose one to see its products.`),
    h("div.sums", largest.map((at) => h("button", { type: "button", on: { click: () => show(at) } }, h("small", `channel ${from + at}`), number(sums[at]))),
      order.length > 6 ? h("span", h("small", `other ${order.length - 6}`), number(rest)) : null,
      bias === null ? null : h("span", h("small", "bias"), number(bias))),
    h("details", h("summary", `All ${sums.length} sums`), table("Sum of each input channel", ["input channel", "sum"],
      [...sums.map((sum, at) => [from + at, number(sum, 7)]), ...(bias === null ? [] : [["bias", number(bias, 7)]])])),
    detail,
  ];
}

/** Show input, kernel and products of one input channel. */
function product({ patch, kernel, products, input_channels: [from] }, input, choose, sums) {
  const plane = (array) => asPlanes(array).map((row) => row.map((cell) => cell[input]));
  const [values, weights, results] = [patch, kernel, products].map(plane);
  const scale = (rows) => { const [low, high] = extent(rows.flat()); const limit = Math.max(-low, high) || 1; return scaleOf(low < 0 ? -limit : 0, limit); };
  const symmetric = (rows) => { const limit = Math.max(...rows.flat().map(Math.abs)) || 1; return { map: "diverging", low: -limit, high: limit }; };
  return h("div.working",
    matrix(values, scale(values), `input ${from + input}`, choose), h("span.sign", "×"),
    matrix(weights, symmetric(weights), "kernel"), h("span.sign", "="),
    matrix(results, symmetric(results), "products"), h("span.sign", "→"),
    h("p.total", h("small", "sum of the products"), h("b", number(sums[input]))));
}

/** Show the largest products of a dense unit. */
function dense({ operands, bias, inputs, unit, reconstructed, pre_activation: weightedSum }, go) {
  const listed = operands.largest;
  const rest = (weightedSum ?? reconstructed) - (bias ?? 0) - listed.reduce((sum, term) => sum + term.product, 0);
  const button = (input) => h("button.link", { type: "button", on: { click: () => go({ layer: inputs[0], unit: { ...unit, channel: input } }) } }, `${input}`);
  const rows = [...listed.map(({ input, x, weight, product: value }) => [button(input), number(x), number(weight), number(value)]),
    [`other ${operands.x.length - listed.length}`, "", "", number(rest)], ...(bias === null ? [] : [["bias", "", "", number(bias)]]),
    ["sum", "", "", number(weightedSum ?? reconstructed, 6)]];
  return [h("p", `Each of the ${operands.x.length} inputs is multiplied by its weight. The largest products:`), table("The largest products", ["input", "value x", "weight W", "x · W"], rows)];
}

/** Show the fraction that gives a probability. */
function softmax({ operands, reconstructed }) {
  const exponentials = operands.x.map(Math.exp);
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return [h("p.equation", `exp(${number(operands.x[operands.at])}) / (${operands.x.map((x) => `exp${operand(x).startsWith("(") ? operand(x) : `(${operand(x)})`}`).join(" + ")})`),
    h("p.equation", `= ${number(exponentials[operands.at])} / ${number(sum)} = ${number(reconstructed, 6)}`)];
}

/** Show the values of a pooling window, or of merged inputs at one position. */
function pooling({ operands, inputs, unit, equation }, go) {
  const { values, places, winner } = operands;
  return [h("div.sums", values.map((value, at) => {
    const isWinner = winner && places[at].every((index, axis) => index === winner[axis]);
    const to = { layer: inputs[0], unit: unitAt([...places[at], unit.channel]) };
    return h(isWinner ? "button.won" : "button", { type: "button", on: { click: () => go(to) } }, h("small", places[at].join(", ")), number(value));
  })), h("p.equation", winner ? `The largest of ${values.length} values is ${number(Math.max(...values))}, in ${placeOf(unitAt([...winner, 0]))}.` : equation)];
}
