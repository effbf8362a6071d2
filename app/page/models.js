/** Every network of the service on the same digit, and the choice of one. */

import { send } from "./api.js";
import { describePrediction, probabilityBars } from "./prediction.js";
import { byId, count, fill, h, number } from "./dom.js";
import { describeNetwork } from "./layers.js";
import { updateWhenVisible, state, emit } from "./state.js";

/** Wire the choice and the section; `read` reads the image anew with the chosen network. */
export function startModels(read) {
  byId("model").addEventListener("change", (event) => chooseModel(event.target.value).then(read));
  updateWhenVisible(byId("models-body"), async (signal) => {
    const answers = await Promise.all(state.models.map((model) => send("predict", { model: model.name }, signal).catch((error) => {
      if (error.name === "AbortError") throw error;
      return error;
    })));
    fill(byId("models-body"), state.models.map((model, at) => card(model, answers[at], read)));
  });
}

/** Fill the list of networks. */
export function listModels({ models, default: first }) {
  state.models = models;
  state.fallback = first;
  fill(byId("model"), models.map((model) => h("option", { value: model.name }, model.name)));
}

/** Make a network the one that everything on the page is about; the image is to be read anew. */
export async function chooseModel(name) {
  const known = state.models.some((model) => model.name === name) ? name : state.fallback;
  if (state.model === known) return;
  const network = await describeNetwork(known);
  Object.assign(state, { model: known, network });
  byId("model").value = known;
  emit("network", network);
}

function card(model, answer, read) {
  const chosen = model.name === state.model;
  const body = h("tbody");
  const bars = probabilityBars(body);
  const failed = answer instanceof Error;
  if (!failed) bars.show(answer.probabilities);
  return h(chosen ? "article.model.chosen" : "article.model", { data: { model: model.name } },
    h("h3", model.name, h("span.version", ` version ${model.version}`)),
    failed ? h("p", answer.message) : h("p.outcome", describePrediction(answer)[0]),
    failed ? null : h("table.bars", h("caption.visually-hidden", `Probabilities by ${model.name}`), body),
    h("dl.shape", h("div", h("dt", "learned numbers"), h("dd", count(model.parameters))), h("div", h("dt", "multiplications"), h("dd", count(model.multiply_adds))),
      h("div", h("dt", "its answers come in"), h("dd", model.precision)),
      h("div", h("dt", "misread of 10 000 test digits"), h("dd", model.test_error_rate === null ? "not measured" : number(1e4 * model.test_error_rate)))),
    h("p.notes", model.description),
    chosen ? h("p.notes", "This page shows it now.") : h("button", { type: "button", on: { click: () => chooseModel(model.name).then(read) } }, `Look inside ${model.name}`));
}
