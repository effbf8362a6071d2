/** The choice of a model, and the section that shows every model's answer for the same digit. */

import { send } from "./api.js";
import { describePrediction, probabilityBars } from "./prediction.js";
import { byId, count, fill, h, number } from "./dom.js";
import { fetchNetwork } from "./layers.js";
import { updateWhenVisible, state, emit } from "./state.js";

/** Start the menu and the section. `recognise` recognises the image again with the newly chosen model. */
export function startModels(recognise) {
  byId("model").addEventListener("change", (event) => chooseModel(event.target.value).then(recognise));
  updateWhenVisible(byId("models-body"), async (signal) => {
    const predictions = await Promise.all(state.models.map((model) => send("predict", { model: model.name }, signal).catch((error) => {
      if (error.name === "AbortError") throw error;
      return error;
    })));
    fill(byId("models-body"), state.models.map((model, at) => card(model, predictions[at], recognise)));
  });
}

/** Fill the menu of models from the response of `/models`. */
export function listModels({ models: listed, default: fallback }) {
  const models = listed.filter((model) => model.state !== "failed");
  state.models = models;
  state.fallback = fallback;
  fill(byId("model"), models.map((model) => h("option", { value: model.name }, model.name)));
}

/** Choose the model that the page shows; an unknown name means the default. The caller recognises the image again. */
export async function chooseModel(name) {
  const chosen = state.models.some((model) => model.name === name) ? name : state.fallback;
  if (state.model === chosen) return;
  const network = await fetchNetwork(chosen);
  Object.assign(state, { model: chosen, network });
  byId("model").value = chosen;
  emit("network", network);
}

function card(model, prediction, recognise) {
  const chosen = model.name === state.model;
  const body = h("tbody");
  const bars = probabilityBars(body, model.classes);
  const failed = prediction instanceof Error;
  if (!failed) bars.show(prediction.probabilities);
  return h(chosen ? "article.model.chosen" : "article.model", { data: { model: model.name } },
    h("h3", model.name, h("span.version", ` version ${model.version}`)),
    failed ? h("p", prediction.message) : h("p.outcome", describePrediction(prediction, model.classes)[0]),
    failed ? null : h("table.bars", h("caption.visually-hidden", `Probabilities by ${model.name}`), body),
    h("dl.shape", h("div", h("dt", "parameters"), h("dd", count(model.parameters))), h("div", h("dt", "multiplications"), h("dd", count(model.multiply_adds))),
      h("div", h("dt", "number format"), h("dd", model.precision)),
      h("div", h("dt", "errors on 10 000 test digits"), h("dd", model.test_error_rate === null ? "not measured" : number(1e4 * model.test_error_rate)))),
    h("p.notes", model.description),
    chosen ? h("p.notes", "You are looking inside this network.") : h("button", { type: "button", on: { click: () => chooseModel(model.name).then(recognise) } }, `Look inside ${model.name}`));
}
