/** The panel of one channel: its values enlarged, its kernel, and the calculation of a chosen pixel. */

import { getBytes, sendForBytes } from "./api.js";
import { readNpy, readNpz } from "./numpy_files.js";
import { onColourScheme, scaleOf } from "./colours.js";
import { disclosure, fill, h, number, position, announce, table } from "./dom.js";
import { Grid } from "./grid.js";
import { matrix } from "./matrix.js";
import { extent, legend, paintSheet, paintValues } from "./heatmaps.js";
import { state, emit } from "./state.js";
import { UnitTrace } from "./unit_trace.js";

const kernels = new Map(); // promises of kernels, by `model/layer`

/**
 * Open a panel for a channel or unit.
 *
 * @param {object} layer The layer's entry of `/models/{model}/layers`.
 * @param {number} channel The channel, or the unit of a layer without rows and columns.
 * @param {HTMLElement} container The element that gets the panel.
 * @param {() => void} onClose Called when the user closes the panel; moves the focus back.
 * @param {(channel: number) => void} onMove Called when the panel shows another channel.
 */
export function openChannel(layer, channel, container, onClose, onMove) {
  const panel = new Panel(layer, channel, container, onClose, onMove);
  panel.load(true);
  return panel;
}

class Panel {
  constructor(layer, channel, container, onClose, onMove) {
    Object.assign(this, { layer, channel, container, onClose, onMove });
    this.rows = layer.output_shape.length === 2; // rows and channels: a map of one column
    this.spatial = layer.output_shape.length === 3 || this.rows;
    this.title = h("h4", { tabindex: "-1" });
    this.facts = h("p.notes");
    this.kernel = h("div.kernel");
    this.trace = new UnitTrace();
    this.map = new Grid({
      label: `${layer.name}: pixels of the channel`,
      describe: (at) => this.#describe(at),
      open: (at) => this.#choose(at, true),
    });
    const step = (by, text) => h("button", { type: "button", on: { click: () => this.#step(by) } }, text);
    this.element = h("section.panel", { aria: { label: `${layer.name} in detail` } },
      h("header", this.title, h("div.tools", step(-1, "← Previous"), step(1, "Next →"), h("button", { type: "button", on: { click: () => this.close(true) } }, "Close"))),
      this.facts,
      this.spatial ? h("div.pair", h("div.map-side", h("h5", "Where it responds"), this.map.element, disclosure("Table of the values", () => this.#table())), this.kernel) : null,
      this.trace.element);
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.close(true);
    });
    this.element.hidden = true;
    fill(container, this.element);
    onColourScheme(() => { if (this.values && !this.isClosed) this.#paint(); });
  }

  /** Remove the panel. With `returnFocus`, move the focus back to where the panel was opened. */
  close(returnFocus = false) {
    this.isClosed = true;
    fill(this.container);
    if (returnFocus) this.onClose();
  }

  /** Show the same channel for a new image. */
  reload() {
    this.load(false);
  }

  /** Fetch the layer's values and show them. `isOpening` moves the focus into the panel. */
  async load(isOpening) {
    try {
      const values = readNpy(await sendForBytes(`layers/${this.layer.name}/activations`, { format: "npy" }));
      if (this.isClosed) return;
      this.values = this.rows ? { ...values, shape: [values.shape[0], 1, values.shape[1]] } : values;
      this.#show(isOpening);
      this.element.hidden = false;
      if (isOpening) (this.spatial ? this.map : this.title).focus();
    } catch (error) {
      if (!this.isClosed) emit("error", error);
    }
  }

  #step(by) {
    const channels = this.layer.output_shape.at(-1);
    this.channel = (this.channel + by + channels) % channels;
    this.onMove(this.channel);
    this.#show(true);
  }

  /** Show the channel. With `atMaximum`, choose its largest value, else keep the chosen pixel. */
  #show(atMaximum) {
    const { name } = this.layer;
    fill(this.title, `${name}, ${this.spatial ? "channel" : "unit"} ${this.channel}`);
    if (!this.spatial) {
      fill(this.facts, `Its value is ${number(this.values.data[this.channel])}.`);
      this.trace.start(this.layer.name, { channel: this.channel });
      return;
    }
    const [height, width, channels] = this.values.shape;
    this.plane = Float32Array.from({ length: height * width }, (_, at) => this.values.data[at * channels + this.channel]);
    const [low, high] = extent(this.plane);
    const strongest = this.plane.indexOf(high);
    const whereStrongest = this.#position(strongest);
    fill(this.facts, low === high
      ? `Every value is ${number(low)}: this channel does not respond to this digit.`
      : `The values go from ${number(low)} to ${number(high)}; the largest is in ${whereStrongest}. Choose a pixel to see how its value is calculated.`);
    this.#paint();
    this.#choose(atMaximum ? strongest : this.map.cursor, false);
    this.#showKernel();
  }

  #paint() {
    if (!this.spatial) return;
    const [height, width] = this.values.shape;
    const [low, high] = extent(this.plane);
    const scale = low === high ? { map: "diverging", low: -1, high: 1 } : scaleOf(low, high);
    paintValues(this.map.canvas, low === high ? this.plane.map(() => 0) : this.plane, width, scale);
    this.map.setLayout(height * width, width);
    this.map.setWidth(width * Math.max(8, Math.floor(300 / Math.max(width, height))));
    fill(this.map.legend, low === high ? h("p.legend", h("span.tag", `constant ${number(low)}`)) : legend(scale));
  }

  /** Move the cursor to a pixel and start its trace. */
  #choose(at, isSpoken) {
    const [, width] = this.values.shape;
    this.map.select(at);
    if (isSpoken) announce(this.#describe(at));
    this.trace.start(this.layer.name, { channel: this.channel, y: Math.floor(at / width), x: this.rows ? null : at % width });
  }

  #position(at) {
    const [, width] = this.values.shape;
    return this.rows ? `row ${at}` : position(Math.floor(at / width), at % width);
  }

  #describe(at) {
    if (!this.plane) return "";
    return `${this.#position(at)}: ${number(this.plane[at])}`;
  }

  #table() {
    const [height, width] = this.values.shape;
    const row = (y) => Array.from(this.plane.subarray(y * width, (y + 1) * width), (value) => number(value, 3));
    return table(`${this.layer.name}, channel ${this.channel}: every value`, ["row", ...Array(width).keys()],
      Array.from({ length: height }, (_, y) => [y, ...row(y)]));
  }

  async #showKernel() {
    const { name, convolution } = this.layer;
    if (!convolution) { fill(this.kernel); return; }
    const { channel } = this;
    const kernel = await kernelOf(convolution).catch((error) => { emit("error", error); });
    if (!kernel || this.isClosed || channel !== this.channel) return;
    fill(this.kernel, h("h5", convolution === name ? "Its kernel" : `Its kernel, in ${convolution}`), ...drawKernel(kernel, channel));
  }
}

/** Fetch the kernel of a convolution, once for each model and layer. */
async function kernelOf(name) {
  const key = `${state.model}/${name}`;
  if (!kernels.has(key)) {
    const response = getBytes(`models/${encodeURIComponent(state.model)}/layers/${name}/weights`, { format: "npz" });
    kernels.set(key, response.then((buffer) => readNpz(buffer).kernel).catch((error) => { kernels.delete(key); throw error; }));
  }
  return kernels.get(key);
}

/** Return the elements that show the kernel of one output channel. */
function drawKernel({ shape, data }, channel) {
  const [rows, columns, inputs, outputs] = shape.length === 3 ? [shape[0], 1, ...shape.slice(1)] : shape;
  const weight = (y, x, input) => data[((y * columns + x) * inputs + input) * outputs + channel];
  const all = Float32Array.from({ length: rows * columns * inputs }, (_, at) => weight(Math.floor(at / columns) % rows, at % columns, Math.floor(at / (rows * columns))));
  const [low, high] = extent(all);
  const scale = { ...scaleOf(-Math.max(-low, high), Math.max(-low, high)), map: "diverging" };
  const size = rows * columns;
  if (inputs === 1) {
    return [matrix(Array.from({ length: rows }, (_, y) => Array.from({ length: columns }, (_, x) => weight(y, x, 0))), scale, "The kernel's weights"),
      legend(scale), h("p.notes", "Red weights: ink here raises the sum. Blue weights: ink here lowers it.")];
  }
  const grid = new Grid({
    label: `Kernel: ${inputs} tables of ${rows} × ${columns}, one for each input channel`, gap: 1,
    describe: (at) => `Input channel ${at}: ${Array.from(all.subarray(at * size, (at + 1) * size), (value) => number(value, 2)).join(", ")}`,
  });
  const byteOf = (value) => Math.round((255 * (value - scale.low)) / (scale.high - scale.low));
  paintSheet(grid.canvas, {
    tiles: Array.from({ length: inputs }, (_, at) => Uint8Array.from(all.subarray(at * size, (at + 1) * size), byteOf)),
    height: rows, width: columns, low: Array(inputs).fill(scale.low), high: Array(inputs).fill(scale.high),
  }, 8, []);
  grid.setLayout(inputs, 8, rows, columns);
  grid.setWidth(8 * 32);
  fill(grid.legend, legend(scale));
  return [grid.element, h("p.notes", `${inputs} tables of ${rows} × ${columns}, one for each channel of the layer before.`),
    disclosure("Table of the weights", () => table("Weights by input channel", ["input channel", ...Array.from({ length: size }, (_, at) => `${Math.floor(at / columns)}, ${at % columns}`)],
      Array.from({ length: inputs }, (_, input) => [input, ...Array.from(all.subarray(input * size, (input + 1) * size), (value) => number(value, 3))])))];
}
