/** The answers of all networks for the same digit. */

import { send } from "./api.js";
import { count, fill, h, number } from "./dom.js";
import { describePrediction, probabilityBars } from "./prediction.js";
import { emit, state, updateWhenVisible } from "./state.js";

/** Fill an element with one card for each network. */
export function startAnswers(element) {
  updateWhenVisible(element, async (signal) => {
    const predictions = await Promise.all(state.models.map((model) => send("predict", { model: model.name }, signal).catch((error) => {
      if (error.name === "AbortError") throw error;
      return error;
    })));
    fill(element, state.models.map((model, at) => card(model, predictions[at])));
  });
}

function card(model, prediction) {
  const chosen = model.name === state.model;
  const list = h("ol.bars", { aria: { label: `Probabilities by ${model.name}` } });
  const bars = probabilityBars(list, model.classes);
  const failed = prediction instanceof Error;
  if (!failed) bars.show(prediction.probabilities);
  const entry = (name, value) => h("div", h("dt", name), h("dd", value));
  return h(chosen ? "article.model.chosen" : "article.model", { data: { model: model.name } },
    h("h4", model.name, h("span.version", ` version ${model.version}`)),
    failed ? h("p.failed", prediction.message) : h("p.outcome", describePrediction(prediction, model.classes).slice(0, 2).join(" ")),
    failed ? null : list,
    h("dl.facts", entry("learned numbers", count(model.parameters)), entry("multiplications of convolutions and dense layers", count(model.multiply_adds)), entry("number format", model.precision),
      entry("errors on 10 000 test digits", model.test_error_rate === null ? "not measured" : number(1e4 * model.test_error_rate))),
    h("p.notes", model.description),
    chosen ? h("p.notes", "You are looking inside this network.") : h("button", { type: "button", on: { click: () => emit("choose", model.name) } }, `Look inside ${model.name}`));
}
