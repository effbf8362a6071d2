/** How the network learned: its kernels, activations and answer after each saved epoch. */

import { place, set } from "./address.js";
import { get, send } from "./api.js";
import { probabilityBars } from "./prediction.js";
import { onColourScheme, scaleOf } from "./colours.js";
import { aDigit, prefersReducedMotion, disclosure, fill, h, number, percent, table } from "./dom.js";
import { Grid } from "./grid.js";
import { legend, paintSheet, readSheet } from "./heatmaps.js";
import { curve } from "./plot.js";
import { on, onNetwork, state, updateWhenVisible } from "./state.js";

const parts = {}; // the section's elements
let training = null; // the response of /models/{model}/training
let snapshots = null; // the last response of /snapshots, with decoded sheets

/** Fill an element with the training of the chosen network. */
export function start(element) {
  parts.layer = h("select", { id: "epoch-layer" });
  parts.slider = h("input", { type: "range", id: "epoch", min: "0", max: "0", step: "1", value: "0" });
  parts.summary = h("output.outcome", { for: "epoch" });
  parts.play = h("button", { type: "button", on: { click: play } }, "Play");
  parts.plot = h("div");
  const body = h("ol.bars", { aria: { label: "Probabilities after this epoch" } });
  parts.kernels = new Grid({ label: "Kernels of the convolution at this epoch", gap: 1, describe: describeKernel });
  parts.maps = new Grid({ label: "Channels of the layer at this epoch", gap: 1, describe: describeMap });
  parts.kernelTitle = h("h3");
  parts.mapTitle = h("h3");
  parts.kernelBox = h("div", parts.kernelTitle, parts.kernels.element);
  parts.table = h("div");
  parts.now = disclosure("Table of this epoch's kernels and channels", tablesNow);
  parts.content = h("div",
    h("div.row", h("label.slider", "Epoch ", parts.slider), parts.play, h("label", "Layer ", parts.layer)),
    parts.summary,
    h("div.columns", h("div", h("h3", "The answer after this epoch"), body), parts.plot),
    h("div.columns.pictures", parts.kernelBox, h("div", parts.mapTitle, parts.maps.element)), parts.now, parts.table);
  parts.none = h("p.notes", { hidden: true });
  fill(element, h("p.notes", "A network learns by gradient descent: it reads many digits, measures its error, and changes its weights a little so that the error shrinks. One pass through all training digits is an epoch. Move the slider to see the kernels, the channels and the answer after each epoch that was saved."), parts.none, parts.content);
  onNetwork(({ classes }) => { training = null; snapshots = null; parts.bars = probabilityBars(body, classes); });
  const updater = updateWhenVisible(element, load);
  parts.layer.addEventListener("change", () => set({ l: parts.layer.value }));
  parts.slider.addEventListener("input", () => choose(Number(parts.slider.value)));
  on("place", ({ mode }) => {
    if (mode !== "training") stop();
    if (mode !== "training" || !training?.saved.length) return;
    showChoice();
    if (snapshots?.layer.name === parts.layer.value) show();
    else updater.refresh();
  });
  onColourScheme(() => snapshots && show());
}

/** Set the slider and the menu to the epoch and the layer of the address, or to the nearest epoch before it. */
function showChoice() {
  const { e: epoch, l: layer } = place.settings;
  parts.slider.value = String(Math.max(0, training.saved.findLastIndex((saved) => saved <= Number(epoch ?? 0))));
  parts.layer.value = [...parts.layer.options].some(({ value }) => value === layer) ? layer : parts.usualLayer;
}

/** Show another of the saved epochs, and keep it in the address. */
const choose = (at) => set({ e: String(training.saved[at]) });

async function load(signal) {
  if (!training) await describe(signal);
  if (signal.aborted || !training.saved.length) return;
  const channel = 0;
  const response = await send("snapshots", { layer: parts.layer.value, channel }, signal);
  const sheets = await Promise.all(response.moments.map((moment) => readSheet(moment.sheet)));
  if (signal.aborted) return;
  snapshots = { ...response, sheets };
  show();
  fill(parts.table, disclosure("Table of the epochs", () => table("The answer after each epoch", ["epoch", "read as", `probability of ${state.prediction.label}`, "validation error", "training loss"],
    response.moments.map((moment) => [moment.epoch, moment.label, percent(moment.probabilities[state.prediction.digit]), percent(1 - figures(moment).val_accuracy), number(figures(moment).loss, 3)]))));
}

async function describe(signal) {
  const response = await get(`models/${encodeURIComponent(state.model)}/training`, {}, signal);
  if (signal.aborted) return; // another network was chosen in the meantime
  training = response;
  const { saved, epochs } = training;
  parts.none.hidden = saved.length > 0;
  parts.content.hidden = !saved.length;
  if (!saved.length) {
    fill(parts.none, `No epochs of the network ${state.model} were saved. Choose another network to see how it learned.`);
    return;
  }
  const layers = state.network.layers.filter((layer) => layer.output_shape.length === 3 && layer.output_shape.at(-1) > 1);
  fill(parts.layer, layers.map((layer) => h("option", { value: layer.name }, layer.name)));
  parts.usualLayer = (layers.find((layer) => layer.activation) ?? layers[0]).name;
  parts.slider.max = String(saved.length - 1);
  showChoice();
  parts.curve = curve({
    label: "Loss after each epoch", x: epochs.map((entry) => entry.epoch), xLabel: "epoch", log: true,
    lines: [{ name: "training", values: epochs.map((entry) => entry.loss), kind: "first" }, { name: "validation", values: epochs.map((entry) => entry.val_loss), kind: "second" }],
  });
  fill(parts.plot, parts.curve, h("p.notes", explainLosses(epochs.at(-1))),
    training.refitted ? h("p.notes", "Afterwards this network was trained a little longer on all digits, including the validation digits. That final version gives the answers above.") : null);
}

/** Explain why the training loss differs from the validation loss. */
function explainLosses({ loss, val_loss: validation }) {
  const dropout = state.network.layers.some((layer) => /drop/i.test(layer.type)) ? " and dropout sets values to 0" : "";
  const higher = loss > validation ? ", so the training loss stays higher" : "";
  return `During training, the digits are distorted${dropout}${higher}.`;
}

const figures = (moment) => training.epochs.find((entry) => entry.epoch === moment.epoch);
const currentMoment = () => snapshots.moments[Number(parts.slider.value)];

function show() {
  const at = Number(parts.slider.value);
  const moment = snapshots.moments[at];
  const { val_accuracy: accuracy, loss, learning_rate: rate } = figures(moment);
  const text = `After epoch ${moment.epoch} of ${training.epochs.length}, the network read ${aDigit(moment.label)}, with a probability of ${percent(moment.probabilities[moment.digit])}.`;
  fill(parts.summary, `${text} It misread ${percent(1 - accuracy)} of the validation digits, which it does not learn from. The loss (its error in training) was ${number(loss, 3)}, the learning rate (the size of its steps) ${number(rate, 2)}.`);
  parts.slider.setAttribute("aria-valuetext", text);
  parts.summary.dataset.epoch = moment.epoch;
  parts.bars.show(moment.probabilities);
  parts.curve.mark(moment.epoch);
  showKernels(moment);
  parts.now.open = false; // opening it makes the table of this epoch
  const sheet = snapshots.sheets[at];
  const maxWidth = parts.maps.element.clientWidth || 320;
  const zoom = Math.max(1, Math.floor(44 / sheet.width));
  const columns = Math.max(1, Math.min(sheet.tiles.length, Math.floor((maxWidth + zoom) / (zoom * (sheet.width + 1)))));
  paintSheet(parts.maps.canvas, sheet, columns, moment.min.map((low, channel) => low === moment.max[channel]));
  parts.maps.setLayout(sheet.tiles.length, columns, sheet.height, sheet.width);
  parts.maps.setWidth(Math.min(maxWidth, zoom * (columns * (sheet.width + 1) - 1)));
  fill(parts.mapTitle, `Channels of ${snapshots.layer.name}`);
  fill(parts.maps.legend, legend(scaleOf(sheet.low[0], sheet.high[0])));
}

/** Show all kernels. A colour means the same value at every epoch, so that changes are visible. */
function showKernels(moment) {
  parts.kernelBox.hidden = !moment.kernel;
  if (!moment.kernel) return;
  const limit = Math.max(...snapshots.moments.map((entry) => Math.max(...entry.kernel.flat(3).map(Math.abs))));
  const scale = { map: "diverging", low: -limit, high: limit };
  const { kernel } = moment;
  const [inputs, outputs] = [kernel[0][0].length, kernel[0][0][0].length];
  const tiles = Array.from({ length: inputs * outputs }, (_, at) => Uint8Array.from(
    kernel.flatMap((row) => row.map((cell) => Math.round((255 * (cell[at % inputs][Math.floor(at / inputs)] + limit)) / (2 * limit))))));
  const low = Array(tiles.length).fill(-limit);
  const high = Array(tiles.length).fill(limit);
  paintSheet(parts.kernels.canvas, { tiles, height: kernel.length, width: kernel[0].length, low, high }, 8, []);
  parts.kernels.setLayout(tiles.length, 8, kernel.length, kernel[0].length);
  parts.kernels.setWidth(8 * 36);
  fill(parts.kernelTitle, outputs > 1 ? `The ${outputs} kernels of ${snapshots.convolution}` : `The kernel of channel 0 in ${snapshots.convolution}, by input channel`);
  fill(parts.kernels.legend, legend(scale, "same colours at every epoch"));
}

function weightsOf(kernel, at) {
  const inputs = kernel[0][0].length;
  return kernel.flatMap((row) => row.map((cell) => cell[at % inputs][Math.floor(at / inputs)]));
}

function tablesNow() {
  if (!snapshots) return [];
  const { kernel, min, max, epoch } = currentMoment();
  const size = kernel ? kernel.length * kernel[0].length : 0;
  return [
    kernel ? table(`Kernels after epoch ${epoch}`, ["kernel", ...Array(size).keys()], Array.from({ length: kernel[0][0].length * kernel[0][0][0].length }, (_, at) => [at, ...weightsOf(kernel, at).map((value) => number(value, 3))])) : null,
    table(`${snapshots.layer.name} after epoch ${epoch}`, ["channel", "smallest", "largest"], min.map((low, at) => [at, number(low), number(max[at])])),
  ];
}

function describeKernel(at) {
  if (!snapshots) return "";
  const { kernel } = currentMoment();
  const inputs = kernel[0][0].length;
  const weights = weightsOf(kernel, at);
  return `${inputs > 1 ? "Input channel" : "Kernel"} ${at}: ${weights.map((value) => number(value, 2)).join(", ")}`;
}

function describeMap(at) {
  if (!snapshots) return "";
  const moment = currentMoment();
  return `Channel ${at}: ${number(moment.min[at])} to ${number(moment.max[at])}`;
}

let playing = 0;
function play() {
  if (playing) { stop(); return; }
  if (!snapshots) return;
  const { slider } = parts;
  choose(slider.value === slider.max ? 0 : Number(slider.value));
  parts.play.textContent = "Stop";
  playing = setInterval(() => {
    choose(Number(slider.value) + 1);
    if (slider.value === slider.max) stop();
  }, prefersReducedMotion() ? 1500 : 600);
}

function stop() {
  clearInterval(playing);
  playing = 0;
  parts.play.textContent = "Play";
}
