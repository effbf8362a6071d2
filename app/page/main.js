/** Entry point of the page: starts every part, then loads the models and reads the first image. */

import { go, modelOf, place, readLink, startAddress } from "./address.js";
import { get, load } from "./api.js";
import { announce, byId, fill, h } from "./dom.js";
import { startDrawingSurface } from "./drawing_surface.js";
import { showPixels, startImageInput } from "./image_input.js";
import { map, narrow, paintSoon, startMap } from "./map_view.js";
import { startPrediction, startReceived, startStateLine } from "./prediction.js";
import { markOutdated, recogniseFully, recogniseSoon, saysSeveral } from "./recognise.js";
import { emit, on, state } from "./state.js";

const MAX_BUTTONS = 5; // more networks are a menu
const banner = byId("banner");
let hideTimer = 0;
let damage = []; // what is wrong with the digit of the link

/** Show a message below the header, until it is closed; for six seconds unless it is permanent. */
function showBanner(text, kind, permanent) {
  clearTimeout(hideTimer);
  fill(banner, h("span", { title: text }, text), h("button", { type: "button", aria: { label: "Close the message" }, on: { click: () => { banner.hidden = true; } } }, "✕"));
  banner.dataset.kind = kind;
  banner.hidden = false;
  if (!permanent) hideTimer = setTimeout(() => { banner.hidden = true; }, 6000);
}

function startBanner() {
  let lost = false;
  on("lost", () => {
    lost = true;
    showBanner("The service does not answer. Your drawing is safe. The page keeps trying to reach the service.", "lost", !narrow.matches); // a phone has the state line alone
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

/** Fill the choice from the response of `/models`. */
function listModels({ models: listed, default: fallback, corrections }) {
  const models = listed.filter((model) => model.state !== "failed");
  state.models = models;
  byId("wrong").hidden = !corrections;
  state.fallback = fallback;
  const ordered = [...models].sort((a, b) => (b.name === fallback) - (a.name === fallback));
  fill(byId("model"), ordered.map((model) => h("option", { value: model.name }, model.name)));
  fill(byId("networks"), ordered.length > MAX_BUTTONS ? [] : ordered.map((model) => h("button", { type: "button", title: model.description, data: { model: model.name }, aria: { pressed: "false" } }, model.name)));
}

/** Choose the network that the page shows; an unknown name means the default. The caller recognises the image again. */
async function chooseModel(name) {
  const chosen = state.models.some((model) => model.name === name) ? name : state.fallback;
  if (state.model === chosen) return;
  const network = await get(`models/${encodeURIComponent(chosen)}/layers`);
  Object.assign(state, { model: chosen, network, map: null });
  byId("model").value = chosen;
  for (const button of byId("networks").children) button.setAttribute("aria-pressed", String(button.dataset.model === chosen));
  emit("network", network);
}

/** Choose a network, which makes an entry of the history, and read the digit with it. What is shown is marked at once. */
async function useModel(name) {
  markOutdated();
  byId("map").dataset.waiting = "";
  let failure = null;
  try {
    const before = state.model;
    await chooseModel(name);
    if (state.model !== before) go({});
  } catch (error) {
    byId("model").value = state.model;
    failure = error;
  }
  await recogniseFully();
  delete byId("map").dataset.waiting;
  if (failure) emit("error", failure); // last: a new reading hides it
}

/** Load the list of models, unless it is loaded already, and recognise the drawing with the model `name`. */
async function loadModelsAndRecognise(name = null) {
  if (state.model) {
    await recogniseFully();
    return;
  }
  listModels(await get("models"));
  await chooseModel(name);
  await checkLink();
  await recogniseFully();
}

/** Show the digit of the page's link, if it has one, and return the name of the link's model. */
async function openLink() {
  damage = [];
  try {
    const pixels = await readLink(location.hash);
    if (pixels) await showPixels(pixels);
  } catch {
    damage = ["The link is damaged: its digit cannot be read, and another one is shown."];
  }
  return modelOf(location.hash);
}

/** Say once what of the link cannot be used, and open the nearest place. */
async function checkLink() {
  if (!location.hash) return;
  const { checkPlace } = await import("./link_check.js");
  const { place: nearest, problems } = await checkPlace(location.hash, place, { ...state.network, name: state.model, members: map.members });
  const all = [...damage, ...problems];
  if (!all.length) return;
  showBanner(all.join(" "), "link", true);
  if (problems.length) go(nearest, { replace: true });
}

/** Follow the address after the user has gone back or has edited it. */
async function followAddress({ withDigit }) {
  const model = (withDigit ? await openLink() : modelOf(location.hash)) ?? state.fallback;
  const before = state.model;
  await chooseModel(model);
  if (withDigit) await checkLink();
  if (state.model !== before) await recogniseFully();
}

/** Show a dialog of the glossary. */
const explain = (name) => import("./glossary.js").then((glossary) => glossary[name](), (error) => emit("error", error));

/** Start the buttons of the header and those below the map's readout. */
function startControls() {
  byId("model").addEventListener("change", ({ target }) => useModel(target.value));
  byId("networks").addEventListener("click", ({ target }) => {
    const { model } = target.closest("button")?.dataset ?? {};
    if (model) useModel(model);
  });
  on("choose", useModel);
  byId("modes").addEventListener("click", ({ target }) => {
    const { mode } = target.closest("button")?.dataset ?? {};
    if (mode) go({ mode, at: place.mode === "look" && mode === "look" ? null : place.at });
  });
  on("place", ({ mode }) => {
    for (const button of byId("modes").children) {
      if (button.dataset.mode === mode) button.setAttribute("aria-current", "page");
      else button.removeAttribute("aria-current");
    }
  });
  byId("more").addEventListener("click", ({ currentTarget }) => {
    const isOpen = byId("links").toggleAttribute("data-open");
    currentTarget.setAttribute("aria-expanded", String(isOpen));
  });
  byId("words").addEventListener("click", () => explain("showGlossary"));
  byId("share").addEventListener("click", async () => (await import("./downloads.js")).copyLink());
  byId("keys").addEventListener("click", () => explain("showKeys"));
  byId("wrong").addEventListener("click", () => load("correction").then((part) => part.correct()).catch((error) => emit("error", error)));
  byId("as-table").addEventListener("click", () => go({ asTable: !place.asTable }, { replace: true }));
  byId("scale").addEventListener("click", ({ currentTarget }) => {
    map.byPicture = !map.byPicture;
    currentTarget.setAttribute("aria-pressed", String(map.byPicture));
    fill(currentTarget, map.byPicture ? "each picture by itself" : "one scale for each column");
    paintSoon();
  });
  byId("show-samples").addEventListener("click", ({ currentTarget }) => {
    const isOpen = document.body.toggleAttribute("data-samples");
    currentTarget.setAttribute("aria-expanded", String(isOpen));
  });
}

/** Start the parts that the first answer does not need. */
async function startOthers() {
  (await import("./panel.js")).startPanel();
  for (const event of ["pointerover", "focusin"]) byId("map").addEventListener(event, () => emit("near"), { once: true });
  let isNear = false;
  on("near", () => { isNear = true; });
  onceNeeded(["near", "place"], () => isNear || place.at !== null, startPointing);
  onceNeeded(["revision"], mayShowSeveral, async () => (await import("./several.js")).startSeveral());
  onceNeeded(["columns"], () => map.members.length > 0, async () => (await import("./map_lanes.js")).startLanes());
  onceNeeded(["place"], () => place.asTable, async () => (await import("./map_table.js")).startMapTable());
}

/** Return whether the picture may show more than one digit. */
function mayShowSeveral() {
  const prediction = state.prepared?.prediction;
  return prediction !== undefined && (prediction.verdict !== "digit" || prediction.input.warnings.some(saysSeveral));
}

/** Start what follows the pointer and the keyboard on the map. */
async function startPointing() {
  const [keys, readout, lines] = await Promise.all(["map_keys", "map_readout", "map_lines"].map((name) => import(`./${name}.js`)));
  keys.startMapKeys();
  readout.startReadout();
  lines.startLines();
  byId("map").dataset.ready = "true";
  if (map.pointed) emit("point", map.pointed);
}

/** Load a part when one of some events makes a condition true, or now if it is. */
function onceNeeded(events, isNeeded, load) {
  let isLoaded = false;
  const check = () => {
    if (isLoaded || !isNeeded()) return;
    isLoaded = true;
    load().catch((error) => { isLoaded = false; emit("error", error); });
  };
  for (const event of events) on(event, check);
  check();
}

document.documentElement.dataset.started = "true";
startBanner();
startStateLine(recogniseFully);
startPrediction();
startReceived();
startMap();
startAddress(followAddress);
startControls();
startImageInput();
let started = false; // until then, drawing triggers no request: `loadModelsAndRecognise` reads the first image
startDrawingSurface(() => started && recogniseSoon(), () => started && recogniseFully());
performance.mark("surface-ready");
const linkedModel = await openLink();
started = true;
await loadModelsAndRecognise(linkedModel).catch((error) => emit("error", error));
await startOthers().catch((error) => emit("error", error));
emit("place", place);
document.documentElement.dataset.ready = "true";
