/** What is opened in the mode `learn`: the gradients of a layer, of a channel and of its weights, or of one number. */

import { go, place } from "./address.js";
import { channelGrid, layerGrid } from "./channel_pictures.js";
import { rangeOf, sidesOf } from "./channels.js";
import { columnOf } from "./columns.js";
import { byId, disclosure, fill, h, number, shape as shapeText, table } from "./dom.js";
import { gradientSum } from "./gradient_sum.js";
import { fetchGradients, fetchSum, fetchWeightGradient } from "./gradients.js";
import { Grid } from "./grid.js";
import { extent, legend, paintValues } from "./heatmaps.js";
import { valueText } from "./map_keys.js";
import { map, narrow } from "./map_view.js";
import { note, settle } from "./panel_focus.js";
import { on, state, updateWhenVisible } from "./state.js";

const MAX_WEIGHTS = 100_000; // of an array whose gradient is fetched without being asked: 400 kB
const MAX_LARGEST = 6; // weights that are listed
const widthOf = () => (narrow.matches ? innerWidth - 36 : 360); // CSS pixels of a picture
const PICTURE_SIDE = 196; // CSS pixels of a channel

/** Show what is opened in `element`, and the table of the layers in `overview` while nothing is. */
export function startGradientView(element, overview) {
  let shown = null;
  let last = null; // the layer that was opened last
  const updater = updateWhenVisible(element, async (signal) => {
    const key = JSON.stringify([place.at, place.weight]);
    if (place.mode !== "learn" || !place.at) return;
    const content = place.target === null ? [h("p.notes", "Choose the right label: without it there is no loss, and no gradient.")] : await opened(place, signal);
    if (signal.aborted) return;
    note();
    fill(element, crumbs(place), content);
    settle(true, key === shown ? null : element.querySelector(".crumbs [tabindex]"));
    if (key !== shown) byId("panel-body").scrollTop = 0; // where it stands
    shown = key;
  });
  const follow = ({ mode, at }) => {
    if (mode !== "learn") return;
    note(); // before the control that has the focus is hidden
    overview.hidden = at !== null;
    element.hidden = at === null;
    if (at) {
      last = at.layer;
      updater.refresh();
      return;
    }
    fill(element);
    shown = null;
    settle(true, [...overview.querySelectorAll("th .link")].find(({ textContent }) => textContent === last));
  };
  on("place", follow);
  follow(place);
}

/** Return the way from the table of the layers to what is opened. */
function crumbs({ at, weight }) {
  const { layer, channel, y, x } = at;
  const noun = state.network.layers.find(({ name }) => name === layer)?.output_shape.length === 1 ? "unit" : "channel";
  const levels = [["All layers", { at: null }], [layer, { at: { layer, channel: null, y: null, x: null } }]];
  if (weight) levels.push([weightName(weight), null]);
  if (!weight && channel !== null) levels.push([`${noun} ${channel}`, { at: { layer, channel, y: null, x: null } }]);
  if (!weight && y !== null) levels.push([x === null ? `row ${y}` : `row ${y}, column ${x}`, null]);
  return h("p.crumbs", levels.flatMap(([text, to], level) => [level ? h("i", "›") : null,
    level === levels.length - 1 ? h("span", { tabindex: "-1" }, text) : h("button.link", { type: "button", on: { click: () => go(to) } }, text)]));
}

/** Split `kernel:0,1,3,5` into a name and an index. */
const splitWeight = (text) => ({ weight: text.slice(0, text.lastIndexOf(":")), index: text.slice(text.lastIndexOf(":") + 1) });

const weightName = (text) => `${splitWeight(text).weight}[${splitWeight(text).index.replaceAll(",", ", ")}]`;

/** Return the elements of what is opened. */
async function opened({ target: label, at, weight }, signal) {
  const layer = state.network.layers.find(({ name }) => name === at.layer);
  if (!layer) return [h("p.notes", `There is no layer ${at.layer}.`)];
  if (weight) return gradientSum(await fetchSum(label, layer.name, splitWeight(weight), signal));
  if (at.channel !== null && (at.y !== null || layer.output_shape.length === 1)) {
    return gradientSum(await fetchSum(label, layer.name, { channel: at.channel, y: at.y, x: at.x }, signal));
  }
  const answer = await fetchGradients(label, signal);
  const [values, { weights: trained }] = [answer.layers, answer.step.layers].map((all) => all.find(({ name }) => name === layer.name));
  return [h("div.gradients", at.channel === null ? allChannels(layer, values) : oneChannel(layer, values, at.channel),
    await Promise.all(trained.map((array) => weights(layer, array, { label, output: at.channel, signal }))), steps(layer))];
}

/** Return links to the other steps of a layer's column: the map shows only one of them. */
function steps(layer) {
  const column = columnOf(map.columns, layer.name);
  const others = column?.layers.filter(({ name }) => name !== layer.name) ?? [];
  return others.length ? h("p.notes", "Other layers of this column: ", others.flatMap(({ name }, at) => [at ? ", " : null, openButton(name, { layer: name, channel: null, y: null, x: null })])) : null;
}

const openButton = (text, at, weight = null) => h("button.link", { type: "button", on: { click: () => go({ at, weight }) } }, text);

/** Return the gradients of all channels of a layer's values. */
function allChannels(layer, values) {
  const isUnits = layer.output_shape.length === 1;
  const grid = layerGrid(values, widthOf(), (channel) => go({ at: { layer: layer.name, channel, y: null, x: null } }));
  return h("div", h("h3", `Gradient of the values of ${layer.name}`), grid.element,
    h("p.notes", `From ${number(values.low, 3)} to ${number(values.high, 3)}. Blue: if the value grew, the loss would grow. Orange: the loss would shrink. Choose a ${isUnits ? "square" : "picture"} to open it.`));
}

/** Return the gradients of one channel's values. */
function oneChannel(layer, values, channel) {
  const [, columns] = sidesOf(values);
  const { low, high, at } = rangeOf(values, channel);
  const grid = channelGrid(values, channel, PICTURE_SIDE, (y, x) => go({ at: { layer: layer.name, channel, y, x } }));
  grid.select(at);
  return h("div", h("h3", `Gradient of channel ${channel} of ${layer.name}`), grid.element,
    h("p.notes", `From ${valueText(values, low)} to ${valueText(values, high)}. Choose a square to see its sum.`),
    disclosure("Table of the gradients", () => channelTable(layer, values, channel, columns)));
}

function channelTable(layer, values, channel, columns) {
  const size = values.values.length / layer.output_shape.at(-1);
  const plane = values.values.subarray(channel * size, (channel + 1) * size);
  const text = (byte) => number(values.low + (byte / 255) * (values.high - values.low), 2);
  return table(`Channel ${channel}, rounded to 1/255 of the layer's range`, ["row", ...Array(columns).keys()],
    Array.from({ length: size / columns }, (_, y) => [y, ...Array.from(plane.subarray(y * columns, (y + 1) * columns), text)]));
}

/** Return the gradients of an array of weights; those of a large array wait for a click. */
async function weights(layer, array, { label, output, signal }) {
  const size = array.shape.reduce((product, side) => product * side, 1);
  const element = h("div", h("h3", `Gradient of ${array.name}, ${shapeText(array.shape)}`));
  const show = async (ownSignal) => fill(element, element.firstChild, weightPicture(layer, array, await fetchWeightGradient(label, layer.name, array.name, ownSignal), output));
  if (size <= MAX_WEIGHTS) await show(signal);
  else {
    const button = h("button", { type: "button", on: { click: () => show(signal).catch((error) => { button.textContent = `${error.message} Try again`; }) } }, `Fetch it: ${(size / 250000).toFixed(1)} MB`);
    element.append(button);
  }
  return element;
}

/** Return the weights with the largest gradients, and a picture of those that lead to one output. */
function weightPicture(layer, { name }, { shape, data }, channel) {
  const outputs = shape.at(-1);
  const output = outputs === layer.output_shape.at(-1) ? channel : null; // else the last axis holds no channels
  const indexAt = (at) => unravel(at, shape);
  const open = (at) => go({ at: { layer: layer.name, channel: null, y: null, x: null }, weight: `${name}:${indexAt(at).join(",")}` });
  const isOne = shape.length === 1;
  const shown = isOne ? null : output ?? largestOf(data)[0] % outputs;
  const largest = largestOf(data, output === null || isOne ? 0 : output, output === null || isOne ? 1 : outputs);
  const places = shown === null ? outputs : data.length / outputs;
  const values = Float32Array.from({ length: places }, (_, at) => data[shown === null ? at : at * outputs + shown]);
  const limit = Math.max(...extent(data).map(Math.abs));
  const across = Math.min(places, shape.length > 2 && shape.at(-2) <= 64 ? shape.at(-2) : 32);
  const grid = new Grid({
    label: `Gradient of ${name}${shown === null ? "" : ` to output ${shown}`}: ${places} weights`,
    describe: (at) => `${name}[${indexAt(shown === null ? at : at * outputs + shown).join(", ")}]: ${number(values[at], 4)}`,
    open: (at) => open(shown === null ? at : at * outputs + shown),
  });
  const scale = { map: "diverging", low: -(limit || 1), high: limit || 1 };
  paintValues(grid.canvas, values, across, scale);
  grid.setLayout(places, across);
  grid.setWidth(Math.min(widthOf(), across * 16));
  return [
    h("p.notes", "The largest: ", largest.flatMap((at, place) => [place ? ", " : null, h("button.link", { type: "button", on: { click: () => open(at) } }, `[${indexAt(at).join(", ")}] ${number(data[at], 3)}`)]), "."),
    shown === null ? null : h("p.notes", `The picture shows those whose last index is ${shown}. Choose one to see its sum.`),
    grid.element, legend(scale)];
}

/** Return where the largest magnitudes are, largest first, among every `step`-th from `start`. */
function largestOf(data, start = 0, step = 1) {
  const best = [];
  for (let at = start; at < data.length; at += step) {
    const size = Math.abs(data[at]);
    if (best.length === MAX_LARGEST && size <= Math.abs(data[best.at(-1)])) continue;
    const place = best.findIndex((other) => Math.abs(data[other]) < size);
    best.splice(place < 0 ? best.length : place, 0, at);
    best.length = Math.min(best.length, MAX_LARGEST);
  }
  return best;
}

/** Return the index of an element of an array. */
function unravel(at, shape) {
  let rest = at;
  return shape.toReversed().map((side) => {
    const place = rest % side;
    rest = (rest - place) / side;
    return place;
  }).toReversed();
}
