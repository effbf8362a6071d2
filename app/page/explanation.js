/** Why this digit: the attribution on the digit, its checks, and the training digits like it. */

import { get, send } from "./api.js";
import { onColourScheme } from "./colours.js";
import { aDigit, byId, disclosure, fill, h, number, position, table } from "./dom.js";
import { Grid } from "./grid.js";
import { legend, paintValues, pngUrl } from "./heatmaps.js";
import { curve } from "./plot.js";
import { updateWhenVisible, state } from "./state.js";

let methods = null; // by name, as `GET /explain` lists them
let found = null;

/** Wire the section. */
export function startExplanation() {
  const digits = (first) => [h("option", { value: "" }, first), ...Array.from({ length: 10 }, (_, digit) => h("option", { value: String(digit) }, digit))];
  const method = h("select", { id: "why-method" });
  const target = h("select", { id: "why-target" }, digits("what was read"));
  const contrast = h("select", { id: "why-contrast" }, digits("nothing else"));
  const about = h("p.notes");
  const result = h("div.why");
  const alike = h("div");
  fill(byId("why-body"),
    h("div.row", h("label", "Method ", method), h("label", "Why ", target), h("label", "and not ", contrast)),
    about, result, h("h3", "What it resembles"), alike);
  const map = new Grid({ label: "Attribution of each pixel", describe: (at) => `${position(Math.floor(at / 28), at % 28)}: ${number(found?.map.flat()[at])}` });
  const show = updateWhenVisible(result, async (signal) => {
    methods ??= await listMethods(method, signal);
    const { description, limits } = methods.get(method.value);
    fill(about, `${description} ${limits}`);
    const answer = await send("explain", { method: method.value, target: target.value || null, contrast: contrast.value || null }, signal);
    found = answer;
    for (const option of contrast.options) option.disabled = option.value === String(answer.target);
    for (const option of target.options) option.disabled = option.value !== "" && option.value === contrast.value;
    fill(result, explanation(answer, map));
  });
  updateWhenVisible(alike, async (signal) => fill(alike, neighbours(await send("neighbours", { count: 8 }, signal))));
  for (const control of [method, target, contrast]) control.addEventListener("change", () => show.refresh());
  onColourScheme(() => found && paint(map, found));
}

/** Fill the choice of methods; returns them by name. */
async function listMethods(select, signal) {
  const answer = await get("explain", {}, signal);
  fill(select, answer.methods.map(({ name, title }) => h("option", { value: name }, title)));
  select.value = answer.default;
  return new Map(answer.methods.map((method) => [method.name, method]));
}

function paint(map, answer) {
  const limit = answer.limit || 1;
  const scale = { map: "diverging", low: -limit, high: limit };
  paintValues(map.canvas, answer.map.flat(), 28, scale);
  outline(map.canvas, state.prepared.pixels);
  fill(map.legend, legend(scale, "the line is the edge of the ink"));
  map.lay(784, 28);
  map.setWidth(280);
}

/** Enlarge a map of 28x28 and draw the edge of the digit on it. */
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

function explanation(answer, map) {
  paint(map, answer);
  const limit = answer.limit || 1;
  const digit = h("canvas", { role: "img", aria: { label: "The 28 by 28 that is explained" } });
  paintValues(digit, state.prepared.pixels.flat(), 28, { map: "grey", low: 0, high: 255 });
  const versus = answer.contrast === null ? `the score of ${answer.target}, ${number(answer.value)}` : `the score of ${answer.target} less that of ${answer.contrast}, ${number(answer.value)}`;
  return [
    h("div.columns",
      h("figure.pixels", digit, h("figcaption", "What is explained")),
      h("figure", map.element,
        h("figcaption", answer.empty ? h("span.tag", "empty: no pixel counts") : `Warm pixels speak for ${versus}; cold ones against it.`))),
    h("p", answer.text),
    mapTable("Attribution of each pixel", answer.map),
    answer.checks ? honesty(answer, limit) : h("p.notes", "Without a map there is nothing to check."),
  ];
}

const mapTable = (caption, rows) => disclosure(`Table: ${caption.toLowerCase()}`, () => table(caption, ["row", ...Array(28).keys()], rows.map((row, y) => [y, ...row.map((value) => number(value, 2))])));

function honesty({ checks: { deletion, randomised }, completeness, target, contrast }, limit) {
  const shuffled = h("canvas", { role: "img", aria: { label: "The map of a network with shuffled weights" } });
  const flat = randomised.map.flat();
  const most = Math.max(...flat.map(Math.abs)) || limit;
  paintValues(shuffled, flat, 28, { map: "diverging", low: -most, high: most });
  const alike = randomised.similarity_on_ink ?? randomised.similarity;
  return h("section.honesty", { aria: { label: "Honesty check" } },
    h("h3", "Can this map be believed?"),
    h("div.columns",
      h("div", h("h4", "Delete what it points to"),
        curve({
          label: `Score of ${target}${contrast === null ? "" : ` less that of ${contrast}`} while ink is blacked out`, x: deletion.fractions, across: "share of ink deleted",
          lines: [{ name: "in the map's order", values: deletion.by_map, kind: "first" }, { name: "at random", values: deletion.at_random, kind: "second" }],
        }),
        h("p", deletion.better_than_random
          ? `The score falls faster than at random (mean ${number(deletion.area_by_map, 3)} against ${number(deletion.area_at_random, 3)}): the map points to what counts.`
          : `The score falls no faster than at random (mean ${number(deletion.area_by_map, 3)} against ${number(deletion.area_at_random, 3)}): for this digit, do not trust the map.`)),
      h("div", h("h4", "Forget what was learned"),
        h("figure.pixels", shuffled, h("figcaption", "The same method on shuffled weights")),
        mapTable("The map on shuffled weights", randomised.map),
        h("p", alike === null ? "One of the maps is constant, so that they cannot be compared."
          : `Rank correlation on the ink: ${number(alike, 2)}. ${Math.abs(alike) > 0.5 ? "High: the map shows the drawing rather than what was learned." : "Low, as it should be: the map shows what was learned."}`))),
    completeness ? h("p.notes", `The map adds up to ${number(completeness.map_sum)}; it should be ${number(completeness.difference)}. Error: ${number(completeness.error, 2)}.`) : null);
}

function neighbours(answer) {
  return [
    h("p", answer.text),
    h("ul.alike", answer.neighbours.map((one) => h("li", h("img", { src: pngUrl(one.image), alt: `Training digit, ${aDigit(one.label)}`, width: "56", height: "56" }),
      h("span", `${aDigit(one.label)}, ${number(one.distance, 2)} away`)))),
  ];
}
