/** Starts the page: which network, which image, and what hears of what. */

import { get } from "./api.js";
import { startPrediction } from "./prediction.js";
import { byId, fill, announce } from "./dom.js";
import { startStages } from "./stages.js";
import { startImageInput, showPixels } from "./image_input.js";
import { startLayers } from "./layers.js";
import { chooseModel, listModels, startModels } from "./models.js";
import { startDrawingSurface } from "./drawing_surface.js";
import { recogniseSoon, recogniseFully } from "./recognise.js";
import { on, loadWhenNear, state, emit } from "./state.js";
import { readLink, startDownloads } from "./downloads.js";

const banner = byId("banner");
let hiding = 0;

function showBanner(text, kind, lasting) {
  clearTimeout(hiding);
  fill(banner, text);
  banner.dataset.kind = kind;
  banner.hidden = false;
  if (!lasting) hiding = setTimeout(() => { banner.hidden = true; }, 6000);
}

function startBanner() {
  let lost = false;
  on("lost", () => {
    lost = true;
    showBanner("The service does not answer. Your drawing is safe here; the page asks again until it does.", "lost", true);
  });
  on("back", async () => {
    lost = false;
    showBanner("The service is back.", "done", false);
    await begin(wanted);
  });
  on("revision", () => { if (banner.dataset.kind === "error") banner.hidden = true; });
  on("error", (error) => { if (!lost) showBanner(error.message, "error", false); });
  on("done", (text) => { showBanner(text, "done", false); announce(text); });
}

/** Learn which networks there are, if that is not known yet, and read what is on the surface. */
async function begin(wanted = null) {
  if (state.model) {
    await recogniseFully();
    return;
  }
  // The default network's answer need not wait for the list of networks.
  const reading = wanted ? null : recogniseFully();
  listModels(await get("models"));
  await chooseModel(wanted);
  await (reading ?? recogniseFully());
}

async function fromLink() {
  try {
    const { pixels, model } = await readLink(location.hash);
    if (pixels) await showPixels(pixels);
    return model;
  } catch (error) {
    emit("error", error.message.startsWith("The link") ? error : new Error("The link is damaged and cannot be read."));
    return null;
  }
}

startBanner();
startPrediction();
startStages();
startLayers();
startModels(recogniseFully);
startDownloads();
startImageInput();
let begun = false; // before that, what is on the surface is read once, by the beginning itself
startDrawingSurface(() => begun && recogniseSoon(), () => begun && recogniseFully());
addEventListener("hashchange", async () => {
  const model = await fromLink();
  if (!model || model === state.model) return;
  await chooseModel(model);
  await recogniseFully();
});
performance.mark("surface-ready");
const wanted = await fromLink();
begun = true;
await begin(wanted).catch((error) => emit("error", error));
// Only now, with the cards in their places, is it known what is far down.
loadWhenNear(byId("why"), async () => (await import("./explanation.js")).startExplanation());
loadWhenNear(byId("whatif"), async () => (await import("./ablation.js")).startAblation());
loadWhenNear(byId("whatif"), async () => (await import("./compare.js")).startCompare());
loadWhenNear(byId("models"), async () => (await import("./epochs.js")).startEpochs());
document.documentElement.dataset.ready = "true";
