/** The network as it learned: kernels, activations and answer after each saved epoch. */

import { get, send } from "./api.js";
import { probabilityBars } from "./prediction.js";
import { onColourScheme, scaleOf } from "./colours.js";
import { aDigit, byId, prefersReducedMotion, disclosure, fill, h, number, percent, table } from "./dom.js";
import { Grid } from "./grid.js";
import { legend, paintSheet, readSheet } from "./heatmaps.js";
import { curve } from "./plot.js";
import { updateWhenVisible, state, onNetwork } from "./state.js";

const parts = {};
let training = null;
let course = null; // the last answer of /snapshots, its sheets read

/** Wire the section. */
export function startEpochs() {
  parts.layer = h("select", { id: "epoch-layer" });
  parts.slider = h("input", { type: "range", id: "epoch", min: "0", max: "0", step: "1", value: "0" });
  parts.said = h("output.outcome", { for: "epoch" });
  parts.play = h("button", { type: "button", on: { click: play } }, "Play");
  parts.plot = h("div");
  const body = h("tbody");
  parts.bars = probabilityBars(body);
  parts.kernels = new Grid({ label: "Kernels of the convolution at this epoch", gap: 1, describe: describeKernel });
  parts.maps = new Grid({ label: "Channels of the layer at this epoch", gap: 1, describe: describeMap });
  parts.kernelTitle = h("h4");
  parts.mapTitle = h("h4");
  parts.kernelBox = h("div", parts.kernelTitle, parts.kernels.element);
  parts.table = h("div");
  parts.now = disclosure("Table of this epoch's kernels and channels", tablesNow);
  parts.content = h("div",
    h("div.row", h("label.slider", "Epoch ", parts.slider), parts.play, h("label", "Layer ", parts.layer)),
    parts.said,
    h("div.columns", h("div", h("h4", "The answer then"), h("table.bars", h("caption.visually-hidden", "Probabilities after this epoch"), body)), parts.plot),
    h("div.columns", parts.kernelBox, h("div", parts.mapTitle, parts.maps.element)), parts.now, parts.table);
  parts.none = h("p.notes", { hidden: true });
  fill(byId("epochs-body"), parts.none, parts.content);
  onNetwork(() => { training = null; course = null; });
  const follow = updateWhenVisible(byId("epochs-body"), load);
  parts.layer.addEventListener("change", () => follow.refresh());
  parts.slider.addEventListener("input", show);
  onColourScheme(() => course && show());
}

async function load(signal) {
  if (!training) await describe(signal);
  if (signal.aborted || !training.saved.length) return;
  const channel = 0;
  const answer = await send("snapshots", { layer: parts.layer.value, channel }, signal);
  const sheets = await Promise.all(answer.moments.map((moment) => readSheet(moment.sheet)));
  if (signal.aborted) return;
  course = { ...answer, sheets };
  show();
  fill(parts.table, disclosure("Table of the epochs", () => table("The answer, epoch by epoch", ["epoch", "read as", `probability of ${state.answer.digit}`, "misread in validation", "loss in training"],
    answer.moments.map((moment) => [moment.epoch, moment.digit, percent(moment.probabilities[state.answer.digit]), percent(1 - figures(moment).val_accuracy), number(figures(moment).loss, 3)]))));
}

async function describe(signal) {
  const told = await get(`models/${encodeURIComponent(state.model)}/training`, {}, signal);
  if (signal.aborted) return; // another network was chosen as this came
  training = told;
  const { saved, epochs } = training;
  parts.none.hidden = saved.length > 0;
  parts.content.hidden = !saved.length;
  if (!saved.length) {
    fill(parts.none, `The network ${state.model} kept no weights of its training. Choose another network to see one learn.`);
    return;
  }
  const layers = state.network.layers.filter((layer) => layer.output_shape.length === 3 && layer.output_shape.at(-1) > 1);
  fill(parts.layer, layers.map((layer) => h("option", { value: layer.name }, layer.name)));
  parts.layer.value = (layers.find((layer) => layer.activation) ?? layers[0]).name;
  parts.slider.max = String(saved.length - 1);
  parts.slider.value = "0";
  parts.curve = curve({
    label: "Loss, epoch by epoch", x: epochs.map((one) => one.epoch), across: "epoch", log: true,
    lines: [{ name: "in training", values: epochs.map((one) => one.loss), kind: "first" }, { name: "in validation", values: epochs.map((one) => one.val_loss), kind: "second" }],
  });
  fill(parts.plot, parts.curve, h("p.notes", gap(epochs.at(-1))),
    training.refitted ? h("p.notes", "What answers above then went on for a little from all digits, the held-out ones too.") : null);
}

/** What makes the loss in training another than in validation. */
function gap({ loss, val_loss: validation }) {
  const struck = state.network.layers.some((layer) => /drop/i.test(layer.type)) ? " and values are struck out" : "";
  const higher = loss > validation ? ", so that its loss stays the higher one" : "";
  return `In training the digits are distorted${struck}${higher}.`;
}

const figures = (moment) => training.epochs.find((one) => one.epoch === moment.epoch);
const present = () => course.moments[Number(parts.slider.value)];

function show() {
  const at = Number(parts.slider.value);
  const moment = course.moments[at];
  const { val_accuracy: right, loss, learning_rate: rate } = figures(moment);
  const text = `After epoch ${moment.epoch} of ${training.epochs.length} it read ${aDigit(moment.digit)}, with ${percent(moment.probabilities[moment.digit])}.`;
  fill(parts.said, `${text} It misread ${percent(1 - right)} of held-out digits; the loss in training was ${number(loss, 3)}, the step size ${number(rate, 2)}.`);
  parts.slider.setAttribute("aria-valuetext", text);
  parts.said.dataset.epoch = moment.epoch;
  parts.bars.show(moment.probabilities);
  parts.curve.mark(moment.epoch);
  showKernels(moment);
  parts.now.open = false; // made anew, of the epoch, when it is next opened
  const sheet = course.sheets[at];
  const room = parts.maps.element.clientWidth || 320;
  const times = Math.max(1, Math.floor(44 / sheet.width));
  const columns = Math.max(1, Math.min(sheet.tiles.length, Math.floor((room + times) / (times * (sheet.width + 1)))));
  paintSheet(parts.maps.canvas, sheet, columns, moment.min.map((low, channel) => low === moment.max[channel]));
  parts.maps.lay(sheet.tiles.length, columns, sheet.height, sheet.width);
  parts.maps.setWidth(Math.min(room, times * (columns * (sheet.width + 1) - 1)));
  fill(parts.mapTitle, `What ${course.layer.name} found`);
  fill(parts.maps.legend, legend(scaleOf(sheet.low[0], sheet.high[0])));
}

/** All kernels in colours that mean the same at every epoch, so that their growth can be seen. */
function showKernels(moment) {
  parts.kernelBox.hidden = !moment.kernel;
  if (!moment.kernel) return;
  const limit = Math.max(...course.moments.map((one) => Math.max(...one.kernel.flat(3).map(Math.abs))));
  const scale = { map: "diverging", low: -limit, high: limit };
  const { kernel } = moment;
  const [inputs, outputs] = [kernel[0][0].length, kernel[0][0][0].length];
  const tiles = Array.from({ length: inputs * outputs }, (_, at) => Uint8Array.from(
    kernel.flatMap((row) => row.map((cell) => Math.round((255 * (cell[at % inputs][Math.floor(at / inputs)] + limit)) / (2 * limit))))));
  const low = Array(tiles.length).fill(-limit);
  const high = Array(tiles.length).fill(limit);
  paintSheet(parts.kernels.canvas, { tiles, height: kernel.length, width: kernel[0].length, low, high }, 8, []);
  parts.kernels.lay(tiles.length, 8, kernel.length, kernel[0].length);
  parts.kernels.setWidth(8 * 36);
  fill(parts.kernelTitle, outputs > 1 ? `The ${outputs} kernels of ${course.convolution}` : `The kernel of channel 0 in ${course.convolution}, by input channel`);
  fill(parts.kernels.legend, legend(scale, "the same at every epoch"));
}

function weightsOf(kernel, at) {
  const inputs = kernel[0][0].length;
  return kernel.flatMap((row) => row.map((cell) => cell[at % inputs][Math.floor(at / inputs)]));
}

function tablesNow() {
  if (!course) return [];
  const { kernel, min, max, epoch } = present();
  const size = kernel ? kernel.length * kernel[0].length : 0;
  return [
    kernel ? table(`Kernels after epoch ${epoch}`, ["kernel", ...Array(size).keys()], Array.from({ length: kernel[0][0].length * kernel[0][0][0].length }, (_, at) => [at, ...weightsOf(kernel, at).map((value) => number(value, 3))])) : null,
    table(`${course.layer.name} after epoch ${epoch}`, ["channel", "smallest", "largest"], min.map((low, at) => [at, number(low), number(max[at])])),
  ];
}

function describeKernel(at) {
  if (!course) return "";
  const { kernel } = present();
  const inputs = kernel[0][0].length;
  const weights = weightsOf(kernel, at);
  return `${inputs > 1 ? "Input channel" : "Kernel"} ${at}: ${weights.map((value) => number(value, 2)).join(", ")}`;
}

function describeMap(at) {
  if (!course) return "";
  const moment = present();
  return `Channel ${at}: ${number(moment.min[at])} to ${number(moment.max[at])}`;
}

let playing = 0;
function play() {
  if (playing) { stop(); return; }
  if (!course) return;
  const { slider } = parts;
  if (slider.value === slider.max) slider.value = "0";
  parts.play.textContent = "Stop";
  show();
  playing = setInterval(() => {
    slider.value = String(Number(slider.value) + 1);
    show();
    if (slider.value === slider.max) stop();
  }, prefersReducedMotion() ? 1500 : 600);
}

function stop() {
  clearInterval(playing);
  playing = 0;
  parts.play.textContent = "Play";
}
