/** Starts the page: which network, which image, and what hears of what. */

import { get } from "./api.js";
import { startAnswer } from "./answer.js";
import { byId, fill, say } from "./dom.js";
import { startFilm } from "./film.js";
import { startIntake, takePixels } from "./intake.js";
import { startLayers } from "./layers.js";
import { chooseModel, listModels, startModels } from "./models.js";
import { startPad } from "./pad.js";
import { readSoon, readWholly } from "./reader.js";
import { on, soon, state, tell } from "./state.js";
import { readLink, startTake } from "./take.js";

const banner = byId("banner");
let hiding = 0;

function announce(text, kind, lasting) {
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
    announce("The service does not answer. Your drawing is safe here; the page asks again until it does.", "lost", true);
  });
  on("back", async () => {
    lost = false;
    announce("The service is back.", "done", false);
    await begin(wanted);
  });
  on("revision", () => { if (banner.dataset.kind === "error") banner.hidden = true; });
  on("error", (error) => { if (!lost) announce(error.message, "error", false); });
  on("done", (text) => { announce(text, "done", false); say(text); });
}

/** Learn which networks there are, if that is not known yet, and read what is on the surface. */
async function begin(wanted = null) {
  if (state.model) {
    await readWholly();
    return;
  }
  // The default network's answer need not wait for the list of networks.
  const reading = wanted ? null : readWholly();
  listModels(await get("models"));
  await chooseModel(wanted);
  await (reading ?? readWholly());
}

async function fromLink() {
  try {
    const { pixels, model } = await readLink(location.hash);
    if (pixels) await takePixels(pixels);
    return model;
  } catch (error) {
    tell("error", error.message.startsWith("The link") ? error : new Error("The link is damaged and cannot be read."));
    return null;
  }
}

startBanner();
startAnswer();
startFilm();
startLayers();
startModels(readWholly);
startTake();
startIntake();
let begun = false; // before that, what is on the surface is read once, by the beginning itself
startPad(() => begun && readSoon(), () => begun && readWholly());
addEventListener("hashchange", async () => {
  const model = await fromLink();
  if (!model || model === state.model) return;
  await chooseModel(model);
  await readWholly();
});
performance.mark("surface-ready");
const wanted = await fromLink();
begun = true;
await begin(wanted).catch((error) => tell("error", error));
// Only now, with the cards in their places, is it known what is far down.
soon(byId("why"), async () => (await import("./why.js")).startWhy());
soon(byId("whatif"), async () => (await import("./whatif.js")).startWhatIf());
soon(byId("whatif"), async () => (await import("./compare.js")).startCompare());
soon(byId("models"), async () => (await import("./epochs.js")).startEpochs());
document.documentElement.dataset.ready = "true";
