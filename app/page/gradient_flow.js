/** The map of gradients: how the loss would change with each value. They flow back from the outputs to the picture. */

import { byId, fill, h, prefersReducedMotion } from "./dom.js";
import { map, paintSoon } from "./map_view.js";
import { on } from "./state.js";

const COLUMN_MS = 350; // until the gradient reaches the next column
const TEXTS = { // of the map, while it shows gradients
  "map-title": ["Map of the network: gradients of the loss"],
  "map-says": () => ["The map now shows ", h("b", "gradients"), ", not what was found. Blue: if this value grew, the loss would grow. Orange: the loss would shrink. Open one to see its sum."],
  "map-hint": () => ["The map now shows ", h("b", "gradients"), ". Blue: if this value grew, the loss would grow. Orange: it would shrink."],
  "ramp-low": ["lowers the loss"],
  "ramp-high": ["raises it"],
};
const usual = new Map(); // the elements whose texts were replaced, with their usual content

let gradients = null; // by the name of a layer, or null: then the map shows values
let reached = 0; // columns that the gradient has reached, counted from the outputs
let timer = 0;
const parts = {};

const transform = (layer) => (isReached(layer.name) ? gradients.get(layer.name) ?? null : null);

function isReached(name) {
  const at = map.columns.findIndex(({ shown }) => shown?.name === name);
  return at >= map.columns.length - reached;
}

/** Return whether the map shows pictures, in which the flow can be seen: not the rows of an ensemble. */
export const hasPictures = () => !map.members.length || map.lane !== null;

/** Return the elements that lead the gradient back, column by column. `describe` says what reached a column. */
export function flowControl(describe) {
  parts.slider = h("input", { type: "range", id: "flow", min: "1", max: "1", step: "1", value: "1", on: { input: () => { stop(); reachTo(Number(parts.slider.value)); } } });
  parts.play = h("button", { type: "button", on: { click: () => (timer ? stop() : play()) } }, "Flow back");
  parts.said = h("p.notes.flow-said");
  parts.control = h("div.flow", { hidden: true }, h("div.row", h("label.slider", { for: "flow" }, "Layers ", parts.slider), parts.play), parts.said);
  parts.describe = describe;
  on("columns", () => {
    reached = 0;
    if (gradients) reachTo(map.columns.length);
  });
  on("point", (hit) => hit || retitle());
  return parts.control;
}

/**
 * Let the map show gradients instead of values; null shows the values again. The rows of an ensemble keep theirs.
 *
 * @param {import("./map_format.js").MapLayer[]|null} layers
 * @param {boolean} [isNew] Whether the gradients are of another loss, so that they flow back from the outputs.
 */
export function showGradients(layers, isNew = false) {
  const isOwn = map.transform === transform;
  gradients = layers && hasPictures() ? new Map(layers.map((layer) => [layer.name, layer])) : null;
  if (gradients) Object.assign(map, { transform, meaning: "gradient" });
  else if (isOwn) Object.assign(map, { transform: null, meaning: null });
  document.body.toggleAttribute("data-gradients", gradients !== null);
  retitle();
  if (!gradients) stop();
  if (gradients && isNew && !prefersReducedMotion()) play();
  else if (!timer) reachTo(isNew || !reached ? map.columns.length : reached);
}

/** Give the texts of the map the meaning of what it shows. The readout shows its text only while nothing is pointed at. */
function retitle() {
  for (const [id, text] of Object.entries(TEXTS)) {
    const element = byId(id);
    if (!element || (!gradients && !usual.has(element))) continue;
    if (gradients && !usual.has(element)) {
      usual.set(element, [...element.childNodes]);
      fill(element, typeof text === "function" ? text() : text);
    } else if (!gradients) {
      fill(element, usual.get(element));
      usual.delete(element);
    }
  }
}

/** Show the gradient of the last columns, as many as it has reached. */
function reachTo(columns) {
  reached = columns;
  const all = map.columns.length;
  for (const item of byId("map-heads").children) item.toggleAttribute("data-ahead", gradients !== null && Number(item.dataset.column) < all - reached);
  parts.control.hidden = !gradients;
  parts.slider.max = String(all);
  parts.slider.value = String(reached);
  const text = gradients ? parts.describe(map.columns[all - reached]) : "";
  parts.slider.setAttribute("aria-valuetext", text);
  fill(parts.said, text);
  paintSoon();
}

/** Let the gradient flow back from the outputs. */
function play() {
  stop();
  reachTo(1);
  parts.play.textContent = "Stop";
  timer = setInterval(() => {
    reachTo(Math.min(map.columns.length, reached + 1));
    if (reached >= map.columns.length) stop();
  }, prefersReducedMotion() ? 4 * COLUMN_MS : COLUMN_MS);
}

function stop() {
  clearInterval(timer);
  timer = 0;
  parts.play.textContent = "Flow back";
}
