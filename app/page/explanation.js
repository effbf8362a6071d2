/** Why this digit: the attribution map, two checks of it, and the most similar training digits. */

import { get, send } from "./api.js";
import { onColourScheme } from "./colours.js";
import { aDigit, disclosure, fill, h, number, pngUrl, position, table } from "./dom.js";
import { Grid } from "./grid.js";
import { legend, paintValues } from "./heatmaps.js";
import { curve } from "./plot.js";
import { onNetwork, updateWhenVisible, state } from "./state.js";

const PICTURE_SIDE = 224; // CSS pixels: 8 for each pixel of the 28x28, so that the panel shows the whole picture

let methods = null; // by name, from `GET /explain/methods`
let explanation = null; // the last response of /explain

/** Fill an element with the explanation of each new answer. */
export function start(element) {
  const options = (first, classes) => [h("option", { value: "" }, first), ...classes.map((name, at) => h("option", { value: String(at) }, name))];
  const method = h("select", { id: "why-method" });
  const target = h("select", { id: "why-target" });
  const contrast = h("select", { id: "why-contrast" });
  let listed = "";
  onNetwork(({ classes }) => {
    explanation = null; // of another network
    if (classes.join() === listed) return; // the choice stays
    listed = classes.join();
    fill(target, options("the digit read", classes));
    fill(contrast, options("no comparison", classes));
  });
  const about = h("p.notes");
  const result = h("div.why");
  const similar = h("div");
  const waiting = () => h("p.notes.waiting", { role: "status" }, "Calculating which pixels speak for the digit…");
  fill(element,
    h("div.row", h("label", "Method ", method), h("label", "Why ", target), h("label", "and not ", contrast)),
    result, h("h3", "Similar training digits"), similar);
  const map = new Grid({ label: "Attribution of each pixel", describe: (at) => `${position(Math.floor(at / 28), at % 28)}: ${number(explanation?.map.flat()[at])}` });
  fill(result, waiting());
  const show = updateWhenVisible(result, async (signal) => {
    methods ??= await listMethods(method, signal);
    chooseUsable(method);
    const { description, limits } = methods.get(method.value);
    fill(about, `${description} ${limits}`);
    if (!explanation) fill(result, waiting());
    const answer = await send("explain", { method: method.value, target: target.value || null, contrast: contrast.value || null }, signal);
    explanation = answer;
    for (const option of contrast.options) option.disabled = option.value === String(answer.target);
    for (const option of target.options) option.disabled = option.value !== "" && option.value === contrast.value;
    fill(result, renderExplanation(answer, map, about));
  });
  updateWhenVisible(similar, async (signal) => fill(similar, neighbours(await send("neighbours", { count: 8 }, signal))));
  for (const control of [method, target, contrast]) control.addEventListener("change", () => show.refresh());
  onColourScheme(() => explanation && paint(map, explanation));
}

/** Fill the menu of methods and return the methods by name. */
async function listMethods(select, signal) {
  const answer = await get("explain/methods", {}, signal);
  fill(select, answer.methods.map(({ name, title }) => h("option", { value: name }, title)));
  select.value = answer.default;
  return new Map(answer.methods.map((method) => [method.name, method]));
}

/** Allow only methods that work for the network; choose one if the chosen one does not. */
function chooseUsable(select) {
  const isComputed = state.network.layers.every((layer) => layer.computable);
  for (const option of select.options) option.disabled = !isComputed && methods.get(option.value).needs_gradients;
  if (select.selectedOptions[0].disabled) select.value = [...select.options].find((option) => !option.disabled).value;
}

/** Paint the attribution map. */
function paint(map, answer) {
  const limit = answer.limit || 1;
  const scale = { map: "diverging", low: -limit, high: limit };
  paintValues(map.canvas, answer.map.flat(), 28, scale);
  outline(map.canvas, state.prepared.pixels);
  fill(map.legend, legend(scale, "the line marks the edge of the ink"));
  map.setLayout(784, 28);
  map.setWidth(PICTURE_SIDE);
}

/** Enlarge a map of 28x28 and outline the digit on it. */
function outline(canvas, pixels) {
  const side = 10;
  const copy = document.createElement("canvas");
  copy.width = 28;
  copy.height = 28;
  copy.getContext("2d").drawImage(canvas, 0, 0);
  canvas.width = 28 * side;
  canvas.height = 28 * side;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(copy, 0, 0, canvas.width, canvas.height);
  const isInk = (y, x) => (pixels[y]?.[x] ?? 0) > 96;
  context.beginPath();
  for (let y = 0; y <= 28; y += 1) {
    for (let x = 0; x <= 28; x += 1) {
      if (isInk(y, x) !== isInk(y - 1, x)) { context.moveTo(x * side, y * side); context.lineTo((x + 1) * side, y * side); }
      if (isInk(y, x) !== isInk(y, x - 1)) { context.moveTo(x * side, y * side); context.lineTo(x * side, (y + 1) * side); }
    }
  }
  context.strokeStyle = "#808080";
  context.lineWidth = 1.5;
  context.stroke();
}

const className = (at) => state.network.classes[at];

/** Return the elements that show an explanation: the digit, the map, a sentence and the checks. */
function renderExplanation(answer, map, about) {
  paint(map, answer);
  const limit = answer.limit || 1;
  const score = answer.contrast === null ? `the score of ${className(answer.target)} (${number(answer.value)})` : `the score of ${className(answer.target)} minus the score of ${className(answer.contrast)} (${number(answer.value)})`;
  return [
    h("div.attribution", map.element,
      h("div", h("p", answer.empty ? "The map is empty: no pixel changes the score." : `Blue pixels raise ${score}, orange pixels lower it.`), h("p", answer.text), about, mapTable("Attribution of each pixel", answer.map))),
    answer.checks ? renderChecks(answer, limit) : h("p.notes", "The map is empty, so there is nothing to check."),
  ];
}

const mapTable = (caption, rows) => disclosure(`Table: ${caption.toLowerCase()}`, () => table(caption, ["row", ...Array(28).keys()], rows.map((row, y) => [y, ...row.map((value) => number(value, 2))])));

/** Return the elements that show the map of the network with shuffled weights, next to which the map is judged. */
function renderRandomised(randomised, limit) {
  const shuffled = h("canvas", { role: "img", aria: { label: "The map of the network with shuffled weights" } });
  const flat = randomised.map.flat();
  const largest = Math.max(...flat.map(Math.abs)) || limit;
  paintValues(shuffled, flat, 28, { map: "diverging", low: -largest, high: largest });
  const similarity = randomised.similarity_on_ink ?? randomised.similarity;
  return [
    h("figure.pixels", shuffled, h("figcaption", "The same method on shuffled weights")),
    mapTable("The map on shuffled weights", randomised.map),
    h("p", similarity === null ? "One of the maps has the same value everywhere, so they cannot be compared."
      : `Rank correlation of the two maps on the ink: ${number(similarity, 2)} (1: the same, 0: unrelated). ${Math.abs(similarity) > 0.5 ? "This is high: the map shows the drawing rather than what the network has learned." : "This is low, as it should be: the map shows what the network has learned."}`),
  ];
}

/** Return the elements that show both checks of a map. */
function renderChecks({ checks: { deletion, randomised }, completeness, target, contrast }, limit) {
  return h("section.honesty", { aria: { label: "Checks of the map" } },
    h("h3", "Can you trust this map?"),
    h("div.columns",
      h("div", h("h4", "Check 1: delete the pixels that it marks"),
        curve({
          label: `Score of ${className(target)}${contrast === null ? "" : ` minus score of ${className(contrast)}`} while ink is deleted`, x: deletion.fractions, xLabel: "share of ink deleted",
          lines: [{ name: "in the map's order", values: deletion.by_map, kind: "first" }, { name: "in random order", values: deletion.at_random, kind: "second" }],
        }),
        h("p", deletion.better_than_random
          ? `The score falls faster in the map's order than in random order (mean ${number(deletion.area_by_map, 3)} against ${number(deletion.area_at_random, 3)}): the map marks pixels that matter.`
          : `The score does not fall faster in the map's order than in random order (mean ${number(deletion.area_by_map, 3)} against ${number(deletion.area_at_random, 3)}): do not trust this map.`)),
      h("div", h("h4", "Check 2: shuffle the network's weights"),
        randomised ? renderRandomised(randomised, limit) : h("p", "The service cannot compute a layer of this network itself, so it cannot run it with other weights."))),
    completeness ? h("p.notes", `The map adds up to ${number(completeness.map_sum)}; it should add up to ${number(completeness.difference)}, the change of the score. Error: ${number(completeness.error, 2)}.`) : null);
}

function neighbours(answer) {
  return [
    h("p", answer.text),
    h("ul.alike", answer.neighbours.map((neighbour) => h("li", h("img", { src: pngUrl(neighbour.image), alt: `Training digit, ${aDigit(neighbour.label)}`, width: "56", height: "56" }),
      h("span", `${aDigit(neighbour.label)}, distance ${number(neighbour.distance, 2)}`)))),
  ];
}
