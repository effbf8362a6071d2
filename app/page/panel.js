/** The panel below the map: it shows what is opened, or the chosen mode, with a way back. */

import { go, goUp, place } from "./address.js";
import { columnOf } from "./columns.js";
import { byId, fill, h, position } from "./dom.js";
import { map, narrow } from "./map_view.js";
import { emit, on, state, updateWhenVisible } from "./state.js";

/** Modules of the modes: each exports `start(element)`, which fills an element once and keeps it up to date. */
const MODES = {
  why: { title: "Why", load: () => import("./explanation.js") },
  whatif: { title: "What if", load: () => import("./ablation.js") },
  compare: { title: "Compare", load: () => import("./compare.js") },
  training: { title: "Training", load: () => import("./epochs.js") },
  learn: { title: "Learn", load: () => import("./learning.js") },
  received: { title: "Stages of the preparation", load: () => import("./stages.js") },
};
const views = new Map(); // elements of the modes that were opened, by mode
const look = h("div.look");
let updater = null;
let shownKey = null; // of the content of `look`
let focus = null; // the module `panel_focus`, loaded when the panel first has the focus or something is opened

/** Start the panel. */
export function startPanel() {
  fill(byId("panel-body"), look);
  updater = updateWhenVisible(look, showLook);
  on("place", show);
  on("columns", () => { shownKey = null; show(place); });
  byId("panel").addEventListener("focusin", loadFocus, { once: true });
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape" && goUp()) event.preventDefault();
    if (event.key === "?" && !event.target.closest("input, select, textarea")) byId("keys").click();
  });
  show(place);
}

/** Show a place. */
function show({ mode, at }) {
  focus?.note();
  document.body.dataset.mode = mode;
  byId("panel").dataset.open = String(mode !== "look" || at !== null);
  look.hidden = mode !== "look";
  for (const [name, element] of views) element.hidden = name !== mode;
  if (at || mode !== "look") bringIntoView();
  if (mode === "look") {
    byId("panel-title").textContent ||= state.model; // until the panel comes into view
    updater.refresh();
    if (!byId("panel").checkVisibility()) focus?.settle(true); // the sheet of a phone is gone
    return;
  }
  setTerms(null);
  setHead([h("span", MODES[mode].title)], [close()], []);
  if (!views.has(mode)) openMode(mode);
  focus?.settle(true);
}

/** Where the panel stands below the window's edge, scroll so that it can be read; else nothing moves. */
function bringIntoView() {
  const panel = byId("panel");
  if (!narrow.matches && panel.getBoundingClientRect().top > innerHeight - 200) panel.scrollIntoView({ block: innerHeight > 500 ? "end" : "start", behavior: "instant" });
}

const loadFocus = () => import("./panel_focus.js").then((module) => { focus = module; }, () => {});

let style = null; // the promise of the style sheet of what is opened

/** Load the style sheet of the views and modes, once. */
export function loadStyle() {
  style ??= new Promise((resolve, reject) => {
    const link = h("link", { rel: "stylesheet", href: new URL("parts.css", import.meta.url).href });
    link.addEventListener("load", resolve);
    link.addEventListener("error", () => { style = null; link.remove(); reject(new Error("A style sheet did not arrive.")); });
    document.head.append(link);
  });
  return style;
}

async function openMode(mode) {
  const element = h("div.mode", { data: { view: mode } });
  views.set(mode, element);
  byId("panel-body").append(element);
  try {
    await Promise.all([loadStyle(), loadFocus()]);
    if (place.mode === mode) setHead([h("span", MODES[mode].title)], [close()], []);
    (await MODES[mode].load()).start(element);
  } catch {
    views.delete(mode);
    fill(element, failure(() => { element.remove(); show(place); }));
  }
}

/** Return the message of a part that did not come, with a button to try again. */
function failure(retry) {
  return h("p.failed", { role: "alert" }, "This part did not arrive. ", h("button", { type: "button", on: { click: retry } }, "Try again"));
}

/** Fill the panel's heading and its foot. */
function setHead(crumbs, tools, foot) {
  focus?.note();
  fill(byId("panel-title"), crumbs);
  fill(byId("panel-tools"), narrow.matches ? tools.toSpliced(-1, 0, focus?.grow()) : tools);
  fill(byId("panel-foot"), foot);
}

const close = () => h("button", { type: "button", aria: { label: "Close" }, on: { click: () => go({ mode: "look", at: place.mode === "look" ? null : place.at }) } }, narrow.matches ? "✕" : "Close");

/** Say which lines the map shows for what is opened. */
function setTerms(terms) {
  map.terms = terms;
  emit("terms", terms);
}

/** Fetch and show what is opened. If that fails, the panel says so and offers to try again. */
async function showLook(signal) {
  const { at } = place;
  const layer = at && state.network.layers.find(({ name }) => name === at.layer);
  const column = layer && columnOf(map.columns, layer.name);
  const key = JSON.stringify([state.model, map.lane, at]);
  const isNew = key !== shownKey;
  const closing = column ? [close()] : [];
  if (isNew) {
    setHead(crumbs(layer, column, at), closing, []);
    look.inert = true; // what it shows belongs to another place
  }
  try {
    const view = await (await loadView(column ? at : null, layer)).render({ layer, column, at, signal });
    if (signal.aborted) return;
    focus?.note();
    fill(look, view.content);
    setHead(crumbs(layer, column, at), [...(view.tools ?? []), ...closing], view.foot ?? []);
    if (isNew) byId("panel-body").scrollTop = 0;
    shownKey = key;
    look.inert = false;
    focus?.settle(true);
    setTerms(view.terms ?? null);
  } catch (error) {
    if (isNew && !signal.aborted) {
      fill(look);
      look.inert = false;
    }
    throw error;
  }
}

async function loadView(at, layer) {
  if (!at) return import("./network_view.js");
  await Promise.all([loadStyle(), loadFocus()]);
  if (at.channel === null) return import("./column_view.js");
  const isNumber = at.y !== null || layer.output_shape.length === 1;
  return isNumber ? import("./number_view.js") : import("./channel_view.js");
}

/** Return the way from the network to what is opened; all but the last lead back. */
function crumbs(layer, column, at) {
  const levels = [[state.model, { at: null, lane: null }]];
  if (map.lane) levels.push([map.lane, { at: null, lane: map.lane }]);
  if (column) {
    const noun = `${layer.output_shape.length === 1 ? (column.role === "outputs" ? "output" : "unit") : "channel"} `;
    const kind = narrow.matches ? h("span.visually-hidden", noun) : noun;
    levels.push([column.title, { at: { layer: column.shown?.name ?? layer.name, channel: null, y: null, x: null } }]);
    if (at.channel !== null) levels.push([[kind, nameOf(column, at.channel)], { at: { ...at, y: null, x: null } }]);
    if (at.channel !== null && at.y !== null) levels.push([at.x === null ? `row ${at.y}` : narrow.matches ? `${at.y}, ${at.x}` : position(at.y, at.x), null]);
    if (narrow.matches) levels.shift();
  }
  const last = levels.length - 1;
  const parts = levels.flatMap(([text, to], level) => [
    level ? [h("i", { aria: { hidden: "true" } }, "›"), h("span.visually-hidden", ", ")] : null,
    level === last ? h("span", text) : h("button.link", { type: "button", on: { click: () => go(to) } }, text)]);
  return column ? parts.flat() : [...parts.flat(), " ", networkFacts()];
}

const nameOf = (column, channel) => (column.role === "outputs" ? state.network.classes[channel] ?? channel : channel);

/** Return the figures of the network, or of the opened member of an ensemble. */
function networkFacts() {
  const added = (key) => map.columns.flatMap(({ layers }) => layers).reduce((sum, layer) => sum + layer[key], 0);
  const [parameters, products] = map.lane ? [added("parameters"), added("multiply_adds")] : [state.network.parameters, state.network.multiply_adds];
  const errors = map.lane ? null : state.models.find(({ name }) => name === state.model)?.test_error_rate;
  const million = products >= 1e6 ? `${(products / 1e6).toFixed(1)} million` : String(products);
  return h("small", [`${String(parameters).replace(/\B(?=(\d{3})+$)/g, "\u202f")} learned numbers`, `${million} multiplications a digit`,
    errors === null || errors === undefined ? null : `${Math.round(1e4 * errors)} errors in 10\u202f000`].filter(Boolean).join(" · "));
}
