/** Entry point of the page: starts every part, then loads the models and reads the first image. */

import { get } from "./api.js";
import { startPrediction } from "./prediction.js";
import { byId, fill, announce } from "./dom.js";
import { startStages } from "./stages.js";
import { startImageInput, showPixels } from "./image_input.js";
import { startLayers } from "./layers.js";
import { chooseModel, listModels, startModels } from "./models.js";
import { startDrawingSurface } from "./drawing_surface.js";
import { recogniseSoon, recogniseFully } from "./recognise.js";
import { startSeveral } from "./several.js";
import { startStateLine } from "./state_line.js";
import { on, loadWhenNear, state, emit } from "./state.js";
import { readLink, startDownloads } from "./downloads.js";

const banner = byId("banner");
let hideTimer = 0;

/** Show a message at the top of the page, for six seconds unless it is permanent. */
function showBanner(text, kind, permanent) {
  clearTimeout(hideTimer);
  fill(banner, text);
  banner.dataset.kind = kind;
  banner.hidden = false;
  if (!permanent) hideTimer = setTimeout(() => { banner.hidden = true; }, 6000);
}

function startBanner() {
  let lost = false;
  on("lost", () => {
    lost = true;
    showBanner("The service does not answer. Your drawing is safe. The page keeps trying to reach the service.", "lost", true);
  });
  on("back", async () => {
    lost = false;
    showBanner("The service is back.", "done", false);
    await loadModelsAndRecognise(linkedModel);
  });
  on("revision", () => { if (banner.dataset.kind === "error") banner.hidden = true; });
  on("error", (error) => { if (!lost) showBanner(error.message, "error", false); });
  on("done", (text) => { showBanner(text, "done", false); announce(text); });
}

/** Load the list of models, unless it is loaded already, and recognise the drawing with the model `name`. */
async function loadModelsAndRecognise(name = null) {
  if (state.model) {
    await recogniseFully();
    return;
  }
  // The default model can answer while the list of models is still loading.
  const recognition = name ? null : recogniseFully();
  listModels(await get("models"));
  await chooseModel(name);
  await (recognition ?? recogniseFully());
}

/** Show the digit of the page's link, if it has one, and return the name of the link's model. */
async function openLink() {
  try {
    const { pixels, model } = await readLink(location.hash);
    if (pixels) await showPixels(pixels);
    return model;
  } catch (error) {
    emit("error", error.message.startsWith("The link") ? error : new Error("The link is damaged and cannot be read."));
    return null;
  }
}

document.documentElement.dataset.started = "true";
startBanner();
startStateLine(recogniseFully);
startPrediction();
startSeveral();
startStages();
startLayers();
startModels(recogniseFully);
startDownloads();
startImageInput();
let started = false; // until then, drawing triggers no request: `loadModelsAndRecognise` reads the first image
startDrawingSurface(() => started && recogniseSoon(), () => started && recogniseFully());
addEventListener("hashchange", async () => {
  const model = await openLink();
  if (!model || model === state.model) return;
  await chooseModel(model);
  await recogniseFully();
});
performance.mark("surface-ready");
const linkedModel = await openLink();
started = true;
await loadModelsAndRecognise(linkedModel).catch((error) => emit("error", error));
// The layers' cards are in place now, so the distance of the sections below is known.
loadWhenNear(byId("why"), async () => (await import("./explanation.js")).startExplanation());
loadWhenNear(byId("whatif"), async () => (await import("./ablation.js")).startAblation());
loadWhenNear(byId("whatif"), async () => (await import("./compare.js")).startCompare());
loadWhenNear(byId("models"), async () => (await import("./epochs.js")).startEpochs());
document.documentElement.dataset.ready = "true";
